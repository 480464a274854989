/**
 * The messages actor: holds its share of the lanes, consumes them into its in-memory store, answers for them.
 * An async-mutex guards the store: the consumers that write and the readers take it alike, a batch a hold.
 */
import { Mutex, Semaphore } from 'async-mutex'
import { Actor } from '../runtime/actor.ts'
import type { ActorStatus } from '../runtime/directory.ts'
import { livingMessages } from '../runtime/directory.ts'
import { isMailroomError, MailroomError } from '../runtime/errors.ts'
import { MIN_ID } from '../runtime/ids.ts'
import { assignLanes } from '../runtime/lanes.ts'
import { mergeById } from '../runtime/merge.ts'
import type { Dead, Delivered, Depth, Message, Queue, Range, Whereabouts } from '../runtime/ports.ts'
import type { World } from '../runtime/world.ts'
import { Consumer } from './consumer.ts'
import type { Handler } from './handler.ts'
import { boundedPage } from './logging.ts'
import type { Messages, StorePage } from './protocol.ts'
import { Store } from './store.ts'

const CONCURRENCY = 16
const WINDOW_BYTES = 32 * 1024 * 1024
const PAGE_BYTES = 2 * 1024 * 1024
const CHUNK_COUNT = 100
const LOAD_COUNT = 100
/** How long running handlers may go on after their lane is to be given up. */
const HANDLER_GRACE_MS = 4000
const RETAKE_MS = 50
const DEPTH_PERIOD_MS = 1000

/** Answers `Messages` for the lanes it holds. */
export class MessagesActor extends Actor implements Messages {
  readonly #queue: Queue
  readonly #handler: Handler | null
  readonly #slots: Semaphore
  readonly #store = new Store(WINDOW_BYTES)
  readonly #storeMutex = new Mutex()
  /** Lanes held, each with its consumer. */
  readonly #consumers = new Map<number, Consumer>()
  readonly #depths = new Map<number, Depth>()
  readonly #waiters = new Map<string, Set<() => void>>()
  readonly #stops: (() => void)[] = []
  #term = 0
  #reconciling: Promise<void> | undefined
  #again = false
  #delivered = 0
  #suspects = 0

  constructor(world: World, queue: Queue, handler: Handler | null) {
    super(world, { concurrency: CONCURRENCY })
    this.#queue = queue
    this.#handler = handler
    this.#slots = new Semaphore(world.config.handlerConcurrency)
  }

  override async start(): Promise<void> {
    const { directory, clock } = this.world
    this.#stops.push(directory.onChange(() => this.#reconcile()))
    this.#stops.push(clock.every(DEPTH_PERIOD_MS, () => void this.#measure()))
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
      const fromStore = await this.#storeMutex.runExclusive(() => this.#store.page(range))
      const messages =
        fromStore ??
        (await boundedPage(range, PAGE_BYTES, CHUNK_COUNT, (chunk) => this.#pageFromHomes(chunk)))
      return { messages, term: this.#term, complete: this.#isComplete() }
    })
  }

  async find(lane: number, id: string, waitMs: number): Promise<Whereabouts> {
    const deadlineAt = this.world.clock.monotonic() + waitMs
    for (;;) {
      const settled = new AbortController()
      const forget = this.#onSettled(id, () => settled.abort())
      try {
        const found = await this.mailbox.run(() => this.#queue.find(lane, id))
        const leftMs = deadlineAt - this.world.clock.monotonic()
        if (found.state !== 'queued' || leftMs <= 0 || !this.#consumers.has(lane)) return found
        await this.world.clock.sleep(Math.min(leftMs, 1000), settled.signal)
      } finally {
        forget()
      }
    }
  }

  async dead({ after, limit }: { after?: string; limit: number }): Promise<Dead[]> {
    return this.mailbox.run(() =>
      mergeById(
        this.#sources((lane, cursor, count) =>
          this.#queue.dead(lane, { ...optionalAfter(cursor ?? after), limit: count }),
        ),
        limit,
        'ascending',
      ),
    )
  }

  async replay(id: string): Promise<boolean> {
    return this.mailbox.run(() => this.#inAnyLane((lane) => this.#queue.replay(lane, id)))
  }

  async purge(id: string): Promise<boolean> {
    return this.mailbox.run(() => this.#inAnyLane((lane) => this.#queue.purge(lane, id)))
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
    for (const lane of missing) {
      if (this.draining) return
      await this.#takeUp(lane)
    }
    // Told only when something changed: telling changes the directory, which leads here again.
    if (leaving.length > 0 || missing.some((lane) => this.#consumers.has(lane))) this.world.changed()
    if (!this.#isComplete() && !this.draining) {
      this.world.clock.after(RETAKE_MS, () => this.#reconcile(), { unref: true })
    }
  }

  #ownLanes(): number[] {
    const holders = assignLanes(this.#queue.laneCount, livingMessages(this.world.directory.actors()))
    return holders.flatMap((name, lane) => (name === this.name ? [lane] : []))
  }

  #isComplete(): boolean {
    return this.#ownLanes().every((lane) => this.#consumers.has(lane))
  }

  async #takeUp(lane: number): Promise<void> {
    try {
      await this.#queue.hold(lane)
    } catch (error) {
      // Another holds it still, or the disk is full: tried again, with what else is missing.
      if (isMailroomError(error, 'MR_LANE_ELSEWHERE', 'MR_STORE_UNAVAILABLE')) return
      throw error
    }
    const { messages, completeAbove } = await this.#newestOf(lane)
    await this.#storeMutex.runExclusive(() => this.#store.addLane(lane, messages, completeAbove))
    const consumer = new Consumer({
      lane,
      queue: this.#queue,
      clock: this.world.clock,
      random: this.world.random,
      logger: this.world.logger,
      handler: this.#handler,
      handlerTimeoutMs: this.world.config.handlerTimeoutMs,
      slots: this.#slots,
      slotCount: this.world.config.handlerConcurrency,
      onDelivered: (from, delivered) => this.#show(from, delivered),
      onSettled: (ids) => this.#tell(ids),
      onSuspect: () => {
        this.#suspects++
        this.world.changed()
      },
      onFatal: (error) => this.#fail(error),
    })
    this.#consumers.set(lane, consumer)
    this.#depths.set(lane, await this.#queue.depth(lane))
    consumer.run()
    this.world.logger.debug({ lane }, 'lane taken')
  }

  async #letGo(lane: number): Promise<void> {
    const consumer = this.#consumers.get(lane)
    if (consumer === undefined) return
    await consumer.stop(HANDLER_GRACE_MS)
    this.#consumers.delete(lane)
    this.#depths.delete(lane)
    this.#term++
    await this.#storeMutex.runExclusive(() => this.#store.removeLane(lane))
    await this.#queue.release(lane)
    this.world.logger.debug({ lane }, 'lane given back')
  }

  /** The newest part of a lane's list, its share of the window, ascending. */
  async #newestOf(lane: number): Promise<{ messages: Message[]; completeAbove: string }> {
    const newestFirst: Message[] = []
    let bytes = 0
    for (;;) {
      const before = newestFirst.at(-1)?.id
      const page = await this.#queue.delivered(lane, { ...(before && { before }), limit: LOAD_COUNT })
      for (const message of page) bytes += message.text.length
      newestFirst.push(...page)
      if (page.length < LOAD_COUNT) return { messages: newestFirst.reverse(), completeAbove: MIN_ID }
      if (bytes >= WINDOW_BYTES / this.#queue.laneCount) {
        return { messages: newestFirst.reverse(), completeAbove: newestFirst[0]!.id }
      }
    }
  }

  async #show(lane: number, delivered: readonly Delivered[]): Promise<void> {
    await this.#storeMutex.runExclusive(() => this.#store.add(lane, delivered))
    this.#delivered += delivered.length
  }

  #tell(ids: readonly string[]): void {
    if (this.#waiters.size === 0) return
    for (const id of ids) for (const wake of this.#waiters.get(id) ?? []) wake()
  }

  #onSettled(id: string, wake: () => void): () => void {
    const wakes = this.#waiters.get(id) ?? new Set()
    this.#waiters.set(id, wakes.add(wake))
    return () => {
      wakes.delete(wake)
      if (wakes.size === 0 && this.#waiters.get(id) === wakes) this.#waiters.delete(id)
    }
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
    for (const lane of this.#consumers.keys()) if (await does(lane)) return true
    return false
  }

  async #measure(): Promise<void> {
    const before = JSON.stringify([...this.#depths])
    for (const lane of this.#consumers.keys()) {
      try {
        this.#depths.set(lane, await this.#queue.depth(lane))
      } catch (error) {
        if (!(error instanceof MailroomError)) return this.#fail(error)
      }
    }
    if (JSON.stringify([...this.#depths]) !== before) this.world.changed()
  }

  /** Ends this process, which its supervisor starts anew: the state of a broken actor is not to be trusted. */
  #fail(error: unknown): void {
    this.world.fail(error)
  }
}

function optionalAfter(after: string | undefined): { after?: string } {
  return after === undefined ? {} : { after }
}
