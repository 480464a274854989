/**
 * `POST /messages` as NDJSON: a stream of lines in, an answer line for each, in the same order. The lines that
 * have arrived go to the facade as one batch. At most four batches are in flight before more is read, so a slow
 * store, or a client that does not read its answers, slows its own sending, and memory stays bounded.
 */
import type { Context } from 'koa'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import type { Figures } from '../../runtime/figures.ts'
import {
  POST_DEADLINE_MS,
  READ_STALL_MS,
  STREAM_DROP_DRAIN_MS,
  STREAM_DROP_MS,
  STREAM_DROP_STOP_MS,
  STREAM_PATIENCE_MS,
  STREAM_PULSE_MS,
  STREAM_RETRY_MAX_MS,
  STREAM_RETRY_MIN_MS,
} from '../../runtime/timings.ts'
import { atOf } from '../../storage/ids.ts'
import { BATCH_MAX_COUNT, lineMaxBytes } from '../../storage/limits.ts'
import type { Receipt } from '../../storage/ports.ts'
import { BodyBytes, ByteBuffer, ClientDisconnected, sendContinue } from '../body.ts'
import { lingerAndClose } from '../connections.ts'
import { type ApiContext, countAccepted } from '../context.ts'
import { problemLineOf } from '../problems.ts'
import { RequestStream, ResponseStream } from '../streams.ts'
import { parseLine } from './posted.ts'

/** Batches of one stream that are stored at the same time. */
const IN_FLIGHT_COUNT = 4
const LINE_FEED = 10
const CARRIAGE_RETURN = 13

/** A line: its message's text, or why it is refused. */
type Entry = { number: number; text: string } | { number: number; error: unknown }

/**
 * Answers one stream.
 *
 * @param errorsOnly Answers refused lines only, and `{"lines","accepted","refused"}` at the end.
 */
export async function postLines(context: Context, errorsOnly: boolean, api: ApiContext): Promise<void> {
  const { req: request, res: response } = context
  context.respond = false
  context.status = 200
  response.setHeader('Content-Type', 'application/x-ndjson')
  const { clock, logger, figures } = api
  const requestStream = new RequestStream(request, api)
  let droppedBytes = -1
  /** A client that sends all before it reads blocks itself: take no more lines, so that it gets to its end. */
  const onStall = () => {
    const isSending = requestStream.droppedBytes > droppedBytes
    droppedBytes = requestStream.droppedBytes
    requestStream.cutOff(new MailroomError('MR_ANSWER_UNREAD', { stallMs: READ_STALL_MS }))
    return isSending
  }
  const answers = new Answers(new ResponseStream(response, clock, onStall), figures, errorsOnly)
  const cancelPulse = clock.every(STREAM_PULSE_MS, () => answers.pulse())
  try {
    sendContinue(request, response)
    await answerLines(requestStream, answers, api)
    const why = requestStream.cut
    if (why !== undefined) {
      const requestId = response.getHeader('X-Request-Id')
      logger.warn({ requestId, code: why.code, line: answers.nextLine }, 'a stream was cut short')
      await answers.refuseFrom(why)
      await requestStream.dropped(dropMsOf(api))
    }
    await answers.end()
  } catch (error) {
    if (error instanceof ClientDisconnected && requestStream.cut?.code === 'MR_ANSWER_UNREAD') {
      logger.warn({ line: answers.nextLine }, 'a stream was reset: its client neither read nor sent')
    }
    throw error
  } finally {
    cancelPulse()
    requestStream.close()
  }
  if (!request.complete) lingerAndClose(request.socket, clock)
}

/** How long the rest of a stream that was cut off is read. */
function dropMsOf({ draining, closing }: ApiContext): number {
  if (!draining()) return STREAM_DROP_MS
  return closing() ? STREAM_DROP_STOP_MS : STREAM_DROP_DRAIN_MS
}

async function answerLines(requestStream: RequestStream, answers: Answers, api: ApiContext): Promise<void> {
  const held = new BodyBytes()
  try {
    await answerHeld(requestStream, answers, held, api)
  } finally {
    held.close()
  }
}

/** @param held Lines, from their first byte until their answer. */
async function answerHeld(
  requestStream: RequestStream,
  answers: Answers,
  held: BodyBytes,
  api: ApiContext,
): Promise<void> {
  const { maxMessageBytes } = api.config
  const splitter = new LineSplitter(lineMaxBytes(maxMessageBytes), held)
  const inFlight: Promise<void>[] = []
  let answered = Promise.resolve()
  const take = async (lines: Iterable<Line>) => {
    for (const { entries, bytes } of batchesOf(lines, maxMessageBytes)) {
      if (requestStream.cut !== undefined) return
      const receipts = store(entries, answers, api)
      answered = answered.then(async () => {
        await answers.add(entries, await receipts)
        held.give(bytes)
      })
      // A write to a closed connection fails here first; the reader may be blocked on that connection.
      answered.catch((error) => requestStream.fail(error))
      inFlight.push(answered)
      if (inFlight.length >= IN_FLIGHT_COUNT) await inFlight.shift()
      // A chunk can hold tens of thousands of invalid lines, which need no I/O: let other requests run in between.
      await new Promise<void>((resolve) => api.clock.soon(resolve))
    }
  }
  for (;;) {
    const chunk = await requestStream.next()
    if (chunk === undefined) break
    await take(splitter.push(chunk))
  }
  if (requestStream.cut === undefined) await take(splitter.end())
  await answered
}

/**
 * Entries for batches of at most 1,000, without empty lines, which keep a quiet stream alive. A batch has the lines that
 * end in a chunk: of those only the first may be longer than the chunk. `bytes`: of these lines.
 */
function* batchesOf(
  lines: Iterable<Line>,
  maxMessageBytes: number,
): Generator<{ entries: Entry[]; bytes: number }> {
  let batch = { entries: [] as Entry[], bytes: 0 }
  for (const line of lines) {
    if (Buffer.isBuffer(line.bytes)) batch.bytes += line.bytes.length
    if (Buffer.isBuffer(line.bytes) && isEmpty(line.bytes)) continue
    batch.entries.push(entryOf(line, maxMessageBytes))
    if (batch.entries.length === BATCH_MAX_COUNT) {
      yield batch
      batch = { entries: [], bytes: 0 }
    }
  }
  if (batch.entries.length > 0) yield batch
}

/** An empty line may end with CR LF. */
function isEmpty(bytes: Buffer): boolean {
  return bytes.length === 0 || (bytes.length === 1 && bytes[0] === CARRIAGE_RETURN)
}

function entryOf({ number, bytes }: Line, maxMessageBytes: number): Entry {
  try {
    if (!Buffer.isBuffer(bytes)) return { number, error: bytes }
    return { number, text: parseLine(bytes, maxMessageBytes) }
  } catch (error) {
    if (!isMailroomError(error)) throw error
    return { number, error }
  }
}

/** Stores the entries that have a text. Resolves with their receipts in order, or with the error; never rejects. */
async function store(
  entries: readonly Entry[],
  answers: Answers,
  { facade, clock, random, logger, figures }: ApiContext,
): Promise<Receipt[] | { error: unknown }> {
  const texts = entries.flatMap((entry) => ('text' in entry ? [entry.text] : []))
  if (texts.length === 0) return []
  const giveUpAt = clock.monotonic() + STREAM_PATIENCE_MS
  for (let delayMs = STREAM_RETRY_MIN_MS; ; delayMs = Math.min(delayMs * 2, STREAM_RETRY_MAX_MS)) {
    try {
      const receipts = await facade.postBatch(texts, { deadlineAt: clock.monotonic() + POST_DEADLINE_MS })
      countAccepted(figures, receipts, '')
      return receipts
    } catch (error) {
      const isFull = isMailroomError(error, 'MR_MAILBOX_FULL', 'MR_OVERLOADED')
      if (!isMailroomError(error)) logger.error({ err: error }, 'bug')
      if (!isFull || clock.monotonic() >= giveUpAt || answers.closed) return { error }
    }
    await clock.sleep(delayMs * (0.5 + random() / 2))
  }
}

/** The answer lines of one stream. */
class Answers {
  readonly #out: ResponseStream
  readonly #figures: Figures
  readonly #errorsOnly: boolean
  #accepted = 0
  #refused = 0
  #nextLine = 1
  #isQuiet = false

  constructor(out: ResponseStream, figures: Figures, errorsOnly: boolean) {
    this.#out = out
    this.#figures = figures
    this.#errorsOnly = errorsOnly
  }

  /** True when the client has closed the connection. */
  get closed(): boolean {
    return this.#out.closed
  }

  /** The number of the first line that is not answered. */
  get nextLine(): number {
    return this.#nextLine
  }

  /** Sends an empty line when nothing was answered since the last pulse, so that proxies keep the connection. */
  pulse(): void {
    if (this.#isQuiet) this.#out.pulse()
    this.#isQuiet = true
  }

  /** Answers the lines of a batch and sends the answers. @throws {ClientDisconnected} */
  async add(entries: readonly Entry[], receipts: Receipt[] | { error: unknown }): Promise<void> {
    let index = 0
    this.#isQuiet = false
    this.#nextLine = entries.at(-1)!.number + 1
    for (const entry of entries) {
      if ('error' in entry) await this.#refuse(entry.number, entry.error)
      else if ('error' in receipts) await this.#refuse(entry.number, receipts.error)
      else await this.#accept(entry.number, receipts[index++]!.id)
    }
    await this.#out.flush()
  }

  /** Answers that the next line and all after it were not stored. @throws {ClientDisconnected} */
  async refuseFrom(error: MailroomError): Promise<void> {
    const { code, detail, outcome } = problemLineOf(error)
    this.#figures.count('mailroom_refused_total', { code })
    const all = { code, detail: `${detail}. This line and all after it are not stored`, outcome }
    await this.#out.write(`${JSON.stringify({ line: this.#nextLine, error: all })}\n`)
    await this.#out.flush()
  }

  async end(): Promise<void> {
    const counts = { lines: this.#accepted + this.#refused, accepted: this.#accepted, refused: this.#refused }
    if (this.#errorsOnly) await this.#out.write(`${JSON.stringify(counts)}\n`)
    await this.#out.end()
  }

  #accept(number: number, id: string): Promise<void> | undefined {
    this.#accepted++
    return this.#errorsOnly
      ? undefined
      : this.#out.write(`{"line":${number},"id":"${id}","at":"${atOf(id)}"}\n`)
  }

  #refuse(number: number, error: unknown): Promise<void> | undefined {
    this.#refused++
    const problem = problemLineOf(error)
    this.#figures.count('mailroom_refused_total', { code: problem.code })
    return this.#out.write(`${JSON.stringify({ line: number, error: problem })}\n`)
  }
}

/** One line. */
export interface Line {
  /** From 1. */
  number: number
  /** Or why it is refused: it is too long, or there is no room for it. */
  bytes: Buffer | MailroomError
}

/** Splits a stream of bytes into lines. Nothing of a line that is refused is kept, so memory is bounded. */
export class LineSplitter {
  readonly #maxBytes: number
  readonly #held: Pick<BodyBytes, 'take' | 'give'>
  readonly #buffer = new ByteBuffer()
  #refused: MailroomError | undefined
  #count = 0

  /**
   * @param maxBytes Of a line without its line feed.
   * @param held Takes the bytes of the lines. Who gets a line gives its bytes back.
   */
  constructor(maxBytes: number, held: Pick<BodyBytes, 'take' | 'give'>) {
    this.#maxBytes = maxBytes
    this.#held = held
  }

  /** The lines that end in this chunk. */
  *push(chunk: Buffer): Generator<Line> {
    let from = 0
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, from)
      this.#add(chunk.subarray(from, end === -1 ? chunk.length : end))
      if (end === -1) return
      yield this.#finish()
      from = end + 1
    }
  }

  /** The last line, when the stream did not end with a line feed. */
  *end(): Generator<Line> {
    if (this.#refused !== undefined || this.#buffer.length > 0) yield this.#finish()
  }

  #add(bytes: Buffer): void {
    if (this.#refused !== undefined) return
    try {
      if (this.#buffer.length + bytes.length > this.#maxBytes) {
        throw new MailroomError('MR_TOO_LARGE', { what: 'The line', limitBytes: this.#maxBytes })
      }
      this.#held.take(bytes.length)
      this.#buffer.add(bytes)
    } catch (error) {
      if (!isMailroomError(error)) throw error
      this.#refused = error
      this.#held.give(this.#buffer.take().length)
    }
  }

  #finish(): Line {
    const bytes = this.#refused ?? this.#buffer.take()
    this.#refused = undefined
    return { number: ++this.#count, bytes }
  }
}
