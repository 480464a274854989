/** What `mailroom send` sends: a text, or texts read from a file or standard input in flat memory. */
import { createReadStream, statSync } from 'node:fs'
import { MailroomError } from '../runtime/errors.ts'
import type { ClientConfig } from '../settings/config.ts'
import { invalidConfig } from '../settings/settings-reader.ts'
import { MESSAGE_MAX_BYTES } from '../storage/limits.ts'

const LINE_FEED = 10
/** Both within the limits of the API, whatever the node's `--max-message` is. */
const BATCH_COUNT = 500
const BATCH_BYTES = 900_000

/** Where the texts come from. */
export type Input =
  | { text: string }
  /**
   * A file, or `-` for standard input: one message a line, or with `whole` one message. `totalBytes` is 0 when
   * it is unknown.
   */
  | { path: string; totalBytes: number; whole: boolean; skipEmpty: boolean }

/** Makes an input of the operand and the flags. @throws {MailroomError} `MR_CONFIG_INVALID` unless there is exactly one. */
export function inputOf(
  text: string | undefined,
  { file, whole, skipEmpty }: Pick<ClientConfig, 'file' | 'whole' | 'skipEmpty'>,
): Input {
  if (text !== undefined && file !== null) throw invalidConfig('Expected either a text or `--file`, got both')
  if (whole && skipEmpty) throw invalidConfig('Expected either `--whole` or `--skip-empty`, got both')
  const path = text === '-' ? text : file
  if (path !== null) {
    return { path, totalBytes: path === '-' ? 0 : statSync(path).size, whole, skipEmpty }
  }
  if (text === undefined)
    throw invalidConfig('Expected a text, - for standard input, or `--file`, got nothing to send')
  if (skipEmpty)
    throw invalidConfig('Expected `--skip-empty` with lines of a file or of standard input, got a text')
  return { text }
}

/**
 * The texts of an input, in batches the API takes. One that is larger than other batches is a batch of its own: the node
 * says how large a text may be. Here the limit is what no node takes.
 *
 * @throws {MailroomError} `MR_MESSAGE_INVALID` or `MR_TOO_LARGE` naming the text that cannot be sent.
 */
export async function* batchesOf(input: Input): AsyncGenerator<InputText[]> {
  if ('text' in input) {
    yield [alone(textOf(Buffer.from(input.text), 'the text'))]
  } else if (input.whole) {
    yield [alone(await wholeOf(openSource(input.path)))]
  } else {
    for await (const lines of splitLines(openSource(input.path), input)) yield* cut(lines)
  }
}

function alone(text: string): InputText {
  return { text, number: 1, readBytes: Buffer.byteLength(text) }
}

function* cut(lines: readonly InputText[]): Generator<InputText[]> {
  let batch: InputText[] = []
  let bytes = 0
  for (const line of lines) {
    const lineBytes = Buffer.byteLength(JSON.stringify({ text: line.text })) + 1
    if (batch.length === BATCH_COUNT || (batch.length > 0 && bytes + lineBytes > BATCH_BYTES)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(line)
    bytes += lineBytes
  }
  if (batch.length > 0) yield batch
}

/** A text and its place in the input. */
export interface InputText {
  text: string
  /** Counted from 1. */
  number: number
  /** Bytes of the input up to the end of this text. */
  readBytes: number
}

/** Opens a file; `-` is standard input. */
function openSource(path: string): AsyncIterable<Buffer> {
  return path === '-' ? process.stdin : createReadStream(path)
}

/**
 * One text a line: the bytes before its line feed, unchanged. The last line needs no line feed. All lines of a
 * chunk are yielded at once, without waiting for the next chunk, so that what a program prints is sent at once.
 *
 * @throws {MailroomError} `MR_MESSAGE_INVALID` or `MR_TOO_LARGE` naming a line that cannot be sent, after all
 * lines before it.
 */
export async function* splitLines(
  chunks: AsyncIterable<Buffer>,
  { skipEmpty }: { skipEmpty: boolean },
): AsyncGenerator<InputText[]> {
  /** Of a line that has not ended: chunks, so that a long one is not copied with each. */
  let parts: Buffer[] = []
  let restBytes = 0
  let number = 0
  let restAtBytes = 0
  for await (const chunk of chunks) {
    if (chunk.indexOf(LINE_FEED) === -1) {
      parts.push(chunk)
      restBytes += chunk.length
      if (restBytes > MESSAGE_MAX_BYTES) throw tooLarge(`line ${number + 1}`)
      continue
    }
    const bytes = Buffer.concat([...parts, chunk])
    const lines: InputText[] = []
    let from = 0
    try {
      for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, from)) {
        number++
        const line = bytes.subarray(from, end)
        from = end + 1
        if (line.length === 0) {
          if (skipEmpty) continue
          throw invalid(`line ${number}`, 'not empty', 'an empty line; --skip-empty passes over those')
        }
        lines.push({ text: textOf(line, `line ${number}`), number, readBytes: restAtBytes + from })
      }
      parts = from === bytes.length ? [] : [bytes.subarray(from)]
      restBytes = bytes.length - from
      restAtBytes += from
    } catch (error) {
      yield lines
      throw error
    }
    yield lines
  }
  if (restBytes === 0) return
  number++
  const text = textOf(Buffer.concat(parts), `line ${number}`)
  yield [{ text, number, readBytes: restAtBytes + restBytes }]
}

/** Everything as one text. @throws As `splitLines` does; stops reading when it is too large. */
export async function wholeOf(chunks: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    parts.push(chunk)
    bytes += chunk.length
    if (bytes > MESSAGE_MAX_BYTES) break
  }
  return textOf(Buffer.concat(parts), 'the whole input')
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Bytes as a text that can be sent. @throws {MailroomError} `MR_MESSAGE_INVALID`, `MR_TOO_LARGE`. */
function textOf(bytes: Buffer, where: string): string {
  if (bytes.length > MESSAGE_MAX_BYTES) throw tooLarge(where)
  if (bytes.length === 0) throw invalid(where, 'not empty', 'an empty text')
  try {
    return utf8.decode(bytes)
  } catch {
    throw invalid(where, 'UTF-8', 'other bytes')
  }
}

function invalid(where: string, expected: string, got: string): MailroomError {
  return new MailroomError('MR_MESSAGE_INVALID', { where, expected, got })
}

function tooLarge(what: string): MailroomError {
  return new MailroomError('MR_TOO_LARGE', { what, limitBytes: MESSAGE_MAX_BYTES })
}
