/**
 * `POST /messages` as NDJSON: a stream of lines in, a line back for each, in their order. The lines that have
 * arrived go to the facade together; a few such groups are under way at once, and only then is more read: a
 * slow store or a client that does not read its answers slows its sending, and memory stays flat.
 */
import type { Context } from 'koa'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import {
  POST_DEADLINE_MS,
  STREAM_PATIENCE_MS,
  STREAM_RETRY_MAX_MS,
  STREAM_RETRY_MIN_MS,
} from '../../runtime/timings.ts'
import { atOf } from '../../storage/ids.ts'
import { BATCH_MAX_COUNT } from '../../storage/limits.ts'
import type { Receipt } from '../../storage/ports.ts'
import { discardRest, sayContinue, utf8Of } from '../body.ts'
import type { Reach } from '../context.ts'
import { Inflow } from '../inflow.ts'
import { Outflow } from '../outflow.ts'
import { problemLineOf } from '../problems.ts'
import { LINE_MAX_BYTES, type Line, LineSplitter } from './line-splitter.ts'
import { parseLine } from './message-schema.ts'

/** Groups of lines stored at once. */
const IN_FLIGHT_COUNT = 4

/** A line that asks for something (`text`), or that is wrong. */
type Entry = { number: number; text: string } | { number: number; error: unknown }

/**
 * Answers one stream.
 *
 * @param errorsOnly Only refused lines are told, and at the end `{"lines","accepted","refused"}`.
 */
export async function postLines(context: Context, errorsOnly: boolean, reach: Reach): Promise<void> {
  const { req: request, res: response } = context
  context.respond = false
  context.status = 200
  response.setHeader('Content-Type', 'application/x-ndjson')
  const inflow = new Inflow(request, reach)
  const answers = new Answers(new Outflow(response, reach.clock), errorsOnly)
  try {
    sayContinue(request, response)
    await answerLines(inflow, answers, reach)
    if (inflow.cutOff) await answers.refuseFrom(new MailroomError('MR_DRAINING', { name: reach.node }))
    await answers.end()
  } finally {
    inflow.close()
  }
  if (request.complete) return
  await discardRest(request, reach.clock)
  request.destroy()
}

async function answerLines(inflow: Inflow, answers: Answers, reach: Reach): Promise<void> {
  const splitter = new LineSplitter()
  const inFlight: Promise<void>[] = []
  let answered = Promise.resolve()
  const take = async (lines: Iterable<Line>) => {
    for (const entries of groupsOf(lines)) {
      const receipts = store(entries, answers, reach)
      answered = answered.then(async () => answers.add(entries, await receipts))
      // A client that went away is noticed here first; the reader may be waiting for it.
      answered.catch((error) => inflow.fail(error))
      inFlight.push(answered)
      if (inFlight.length >= IN_FLIGHT_COUNT) await inFlight.shift()
      // A piece can hold tens of thousands of bad lines, which wait for nothing: others have their turn between.
      await new Promise<void>((resolve) => reach.clock.soon(resolve))
    }
  }
  for (;;) {
    const piece = await inflow.next()
    if (piece === undefined) break
    await take(splitter.push(piece))
  }
  if (!inflow.cutOff) await take(splitter.end())
  await answered
}

/** Entries of at most a batch's messages; in bytes a piece and a line before it, which is less than a batch. */
function* groupsOf(lines: Iterable<Line>): Generator<Entry[]> {
  let entries: Entry[] = []
  for (const line of lines) {
    entries.push(entryOf(line))
    if (entries.length === BATCH_MAX_COUNT) {
      yield entries
      entries = []
    }
  }
  if (entries.length > 0) yield entries
}

function entryOf({ number, bytes }: Line): Entry {
  try {
    if (bytes === undefined) {
      throw new MailroomError('MR_TOO_LARGE', { what: 'The line', limitBytes: LINE_MAX_BYTES })
    }
    const source = utf8Of(bytes)
    if (source === undefined) {
      throw new MailroomError('MR_MESSAGE_INVALID', {
        where: 'the line',
        expected: 'UTF-8',
        got: 'something else',
      })
    }
    return { number, text: parseLine(source) }
  } catch (error) {
    if (!isMailroomError(error)) throw error
    return { number, error }
  }
}

/** The receipts of the entries that have a text, in order; or why there are none. Never rejects. */
async function store(
  entries: readonly Entry[],
  answers: Answers,
  { facade, clock, random, logger }: Reach,
): Promise<Receipt[] | { error: unknown }> {
  const texts = entries.flatMap((entry) => ('text' in entry ? [entry.text] : []))
  if (texts.length === 0) return []
  const giveUpAt = clock.monotonic() + STREAM_PATIENCE_MS
  for (let delayMs = STREAM_RETRY_MIN_MS; ; delayMs = Math.min(delayMs * 2, STREAM_RETRY_MAX_MS)) {
    try {
      return await facade.postBatch(texts, { deadlineAt: clock.now() + POST_DEADLINE_MS })
    } catch (error) {
      const isFull = isMailroomError(error, 'MR_MAILBOX_FULL', 'MR_OVERLOADED')
      if (!isMailroomError(error)) logger.error({ err: error }, 'bug')
      if (!isFull || clock.monotonic() >= giveUpAt || answers.gone) return { error }
    }
    await clock.sleep(delayMs * (0.5 + random() / 2))
  }
}

/** The lines back. */
class Answers {
  readonly #out: Outflow
  readonly #errorsOnly: boolean
  #accepted = 0
  #refused = 0

  constructor(out: Outflow, errorsOnly: boolean) {
    this.#out = out
    this.#errorsOnly = errorsOnly
  }

  get gone(): boolean {
    return this.#out.gone
  }

  /** Answers a group, and sees to it that it leaves now. @throws {ClientGone} */
  async add(entries: readonly Entry[], receipts: Receipt[] | { error: unknown }): Promise<void> {
    let index = 0
    for (const entry of entries) {
      if ('error' in entry) await this.#refuse(entry.number, entry.error)
      else if ('error' in receipts) await this.#refuse(entry.number, receipts.error)
      else await this.#accept(entry.number, receipts[index++]!.id)
    }
    await this.#out.flush()
  }

  /** Says that from the next line on nothing was taken. */
  async refuseFrom(error: MailroomError): Promise<void> {
    await this.#out.write(errorLine(this.#accepted + this.#refused + 1, error))
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
    return this.#out.write(errorLine(number, error))
  }
}

function errorLine(line: number, error: unknown): string {
  return `${JSON.stringify({ line, error: problemLineOf(error) })}\n`
}
