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
import {
  type Cluster,
  type ClusterMap,
  type ClusterQueue,
  FOR_EVER_MS,
  makeSure,
  putOnce,
} from './cluster.ts'
import { DeadLetters } from './dead-letters.ts'
import {
  type DeliveredEntry,
  deliveredKeysOf,
  deliveredOf,
  laneBounds,
  laneKey,
  mailOf,
  messagesOf,
  NAMES,
  type PendingEntry,
  partsOf,
} from './entries.ts'
import { KeyRange } from './key-range.ts'
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
  readonly #delivered: ClusterMap
  readonly #mail: ClusterQueue
  readonly #list: KeyRange<Delivered>
  readonly #line = new Line()
  readonly #lone: LoneMessages
  readonly #inHand = new Map<string, Hand>()
  /** Keys that are to be out of `pending`, and those that went since the last look-through began. */
  readonly #leaving = new Set<string>()
  readonly #gone = new Set<string>()
  /** Batches that came too recently for a look-through to touch, and since when at the most (monotonic, ms). */
  #young = new Map<string, number>()
  /** When the last look-through began (monotonic, ms): what it did not see came later. */
  #lookedAt: number
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
    this.#lookedAt = clock.monotonic()
    this.#pending = cluster.map(NAMES.pending)
    this.#delivered = cluster.map(NAMES.delivered)
    this.#mail = cluster.queue(mailOf(lane))
    this.#lone = new LoneMessages(this.#pending, lane)
    this.dead = new DeadLetters({
      ...{ lane, cluster, clock, retentionMs },
      delivered: (ids) => this.#deliveredAmong(ids),
    })
    this.#list = new KeyRange({
      ...{ map: this.#delivered, prefix: laneKey(lane, ''), clock, retentionMs, itemsOf: deliveredOf },
    })
  }

  /** Takes up all that waits: its wake-ups may have died with the last holder. @returns The starts that one left open. */
  async load(): Promise<number> {
    const { lane, clock } = this.#options
    await this.dead.load()
    const found = (await this.#pending.keys(...laneBounds(lane))).sort()
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
        await this.#leaveBatch(hand)
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
    await Promise.all(pairs.map(({ hand, settlement }) => this.#putAway(hand, settlement)))
    return shown.sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  async find(id: string): Promise<Whereabouts> {
    const [alone, inBatch] = deliveredKeysOf(this.#options.lane, id)
    const entries = await this.#delivered.getAll([alone, inBatch])
    for (const [key, value] of entries) {
      const found = deliveredOf(partsOf(key).id, value).find((message) => message.id === id)
      if (found === undefined) continue
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
    let waiting = line.messages + this.#lone.count
    for (const id of this.#inHand.keys()) if (this.#lone.has(id)) waiting--
    let oldestAt = Math.min(line.oldestAt, this.#lone.oldestAt())
    for (const { id, count } of [...this.#young.keys()].map(partsOf)) {
      waiting += count!
      oldestAt = Math.min(oldestAt, timeOf(id))
    }
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
    const delivered = await this.#deliveredAmong(absent.map(({ id }) => id))
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

  /** Learns of lone messages. Those that kept killing their workers are buried, half-made moves ended. @returns Starts open. */
  async #adopt(ids: readonly string[]): Promise<number> {
    const openCount = await this.#lone.load(ids)
    for (const id of ids) {
      const lone = this.#lone.get(id)
      if (lone === undefined) continue
      if (this.dead.has(id) && lone.replayed) await this.dead.remove(id)
      else if (this.dead.has(id) && (await this.dead.isSure(id))) await this.#forgetLone(id)
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
    await this.#forgetLone(id)
  }

  /** What has been taken in hand is returned, whatever fails after it. */
  async #claimNow(maxCount: number): Promise<Claimed[]> {
    const claimed: Claimed[] = []
    try {
      await this.#claimLone(claimed, maxCount)
      while (!this.#released && claimed.length < maxCount) {
        for (const hand of this.#line.take(maxCount - claimed.length)) {
          if (this.#lone.has(hand.id)) {
            await this.#leaveBatch(hand) // A start that seemed to have failed was written after all.
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
    const [entries, delivered] = await Promise.all([this.#lone.fetch(due), this.#surelyDeliveredAmong(due)])
    for (const id of due) {
      const text = entries.get(id)?.text
      const lone = this.#lone.get(id)
      if (lone === undefined) continue
      if (text === undefined || delivered.has(id)) {
        await this.#forgetLone(id)
        continue
      }
      this.#inHand.set(id, { id, text, batch: undefined })
      claimed.push({ id, text, starts: lone.starts, suspect: lone.suspect })
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
    const unsure = chosen.filter(({ known }) => !known.isFresh).map(({ key }) => partsOf(key).id)
    const [values, delivered] = await Promise.all([
      this.#pending.getAll(chosen.map(({ key }) => key)),
      this.#deliveredPlaces(unsure),
    ])
    const failures: unknown[] = []
    await Promise.all(
      chosen.map(async ({ key, known }) => {
        const { id: batchKey } = partsOf(key)
        const value = values.get(key)
        if (value === undefined) return this.#line.remove(key)
        const { texts } = JSON.parse(value) as PendingEntry
        const ready = messagesOf(batchKey, texts)
          .map(({ id }) => id)
          .filter(
            (id) => !this.dead.has(id) && !this.#lone.has(id) && !delivered.get(batchKey)?.has(placeOf(id)),
          )
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

  /** By batch: the places of messages that are delivered, together or alone, durably. */
  async #deliveredPlaces(batchKeys: readonly string[]): Promise<Map<string, Set<number>>> {
    const { lane, retentionMs } = this.#options
    const ranges = batchKeys.map((batchKey) => {
      const from = laneKey(lane, batchKey)
      return this.#delivered.keys(from, `${from.slice(0, -2)}~`)
    })
    const entries = await this.#delivered.getAll((await Promise.all(ranges)).flat())
    const ids = idsIn(await makeSure(this.#delivered, entries, retentionMs))
    return new Map([...Map.groupBy(ids, batchKeyOf)].map(([key, of]) => [key, new Set(of.map(placeOf))]))
  }

  /** Which of these messages are delivered. */
  async #deliveredAmong(ids: readonly string[]): Promise<Set<string>> {
    return new Set(idsIn(await this.#entriesOf(ids)))
  }

  /** The same, durably: only so may what is in the list leave `pending`. */
  async #surelyDeliveredAmong(ids: readonly string[]): Promise<Set<string>> {
    const entries = await this.#entriesOf(ids)
    return new Set(idsIn(await makeSure(this.#delivered, entries, this.#options.retentionMs)))
  }

  /** Entries of the list that can hold these messages. */
  #entriesOf(ids: readonly string[]): Promise<Map<string, string>> {
    const keys = new Set(ids.flatMap((id) => deliveredKeysOf(this.#options.lane, id)))
    return this.#delivered.getAll([...keys])
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
    const stands = new Map((await this.#enlist(batchKey, own, 1)).map((message) => [message.id, message]))
    return Promise.all(hands.map((hand) => stands.get(hand.id) ?? this.#deliverAlone(hand)))
  }

  async #deliverAlone({ id, text }: Hand): Promise<Delivered> {
    const [message] = await this.#enlist(id, [text], Math.max(1, this.#lone.get(id)?.starts ?? 0))
    return message!
  }

  /** One entry of the lane's list. @returns What stands there. */
  async #enlist(id: string, texts: (string | null)[], attempts: number): Promise<Delivered[]> {
    const { lane, clock, retentionMs } = this.#options
    const entry: DeliveredEntry = { texts, deliveredAt: clock.now(), attempts }
    return deliveredOf(
      id,
      await putOnce(this.#delivered, laneKey(lane, id), JSON.stringify(entry), retentionMs),
    )
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
  async #putAway(hand: Hand, { as }: Settlement): Promise<void> {
    if (as === 'back' && hand.batch !== undefined && !this.#lone.has(hand.id)) {
      hand.batch.ready.unshift(placeOf(hand.id))
      this.wake()
      return
    }
    await this.#leaveBatch(hand)
    if (as === 'done' || as === 'dead') await this.#forgetLone(hand.id)
    else this.wake()
  }

  async #leaveBatch(hand: Hand): Promise<void> {
    const { id, batch } = hand
    if (batch === undefined) return
    hand.batch = undefined
    batch.open.delete(placeOf(id))
    if (batch.open.size === 0) await this.#leavePending(batch.key)
  }

  async #forgetLone(id: string): Promise<void> {
    if (!this.#lone.has(id)) return
    this.#lone.forget(id)
    await this.#leavePending(laneKey(this.#options.lane, id))
  }

  /** Takes an entry out of `pending`, now or with a later look-through. */
  async #leavePending(key: string): Promise<void> {
    this.#line.remove(key)
    this.#leaving.add(key)
    await this.#pending.delete(key).then(() => {
      this.#leaving.delete(key)
      this.#gone.add(key)
    }, onlyAway)
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
    this.#gone.clear()
    for (const key of this.#leaving) await this.#leavePending(key)
    const lookedAt = clock.monotonic()
    const found = await this.#pending.keys(...laneBounds(lane))
    const now = clock.now()
    const young = new Map<string, number>()
    const strangers: string[] = []
    let overdue = 0
    for (const key of found.sort()) {
      if (this.#line.has(key) || this.#leaving.has(key) || this.#gone.has(key)) continue
      const { id, count } = partsOf(key)
      const cameAt = this.#young.get(key) ?? this.#lookedAt
      if (count === undefined) {
        if (!this.#lone.has(id) && !this.#inHand.has(id)) strangers.push(id)
      } else if (now - timeOf(id) < OVERDUE_MS && lookedAt - cameAt < OVERDUE_MS) {
        young.set(key, cameAt) // By our own clock, too: whoever made its id may have one that is ahead.
      } else {
        this.#line.found(key)
        overdue++
      }
    }
    this.#young = young
    this.#lookedAt = lookedAt
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

/** The messages of entries of the list. */
function idsIn(entries: ReadonlyMap<string, string>): string[] {
  return [...entries].flatMap(([key, value]) => deliveredOf(partsOf(key).id, value).map(({ id }) => id))
}

function onlyAway(error: unknown): void {
  if (!isMailroomError(error)) throw error
}
