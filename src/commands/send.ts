/**
 * `mailroom send`: posts texts in batches, several at a time. Each batch carries an idempotency key, so that
 * trying it again, after whatever went wrong, stores nothing twice.
 */
import { randomBytes } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { SingleBar } from 'cli-progress'
import { type ApiClient, ApiError } from '../http/api-client.ts'
import { systemClock as clock } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'

const BATCH_COUNT = 500
const BATCH_BYTES = 900_000
const IN_FLIGHT = 4
const TEXT_MAX_BYTES = 65_536

/** Where the texts come from. */
export type Source =
  | { text: string }
  /** One message a line; `-` is standard input. */
  | { lines: string }
  /** The whole file is one message. */
  | { whole: string }

/** A text and the line it stands in. */
interface Line {
  text: string
  number: number
  /** Bytes read of the source up to and with this line. */
  readBytes: number
}

/**
 * Sends everything of a source.
 *
 * @param options.ids Prints the id of each message, in order.
 * @throws {MailroomError} `MR_MESSAGE_INVALID` for a text that cannot be sent, with its line; what stood
 * before it has been sent. @throws {ApiError} What was refused. @throws {Unreachable} After `timeoutMs`.
 */
export async function send(
  client: ApiClient,
  source: Source,
  { ids, timeoutMs }: { ids: boolean; timeoutMs: number },
): Promise<void> {
  const progress = new Progress('lines' in source ? source.lines : undefined)
  const sending: Promise<void>[] = []
  let failure: unknown
  let printed: Promise<unknown> = Promise.resolve()
  try {
    for await (const batch of batchesOf(linesOf(source))) {
      if (failure !== undefined) break
      const posted = post(client, batch, timeoutMs)
      const sent = posted.then(
        () => progress.sent(batch.length, batch.at(-1)!.readBytes),
        (error: unknown) => {
          failure ??= error
        },
      )
      const before = printed
      printed = posted.then(async (receipts) => {
        await before
        if (ids) for (const { id } of receipts) process.stdout.write(`${id}\n`)
      })
      printed.catch(() => {})
      sending.push(sent)
      if (sending.length >= IN_FLIGHT) await sending.shift()
    }
  } catch (error) {
    failure ??= error
  }
  await Promise.all(sending)
  await printed.catch(() => {})
  progress.end()
  if (failure !== undefined) throw failure
}

async function post(client: ApiClient, batch: readonly Line[], timeoutMs: number): Promise<{ id: string }[]> {
  const body = batch.map(({ text }) => ({ text }))
  const headers = { 'idempotency-key': randomBytes(16).toString('hex') }
  try {
    return await client.insist(timeoutMs, 'POST', '/messages', body, headers)
  } catch (error) {
    const first = batch[0]!.number
    const last = batch.at(-1)!.number
    if (error instanceof ApiError && first !== last) error.message += `, in lines ${first} to ${last}`
    throw error
  }
}

async function* batchesOf(lines: AsyncIterable<Line>): AsyncGenerator<Line[]> {
  let batch: Line[] = []
  let bytes = 0
  for await (const line of lines) {
    const lineBytes = Buffer.byteLength(JSON.stringify(line.text)) + 10
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

async function* linesOf(source: Source): AsyncGenerator<Line> {
  if ('text' in source) {
    yield lineOf(Buffer.from(source.text), 1, 0)
  } else if ('whole' in source) {
    yield lineOf(await readFile(source.whole), 1, 0)
  } else {
    yield* splitLines(source.lines === '-' ? process.stdin : createReadStream(source.lines))
  }
}

/** One message a line, byte for byte what stands before its line feed; no line feed is needed at the end. */
async function* splitLines(stream: AsyncIterable<Buffer | string>): AsyncGenerator<Line> {
  let rest = Buffer.alloc(0)
  let number = 0
  let readBytes = 0
  for await (const chunk of stream) {
    let bytes = Buffer.concat([rest, Buffer.from(chunk as Buffer)])
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10)) {
      readBytes += end + 1
      yield lineOf(bytes.subarray(0, end), ++number, readBytes)
      bytes = bytes.subarray(end + 1)
    }
    if (bytes.length > TEXT_MAX_BYTES) throw tooLarge(number + 1)
    rest = bytes
  }
  if (rest.length > 0) yield lineOf(rest, number + 1, readBytes + rest.length)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function lineOf(bytes: Buffer, number: number, readBytes: number): Line {
  if (bytes.length === 0) {
    throw new MailroomError('MR_MESSAGE_INVALID', {
      where: `line ${number}`,
      expected: 'not empty',
      got: 'an empty text',
    })
  }
  if (bytes.length > TEXT_MAX_BYTES) throw tooLarge(number)
  try {
    return { text: utf8.decode(bytes), number, readBytes }
  } catch {
    throw new MailroomError('MR_MESSAGE_INVALID', {
      where: `line ${number}`,
      expected: 'UTF-8',
      got: 'other bytes',
    })
  }
}

function tooLarge(number: number): MailroomError {
  return new MailroomError('MR_TOO_LARGE', { what: `line ${number}`, limitBytes: TEXT_MAX_BYTES })
}

/** What was sent so far: a bar on a terminal, one line at the end everywhere. On standard error. */
class Progress {
  readonly #beganAt = clock.monotonic()
  readonly #bar: SingleBar | undefined
  readonly #totalBytes: number | undefined
  #count = 0

  /** @param file What is read line by line, if anything; `-` for standard input. */
  constructor(file: string | undefined) {
    if (file === undefined || !process.stderr.isTTY) return
    this.#totalBytes = file === '-' ? undefined : statSync(file).size
    const format =
      this.#totalBytes === undefined
        ? '{count} sent'
        : '{bar} {percentage}%  {count} sent  {eta_formatted} to go'
    this.#bar = new SingleBar({ format, stream: process.stderr, hideCursor: true, clearOnComplete: true })
    this.#bar.start(this.#totalBytes ?? 0, 0, { count: 0 })
  }

  sent(count: number, readBytes: number): void {
    this.#count += count
    this.#bar?.update(this.#totalBytes === undefined ? 0 : readBytes, { count: this.#count })
  }

  end(): void {
    this.#bar?.stop()
    const seconds = (clock.monotonic() - this.#beganAt) / 1000
    const messages = this.#count === 1 ? 'message' : 'messages'
    const rate = Math.round(this.#count / seconds)
    process.stderr.write(`Sent ${this.#count} ${messages} in ${seconds.toFixed(1)} s (${rate}/s)\n`)
  }
}
