/** Accepts messages: gives them ids, has the queue choose a lane and a logging actor append them to the log. */
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import { MailroomError } from '../../runtime/errors.ts'
import type { Mailbox } from '../../runtime/mailbox.ts'
import type { NodeClock } from '../../runtime/node-time.ts'
import { idGenerator } from '../../storage/ids.ts'
import { BATCH_MAX_BYTES, BATCH_MAX_COUNT } from '../../storage/limits.ts'
import type { IdempotencyKey, Queue, Receipt } from '../../storage/ports.ts'
import { textBytesOf } from '../../storage/ports.ts'
import { Batcher } from './batcher.ts'
import type { LoggingPool } from './logging-pool.ts'

/** Batches of single posts in flight. Fewer batches are fuller, and a fuller batch costs less per message. */
const SINGLES_CONCURRENCY = 2

/** A single post on its way into a batch. */
interface Single {
  text: string
  deadlineAt: number
  postedAt: number
}

/** The accepting methods of `Facade`: single posts share batches, whole batches do not. */
export class Acceptor {
  readonly #clock: NodeClock
  readonly #mailbox: Mailbox
  readonly #queue: Queue
  readonly #logging: LoggingPool
  readonly #nextIds: (count: number) => string[]
  readonly #singles: Batcher<Single, Receipt | MailroomError>
  /** Idempotency keys of the requests that run here now, with their hashes. */
  readonly #runningKeys = new Map<string, string>()
  /** Messages accepted so far. */
  acceptedCount = 0

  constructor(context: ActorContext, mailbox: Mailbox, queue: Queue, logging: LoggingPool) {
    this.#clock = context.clock
    this.#mailbox = mailbox
    this.#queue = queue
    this.#logging = logging
    this.#nextIds = idGenerator(context.clock, context.random)
    this.#singles = new Batcher({
      mailbox,
      clock: context.clock,
      maxCount: BATCH_MAX_COUNT,
      maxBytes: BATCH_MAX_BYTES,
      concurrency: SINGLES_CONCURRENCY,
      send: (items) => this.#acceptSingles(items),
    })
  }

  async post(text: string, deadlineAt: number): Promise<Receipt> {
    const single = { text, deadlineAt, postedAt: this.#clock.monotonic() }
    const receipt = await this.#singles.add(single, Buffer.byteLength(text))
    if (receipt instanceof MailroomError) throw receipt
    return receipt
  }

  async postBatch(
    texts: readonly string[],
    { deadlineAt, key }: { deadlineAt: number; key?: IdempotencyKey },
  ): Promise<Receipt[]> {
    if (key === undefined) return this.#acceptWhole(texts, deadlineAt)
    const runningHash = this.#runningKeys.get(key.value)
    if (runningHash !== undefined) {
      throw new MailroomError(runningHash === key.hash ? 'MR_KEY_BUSY' : 'MR_KEY_REUSED', { key: key.value })
    }
    this.#runningKeys.set(key.value, key.hash)
    try {
      return await this.#acceptWhole(texts, deadlineAt, key)
    } finally {
      this.#runningKeys.delete(key.value)
    }
  }

  /** Posts past their deadline are refused one by one. The others of the batch are stored. */
  async #acceptSingles(items: readonly Single[]): Promise<(Receipt | MailroomError)[]> {
    const now = this.#clock.monotonic()
    const timely = items.filter(({ deadlineAt }) => deadlineAt > now)
    const texts = timely.map(({ text }) => text)
    const deadlineAt = Math.min(...timely.map((item) => item.deadlineAt))
    const receipts = timely.length === 0 ? [] : await this.#accept(texts, deadlineAt)
    let next = 0
    return items.map((item) => (item.deadlineAt > now ? receipts[next++]! : expired(item)))
  }

  #acceptWhole(texts: readonly string[], deadlineAt: number, key?: IdempotencyKey): Promise<Receipt[]> {
    const cost = { count: texts.length, bytes: textBytesOf(texts.map((text) => ({ text }))) }
    return this.#mailbox.run(() => this.#accept(texts, deadlineAt, key), cost)
  }

  async #accept(texts: readonly string[], deadlineAt: number, key?: IdempotencyKey): Promise<Receipt[]> {
    const problem = this.#clock.problem()
    if (problem !== undefined) throw problem
    const ids = this.#nextIds(texts.length)
    const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
    const batch = { messages, deadlineAt, ...(key && { key }) }
    const receipts = await this.#queue.accept(batch, (laneBatch) => this.#logging.append(laneBatch))
    this.acceptedCount += receipts.length
    return receipts
  }
}

function expired({ deadlineAt, postedAt }: Single): MailroomError<'MR_DEADLINE_EXPIRED'> {
  const facts = { what: 'post', deadlineMs: deadlineAt - postedAt }
  return new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: 'none' })
}
