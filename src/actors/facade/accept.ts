/** Accepts messages: gives them ids, has the queue choose a lane and a logging actor append them to the log. */
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import { MailroomError } from '../../runtime/errors.ts'
import type { Figures } from '../../runtime/figures.ts'
import type { Mailbox } from '../../runtime/mailbox.ts'
import type { NodeClock } from '../../runtime/node-time.ts'
import { idGenerator } from '../../storage/ids.ts'
import { BATCH_MAX_BYTES, BATCH_MAX_COUNT } from '../../storage/limits.ts'
import type { IdempotencyKey, Queue, Receipt } from '../../storage/ports.ts'
import { textBytesOf } from '../../storage/ports.ts'
import { Batcher } from './batcher.ts'
import type { LoggingPool } from './logging-pool.ts'
import type { Readiness } from './readiness.ts'

/** Batches of single posts in flight, and groups of posts with a key. Fewer are fuller, and cost less per message. */
const IN_FLIGHT_COUNT = 2

/** A single post on its way into a batch. */
interface Single {
  text: string
  deadlineAt: number
  postedAt: number
}

/** A post with an idempotency key on its way into a group. */
interface Keyed {
  texts: readonly string[]
  deadlineAt: number
  key: IdempotencyKey
}

/**
 * The accepting methods of `Facade`. Single posts share batches, whole batches do not. A post with a key is a batch of
 * its own; those that leave together share what a call and a commit cost.
 */
export class Acceptor {
  readonly #clock: NodeClock
  readonly #figures: Figures
  readonly #mailbox: Mailbox
  readonly #queue: Queue
  readonly #logging: LoggingPool
  readonly #readiness: Readiness
  readonly #nextIds: (count: number) => string[]
  readonly #singles: Batcher<Single, Receipt | MailroomError>
  readonly #keyed: Batcher<Keyed, () => Receipt[]>
  /** Idempotency keys of the requests that run here now, with their hashes. */
  readonly #runningKeys = new Map<string, string>()
  /** Messages accepted so far. */
  acceptedCount = 0

  constructor(
    context: ActorContext,
    mailbox: Mailbox,
    queue: Queue,
    { logging, readiness }: { logging: LoggingPool; readiness: Readiness },
  ) {
    this.#clock = context.clock
    this.#figures = context.figures
    this.#mailbox = mailbox
    this.#queue = queue
    this.#logging = logging
    this.#readiness = readiness
    this.#nextIds = idGenerator(context.clock, context.random)
    const options = {
      ...{ mailbox, clock: context.clock, concurrency: IN_FLIGHT_COUNT },
      ...{ maxCount: BATCH_MAX_COUNT, maxBytes: BATCH_MAX_BYTES },
    }
    this.#singles = new Batcher({ ...options, send: (items) => this.#acceptSingles(items) })
    this.#keyed = new Batcher({
      ...options,
      send: (items) =>
        Promise.all(items.map(({ texts, deadlineAt, key }) => settled(this.#accept(texts, deadlineAt, key)))),
    })
  }

  async post(text: string, deadlineAt: number): Promise<Receipt> {
    const single = { text, deadlineAt, postedAt: this.#clock.monotonic() }
    const receipt = await this.#singles.add(single, { bytes: Buffer.byteLength(text) })
    if (receipt instanceof MailroomError) throw receipt
    return receipt
  }

  async postBatch(
    texts: readonly string[],
    { deadlineAt, key }: { deadlineAt: number; key?: IdempotencyKey },
  ): Promise<Receipt[]> {
    const postedAt = this.#clock.monotonic()
    const cost = { count: texts.length, bytes: textBytesOf(texts.map((text) => ({ text }))) }
    if (key === undefined) {
      const receipts = await this.#mailbox.run(() => this.#accept(texts, deadlineAt), cost)
      this.#accepted(postedAt, this.#clock.monotonic())
      return receipts
    }
    const runningHash = this.#runningKeys.get(key.value)
    if (runningHash !== undefined) {
      throw new MailroomError(runningHash === key.hash ? 'MR_KEY_BUSY' : 'MR_KEY_REUSED', { key: key.value })
    }
    this.#runningKeys.set(key.value, key.hash)
    try {
      const receipts = (await this.#keyed.add({ texts, deadlineAt, key }, cost))()
      this.#accepted(postedAt, this.#clock.monotonic())
      return receipts
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
    const endedAt = this.#clock.monotonic()
    for (const { postedAt } of timely) this.#accepted(postedAt, endedAt)
    let next = 0
    return items.map((item) => (item.deadlineAt > now ? receipts[next++]! : expired(item)))
  }

  /** A post is stored, from one instant to another (monotonic, ms). */
  #accepted(postedAt: number, endedAt: number): void {
    this.#figures.observe('mailroom_accept_duration_seconds', (endedAt - postedAt) / 1000)
  }

  async #accept(texts: readonly string[], deadlineAt: number, key?: IdempotencyKey): Promise<Receipt[]> {
    await this.#readiness.admit(deadlineAt)
    const ids = this.#nextIds(texts.length)
    const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
    const batch = { messages, deadlineAt, ...(key && { key }) }
    const receipts = await this.#queue.accept(
      batch,
      (laneBatch) => this.#logging.append(laneBatch),
      (id) => this.#logging.get(id),
    )
    this.acceptedCount += receipts.length
    return receipts
  }
}

/** What a promise gives or throws, to be given or thrown later. */
async function settled<T>(promise: Promise<T>): Promise<() => T> {
  try {
    const value = await promise
    return () => value
  } catch (error) {
    return () => {
      throw error
    }
  }
}

function expired({ deadlineAt, postedAt }: Single): MailroomError<'MR_DEADLINE_EXPIRED'> {
  const facts = { what: 'post', deadlineMs: deadlineAt - postedAt }
  return new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: 'none' })
}
