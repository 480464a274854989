/**
 * A lane in the hands of its holder. What stands in `pending` is the truth; the lane's queue only wakes.
 *
 *   wake-up (from the lane's queue) ─▶ line ─▶ batch ─▶ in hand ─▶ delivered, then out of `pending`
 *   look-through (taking the lane, then every 2 s) ─▶ log it, once more ─┘      │ started, or to be retried
 *                                                                 lone message ◀┘ (an entry of its own)
 *
 * Every write may be repeated, by us or by a former holder that was frozen: an outcome is put once and stays, and
 * what is delivered is dropped wherever it turns up again. Taking something out of `pending` is no outcome; it is
 * tried until it succeeds.
 */
import type { Clock } from '../../clock.ts'
import { isMailroomError, MailroomError } from '../../errors.ts'
import { batchKeyOf, placeOf, timeOf } from '../../ids.ts'
import type { Logger } from '../../logger.ts'
import {
  type Claimed,
  type Delivered,
  type Depth,
  type LaneBatch,
  MAX_STARTS,
  type Message,
  type Range,
  REDRIVE_AGE_MS,
  type Settlement,
  type Whereabouts,
} from '../../ports.ts'
import { type Cluster, type ClusterMap, type ClusterQueue, FOR_EVER_MS, makeSure } from './cluster.ts'
import { DeadLetters } from './dead-letters.ts'
import { DeliveredList } from './delivered-list.ts'
import { laneBounds, laneKey, mailOf, messagesOf, NAMES, type PendingEntry, partsOf } from './entries.ts'
import { Leaving } from './leaving.ts'
import { type Batch, Line } from './line.ts'
import { LoneMessages, UNSTARTED } from './lone-messages.ts'

const LOOK_MS = 2000
/** A wake-up comes sooner; a batch this old came by none. */
const OVERDUE_MS = 5000
const LOG_DEADLINE_MS = 3000
const POLL_MS = 500
const CLAIM_BYTES = 4 * 1024 * 1024
const TEXT_MAX_BYTES = 65_536
const BATCH_MAX_BYTES = 1024 * 1024

/** A message in hand; `batch`: it never left it. */
interface Hand {
  id: string
  text: string
  batch: Batch | undefined
}

/** What a held lane needs. */
export interface HeldLaneOptions {
  lane: number
  cluster: Cluster
  clock: Clock
  logger: Logger
  retentionMs: number
  /** Puts a batch into the log, once more. */
  repair: (batch: LaneBatch) => Promise<unknown>
}

/** A held lane. All throw `MR_STORE_UNAVAILABLE`, or `MR_LANE_ELSEWHERE` once it was released. */
export class HeldLane {
  readonly dead: DeadLetters
  readonly #options: HeldLaneOptions
  readonly #pending: ClusterMap
  readonly #mail: ClusterQueue
  readonly #list: DeliveredList
  readonly #line = new Line()
  readonly #lone: LoneMessages
  readonly #inHand = new Map<string, Hand>()
  /** What was found in the list, and not put there here. */
  readonly #late = new Map<string, Delivered>()
  readonly #leaving: Leaving
  /** Messages that came too recently for a look-through to touch, and the instant (ms) of the oldest. */
  #young = { messages: 0, oldestAt: Number.POSITIVE_INFINITY }
  #looking: Promise<void> = Promise.resolve()
  #cancelLook = () => {}
  #parked: Promise<unknown> | undefined
  #released = false
  /** Set by a wake that nobody waited for. */
  #woken = false
  #wake = () => {}

  constructor(options: HeldLaneOptions) {
    const { lane, cluster, clock, retentionMs } = options
    this.#options = options
    this.#pending = cluster.map(NAMES.pending)
    this.#list = new DeliveredList({ lane, cluster, clock, retentionMs })
    this.#leaving = new Leaving(this.#pending)
    this.#mail = cluster.queue(mailOf(lane))
    this.#lone = new LoneMessages(this.#pending, lane)
    this.dead = new DeadLetters({
      ...{ lane, cluster, clock, retentionMs },
      delivered: async (ids) => {
        const found = await this.#list.findSure(ids)
        this.#foundDelivered(found)
        return new Set(found.keys())
      },
    })
  }

  /** Takes up all that waits: its wake-ups may have died with the last holder. @returns The starts that one left open. */
  async load(): Promise<number> {
    const { lane, clock } = this.#options
    // Before anything else is read: what its last holder settles meanwhile, it settles first and takes out then.
    const found = (await this.#pending.keys(...laneBounds(lane))).sort()
    await this.dead.load()
    for (const key of found) if (partsOf(key).count !== undefined) this.#line.found(key)
    const lone = found.filter((key) => partsOf(key).count === undefined).map((key) => partsOf(key).id)
    const leftOpenCount = await this.#adopt(lone)
    this.#cancelLook = clock.every(LOOK_MS, () => void this.#look().catch(onlyAway))
    return leftOpenCount
  }

  wake(): void {
    this.#woken = true
    this.#wake()
  }

  async claim(maxCount: number, waitMs: number): Promise<Claimed[]> {
    const { clock } = this.#options
    const endAt = clock.monotonic() + waitMs
    for (;;) {
      this.#refuseReleased()
      this.#woken = false
      const claimed = await this.#claimNow(maxCount)
      this.#refuseReleased()
      const leftMs = endAt - clock.monotonic()
      if (claimed.length > 0 || leftMs <= 0) return claimed
      await this.#park(Math.min(leftMs, Math.max(1, this.#lone.nextDueAt(clock.now()) - clock.now())))
    }
  }

  async start(ids: readonly string[]): Promise<void> {
    const hands = ids.map((id) => this.#handOf(id))
    await Promise.all(
      hands.map(async (hand) => {
        const { starts, ...lone } = this.#lone.get(hand.id) ?? UNSTARTED
        await this.#lone.write(hand.id, hand.text, { ...lone, starts: starts + 1, open: true })
        this.#leaveBatch(hand)
      }),
    )
  }

  async settle(settlements: readonly Settlement[]): Promise<Delivered[]> {
    this.#refuseReleased()
    const pairs = settlements.flatMap((settlement) => {
      const hand = this.#inHand.get(settlement.id)
      return hand === undefined ? [] : [{ hand, settlement }] // Settled before: nothing changes.
    })
    const done = pairs.filter(({ settlement }) => settlement.as === 'done').map(({ hand }) => hand)
    const [shown] = await Promise.all([
      this.#deliver(done),
      ...pairs.map(({ hand, settlement }) => this.#write(hand, settlement)),
    ])
    // Only now that all is durable: a call that fails is repeated as a whole, and shows as a whole.
    for (const { hand } of pairs) this.#inHand.delete(hand.id)
    for (const { hand, settlement } of pairs) this.#putAway(hand, settlement)
    return shown.sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  /** As `Queue.late`. */
  late(): Delivered[] {
    const late = [...this.#late.values()]
    this.#late.clear()
    return late.sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  async find(id: string): Promise<Whereabouts> {
    const found = (await this.#list.find([id])).get(id)
    if (found !== undefined) {
      const { deliveredAt, attempts } = found
      return { state: 'delivered', attempts, deliveredAt }
    }
    if (this.dead.has(id)) {
      return { state: 'dead', attempts: (await this.dead.get(id))?.attempts ?? 0, deliveredAt: null }
    }
    return { state: 'queued', attempts: this.#lone.get(id)?.starts ?? 0, deliveredAt: null }
  }

  delivered(range: Range): Promise<Delivered[]> {
    return this.#list.page(range)
  }

  async depth(): Promise<Depth> {
    await this.#look()
    this.#refuseReleased()
    const line = this.#line.measure()
    let waiting = line.messages + this.#young.messages + this.#lone.count
    for (const id of this.#inHand.keys()) if (this.#lone.has(id)) waiting--
    let oldestAt = Math.min(line.oldestAt, this.#young.oldestAt, this.#lone.oldestAt())
    for (const id of this.#inHand.keys()) oldestAt = Math.min(oldestAt, timeOf(id))
    return {
      waiting,
      inHand: this.#inHand.size,
      dead: this.dead.count,
      oldestAt: Number.isFinite(oldestAt) ? oldestAt : null,
    }
  }

  /** First in the line again, then no dead letter: it is never nowhere. */
  async replay(id: string): Promise<boolean> {
    const letter = await this.dead.get(id)
    if (letter === undefined) return false
    await this.#leaving.out(laneKey(this.#options.lane, id)) // Else it would go with what it was before.
    await this.#lone.write(id, letter.text, { ...UNSTARTED, replayed: true })
    await this.dead.remove(id)
    this.wake()
    return true
  }

  /** As `Queue.redrive`, each as a lone message, which the next look-through takes up. @returns Those put back. */
  async redrive(messages: readonly Message[]): Promise<Message[]> {
    const youngestAt = this.#options.clock.now() - REDRIVE_AGE_MS
    const old = messages.filter(({ id }) => timeOf(id) < youngestAt)
    // First what waits, then what was delivered: what is settled meanwhile is among the one or the other.
    const waits = await this.#waitingAmong(old)
    const absent = old.filter(({ id }) => !waits(id))
    const delivered = await this.#list.find(absent.map(({ id }) => id))
    this.#refuseReleased()
    const isKnown = (id: string) =>
      delivered.has(id) || this.dead.has(id) || this.#lone.has(id) || this.#inHand.has(id)
    const lost = absent.filter(({ id }) => !isKnown(id))
    await this.#lone.add(lost)
    return lost
  }

  /** What is in hand is in nobody's hand; a claim that waits is refused. Resolves when nothing is under way. */
  async release(): Promise<void> {
    this.#released = true
    this.#cancelLook()
    this.wake()
    await this.#parked // What it takes from the queue stands in `pending`.
    await this.#leaving.rest()
  }

  /** Tells which of these messages, ascending, stand in `pending`: alone, or in their batch. */
  async #waitingAmong(messages: readonly Message[]): Promise<(id: string) => boolean> {
    const [first, last] = [messages[0], messages.at(-1)]
    if (first === undefined || last === undefined) return () => false
    const { lane } = this.#options
    const [from, to] = [laneKey(lane, batchKeyOf(first.id)), `${laneKey(lane, last.id)}~`]
    const counts = new Map(
      (await this.#pending.keys(from, to)).map((key) => [partsOf(key).id, partsOf(key).count]),
    )
    return (id) => counts.has(id) || placeOf(id) <= (counts.get(batchKeyOf(id)) ?? 0)
  }

  /** Lone messages were found, and are gone: a former holder has settled them, after the list and the dead were read. */
  async #foundGone(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    const delivered = await this.#list.findSure(ids)
    this.#foundDelivered(delivered)
    await this.dead.learn(ids.filter((id) => !delivered.has(id)))
  }

  #foundDelivered(found: ReadonlyMap<string, Delivered>): void {
    for (const [id, message] of found) this.#late.set(id, message)
  }

  /** Learns of lone messages. Those that kept killing their workers are buried, half-made moves ended. @returns Starts open. */
  async #adopt(ids: readonly string[]): Promise<number> {
    const openCount = await this.#lone.load(ids)
    await this.#foundGone(ids.filter((id) => !this.#lone.has(id)))
    for (const id of ids) {
      const lone = this.#lone.get(id)
      if (lone === undefined) continue
      if (this.dead.has(id) && lone.replayed) await this.dead.remove(id)
      else if (this.dead.has(id) && (await this.dead.isSure(id))) this.#forgetLone(id)
      else if (lone.suspect && lone.starts >= MAX_STARTS) await this.#buryKiller(id)
    }
    return openCount
  }

  async #buryKiller(id: string): Promise<void> {
    const entry = (await this.#lone.fetch([id])).get(id)
    if (entry === undefined) return
    const { text, starts, firstError } = entry
    const died = 'the worker died'
    await this.dead.bury(id, {
      text,
      reason: `Its worker died ${starts} times while the handler ran`,
      attempts: starts,
      firstError: firstError || died,
      lastError: died,
    })
    this.#forgetLone(id)
  }

  /** What has been taken in hand is returned, whatever fails after it. */
  async #claimNow(maxCount: number): Promise<Claimed[]> {
    const claimed: Claimed[] = []
    try {
      await this.#claimLone(claimed, maxCount)
      while (!this.#released && claimed.length < maxCount) {
        for (const hand of this.#line.take(maxCount - claimed.length)) {
          if (this.#lone.has(hand.id)) {
            this.#leaveBatch(hand) // A start that seemed to have failed was written after all.
            continue
          }
          this.#inHand.set(hand.id, hand)
          claimed.push({ id: hand.id, text: hand.text, starts: 0, suspect: false })
        }
        if (claimed.length < maxCount && !(await this.#loadMore(maxCount - claimed.length))) break
      }
    } catch (error) {
      if (claimed.length === 0 || !isMailroomError(error)) throw error
    }
    return claimed
  }

  async #claimLone(claimed: Claimed[], maxCount: number): Promise<void> {
    const due = this.#lone.due(this.#options.clock.now(), (id) => !this.#inHand.has(id)).slice(0, maxCount)
    if (due.length === 0) return
    const [entries, delivered] = await Promise.all([this.#lone.fetch(due), this.#list.findSure(due)])
    this.#foundDelivered(delivered)
    await this.#foundGone(due.filter((id) => !entries.has(id) && !delivered.has(id)))
    for (const id of due) {
      const text = entries.get(id)?.text
      const lone = this.#lone.get(id)
      if (lone === undefined) continue
      if (delivered.has(id)) this.#forgetLone(id)
      else if (text === undefined) this.#lone.forget(id)
      else {
        this.#inHand.set(id, { id, text, batch: undefined })
        claimed.push({ id, text, starts: lone.starts, suspect: lone.suspect })
      }
    }
  }

  /** Brings batches here. @returns False when none waits. */
  async #loadMore(maxCount: number): Promise<boolean> {
    if (this.#line.waitingCount === 0) {
      for (const key of await this.#mail.drain(maxCount)) this.#arrived(key)
    }
    const bytesOf = (count: number) => Math.min(BATCH_MAX_BYTES, count * TEXT_MAX_BYTES)
    const chosen = this.#line.next(maxCount, CLAIM_BYTES, bytesOf)
    if (chosen.length === 0) return false
    const unsure = chosen.filter(({ known }) => !known.isFresh).map(({ key }) => key)
    const [values, delivered] = await Promise.all([
      this.#pending.getAll(chosen.map(({ key }) => key)),
      this.#list.batchesSure(unsure.map((key) => partsOf(key).id)),
    ])
    this.#foundDelivered(delivered)
    // A former holder settled these, perhaps only after the list was looked into.
    const gone = unsure.filter((key) => !values.has(key)).map((key) => partsOf(key).id)
    if (gone.length > 0) this.#foundDelivered(await this.#list.batchesSure(gone))
    const failures: unknown[] = []
    await Promise.all(
      chosen.map(async ({ key, known }) => {
        const { id: batchKey } = partsOf(key)
        const value = values.get(key)
        if (value === undefined) return this.#line.remove(key)
        const { texts } = JSON.parse(value) as PendingEntry
        const ready = messagesOf(batchKey, texts)
          .map(({ id }) => id)
          .filter((id) => !this.dead.has(id) && !this.#lone.has(id) && !delivered.has(id))
          .map(placeOf)
        if (ready.length === 0) return this.#leavePending(key)
        try {
          if (!known.isLogged) {
            // Found, and perhaps on one member only: it is not to stand in the log alone.
            const sure = await makeSure(this.#pending, new Map([[key, value]]), FOR_EVER_MS)
            if (!sure.has(key)) return this.#line.remove(key)
            await this.#repair(batchKey, texts)
          }
        } catch (error) {
          this.#line.postpone(key)
          failures.push(error)
          return
        }
        this.#line.loaded({ batchKey, key, texts, ready, open: new Set(ready) })
      }),
    )
    if (failures.length === chosen.length) throw failures[0]
    return true
  }

  async #repair(batchKey: string, texts: readonly string[]): Promise<void> {
    const { lane, clock, repair } = this.#options
    const deadlineAt = clock.now() + LOG_DEADLINE_MS
    try {
      await repair({ lane, messages: messagesOf(batchKey, texts), deadlineAt })
    } catch (error) {
      // Whatever keeps a logging actor from it, to us the log is away: no reason for this process to end.
      if (!isMailroomError(error)) throw error
      const facts = { store: 'log', reason: error.message }
      throw new MailroomError('MR_STORE_UNAVAILABLE', facts, { outcome: error.outcome, cause: error })
    }
  }

  /** A wake-up came. One that is late may be of a batch that another holder has begun. */
  #arrived(key: string): void {
    const { id, count } = partsOf(key)
    if (count === undefined || this.#leaving.has(key)) return
    this.#line.woken(key, this.#options.clock.now() - timeOf(id) < OVERDUE_MS)
  }

  /** Puts messages into the lane's list: a batch's rest in one entry, else each in one of its own. */
  async #deliver(hands: readonly Hand[]): Promise<Delivered[]> {
    const byBatch = Map.groupBy(hands, ({ batch }) => batch)
    const shown = await Promise.all(
      [...byBatch].map(([batch, mates]) =>
        batch !== undefined && mates.length === batch.open.size
          ? this.#deliverTogether(batch, mates)
          : Promise.all(mates.map((hand) => this.#deliverAlone(hand))),
      ),
    )
    return shown.flat()
  }

  async #deliverTogether({ batchKey, texts, open }: Batch, hands: readonly Hand[]): Promise<Delivered[]> {
    const own = texts.map((text, index) => (open.has(index + 1) ? text : null))
    const stands = new Map((await this.#list.put(batchKey, own, 1)).map((message) => [message.id, message]))
    return Promise.all(hands.map((hand) => stands.get(hand.id) ?? this.#deliverAlone(hand)))
  }

  async #deliverAlone({ id, text }: Hand): Promise<Delivered> {
    const [message] = await this.#list.put(id, [text], Math.max(1, this.#lone.get(id)?.starts ?? 0))
    return message!
  }

  /** Writes an outcome other than delivered, durably. */
  async #write({ id, text }: Hand, settlement: Settlement): Promise<void> {
    const lone = this.#lone.get(id)
    const { starts, firstError } = lone ?? UNSTARTED
    switch (settlement.as) {
      case 'done':
        return
      case 'retry': {
        const { dueAt, error } = settlement
        const errors = { firstError: firstError || error, lastError: error }
        return this.#lone.write(id, text, { ...UNSTARTED, starts, dueAt, ...errors })
      }
      case 'back':
        if (!lone?.open) return
        return this.#lone.write(id, text, { ...lone, starts: starts - 1, open: false, dueAt: 0 })
      case 'dead': {
        const { reason, error } = settlement
        return this.dead.bury(id, {
          ...{ text, reason, attempts: starts, firstError: firstError || error, lastError: error },
        })
      }
    }
  }

  /** Takes a settled message from where it was. */
  #putAway(hand: Hand, { as }: Settlement): void {
    if (as === 'back' && hand.batch !== undefined && !this.#lone.has(hand.id)) {
      hand.batch.ready.unshift(placeOf(hand.id))
      this.wake()
      return
    }
    this.#leaveBatch(hand)
    if (as === 'done' || as === 'dead') this.#forgetLone(hand.id)
    else this.wake()
  }

  #leaveBatch(hand: Hand): void {
    const { id, batch } = hand
    if (batch === undefined) return
    hand.batch = undefined
    batch.open.delete(placeOf(id))
    if (batch.open.size === 0) this.#leavePending(batch.key)
  }

  #forgetLone(id: string): void {
    if (!this.#lone.has(id)) return
    this.#lone.forget(id)
    this.#leavePending(laneKey(this.#options.lane, id))
  }

  #leavePending(key: string): void {
    this.#line.remove(key)
    this.#leaving.add(key)
  }

  /** Finds what no wake-up brought. One at a time; each sees all that was written before it was asked for. */
  #look(): Promise<void> {
    const looked = this.#looking.then(() => this.#lookNow())
    this.#looking = looked.catch(() => {})
    return looked
  }

  async #lookNow(): Promise<void> {
    const { lane, clock, logger } = this.#options
    if (this.#released) return
    this.#leaving.again()
    const found = await this.#pending.keys(...laneBounds(lane))
    const now = clock.now()
    const young = { messages: 0, oldestAt: Number.POSITIVE_INFINITY }
    const strangers: string[] = []
    let overdue = 0
    for (const key of found.sort()) {
      if (this.#line.has(key) || this.#leaving.hasOrHad(key)) continue
      const { id, count } = partsOf(key)
      if (count === undefined) {
        if (!this.#lone.has(id) && !this.#inHand.has(id)) strangers.push(id)
      } else if (now - timeOf(id) < OVERDUE_MS) {
        young.messages += count
        young.oldestAt = Math.min(young.oldestAt, timeOf(id))
      } else {
        this.#line.found(key)
        overdue++
      }
    }
    this.#young = young
    await this.#adopt(strangers)
    if (overdue > 0) logger.info({ lane, overdue }, 'batches that no wake-up brought')
    if (overdue + strangers.length > 0) this.wake()
  }

  /** Waits for a wake-up, at most so long. */
  async #park(waitMs: number): Promise<void> {
    if (this.#woken || this.#released) return
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    let failure: unknown
    this.#parked ??= this.#mail.poll(POLL_MS).then(
      (key) => {
        if (key !== undefined) this.#arrived(key)
        this.#parked = undefined
        this.#wake()
      },
      (error: unknown) => {
        failure = error
        this.#parked = undefined
        this.#wake()
      },
    )
    await this.#options.clock.sleep(waitMs, woken.signal)
    if (failure !== undefined) throw failure
  }

  #handOf(id: string): Hand {
    this.#refuseReleased()
    const hand = this.#inHand.get(id)
    if (hand === undefined) throw new MailroomError('MR_NOT_FOUND', { what: `message ${id} in hand` })
    return hand
  }

  #refuseReleased(): void {
    if (!this.#released) return
    throw new MailroomError('MR_LANE_ELSEWHERE', { lane: this.#options.lane, name: 'this process' })
  }
}

function onlyAway(error: unknown): void {
  if (!isMailroomError(error)) throw error
}
