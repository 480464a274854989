/**
 * The messages actor: holds its share of the lanes, consumes them into its in-memory store, and answers for them.
 * A mutex guards the store. Consumers and readers hold it for one batch or page at a time.
 */

import { Mutex } from 'async-mutex'
import { Actor } from '../../runtime/actor.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorStatus } from '../../runtime/cluster/directory.ts'
import { type Failure, livingMessages, type Outage } from '../../runtime/cluster/directory.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { OUTCOMES } from '../../runtime/metrics.ts'
import { BACKLOG_PERIOD_MS, HANDLER_GRACE_MS, HOUSEKEEPING_MS, LANE_RETRY_MS } from '../../runtime/timings.ts'
import { idAt, idBefore, MIN_ID } from '../../storage/ids.ts'
import type { Refill } from '../../storage/journal.ts'
import { assignLanes } from '../../storage/lanes.ts'
import {
  HAND_MAX_BYTES,
  handMaxBytes,
  PAGE_MAX_BYTES,
  pagesAtOnce,
  storedMaxBytes,
} from '../../storage/limits.ts'
import { firstBytes, mergeById } from '../../storage/paging.ts'
import type {
  Dead,
  DeadFilter,
  DeadGroups,
  DeadHead,
  Delivered,
  DeliveredHead,
  Depth,
  Logged,
  Message,
  Queue,
  Range,
  SettledPlace,
  Stored,
} from '../../storage/ports.ts'
import { textBytesOf } from '../../storage/ports.ts'
import { previewOf } from '../../storage/preview.ts'
import type { Messages, Place, RecentPart, SiftedPage, StorePage } from '../protocol.ts'
import { Consumer } from './consumer.ts'
import { purgeOld } from './dead-retention.ts'
import { Breaker } from './outage.ts'
import { Recent } from './recent.ts'
import { redeliver } from './redelivery.ts'
import { Refilling, type RefillingOptions } from './refilling.ts'
import type { RetryPolicy } from './retry.ts'
import type { Runner } from './runner.ts'
import { loadNewest, Store } from './store.ts'

const CONCURRENCY = 16

/** Options of a messages actor. */
interface MessagesOptions {
  /** Runs the handler, or forwards; it has started, and the actor closes it. Null: messages are only stored. */
  runner: Runner | null
  /** Older messages are not shown. */
  retentionMs: number
  /** Dead letters that died longer ago are purged; null: none. */
  deadRetentionMs: number | null
  policy: RetryPolicy
  /** With a journal: how lanes are refilled, and what that needs. */
  refilling?: Pick<RefillingOptions, 'refill' | 'peers' | 'logging'> | undefined
}

/** Answers `Messages` for the lanes it holds. */
export class MessagesActor extends Actor implements Messages {
  readonly #queue: Queue
  readonly #runner: Runner | null
  readonly #retentionMs: number
  readonly #deadRetentionMs: number | null
  #isPurging = false
  readonly #policy: RetryPolicy
  /** Both absent without a journal. */
  readonly #refilling: Refilling | undefined
  readonly #refill: Refill | undefined
  readonly #breaker: Breaker
  readonly #store = new Store(HAND_MAX_BYTES)
  readonly #storeMutex = new Mutex()
  /** One lane at a time brings its list here. */
  readonly #loadMutex = new Mutex()
  /** Lanes held, each with its consumer. */
  readonly #consumers = new Map<number, Consumer>()
  readonly #depths = new Map<number, Depth>()
  readonly #longPolls = new LongPolls()
  readonly #recent: Recent
  readonly #stops: (() => void)[] = []
  /** As `StorePage.term`. A new one ends the long polls: they ask again. */
  #term = 0
  #reconciling: Promise<void> | undefined
  #cancelLaneRetry = () => {}
  /** The directory changed while lanes were being taken and released: compare once more. */
  #mustReconcileAgain = false
  #delivered = 0
  #lastFailure: Failure | null = null
  /** That run or wait for their turn. */
  #redeliveries = 0

  constructor(
    context: ActorContext,
    queue: Queue,
    { runner, retentionMs, deadRetentionMs, policy, refilling }: MessagesOptions,
  ) {
    super(context, {
      concurrency: CONCURRENCY,
      capacityBytes: handMaxBytes(storedMaxBytes(context.config.maxMessageBytes)),
    })
    this.#queue = queue
    this.#runner = runner
    this.#retentionMs = retentionMs
    this.#deadRetentionMs = deadRetentionMs
    this.#policy = policy
    this.#refilling =
      refilling &&
      new Refilling({
        ...{ ...refilling, context, lanes: () => [...this.#consumers.keys()] },
        onRefilled: (lane) => this.#readAgain(lane),
      })
    this.#refill = refilling?.refill
    const { clock, random, directory, figures } = context
    for (const outcome of OUTCOMES) figures.count('mailroom_attempts_total', { outcome }, 0)
    this.#recent = new Recent({ clock, random })
    this.#breaker = new Breaker({
      ...{ target: runner?.target ?? '', clock, random },
      actorCount: () => livingMessages(directory.actors()).length,
      actorIndex: () => livingMessages(directory.actors()).indexOf(this.name),
      waitingCount: () => this.#waitingCount(),
      onChange: (outage, lastedMs) => this.#tellOutage(outage, lastedMs),
    })
  }

  async start(): Promise<void> {
    const { directory, clock } = this.context
    this.#stops.push(directory.onChange(() => this.#reconcile()))
    this.#stops.push(clock.every(BACKLOG_PERIOD_MS, () => void this.#measureBacklogs()))
    this.#stops.push(clock.every(HOUSEKEEPING_MS, () => void this.#purgeOld()))
    this.#reconcile()
  }

  override status(): ActorStatus {
    const lanes: Record<number, number> = {}
    let [retrying, dead, inHand] = [0, 0, 0]
    let oldestAt: number | null = null
    for (const lane of this.#consumers.keys()) {
      const depth = this.#depths.get(lane)
      lanes[lane] = (depth?.waiting ?? 0) + (depth?.inHand ?? 0)
      retrying += depth?.retrying ?? 0
      dead += depth?.dead ?? 0
      inHand += depth?.inHand ?? 0
      if (depth?.oldestAt != null && (oldestAt === null || depth.oldestAt < oldestAt))
        oldestAt = depth.oldestAt
    }
    const missing = this.#runner?.missing() ?? []
    const { outage } = this.#breaker
    const paused = this.#breaker.pause.isPaused
    const journal = this.#refilling && { journal: this.#refilling.report() }
    return {
      ...{ ...super.status(), ...journal, handled: this.#delivered, missing, lanes, inHand, dead, oldestAt },
      ...{ outage, paused, retrying, lastFailure: this.#lastFailure },
    }
  }

  async wake(lanes: readonly number[]): Promise<void> {
    for (const lane of lanes) if (this.#consumers.has(lane)) this.#queue.wake(lane)
  }

  async page(range: Range): Promise<StorePage> {
    return this.mailbox.run(async () => {
      await this.#dropLostLanes()
      const oldest = idAt(this.context.clock.ago(this.#retentionMs))
      const { stored, term } = await this.#storeMutex.runExclusive(() => ({
        stored: this.#store.page(range, oldest),
        term: this.#term,
      }))
      const messages =
        stored === undefined ? await this.#pageFromLists(range) : firstBytes(stored, PAGE_MAX_BYTES)
      return { messages, term, complete: this.#isComplete(term) }
    })
  }

  async find(lane: number, id: string, waitMs: number): Promise<Place> {
    const deadlineAt = this.context.clock.monotonic() + waitMs
    for (;;) {
      const settled = this.#longPolls.add(id)
      try {
        const found = await this.mailbox.run(() => this.#queue.find(lane, id))
        const leftMs = deadlineAt - this.context.clock.monotonic()
        if (found.state !== 'queued' || leftMs <= 0 || !this.#consumers.has(lane)) {
          const { outage, pause } = this.#breaker
          const isQueued = found.state === 'queued'
          return { ...found, outage: isQueued ? outage : null, paused: isQueued && pause.isPaused }
        }
        await this.context.clock.sleep(leftMs, settled.signal)
      } finally {
        this.#longPolls.remove(id, settled)
      }
    }
  }

  async dead({ after = MIN_ID, limit }: { after?: string; limit: number }): Promise<Dead[]> {
    return this.mailbox.run(async () => {
      await this.#dropLostLanes()
      const term = this.#term
      const sources = this.#sources((lane, cursor = after, count) =>
        this.#queue.dead(lane, { after: cursor, limit: count }),
      )
      const letters = await mergeById(sources, { limit, order: 'ascending', atOnce: this.#pagesAtOnce })
      this.#refuseIncomplete(term)
      return letters
    })
  }

  async replay(id: string): Promise<boolean> {
    return this.mailbox.run(() => this.#inAnyLane((lane) => this.#queue.replay(lane, [id])))
  }

  /** Beside the mailbox: its run may take long. */
  async redeliver(lane: number, id: string): Promise<void> {
    const refuse = (reason: string): never => {
      throw new MailroomError('MR_REDELIVERY_REFUSED', { id, reason })
    }
    // Each has its text in hand, beside those that are claimed.
    if (this.#redeliveries >= this.#pagesAtOnce) refuse('others run; try again')
    this.#redeliveries++
    try {
      const { state, attempts } = await this.#queue.find(lane, id)
      if (state !== 'delivered') refuse(`it is ${state}`)
      const [message] = await this.#queue.delivered(lane, { after: idBefore(id), limit: 1 })
      if (message?.id !== id) return refuse('its text is not in the log any more')
      const { clock } = this.context
      await redeliver(message, attempts + 1, {
        ...{ runner: this.#runner, breaker: this.#breaker, clock, drain: this.drainSignal },
      })
    } finally {
      this.#redeliveries--
    }
  }

  /** Beside the mailbox, so that it holds at once. */
  async pause(paused: boolean): Promise<void> {
    this.#tellPause(this.#breaker.setPaused(paused))
  }

  async purge(id: string): Promise<boolean> {
    return this.mailbox.run(() => this.#inAnyLane((lane) => this.#queue.purge(lane, [id])))
  }

  async recent(asked: readonly { lane: number; position: string | null }[]): Promise<(RecentPart | null)[]> {
    await this.#dropLostLanes()
    const held = asked.filter(({ lane }) => this.#consumers.has(lane))
    const parts = new Map(this.#recent.since(held).map((part, index) => [held[index]!.lane, part]))
    return asked.map(({ lane }) => parts.get(lane) ?? null)
  }

  async deliveredSince(lane: number, from: SettledPlace, limit: number): Promise<DeliveredHead[]> {
    return this.mailbox.run(() => this.#queue.deliveredSince(lane, from, limit))
  }

  async deadSince(lane: number, from: SettledPlace, limit: number): Promise<DeadHead[]> {
    return this.mailbox.run(() => this.#queue.deadSince(lane, from, limit))
  }

  async sift({ after, limit }: { after: string; limit: number }, filter: DeadFilter): Promise<SiftedPage> {
    return this.mailbox.run(async () => {
      await this.#dropLostLanes()
      const term = this.#term
      const sources = this.#sources(async (lane, cursor = after, count) => {
        const letters = await this.#queue.sift(lane, { after: cursor, limit: count }, filter)
        return letters.map((letter) => ({ ...letter, lane }))
      })
      const letters = await mergeById(sources, { limit, order: 'ascending' })
      return { letters, lanes: term === this.#term ? [...this.#consumers.keys()] : [] }
    })
  }

  async groupDead(lane: number, range: { after: string; limit: number }): Promise<DeadGroups> {
    return this.mailbox.run(() => this.#queue.groupDead(lane, range))
  }

  async replayMany(lane: number, ids: readonly string[]): Promise<number> {
    return this.mailbox.run(() => this.#queue.replay(lane, ids))
  }

  async purgeMany(lane: number, ids: readonly string[]): Promise<number> {
    return this.mailbox.run(() => this.#queue.purge(lane, ids))
  }

  async redrive(lane: number, messages: readonly Message[]): Promise<number> {
    const cost = { count: messages.length, bytes: textBytesOf(messages) }
    return this.mailbox.run(() => this.#queue.redrive(lane, messages), cost)
  }

  async records(range: { after: string; limit: number }): Promise<Logged[]> {
    return this.mailbox.run(async () => (await this.#refill?.journal.page(range)) ?? [])
  }

  async stored(lane: number, range: { after: string; limit: number }): Promise<Stored[]> {
    return this.mailbox.run(() => this.#queue.stored(lane, range))
  }

  protected override async onDrain(): Promise<void> {
    for (const stop of this.#stops) stop()
    await Promise.all([this.#reconciling, this.#refilling?.close()])
    await Promise.all([...this.#consumers.keys()].map((lane) => this.#releaseLane(lane)))
    await super.onDrain()
    await this.#runner?.close()
  }

  /** Releases lanes that are no longer its own and takes those that are. Retries while one of them is not free. */
  #reconcile(): void {
    if (this.draining) return
    if (this.#reconciling !== undefined) {
      this.#mustReconcileAgain = true
      return
    }
    this.#reconciling = this.#reconcileOnce()
      .catch((error: unknown) => this.context.fail(error))
      .finally(() => {
        this.#reconciling = undefined
        if (!this.#mustReconcileAgain) return
        this.#mustReconcileAgain = false
        this.#reconcile()
      })
  }

  async #reconcileOnce(): Promise<void> {
    const own = new Set(this.#ownLanes())
    const leaving = [...this.#consumers.keys()].filter((lane) => !own.has(lane))
    await Promise.all(leaving.map((lane) => this.#releaseLane(lane)))
    const missing = [...own].filter((lane) => !this.#consumers.has(lane))
    await Promise.all(missing.map((lane) => this.#takeLane(lane)))
    // Only after a change: the report changes the directory, which calls `#reconcile` again.
    if (leaving.length > 0 || missing.some((lane) => this.#consumers.has(lane))) this.context.changed()
    this.#cancelLaneRetry()
    if (missing.every((lane) => this.#consumers.has(lane))) return
    this.#cancelLaneRetry = this.context.clock.after(LANE_RETRY_MS, () => this.#reconcile(), { unref: true })
  }

  #ownLanes(): number[] {
    const holders = assignLanes(this.#queue.laneCount, livingMessages(this.context.directory.actors()))
    return holders.flatMap((name, lane) => (name === this.name ? [lane] : []))
  }

  /**
   * True when the actor has held all its lanes since `term`. False while the directory does not list it among those
   * that hold lanes: then its directory differs from the caller's, and so may its idea of its own lanes.
   */
  #isComplete(term: number): boolean {
    return (
      term === this.#term &&
      livingMessages(this.context.directory.actors()).includes(this.name) &&
      this.#ownLanes().every((lane) => this.#consumers.has(lane) && (this.#refilling?.isWhole(lane) ?? true))
    )
  }

  /** Throws while a lane moves to or from this actor: a message that is not found may be in that lane. */
  #refuseIncomplete(term: number): void {
    if (this.#isComplete(term)) return
    const reason = `${this.name} lacks some of its lanes`
    throw new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason })
  }

  async #takeLane(lane: number): Promise<void> {
    if (this.draining) return
    try {
      const suspects = await this.#queue.hold(lane)
      await this.#readPause()
      await this.#refilling?.learn(lane)
      if (suspects > 0) this.context.logger.warn({ lane, suspects }, 'a worker died while handlers ran')
      await this.#loadMutex.runExclusive(async () => {
        const maxBytes = HAND_MAX_BYTES / this.#queue.laneCount
        const list = await loadNewest(this.#queue, lane, maxBytes, this.context.clock)
        this.#depths.set(lane, await this.#queue.depth(lane))
        await this.#storeMutex.runExclusive(() => {
          this.#store.addLane(lane, list.messages, list.completeAbove)
          this.#consumers.set(lane, this.#consumerOf(lane))
          this.#beginTerm()
        })
      })
      this.context.figures.count('mailroom_lane_moves_total', {})
    } catch (error) {
      // Another actor still holds the lane, or the disk is full. `#reconcile` retries it.
      if (!isMailroomError(error, 'MR_LANE_ELSEWHERE', 'MR_STORE_UNAVAILABLE')) throw error
      await this.#queue.release(lane)
      return
    }
    this.#consumers.get(lane)!.run()
    this.context.logger.debug({ lane }, 'lane taken')
  }

  /** The lane's list has been filled: the store learns of its newest part. */
  async #readAgain(lane: number): Promise<void> {
    await this.#loadMutex.runExclusive(async () => {
      const maxBytes = HAND_MAX_BYTES / this.#queue.laneCount
      const { messages, completeAbove } = await loadNewest(this.#queue, lane, maxBytes, this.context.clock)
      await this.#storeMutex.runExclusive(() => {
        if (!this.#consumers.has(lane)) return
        this.#store.addLane(lane, messages, completeAbove)
        this.#beginTerm()
      })
    })
  }

  #consumerOf(lane: number): Consumer {
    const { clock, random, logger, figures } = this.context
    return new Consumer({
      ...{ lane, queue: this.#queue, clock, random, logger, runner: this.#runner, breaker: this.#breaker },
      figures,
      ...{ retentionMs: this.#retentionMs, policy: this.#policy },
      onDelivered: (from, delivered) => this.#addToStore(from, delivered),
      onSettled: (ids) => this.#longPolls.end(ids),
      onFailed: (id, error) => {
        this.#lastFailure = { id, target: this.#runner?.target ?? '', at: clock.now(), error }
      },
      onDead: (from, ids) => void this.#keepDead(from, ids),
      onLost: () => void this.#dropLanes([lane]),
      onFatal: (error) =>
        this.draining ? logger.error({ err: error, lane }, 'lane failed') : this.context.fail(error),
    })
  }

  /** What the backend has, in case this process was not told. */
  async #readPause(): Promise<void> {
    const { version } = this.#breaker.pause
    this.#tellPause(this.#breaker.setPaused(await this.#queue.isPaused(), version))
  }

  #tellPause(isChanged: boolean): void {
    if (!isChanged) return
    this.context.logger.info(this.#breaker.pause.isPaused ? 'delivery is paused' : 'delivery goes on')
    this.context.changed()
  }

  #waitingCount(): number {
    let count = 0
    for (const { waiting, inHand } of this.#depths.values()) count += waiting + inHand
    return count
  }

  #tellOutage({ target, since, why }: Omit<Outage, 'nextProbeAt'>, lastedMs?: number): void {
    const { logger } = this.context
    const facts = { target, since: new Date(since).toISOString(), why }
    if (lastedMs === undefined) logger.warn(facts, 'the target is away: messages wait, only probes are sent')
    else logger.info({ ...facts, lastedMs: Math.round(lastedMs) }, 'the target is back')
    this.context.changed()
  }

  async #releaseLane(lane: number): Promise<void> {
    const consumer = this.#consumers.get(lane)
    if (consumer === undefined) return
    await consumer.stop(HANDLER_GRACE_MS)
    // While the mutex is held, so that no reader sees the lane half removed.
    await this.#storeMutex.runExclusive(() => {
      this.#store.removeLane(lane)
      this.#recent.forget(lane)
      this.#consumers.delete(lane)
      this.#beginTerm()
    })
    this.#depths.delete(lane)
    await this.#queue.release(lane)
    this.context.logger.debug({ lane }, 'lane released')
  }

  #beginTerm(): void {
    this.#term++
    this.#longPolls.endAll()
  }

  #dropLostLanes(): Promise<void> {
    return this.#dropLanes([...this.#consumers.keys()].filter((lane) => !this.#queue.isHeld(lane)))
  }

  /** Removes lanes that were lost, as another actor may hold them by now. Then takes its own lanes again. */
  async #dropLanes(lanes: readonly number[]): Promise<void> {
    if (lanes.length === 0) return
    await this.#storeMutex.runExclusive(() => {
      for (const lane of lanes) {
        this.#store.removeLane(lane)
        this.#recent.forget(lane)
        // Its handlers' results can no longer be written. The next holder runs the messages again.
        this.#consumers.get(lane)?.abandon()
        this.#consumers.delete(lane)
        this.#depths.delete(lane)
      }
      this.#beginTerm()
    })
    this.context.logger.warn({ lanes }, 'lanes lost')
    this.context.changed()
    this.#reconcile()
  }

  async #addToStore(lane: number, delivered: readonly Delivered[]): Promise<void> {
    await this.#storeMutex.runExclusive(() => {
      // The lane may be lost since the settlement. Its next holder loads these messages from the list.
      if (this.#consumers.has(lane)) this.#store.add(lane, delivered)
    })
    if (this.#consumers.has(lane) && this.#recent.isKept(lane)) {
      const heads = delivered.map(({ text, ...rest }) => ({
        delivered: { ...rest, preview: previewOf(text) },
      }))
      this.#recent.add(lane, heads)
    }
    this.#delivered += delivered.length
  }

  /** A follower that does not find a letter here reads the lane's dead letters. */
  async #keepDead(lane: number, ids: readonly string[]): Promise<void> {
    if (ids.length === 0 || !this.#recent.isKept(lane)) return
    try {
      for (const id of ids) {
        const [letter] = await this.#queue.dead(lane, { after: idBefore(id), limit: 1 })
        if (letter?.id !== id) continue // It has been replayed or purged.
        const { text, ...rest } = letter
        this.#recent.add(lane, [{ dead: { ...rest, preview: previewOf(text) } }])
      }
    } catch (error) {
      if (!isMailroomError(error)) return this.context.fail(error)
      this.#recent.forget(lane)
    }
  }

  #pageFromLists(range: Range): Promise<Message[]> {
    const ascending = range.after !== undefined
    const sources = this.#sources(async (lane, cursor, limit) => {
      const bound = cursor === undefined ? {} : ascending ? { after: cursor } : { before: cursor }
      const page = await this.#queue.delivered(lane, { ...range, ...bound, limit })
      return page.map(({ id, text }) => ({ id, text }))
    })
    const order = ascending ? 'ascending' : 'descending'
    return mergeById<Message>(sources, { limit: range.limit, order, atOnce: this.#pagesAtOnce })
  }

  get #pagesAtOnce(): number {
    return pagesAtOnce(this.context.config.maxMessageBytes)
  }

  #sources<T>(read: (lane: number, cursor: string | undefined, count: number) => Promise<T[]>) {
    return [...this.#consumers.keys()].map(
      (lane) => (cursor: string | undefined, count: number) => read(lane, cursor, count),
    )
  }

  async #inAnyLane(does: (lane: number) => Promise<number>): Promise<boolean> {
    const term = this.#term
    for (const lane of this.#consumers.keys()) if ((await does(lane)) > 0) return true
    this.#refuseIncomplete(term)
    return false
  }

  /** One round at a time: on a slow cluster it may take longer than its period. */
  async #purgeOld(): Promise<void> {
    if (this.#deadRetentionMs === null || this.#isPurging) return
    this.#isPurging = true
    const { clock, logger } = this.context
    const diedBefore = clock.ago(this.#deadRetentionMs)
    let count = 0
    for (const lane of this.#consumers.keys()) {
      try {
        for await (const purged of purgeOld(this.#queue, lane, diedBefore)) count += purged
      } catch (error) {
        // The lane has moved, or cannot be written now: its holder tries again.
        if (!(error instanceof MailroomError)) return this.context.fail(error)
        logger.debug({ lane, err: error }, 'old dead letters not removed')
      }
    }
    this.#isPurging = false
    if (count > 0) logger.info({ count }, 'dead letters older than --dead-retention removed')
  }

  async #measureBacklogs(): Promise<void> {
    await this.#readPause().catch((error: unknown) => {
      if (!isMailroomError(error)) this.context.fail(error) // Else the queue is away: it is asked again.
    })
    await this.#dropLostLanes()
    let isChanged = false
    for (const lane of this.#consumers.keys()) {
      try {
        const depth = await this.#queue.depth(lane)
        const known = this.#depths.get(lane)
        if (depth === known || !this.#consumers.has(lane)) continue
        isChanged ||= JSON.stringify(depth) !== JSON.stringify(known)
        this.#depths.set(lane, depth)
      } catch (error) {
        if (!(error instanceof MailroomError)) return this.context.fail(error)
      }
    }
    if (isChanged) this.context.changed()
  }
}

/** Long polls of `find` that wait until a message is settled, by its id. */
class LongPolls {
  readonly #byId = new Map<string, Set<AbortController>>()

  /** Returns a controller that is aborted when the message is settled. The caller must remove it. */
  add(id: string): AbortController {
    const polls = this.#byId.get(id) ?? new Set()
    const settled = new AbortController()
    this.#byId.set(id, polls.add(settled))
    return settled
  }

  remove(id: string, settled: AbortController): void {
    const polls = this.#byId.get(id)
    polls?.delete(settled)
    if (polls?.size === 0) this.#byId.delete(id)
  }

  /** Ends the long polls of messages that were settled. */
  end(ids: readonly string[]): void {
    if (this.#byId.size === 0) return
    for (const id of ids) for (const settled of this.#byId.get(id) ?? []) settled.abort()
  }

  endAll(): void {
    this.end([...this.#byId.keys()])
  }
}
