/**
 * The messages actor: holds its share of the lanes, consumes them into its in-memory store, answers for them.
 * An async-mutex guards the store: the consumers that write and the readers take it alike, a batch a hold.
 */

import { Mutex, Semaphore } from 'async-mutex'
import { Actor } from '../../runtime/actor.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorStatus } from '../../runtime/cluster/directory.ts'
import { livingMessages } from '../../runtime/cluster/directory.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { BACKLOG_PERIOD_MS, HANDLER_GRACE_MS, LANE_RETRY_MS } from '../../runtime/timings.ts'
import { assignLanes } from '../../storage/lanes.ts'
import { PAGE_MAX_BYTES } from '../../storage/limits.ts'
import { boundedPage, mergeById } from '../../storage/paging.ts'
import type { Dead, Delivered, Depth, Message, Queue, Range, Whereabouts } from '../../storage/ports.ts'
import { textBytesOf } from '../../storage/ports.ts'
import type { Messages, StorePage } from '../protocol.ts'
import { Consumer } from './consumer.ts'
import type { Handler } from './handler.ts'
import { newestOf } from './newest-of.ts'
import { Store } from './store.ts'
import { Waiters } from './waiters.ts'

const CONCURRENCY = 16
const WINDOW_BYTES = 32 * 1024 * 1024
const CHUNK_COUNT = 100
/** A find that waits checks this often whether its lane is still held. */
const FIND_CHECK_MS = 1000

/** The user's handler and its limits. */
export interface Handling {
  /** Null: messages are only stored. */
  handler: Handler | null
  handlerTimeoutMs: number
  /** Handler calls at once, of all lanes together. */
  handlerConcurrency: number
}

/** Answers `Messages` for the lanes it holds. */
export class MessagesActor extends Actor implements Messages {
  readonly #queue: Queue
  readonly #handling: Handling
  readonly #slots: Semaphore
  readonly #store = new Store(WINDOW_BYTES)
  readonly #storeMutex = new Mutex()
  /** Lanes held, each with its consumer. */
  readonly #consumers = new Map<number, Consumer>()
  readonly #depths = new Map<number, Depth>()
  readonly #waiters = new Waiters()
  readonly #stops: (() => void)[] = []
  #term = 0
  #reconciling: Promise<void> | undefined
  #cancelRetake = () => {}
  #again = false
  #delivered = 0
  #suspects = 0

  constructor(context: ActorContext, queue: Queue, handling: Handling) {
    super(context, { concurrency: CONCURRENCY })
    this.#queue = queue
    this.#handling = handling
    this.#slots = new Semaphore(handling.handlerConcurrency)
  }

  override async start(): Promise<void> {
    const { directory, clock } = this.context
    this.#stops.push(directory.onChange(() => this.#reconcile()))
    this.#stops.push(clock.every(BACKLOG_PERIOD_MS, () => void this.#measure()))
    this.#reconcile()
  }

  override status(): ActorStatus {
    const lanes: Record<number, number> = {}
    let dead = 0
    let oldestAt: number | null = null
    for (const lane of this.#consumers.keys()) {
      const depth = this.#depths.get(lane)
      lanes[lane] = (depth?.waiting ?? 0) + (depth?.inHand ?? 0)
      dead += depth?.dead ?? 0
      if (depth?.oldestAt != null && (oldestAt === null || depth.oldestAt < oldestAt))
        oldestAt = depth.oldestAt
    }
    return { ...super.status(), handled: this.#delivered, suspects: this.#suspects, lanes, dead, oldestAt }
  }

  async wake(lanes: readonly number[]): Promise<void> {
    for (const lane of lanes) if (this.#consumers.has(lane)) this.#queue.wake(lane)
  }

  async page(range: Range): Promise<StorePage> {
    return this.mailbox.run(async () => {
      await this.#dropLost()
      const { fromStore, term } = await this.#storeMutex.runExclusive(() => ({
        fromStore: this.#store.page(range),
        term: this.#term,
      }))
      const messages =
        fromStore === undefined
          ? await boundedPage(range, PAGE_MAX_BYTES, CHUNK_COUNT, (chunk) => this.#pageFromHomes(chunk))
          : firstBytes(fromStore, PAGE_MAX_BYTES)
      return { messages, term, complete: this.#isComplete(term) }
    })
  }

  async find(lane: number, id: string, waitMs: number): Promise<Whereabouts> {
    const deadlineAt = this.context.clock.monotonic() + waitMs
    for (;;) {
      const settled = this.#waiters.add(id)
      try {
        const found = await this.mailbox.run(() => this.#queue.find(lane, id))
        const leftMs = deadlineAt - this.context.clock.monotonic()
        if (found.state !== 'queued' || leftMs <= 0 || !this.#consumers.has(lane)) return found
        await this.context.clock.sleep(Math.min(leftMs, FIND_CHECK_MS), settled.signal)
      } finally {
        this.#waiters.forget(id, settled)
      }
    }
  }

  async dead({ after, limit }: { after?: string; limit: number }): Promise<Dead[]> {
    return this.mailbox.run(async () => {
      await this.#dropLost()
      const term = this.#term
      const letters = await mergeById(
        this.#sources((lane, cursor, count) =>
          this.#queue.dead(lane, { ...optionalAfter(cursor ?? after), limit: count }),
        ),
        limit,
        'ascending',
      )
      this.#refuseIncomplete(term)
      return letters
    })
  }

  async replay(id: string): Promise<boolean> {
    return this.mailbox.run(() => this.#inAnyLane((lane) => this.#queue.replay(lane, id)))
  }

  async purge(id: string): Promise<boolean> {
    return this.mailbox.run(() => this.#inAnyLane((lane) => this.#queue.purge(lane, id)))
  }

  async redrive(lane: number, messages: readonly Message[]): Promise<number> {
    const cost = { count: messages.length, bytes: textBytesOf(messages) }
    return this.mailbox.run(() => this.#queue.redrive(lane, messages), cost)
  }

  protected override async onDrain(): Promise<void> {
    for (const stop of this.#stops) stop()
    await this.#reconciling
    await Promise.all([...this.#consumers.keys()].map((lane) => this.#letGo(lane)))
    await super.onDrain()
  }

  /** Releases lanes that are no longer its own and takes those that are; again while a wanted one is not free. */
  #reconcile(): void {
    if (this.draining) return
    if (this.#reconciling !== undefined) {
      this.#again = true
      return
    }
    this.#reconciling = this.#reconcileOnce()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#reconciling = undefined
        if (!this.#again) return
        this.#again = false
        this.#reconcile()
      })
  }

  async #reconcileOnce(): Promise<void> {
    const own = new Set(this.#ownLanes())
    const leaving = [...this.#consumers.keys()].filter((lane) => !own.has(lane))
    await Promise.all(leaving.map((lane) => this.#letGo(lane)))
    const missing = [...own].filter((lane) => !this.#consumers.has(lane))
    await Promise.all(missing.map((lane) => this.#takeUp(lane)))
    // Told only when something changed: telling changes the directory, which leads here again.
    if (leaving.length > 0 || missing.some((lane) => this.#consumers.has(lane))) this.context.changed()
    this.#cancelRetake()
    if (missing.every((lane) => this.#consumers.has(lane))) return
    this.#cancelRetake = this.context.clock.after(LANE_RETRY_MS, () => this.#reconcile(), { unref: true })
  }

  #ownLanes(): number[] {
    const holders = assignLanes(this.#queue.laneCount, livingMessages(this.context.directory.actors()))
    return holders.flatMap((name, lane) => (name === this.name ? [lane] : []))
  }

  /**
   * True when every lane of its own has been here since `term`. Not while it is not among the living: whoever
   * asks it then knows less than it does, or more.
   */
  #isComplete(term: number): boolean {
    return (
      term === this.#term &&
      livingMessages(this.context.directory.actors()).includes(this.name) &&
      this.#ownLanes().every((lane) => this.#consumers.has(lane))
    )
  }

  /** What cannot be found may be in a lane that is on its way here, or away. */
  #refuseIncomplete(term: number): void {
    if (this.#isComplete(term)) return
    const reason = `${this.name} lacks some of its lanes`
    throw new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason })
  }

  async #takeUp(lane: number): Promise<void> {
    if (this.draining) return
    try {
      const leftOpenCount = await this.#queue.hold(lane)
      this.#suspects += leftOpenCount
      // Told before any of them runs again.
      if (leftOpenCount > 0) this.context.changed()
      const list = await newestOf(this.#queue, lane, WINDOW_BYTES / this.#queue.laneCount, this.context.clock)
      this.#depths.set(lane, await this.#queue.depth(lane))
      await this.#storeMutex.runExclusive(() => {
        this.#store.addLane(lane, list.messages, list.completeAbove)
        this.#consumers.set(lane, this.#consumerOf(lane))
        this.#term++
      })
    } catch (error) {
      // Another holds it still, or the disk is full: tried again, with what else is missing.
      if (!isMailroomError(error, 'MR_LANE_ELSEWHERE', 'MR_STORE_UNAVAILABLE')) throw error
      await this.#queue.release(lane)
      return
    }
    this.#consumers.get(lane)!.run()
    this.context.logger.debug({ lane }, 'lane taken')
  }

  #consumerOf(lane: number): Consumer {
    const { clock, random, logger } = this.context
    const { handler, handlerTimeoutMs, handlerConcurrency } = this.#handling
    return new Consumer({
      ...{ lane, queue: this.#queue, clock, random, logger, handler, handlerTimeoutMs },
      slots: this.#slots,
      slotCount: handlerConcurrency,
      onDelivered: (from, delivered) => this.#show(from, delivered),
      onSettled: (ids) => this.#waiters.wake(ids),
      onLost: () => void this.#drop([lane]),
      // Draining it ends anyway, and the other lanes are to be given back first.
      onRunaway: (error) =>
        this.draining
          ? logger.warn({ err: error, lane }, 'handler runs on')
          : this.context.failForMessage(error),
      onFatal: (error) =>
        this.draining ? logger.error({ err: error, lane }, 'lane failed') : this.#fail(error),
    })
  }

  async #letGo(lane: number): Promise<void> {
    const consumer = this.#consumers.get(lane)
    if (consumer === undefined) return
    await consumer.stop(HANDLER_GRACE_MS)
    // In one hold: no reader sees a part of it.
    await this.#storeMutex.runExclusive(() => {
      this.#store.removeLane(lane)
      this.#consumers.delete(lane)
      this.#term++
    })
    this.#depths.delete(lane)
    await this.#queue.release(lane)
    this.context.logger.debug({ lane }, 'lane given back')
  }

  #dropLost(): Promise<void> {
    return this.#drop([...this.#consumers.keys()].filter((lane) => !this.#queue.isHeld(lane)))
  }

  /** Shows nothing any more of lanes that were lost: another may show it by now. Then takes what is its own. */
  async #drop(lanes: readonly number[]): Promise<void> {
    if (lanes.length === 0) return
    await this.#storeMutex.runExclusive(() => {
      for (const lane of lanes) {
        this.#store.removeLane(lane)
        // Nothing more can be written of what its handlers did; whoever has the lane now begins anew.
        this.#consumers.get(lane)?.abandon()
        this.#consumers.delete(lane)
        this.#depths.delete(lane)
      }
      this.#term++
    })
    this.context.logger.warn({ lanes }, 'lanes lost')
    this.context.changed()
    this.#reconcile()
  }

  async #show(lane: number, delivered: readonly Delivered[]): Promise<void> {
    await this.#storeMutex.runExclusive(() => {
      // Lost while it was settled: whoever has the lane shows it, and takes this from its list.
      if (this.#consumers.has(lane)) this.#store.add(lane, delivered)
    })
    this.#delivered += delivered.length
  }

  #pageFromHomes(range: Range): Promise<Message[]> {
    const ascending = range.after !== undefined
    return mergeById<Message>(
      this.#sources(async (lane, cursor, limit) => {
        const bound = cursor === undefined ? {} : ascending ? { after: cursor } : { before: cursor }
        const page = await this.#queue.delivered(lane, { ...range, ...bound, limit })
        return page.map(({ id, text }) => ({ id, text }))
      }),
      range.limit,
      ascending ? 'ascending' : 'descending',
    )
  }

  #sources<T>(read: (lane: number, cursor: string | undefined, count: number) => Promise<T[]>) {
    return [...this.#consumers.keys()].map(
      (lane) => (cursor: string | undefined, count: number) => read(lane, cursor, count),
    )
  }

  async #inAnyLane(does: (lane: number) => Promise<boolean>): Promise<boolean> {
    const term = this.#term
    for (const lane of this.#consumers.keys()) if (await does(lane)) return true
    this.#refuseIncomplete(term)
    return false
  }

  async #measure(): Promise<void> {
    await this.#dropLost()
    const before = JSON.stringify([...this.#depths])
    for (const lane of this.#consumers.keys()) {
      try {
        const depth = await this.#queue.depth(lane)
        if (this.#consumers.has(lane)) this.#depths.set(lane, depth)
      } catch (error) {
        if (!(error instanceof MailroomError)) return this.#fail(error)
      }
    }
    if (JSON.stringify([...this.#depths]) !== before) this.context.changed()
  }

  /** Ends this process, which its supervisor starts anew: the state of a broken actor is not to be trusted. */
  #fail(error: unknown): void {
    this.context.fail(error)
  }
}

/** As many of the first messages as make up `maxBytes` of text, at least one. */
function firstBytes(messages: Message[], maxBytes: number): Message[] {
  let bytes = 0
  const end = messages.findIndex(({ text }) => {
    bytes += Buffer.byteLength(text)
    return bytes >= maxBytes
  })
  return end === -1 ? messages : messages.slice(0, end + 1)
}

function optionalAfter(after: string | undefined): { after?: string } {
  return after === undefined ? {} : { after }
}
