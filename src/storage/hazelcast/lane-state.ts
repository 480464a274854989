/**
 * What the holder of a lane knows of it: what waits, alone or in batches, what is in hand, what is settled. Claims,
 * settlements and scans all change it, each between two of its awaits.
 */
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { byId, placeOf } from '../ids.ts'
import type { Journal } from '../journal.ts'
import type { Delivered } from '../ports.ts'
import { deliveredRecords } from '../records.ts'
import type { LaneRoom } from '../room.ts'
import { Backlog, type LoadedBatch } from './backlog.ts'
import type { Census } from './census.ts'
import type { Cluster, ClusterMap } from './cluster.ts'
import { LaneDeadLetters } from './dead-letters.ts'
import { DeliveredList } from './delivered-list.ts'
import { type LoneEntry, laneKey, NAMES } from './entries.ts'
import { LaneRecords } from './lane-records.ts'
import { Leaving } from './leaving.ts'
import { LoneMessages } from './lone-messages.ts'

/** A message in hand; `batch`: it never left it. */
export interface Hand {
  id: string
  text: string
  batch: LoadedBatch | undefined
  /** It was a lone message when it was claimed. */
  isRetry?: true
}

/** What it is known of. */
export interface LaneStateOptions {
  lane: number
  cluster: Cluster
  clock: Clock
  retentionMs: number
  retryMaxMs: number
  census: Census
  /** For the texts of the batches that are loaded, and of all that is in hand. */
  room: LaneRoom
  /** What of it lone messages have. */
  retryRoom: LaneRoom
  journal?: Journal | undefined
  /** For the rows of the journal. */
  nextIds: (count: number) => string[]
}

/** The state of one held lane. */
export class LaneState {
  readonly lane: number
  readonly pending: ClusterMap
  readonly list: DeliveredList
  readonly dead: LaneDeadLetters
  readonly lone: LoneMessages
  readonly backlog = new Backlog()
  readonly leaving: Leaving
  readonly records: LaneRecords
  readonly clock: Clock
  readonly inHand = new Map<string, Hand>()
  readonly room: LaneRoom
  readonly retryRoom: LaneRoom
  readonly #deliveredByFormerHolder = new Map<string, Delivered>()
  #released = false

  constructor(options: LaneStateOptions) {
    const { lane, cluster, clock, retentionMs, retryMaxMs, census } = options
    this.lane = lane
    this.clock = clock
    this.records = new LaneRecords(lane, options.journal, options.nextIds)
    this.room = options.room
    this.retryRoom = options.retryRoom
    this.pending = cluster.map(NAMES.pending)
    this.list = new DeliveredList({ lane, cluster, clock, retentionMs, census })
    this.lone = new LoneMessages({ map: this.pending, lane, clock, retryMaxMs })
    this.leaving = new Leaving(this.pending)
    this.dead = new LaneDeadLetters({
      ...{ lane, cluster, retentionMs, records: this.records },
      refuseReleased: () => this.refuseReleased(),
      delivered: async (ids) => {
        const found = await this.list.findSure(ids)
        await this.foundDelivered(found)
        return new Set(found.keys())
      },
    })
  }

  get released(): boolean {
    return this.#released
  }

  /** It is nobody's state any more. */
  release(): void {
    this.#released = true
    this.room.close()
    this.retryRoom.close()
  }

  /** A message is in hand no more, and its text in memory neither. */
  drop({ id, text, isRetry }: Hand): void {
    if (!this.inHand.delete(id)) return
    this.room.give(Buffer.byteLength(text))
    if (isRetry) this.retryRoom.give(Buffer.byteLength(text))
  }

  /** @throws {MailroomError} `MR_LANE_ELSEWHERE` once it was released. */
  refuseReleased(): void {
    if (!this.#released) return
    throw new MailroomError('MR_LANE_ELSEWHERE', { lane: this.lane, name: 'this process' })
  }

  /** A message is no affair of its batch any more, which leaves `pending` with the last. */
  leaveBatch(hand: Hand): void {
    const { id, batch } = hand
    if (batch === undefined) return
    hand.batch = undefined
    batch.open.delete(placeOf(id))
    batch.texts[placeOf(id) - 1] = '' // The hand has it, as long as it is needed.
    if (batch.open.size === 0) this.leavePending(batch.key)
  }

  /** A lone message is delivered: it leaves `pending`. */
  forgetDelivered(id: string): void {
    if (!this.lone.has(id)) return
    this.lone.forget(id)
    this.leavePending(laneKey(this.lane, id))
  }

  /** A lone message is dead: it leaves `pending` as it stands there. If it is replayed, it stands there otherwise. */
  forgetDead(id: string, entry: LoneEntry): void {
    if (!this.lone.has(id)) return
    this.lone.forget(id)
    this.leaving.add(laneKey(this.lane, id), JSON.stringify(entry))
  }

  /** Takes an entry out of `pending`. */
  leavePending(key: string): void {
    this.backlog.remove(key)
    this.leaving.add(key)
  }

  /** These are in the list, and were not put there here: whoever did may have died before it was in a journal. */
  async foundDelivered(found: ReadonlyMap<string, Delivered>): Promise<void> {
    const byTime = Map.groupBy([...found.values()].sort(byId), ({ deliveredAt }) => deliveredAt)
    await this.records.write([...byTime].flatMap(([at, messages]) => deliveredRecords(messages, at)))
    for (const [id, message] of found) this.#deliveredByFormerHolder.set(id, message)
  }

  /** Lone messages were found, and are gone: a former holder has settled them, after the list and the dead were read. */
  async foundGone(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    const delivered = await this.list.findSure(ids)
    await this.foundDelivered(delivered)
    await this.dead.learn(ids.filter((id) => !delivered.has(id)))
  }

  /** True when `takeDeliveredByFormerHolder` returns something. */
  get hasDeliveredByFormerHolder(): boolean {
    return this.#deliveredByFormerHolder.size > 0
  }

  /** As `Queue.deliveredByFormerHolder`. */
  takeDeliveredByFormerHolder(): Delivered[] {
    const taken = [...this.#deliveredByFormerHolder.values()]
    this.#deliveredByFormerHolder.clear()
    return taken.sort(byId)
  }
}
