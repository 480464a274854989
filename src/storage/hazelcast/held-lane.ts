/**
 * A lane in the hands of its holder. What stands in `pending` is the truth; the lane's queue only wakes.
 *
 *   wake-up (from the lane's queue) ─▶ backlog ─▶ batch ─▶ in hand ─▶ delivered, then out of `pending`
 *   scan (taking the lane, then at least every second) ─▶ log it, once more ─┘      │ started, or to be retried
 *                                                                 lone message ◀┘ (an entry of its own)
 *
 * Every write may be repeated, by us or by a former holder that was frozen: an outcome is put once and stays, and
 * what is delivered is dropped wherever it turns up again. Taking something out of `pending` is no outcome; it is
 * tried until it succeeds.
 */

import type { Clock } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import { REDRIVE_AGE_MS } from '../../runtime/timings.ts'
import { batchKeyOf, byId, MAX_ID, MIN_ID, placeOf, timeOf } from '../ids.ts'
import type { Journal } from '../journal.ts'
import { type Attempts, deadAfter, deliveredAt, queuedAt, UNSTARTED } from '../lane.ts'
import { PAGE_MAX_BYTES } from '../limits.ts'
import { ascending, firstBytes, type Part, walk } from '../paging.ts'
import type {
  Claimed,
  Dead,
  DeadFilter,
  DeadGroups,
  DeadHead,
  Delivered,
  DeliveredHead,
  Depth,
  LaneBatch,
  Message,
  Range,
  SettledPlace,
  Settlement,
  Sifted,
  Stored,
  StoreMeter,
  Whereabouts,
} from '../ports.ts'
import { textBytesOf } from '../ports.ts'
import { previewOf } from '../preview.ts'
import type { Outcome, Outcomes } from '../records.ts'
import type { Room } from '../room.ts'
import type { Census } from './census.ts'
import { Claimer } from './claimer.ts'
import { type Cluster, FOR_EVER_MS, makeSure, putOnce } from './cluster.ts'
import {
  type Delivery,
  laneKey,
  mailOf,
  messagesOf,
  type PendingEntry,
  partsOf,
  pendingKey,
} from './entries.ts'
import { LaneState } from './lane-state.ts'
import { PendingScan } from './pending-scan.ts'
import { Settler } from './settler.ts'

/** Entries that are fetched at once where all of them are wanted, until they are enough. */
const FETCH_COUNT = 16
/** Writes that are in flight while a lane is refilled. */
const REFILL_COUNT = 64

/** What a held lane needs. */
export interface HeldLaneOptions {
  lane: number
  cluster: Cluster
  clock: Clock
  logger: Logger
  meter?: StoreMeter | undefined
  retentionMs: number
  /** As `EmbeddedOptions.retryMaxMs`. */
  retryMaxMs: number
  /** Puts a batch into the log, once more. */
  repair: (batch: LaneBatch) => Promise<unknown>
  census: Census
  /** For the texts of all lanes of the process. */
  room: Room
  /** What of it lone messages may have. */
  retryRoom: Room
  /** `--max-message`. */
  maxMessageBytes: number
  /** Of this process; and what makes the ids of its rows. */
  journal?: Journal | undefined
  nextIds: (count: number) => string[]
}

/** A held lane. All throw `MR_STORE_UNAVAILABLE`, or `MR_LANE_ELSEWHERE` once it was released. */
export class HeldLane {
  readonly #clock: Clock
  readonly #state: LaneState
  readonly #claimer: Claimer
  readonly #settler: Settler
  readonly #pendingScan: PendingScan

  constructor(options: HeldLaneOptions) {
    const { lane, cluster, clock, logger, meter, repair, maxMessageBytes } = options
    const wake = () => this.wake()
    const state = new LaneState({
      ...options,
      ...{ room: options.room.lane(wake), retryRoom: options.retryRoom.lane(wake) },
    })
    this.#clock = clock
    this.#state = state
    this.#claimer = new Claimer({
      ...{ state, mail: cluster.queue(mailOf(lane)), clock, repair },
      maxMessageBytes,
    })
    this.#settler = new Settler(state, wake)
    this.#pendingScan = new PendingScan({ state, clock, logger, meter, wake })
  }

  /** Takes up all that waits. @returns The starts that its last holder left open. */
  load(): Promise<number> {
    return this.#pendingScan.begin()
  }

  wake(): void {
    this.#claimer.wake()
  }

  claim(maxCount: number, waitMs: number, maxRetryCount = maxCount): Promise<Claimed[]> {
    return this.#claimer.claim(maxCount, waitMs, maxRetryCount)
  }

  start(ids: readonly string[]): Promise<void> {
    return this.#settler.start(ids)
  }

  settle(settlements: readonly Settlement[]): Promise<Delivered[]> {
    return this.#settler.settle(settlements)
  }

  deliveredByFormerHolder(): Delivered[] {
    return this.#state.takeDeliveredByFormerHolder()
  }

  async find(id: string): Promise<Whereabouts> {
    const { list, lone, dead } = this.#state
    const found = (await list.find([id])).get(id)
    if (found !== undefined) return deliveredAt(found)
    if (dead.has(id)) return deadAfter((await dead.get(id)) ?? { attempts: 0, firstError: '', lastError: '' })
    return queuedAt(lone.dueIn(0), this.#clock.now(), lone.get(id))
  }

  delivered(range: Range): Promise<Delivered[]> {
    return this.#state.list.page(range)
  }

  /** As `Queue.deliveredSince`. */
  deliveredSince(from: SettledPlace, limit: number): Promise<DeliveredHead[]> {
    const { list } = this.#state
    return firstSince(from, limit, list.page.bind(list), ({ text, ...rest }) => ({
      at: rest.deliveredAt,
      head: { ...rest, preview: previewOf(text) },
    }))
  }

  /** As `Queue.deadSince`. */
  deadSince(from: SettledPlace, limit: number): Promise<DeadHead[]> {
    const { dead } = this.#state
    return firstSince(from, limit, dead.page.bind(dead), ({ text, ...rest }) => ({
      at: rest.deadAt,
      head: { ...rest, preview: previewOf(text) },
    }))
  }

  dead(range: { after?: string; limit: number }): Promise<Dead[]> {
    return this.#state.dead.page(range)
  }

  sift(range: { after: string; limit: number }, filter: DeadFilter): Promise<Sifted[]> {
    return this.#state.dead.sift(range, filter)
  }

  groupDead(range: { after: string; limit: number }): Promise<DeadGroups> {
    return this.#state.dead.group(range)
  }

  purge(ids: readonly string[]): Promise<number> {
    return this.#state.dead.purge(ids)
  }

  async depth(): Promise<Depth> {
    const { backlog, lone, inHand, dead } = this.#state
    await this.#pendingScan.scan()
    this.#state.refuseReleased()
    const { young } = this.#pendingScan
    const batches = backlog.measure()
    let waiting = batches.messages + young.messages + lone.count
    for (const id of inHand.keys()) if (lone.has(id)) waiting--
    let oldestAt = Math.min(batches.oldestAt, young.oldestAt, lone.oldestAt())
    for (const id of inHand.keys()) oldestAt = Math.min(oldestAt, timeOf(id))
    return {
      waiting,
      inHand: inHand.size,
      retrying: lone.retryingCount,
      dead: dead.count,
      oldestAt: Number.isFinite(oldestAt) ? oldestAt : null,
    }
  }

  /** Makes each message pending again before it deletes the dead letter: it is always in one of the two places. */
  replay(ids: readonly string[]): Promise<number> {
    const { lane, lone, dead, leaving, records } = this.#state
    return dead.change(ids, async (id, letter) => {
      await leaving.out(laneKey(lane, id)) // Else it would go with what it was before.
      const attempts = { ...UNSTARTED, replayedAt: this.#clock.now() }
      await Promise.all([
        lone.write(id, letter.text, { ...attempts, replayed: true }),
        records.write([{ id, is: 'waiting', attempts }]),
      ])
      await dead.remove(id, letter)
      this.wake()
    })
  }

  /** As `Queue.redrive`, each as a lone message, which the next scan takes up. @returns Those put back. */
  async redrive(messages: readonly Message[]): Promise<Message[]> {
    const youngestAt = this.#clock.ago(REDRIVE_AGE_MS)
    const lost = await this.#lostAmong(messages.filter(({ id }) => timeOf(id) < youngestAt))
    await this.#state.lone.add(lost.map((message) => ({ ...message, attempts: UNSTARTED })))
    return lost
  }

  /**
   * Puts messages of the log where their outcomes say that they belong, once each: into the list, among the dead letters,
   * or into `pending`. What is known of them already stays.
   *
   * @returns Those that may have been put back.
   */
  async refill(messages: readonly Message[], outcomes: Pick<Outcomes, 'of'>): Promise<readonly Message[]> {
    const delivered: (Message & Extract<Outcome, { is: 'delivered' }>)[] = []
    const waiting: (Message & { attempts: Attempts })[] = []
    const settled: (Message & Exclude<Outcome, { is: 'delivered' | 'waiting' }>)[] = []
    for (const message of messages) {
      const outcome = outcomes.of(message.id) ?? { is: 'waiting', attempts: UNSTARTED }
      if (outcome.is === 'delivered') delivered.push({ ...message, ...outcome })
      else if (outcome.is === 'waiting') waiting.push({ ...message, attempts: outcome.attempts })
      else settled.push({ ...message, ...outcome })
    }
    await this.#refillList(delivered)
    await this.#refillDead(settled)
    const attempts = new Map(waiting.map((message) => [message.id, message.attempts]))
    const lost = await this.#lostAmong(waiting)
    await this.#refillPending(lost, messages, attempts)
    this.#state.refuseReleased()
    return [...delivered, ...settled, ...lost]
  }

  /** What was delivered of a batch becomes one entry, if the batch has none; else each that is missing becomes one. */
  async #refillList(messages: readonly (Message & { at: number; attempts: number })[]): Promise<void> {
    const { list } = this.#state
    await inChunks([...Map.groupBy(messages, ({ id }) => batchKeyOf(id))], async ([batchKey, mates]) => {
      const [first, last] = [mates[0]!, mates.at(-1)!]
      const found = new Set<string>()
      if (mates.length > 1) {
        const texts: (string | null)[] = Array(placeOf(last.id)).fill(null)
        const own: (Delivery | null)[] = Array(texts.length).fill(null)
        for (const { id, text, at, attempts } of mates) {
          texts[placeOf(id) - 1] = text
          own[placeOf(id) - 1] = { deliveredAt: at, attempts }
        }
        const isSame = mates.every(({ at, attempts }) => at === first.at && attempts === first.attempts)
        const { at, attempts } = first
        const stands = await list.put(batchKey, texts, { at, attempts, ...(!isSame && { own }) })
        for (const { id } of stands) found.add(id)
      }
      for (const { id, text, at, attempts } of mates)
        if (!found.has(id)) await list.put(id, [text], { at, attempts })
    })
  }

  /** A batch of which nothing was started waits as a whole again; others wait alone. @param messages All of the batches. */
  async #refillPending(
    lost: readonly Message[],
    messages: readonly Message[],
    attempts: ReadonlyMap<string, Attempts>,
  ): Promise<void> {
    const { lane, pending, lone } = this.#state
    const counts = new Map<string, number>()
    for (const { id } of messages) counts.set(batchKeyOf(id), (counts.get(batchKeyOf(id)) ?? 0) + 1)
    const alone: Message[] = []
    await inChunks([...Map.groupBy(lost, ({ id }) => batchKeyOf(id))], async ([batchKey, mates]) => {
      const count = placeOf(mates.at(-1)!.id)
      const isWhole = mates.length === count && counts.get(batchKey) === count
      if (!isWhole || mates.some(({ id }) => attempts.get(id) !== UNSTARTED)) {
        alone.push(...mates)
        return
      }
      const entry: PendingEntry = { texts: mates.map(({ text }) => text) }
      await putOnce(pending, pendingKey(lane, batchKey, count), JSON.stringify(entry), FOR_EVER_MS)
    })
    await lone.add(alone.map(({ id, text }) => ({ id, text, attempts: attempts.get(id)! })))
  }

  async #refillDead(
    settled: readonly (Message & Exclude<Outcome, { is: 'delivered' | 'waiting' }>)[],
  ): Promise<void> {
    if (settled.length === 0) return
    const { list, dead, lone } = this.#state
    const delivered = await list.find(settled.map(({ id }) => id))
    await inChunks(settled, async (message) => {
      const { id } = message
      if (delivered.has(id) || dead.has(id) || lone.has(id)) return // It was replayed since.
      if (message.is === 'purged') await dead.markPurged(id)
      else await dead.bury(id, message.letter)
    })
  }

  /** Those that are neither pending, in hand, delivered, dead nor purged. Ids ascend. */
  async #lostAmong(old: readonly Message[]): Promise<Message[]> {
    const { list, lone, dead, inHand } = this.#state
    // First what waits, then what was delivered: what is settled meanwhile is among the one or the other.
    const waits = await this.#waitingAmong(old)
    const absent = old.filter(({ id }) => !waits(id))
    const delivered = await list.find(absent.map(({ id }) => id))
    this.#state.refuseReleased()
    const isKnown = (id: string) => delivered.has(id) || dead.has(id) || lone.has(id) || inHand.has(id)
    return absent.filter(({ id }) => !isKnown(id))
  }

  /**
   * As `Queue.stored`, of what this holder knows: a scan has found everything that is older than 7 s. Batches are read
   * first, then what is out of its batch, then the list: a message that moves meanwhile is found where it moved to.
   */
  async stored({ after, limit }: { after: string; limit: number }): Promise<Stored[]> {
    for await (const { items } of walk((from: string) => this.#storedAfter(from, limit), after)) {
      if (items.length > 0) return [...items]
    }
    return []
  }

  /**
   * The first of them, until their texts reach `PAGE_MAX_BYTES`.
   *
   * @returns `next`: the id up to which (inclusive) it looked.
   */
  async #storedAfter(after: string, limit: number): Promise<Part<string, Stored>> {
    const { dead, list, lone, inHand } = this.#state
    const found = new Map<string, string | null>()
    let until = MAX_ID
    const cutAt = (last: string | undefined) => {
      if (last !== undefined && last < until) until = last
    }
    const waiting = await this.#waitingAfter(after, limit)
    for (const { id, text } of waiting) found.set(id, text)
    if (textBytesOf(waiting) >= PAGE_MAX_BYTES) cutAt(waiting.at(-1)!.id)
    const ids = [...new Set([...inHand.keys(), ...lone.ids(), ...dead.ids()])].filter((id) => id > after)
    const chosen = ids.sort().slice(0, limit)
    let bytes = 0
    for (let index = 0; index < chosen.length; index += FETCH_COUNT) {
      if (bytes >= PAGE_MAX_BYTES) {
        cutAt(chosen[index - 1])
        break
      }
      const some = chosen.slice(index, index + FETCH_COUNT)
      for (const id of some) found.set(id, inHand.get(id)?.text ?? null)
      for (const place of [lone, dead, lone]) {
        const without = some.filter((id) => found.get(id) === null)
        for (const [id, { text }] of await place.fetch(without)) found.set(id, text)
      }
      for (const id of some) bytes += Buffer.byteLength(found.get(id) ?? '')
    }
    const listed = await list.page({ after, limit })
    for (const { id, text } of listed) found.set(id, text)
    if (textBytesOf(listed) >= PAGE_MAX_BYTES) cutAt(listed.at(-1)!.id)
    this.#state.refuseReleased()
    for (const id of found.keys()) if (dead.isPurged(id)) found.set(id, null)
    // Gone, and not purged: it was delivered after the list was read.
    const stored = [...found].filter(([id, text]) => id <= until && (text !== null || dead.isPurged(id)))
    const messages = stored.map(([id, text]) => ({ id, text }))
    const items = firstBytes(messages.sort(byId).slice(0, limit), PAGE_MAX_BYTES)
    return { items, next: until === MAX_ID ? null : until }
  }

  /**
   * Messages of batches that wait, durably, ascending: those of the first batches that have so many after an id, or whose
   * texts reach `PAGE_MAX_BYTES`.
   */
  async #waitingAfter(after: string, limit: number): Promise<Message[]> {
    const { lane, pending, backlog } = this.#state
    const keys: string[] = []
    let count = 0
    for (const key of backlog.keysFrom(laneKey(lane, batchKeyOf(after)))) {
      // The first may be of `after` itself, with few messages after it.
      if (keys.length > 1 && count >= limit) break
      keys.push(key)
      if (keys.length > 1) count += partsOf(key).count!
    }
    const messages: Message[] = []
    for (let index = 0; index < keys.length && textBytesOf(messages) < PAGE_MAX_BYTES; index += FETCH_COUNT) {
      const found = await pending.getAll(keys.slice(index, index + FETCH_COUNT))
      for (const [key, value] of await makeSure(pending, found, FOR_EVER_MS)) {
        const { texts } = JSON.parse(value) as PendingEntry
        messages.push(...messagesOf(partsOf(key).id, texts).filter(({ id }) => id > after))
      }
    }
    return messages.sort(byId)
  }

  /** What is in hand is in nobody's hand; a claim that waits is refused. Resolves when nothing is under way. */
  async release(): Promise<void> {
    this.#state.release()
    this.#pendingScan.end()
    this.wake()
    await this.#claimer.rest()
    await this.#state.leaving.rest()
  }

  /** Tells which of these messages, ascending, stand in `pending`: alone, or in their batch. */
  async #waitingAmong(messages: readonly Message[]): Promise<(id: string) => boolean> {
    const [first, last] = [messages[0], messages.at(-1)]
    if (first === undefined || last === undefined) return () => false
    const { lane, pending } = this.#state
    const [from, to] = [laneKey(lane, batchKeyOf(first.id)), `${laneKey(lane, last.id)}~`]
    const counts = new Map((await pending.keys(from, to)).map((key) => [partsOf(key).id, partsOf(key).count]))
    return (id) => counts.has(id) || placeOf(id) <= (counts.get(batchKeyOf(id)) ?? 0)
  }
}

/** Of all items of a list, in the order of ids, the first behind a place by time. */
async function firstSince<T extends Message, H extends { id: string }>(
  from: SettledPlace,
  limit: number,
  page: (range: { after: string; limit: number }) => Promise<T[]>,
  headOf: (item: T) => { at: number; head: H },
): Promise<H[]> {
  let first: { at: number; head: H }[] = []
  const isBehind = (a: { at: number; head: H }, at: number, id: string) =>
    a.at > at || (a.at === at && a.head.id > id)
  const cut = () => {
    first.sort((a, b) => (isBehind(a, b.at, b.head.id) ? 1 : -1))
    first = first.slice(0, limit)
  }
  for await (const { items } of walk(ascending(page), MIN_ID)) {
    for (const item of items) {
      const next = headOf(item)
      if (isBehind(next, from.at, from.id)) first.push(next)
    }
    if (first.length > limit) cut()
  }
  cut()
  return first.map(({ head }) => head)
}

/** Some at a time. */
async function inChunks<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  for (let index = 0; index < items.length; index += REFILL_COUNT)
    await Promise.all(items.slice(index, index + REFILL_COUNT).map(work))
}
