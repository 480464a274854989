/** Texts to send, read from a file or standard input, in flat memory. */
import { createReadStream } from 'node:fs'
import { MailroomError } from '../runtime/errors.ts'

/** The largest text there may be, in bytes. */
const TEXT_MAX_BYTES = 65_536
const LINE_FEED = 10

/** A text, and where it stands. */
export interface Line {
  text: string
  /** Counted from 1. */
  number: number
  /** Bytes of the source up to its end. */
  readBytes: number
}

/** Opens a file; `-` is standard input. */
export function openSource(path: string): AsyncIterable<Buffer> {
  return path === '-' ? process.stdin : createReadStream(path)
}

/**
 * One text a line, byte for byte what stands before its line feed; the last needs none. Lines come together as
 * they were read, without waiting for more: what another program prints now can be sent now.
 *
 * @throws {MailroomError} `MR_MESSAGE_INVALID` or `MR_TOO_LARGE` naming a line that cannot be sent, after all
 * lines before it.
 */
export async function* splitLines(
  chunks: AsyncIterable<Buffer>,
  { skipEmpty }: { skipEmpty: boolean },
): AsyncGenerator<Line[]> {
  let rest: Buffer = Buffer.alloc(0)
  let number = 0
  let restAtBytes = 0
  for await (const chunk of chunks) {
    const bytes = Buffer.concat([rest, chunk])
    const lines: Line[] = []
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
      rest = bytes.subarray(from)
      restAtBytes += from
      if (rest.length > TEXT_MAX_BYTES) throw tooLarge(`line ${number + 1}`)
    } catch (error) {
      yield lines
      throw error
    }
    yield lines
  }
  if (rest.length === 0) return
  number++
  yield [{ text: textOf(rest, `line ${number}`), number, readBytes: restAtBytes + rest.length }]
}

/** Everything as one text. @throws As `splitLines` does; reads no more than a text may have. */
export async function wholeOf(chunks: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    parts.push(chunk)
    bytes += chunk.length
    if (bytes > TEXT_MAX_BYTES) break
  }
  return textOf(Buffer.concat(parts), 'the whole input')
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Bytes as a text that can be sent. @throws {MailroomError} `MR_MESSAGE_INVALID`, `MR_TOO_LARGE`. */
export function textOf(bytes: Buffer, where: string): string {
  if (bytes.length > TEXT_MAX_BYTES) throw tooLarge(where)
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
  return new MailroomError('MR_TOO_LARGE', { what, limitBytes: TEXT_MAX_BYTES })
}
