/**
 * The facade actor: takes messages for the public API, has a logging actor write each to the log and the
 * queue pass it on, and reads both lists back.
 */

import { Actor } from '../../runtime/actor.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry, Role } from '../../runtime/cluster/directory.ts'
import { livingMessages } from '../../runtime/cluster/directory.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { ASK_RETRY_MS, ASK_TIMEOUT_MS, REDRIVE_SLICE_MS } from '../../runtime/timings.ts'
import { idGenerator, MIN_ID } from '../../storage/ids.ts'
import { assignLanes } from '../../storage/lanes.ts'
import { BATCH_MAX_BYTES, BATCH_MAX_COUNT } from '../../storage/limits.ts'
import { mergeById } from '../../storage/paging.ts'
import type { Backend, Dead, IdempotencyKey, Message, Queue, Range, Receipt } from '../../storage/ports.ts'
import { textBytesOf } from '../../storage/ports.ts'
import type { Facade, Found, Lists, Messages, Peers, Redriven } from '../protocol.ts'
import { Batcher } from './batcher.ts'
import { LoggingPool } from './logging-pool.ts'
import { readLists, StoreReader } from './reader.ts'

/** Batches in flight; more only add latency (measured, docs/decisions). */
const CONCURRENCY = 4
/** Of them, batches of singles: fewer are fuller, and cost everybody after them less a message. */
const SINGLES_CONCURRENCY = 2

/** A message on its way into a batch. */
interface Single {
  text: string
  deadlineAt: number
  postedAt: number
}

/** Answers `Facade`. */
export class FacadeActor extends Actor implements Facade {
  readonly #backend: Pick<Backend, 'queue' | 'missing' | 'damaged'>
  readonly #queue: Queue
  readonly #peers: Peers
  readonly #logging: LoggingPool
  readonly #nextIds: (count: number) => string[]
  readonly #singles: Batcher<Single, Receipt | MailroomError>
  /** Keys of the requests now running here. */
  readonly #keys = new Map<string, string>()
  #accepted = 0
  /** Once every lane has been held: until then nothing accepted may be delivered. */
  #lanesSeen = false

  constructor(context: ActorContext, backend: Pick<Backend, 'queue' | 'missing' | 'damaged'>, peers: Peers) {
    super(context, { concurrency: CONCURRENCY })
    this.#backend = backend
    this.#queue = backend.queue
    this.#peers = peers
    this.#logging = new LoggingPool(context, peers)
    this.#nextIds = idGenerator(context.clock, context.random)
    this.#singles = new Batcher({
      mailbox: this.mailbox,
      clock: context.clock,
      maxCount: BATCH_MAX_COUNT,
      maxBytes: BATCH_MAX_BYTES,
      concurrency: SINGLES_CONCURRENCY,
      send: (items) => this.#acceptSingles(items),
    })
  }

  override async start(): Promise<void> {}

  override status() {
    return { ...super.status(), handled: this.#accepted, missing: this.missing() }
  }

  async post(text: string, deadlineAt: number): Promise<Receipt> {
    const single = { text, deadlineAt, postedAt: this.context.clock.now() }
    const receipt = await this.#singles.add(single, Buffer.byteLength(text))
    if (receipt instanceof MailroomError) throw receipt
    return receipt
  }

  async postBatch(
    texts: readonly string[],
    { deadlineAt, key }: { deadlineAt: number; key?: IdempotencyKey },
  ): Promise<Receipt[]> {
    if (key === undefined) return this.#acceptWhole(texts, deadlineAt)
    const runningHash = this.#keys.get(key.value)
    if (runningHash !== undefined) {
      throw new MailroomError(runningHash === key.hash ? 'MR_KEY_BUSY' : 'MR_KEY_REUSED', { key: key.value })
    }
    this.#keys.set(key.value, key.hash)
    try {
      return await this.#acceptWhole(texts, deadlineAt, key)
    } finally {
      this.#keys.delete(key.value)
    }
  }

  lists(limit?: number): Promise<Lists> {
    return readLists({ logging: this.#logging, peers: this.#peers, context: this.context, limit })
  }

  async logPage(range: Range): Promise<Message[]> {
    return fullPage(range, (part) => this.#logging.page(part))
  }

  async storePage(name: string, range: Range): Promise<Message[]> {
    const entry = this.actors().find((actor) => actor.name === name && actor.role === 'messages')
    if (entry === undefined) throw new MailroomError('MR_NOT_FOUND', { what: `messages actor ${name}` })
    const deadlineAt = this.context.clock.monotonic() + ASK_TIMEOUT_MS
    for (;;) {
      const store = new StoreReader(this.#messagesAt(entry))
      const page = await fullPage(range, (part) => store.page(part))
      if (store.whole) return page
      // A lane is on its way to it, or away: soon over, or not to be passed over in silence.
      if (this.context.clock.monotonic() >= deadlineAt) throw away(`${name} with all its lanes`)
      await this.context.clock.sleep(ASK_RETRY_MS)
    }
  }

  async find(id: string, waitMs: number): Promise<Found | undefined> {
    const message = await this.#logging.get(id)
    if (message === undefined) return undefined
    const { text, lane } = message
    const deadlineAt = this.context.clock.monotonic() + waitMs
    for (;;) {
      const leftMs = this.draining ? 0 : Math.max(0, deadlineAt - this.context.clock.monotonic())
      const holder = this.#holderOf(lane)
      try {
        if (holder === undefined) throw away('messages actor')
        const found = await this.#messagesAt(holder).find(lane, id, leftMs)
        // A holder that is about to let the lane go answers early.
        if (found.state !== 'queued' || leftMs === 0) {
          return { id, text, ...found, deliveredTo: found.state === 'delivered' ? holder.name : null }
        }
      } catch (error) {
        // The lane may be on its way to another holder: worth a short wait, within the caller's.
        if (!isMailroomError(error) || !error.retryable || (leftMs === 0 && waitMs > 0)) throw error
        if (waitMs === 0 && this.context.clock.monotonic() - deadlineAt > ASK_TIMEOUT_MS) throw error
      }
      await this.context.clock.sleep(ASK_RETRY_MS)
    }
  }

  actors(): readonly ActorEntry[] {
    return this.context.directory.actors()
  }

  async scale(role: Role, count: number): Promise<readonly ActorEntry[]> {
    const limit = this.#queue.laneCount
    if (role === 'messages' && count > limit) {
      const reason = 'a messages actor needs at least one lane (--lanes)'
      throw new MailroomError('MR_SCALE_REFUSED', { role, count, limit, reason })
    }
    return this.context.scale(role, count)
  }

  restart(role: Role): Promise<readonly ActorEntry[]> {
    return this.context.restart(role)
  }

  async dead(range: { after?: string; limit: number }): Promise<Dead[]> {
    const sources = this.#holders().map((holder) => (cursor: string | undefined, limit: number) => {
      const after = cursor ?? range.after
      return holder.dead({ ...(after !== undefined && { after }), limit })
    })
    return mergeById(sources, range.limit, 'ascending')
  }

  async deadOne(id: string): Promise<Dead | undefined> {
    // The id before it, as an exclusive bound: ids are 26 characters, so a prefix sorts just below.
    const [letter] = await this.dead({ after: id.slice(0, -1) + before(id.at(-1)!), limit: 1 })
    return letter?.id === id ? letter : undefined
  }

  async replay(id: string): Promise<boolean> {
    return anyOf(this.#holders().map((holder) => holder.replay(id)))
  }

  async purge(id: string): Promise<boolean> {
    return anyOf(this.#holders().map((holder) => holder.purge(id)))
  }

  async redrive({ after = MIN_ID, limit }: { after?: string; limit: number }): Promise<Redriven> {
    const endAt = this.context.clock.monotonic() + REDRIVE_SLICE_MS
    const sum = { checked: 0, redriven: 0, last: after }
    while (sum.checked < limit && this.context.clock.monotonic() < endAt) {
      const page = await this.#logging.page({ after: sum.last, limit: limit - sum.checked })
      if (page.length === 0) return { ...sum, last: null }
      const byLane = Map.groupBy(page, ({ lane }) => lane)
      const counts = await Promise.all(
        // Async, so that a lane without a holder does not leave the others' calls to nobody.
        [...byLane].map(async ([lane, messages]) => this.#messagesOf(lane).redrive(lane, messages)),
      )
      sum.checked += page.length
      for (const count of counts) sum.redriven += count
      sum.last = page.at(-1)!.id
    }
    return sum
  }

  missing(): string[] {
    const missing = this.draining ? ['this node is draining'] : []
    missing.push(...this.#backend.missing())
    for (const role of ['logging', 'messages'] as const) {
      const actors = this.actors().filter((actor) => actor.role === role)
      if (!actors.some(({ state }) => state === 'ready')) missing.push(`a ready ${role} actor`)
      for (const { name, state } of actors) if (state === 'failed') missing.push(`${name}: it keeps crashing`)
      for (const actor of actors) missing.push(...actor.missing.map((what) => `${actor.name}: ${what}`))
    }
    if (!this.#lanesSeen) {
      const held = new Set(this.actors().flatMap(({ lanes = {} }) => Object.keys(lanes)))
      this.#lanesSeen = held.size === this.#queue.laneCount
      if (!this.#lanesSeen) missing.push(`holders of ${this.#queue.laneCount - held.size} lanes`)
    }
    return missing
  }

  damaged(): string[] {
    const told = this.actors().flatMap(({ damaged = [] }) => damaged)
    return [...new Set([...this.#backend.damaged(), ...told])]
  }

  /** Those that waited too long are refused one by one: they do not spoil the batch for the others. */
  async #acceptSingles(items: readonly Single[]): Promise<(Receipt | MailroomError)[]> {
    const now = this.context.clock.now()
    const timely = items.filter(({ deadlineAt }) => deadlineAt > now)
    const texts = timely.map(({ text }) => text)
    const deadlineAt = Math.min(...timely.map((item) => item.deadlineAt))
    const receipts = timely.length === 0 ? [] : await this.#accept(texts, deadlineAt)
    let next = 0
    return items.map((item) => (item.deadlineAt > now ? receipts[next++]! : expired(item)))
  }

  #acceptWhole(texts: readonly string[], deadlineAt: number, key?: IdempotencyKey): Promise<Receipt[]> {
    const cost = { count: texts.length, bytes: textBytesOf(texts.map((text) => ({ text }))) }
    return this.mailbox.run(() => this.#accept(texts, deadlineAt, key), cost)
  }

  async #accept(texts: readonly string[], deadlineAt: number, key?: IdempotencyKey): Promise<Receipt[]> {
    const ids = this.#nextIds(texts.length)
    const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
    const batch = { messages, deadlineAt, ...(key && { key }) }
    const receipts = await this.#queue.accept(batch, (laneBatch) => this.#logging.append(laneBatch))
    this.#accepted += receipts.length
    return receipts
  }

  #holderOf(lane: number): ActorEntry | undefined {
    const name = assignLanes(this.#queue.laneCount, livingMessages(this.actors()))[lane]
    return this.actors().find((actor) => actor.name === name && actor.state === 'ready')
  }

  #messagesOf(lane: number): Messages {
    const holder = this.#holderOf(lane)
    if (holder === undefined) throw away('messages actor')
    return this.#messagesAt(holder)
  }

  #messagesAt(entry: ActorEntry): Messages {
    if (entry.address === null) throw away(entry.name)
    return this.#peers.messages(entry.address, ASK_TIMEOUT_MS)
  }

  /** All living messages actors; one that is away is an error, as its dead letters would be missing. */
  #holders(): Messages[] {
    const living = new Set(livingMessages(this.actors()))
    if (living.size === 0) throw away('messages actor')
    return this.actors()
      .filter(({ name }) => living.has(name))
      .map((entry) => this.#messagesAt(entry))
  }
}

/** Reads a page in as many parts as it takes: actors answer with fewer when texts are large. */
async function fullPage(range: Range, read: (range: Range) => Promise<Message[]>): Promise<Message[]> {
  const page: Message[] = []
  let next = range
  while (page.length < range.limit) {
    const part = await read({ ...next, limit: range.limit - page.length })
    if (part.length === 0) break
    page.push(...part)
    const last = part.at(-1)!.id
    next = range.after === undefined ? { ...next, before: last } : { ...next, after: last }
  }
  return page
}

/** True when one says so, whatever became of the others; false only when all say so. */
async function anyOf(answers: Promise<boolean>[]): Promise<boolean> {
  const settled = await Promise.allSettled(answers)
  if (settled.some((answer) => answer.status === 'fulfilled' && answer.value)) return true
  await Promise.all(answers)
  return false
}

function before(digit: string): string {
  return String.fromCharCode(digit.charCodeAt(0) - 1)
}

function expired({ deadlineAt, postedAt }: Single): MailroomError<'MR_DEADLINE_EXPIRED'> {
  const facts = { what: 'post', deadlineMs: deadlineAt - postedAt }
  return new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: 'none' })
}

function away(what: string): MailroomError<'MR_STORE_UNAVAILABLE'> {
  return new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason: `no ready ${what}` })
}
