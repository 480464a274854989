/** The queue on a Hazelcast cluster: batches wait in `pending`, lanes are held by lease. */
import type { Clock, Random } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { JournalReport } from '../../runtime/losses.ts'
import { idGenerator } from '../ids.ts'
import type { Journal } from '../journal.ts'
import { LaneChoice, type LaneReport } from '../lane-choice.ts'
import { elsewhere, LaneQueue } from '../lane-queue.ts'
import { HAND_MAX_BYTES } from '../limits.ts'
import type { Delivered, LaneBatch, Message, Queue, Receipt, Stored, StoreMeter } from '../ports.ts'
import { Room } from '../room.ts'
import { QueueAcceptor } from './acceptor.ts'
import type { Bound } from './bound.ts'
import type { Census } from './census.ts'
import { type Cluster, type ClusterMap, FOR_EVER_MS } from './cluster.ts'
import { NAMES } from './entries.ts'
import { HeldLane } from './held-lane.ts'
import { Leases } from './leases.ts'
import type { ClusterMark } from './mark.ts'
import { lackedKeys, QueueRefill } from './refill.ts'

/** In `meta`, while an operator has paused delivery. */
const PAUSED = 'paused'

/** What a queue needs. */
export interface HazelcastQueueOptions {
  cluster: Cluster
  mark: ClusterMark
  /** True while another actor is known to hold a lane. */
  isElsewhere: (lane: number) => boolean
  laneCount: number
  clock: Clock
  logger: Logger
  meter?: StoreMeter | undefined
  retentionMs: number
  keyRetentionMs: number
  retryMaxMs: number
  bound: Bound
  census: Census
  /** The actor that holds lanes here, unique in the system, and a name for this process of it. */
  owner: string
  incarnation: string
  /** How busy the lanes' holders are; without it all count alike. */
  depths?: LaneReport | undefined
  /** Puts a batch into the log, once more: its facade may have died before it did, and what is found there need not be durable. */
  repair: (batch: LaneBatch) => Promise<unknown>
  /** `--max-message`. */
  maxMessageBytes: number
  random: Random
  journal?: Journal | undefined
  /** Of a facade: the journals of all nodes. */
  journals?: (() => readonly JournalReport[]) | undefined
}

/** Answers `Queue`. */
export class HazelcastQueue extends LaneQueue<HeldLane> implements Queue {
  readonly laneCount: number
  readonly #options: HazelcastQueueOptions
  readonly #acceptor: QueueAcceptor
  readonly #leases: Leases
  readonly #meta: ClusterMap
  readonly #room = new Room(HAND_MAX_BYTES)
  readonly #retryRoom = new Room(HAND_MAX_BYTES / 2)
  readonly #nextIds: (count: number) => string[]
  /** Absent without a journal. */
  readonly refill: QueueRefill | undefined

  constructor(options: HazelcastQueueOptions) {
    const { cluster, mark, isElsewhere, clock, laneCount, bound, owner, incarnation, depths } = options
    const { keyRetentionMs } = options
    super()
    this.laneCount = laneCount
    this.#options = options
    this.#nextIds = idGenerator(clock, options.random)
    const { journal } = options
    this.refill =
      journal &&
      new QueueRefill({
        ...{ cluster, mark, clock, journal, keyRetentionMs },
        put: async (lane, messages, outcomes) => {
          await this.#put(lane, (held) => held.refill(messages, outcomes))
        },
      })
    const choice = new LaneChoice(clock, laneCount, depths)
    const { journals } = options
    const lacksKeys = journals && lackedKeys(cluster, mark, journals)
    this.#acceptor = new QueueAcceptor({
      ...{ cluster, clock, laneCount, choice, bound, keyRetentionMs, lacksKeys },
    })
    this.#meta = cluster.map(NAMES.meta)
    this.#leases = new Leases({
      ...{ map: cluster.map(NAMES.leases), mark, isElsewhere, laneCount, owner, incarnation, clock },
      onLost: (lane) => this.#drop(lane),
    })
  }

  accept(...given: Parameters<Queue['accept']>): Promise<Receipt[]> {
    return this.#acceptor.accept(...given)
  }

  async hold(lane: number): Promise<number> {
    if (this.isHeld(lane)) return 0
    if (!(await this.#leases.take(lane))) throw elsewhere(lane)
    const held = new HeldLane({
      ...{ lane, ...this.#options, room: this.#room, retryRoom: this.#retryRoom, nextIds: this.#nextIds },
    })
    this.held.set(lane, held)
    try {
      const leftOpenCount = await held.load()
      if (this.isHeld(lane)) return leftOpenCount
    } catch (error) {
      await this.release(lane)
      throw error
    }
    throw elsewhere(lane)
  }

  override isHeld(lane: number): boolean {
    if (!super.isHeld(lane)) return false
    if (this.#leases.isHeld(lane)) return true
    this.#drop(lane)
    return false
  }

  async release(lane: number): Promise<void> {
    const held = this.held.get(lane)
    if (held === undefined) return
    this.held.delete(lane)
    await held.release()
    await this.#leases.giveBack(lane)
  }

  deliveredByFormerHolder(lane: number): Delivered[] {
    return this.held.get(lane)?.deliveredByFormerHolder() ?? []
  }

  async redrive(lane: number, messages: readonly Message[]): Promise<number> {
    if (this.refill?.isLacking(lane)) {
      const reason = `lane ${lane} is being restored from journals`
      throw new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason })
    }
    return (await this.#put(lane, (held) => held.redrive(messages))).length
  }

  /** Puts back what a lane has lost. @returns What `put` returns: the messages that were put back. */
  #put(lane: number, put: (held: HeldLane) => Promise<readonly Message[]>): Promise<readonly Message[]> {
    const { bound } = this.#options
    bound.check()
    return this.in(lane, async (held) => {
      const lost = await put(held)
      for (const { text } of lost) bound.added(text)
      // What the holder keeps in mind it may have learned from a cluster that has come back empty since.
      if (!(await this.#leases.confirm(lane)) || this.held.get(lane) !== held) throw elsewhere(lane)
      return lost
    })
  }

  stored(lane: number, range: { after: string; limit: number }): Promise<Stored[]> {
    return this.in(lane, (held) => held.stored(range))
  }

  async isPaused(): Promise<boolean> {
    return (await this.#meta.get(PAUSED)) !== undefined
  }

  async setPaused(paused: boolean): Promise<void> {
    if (paused) await this.#meta.set(PAUSED, '', FOR_EVER_MS)
    else await this.#meta.delete(PAUSED)
  }

  /** Gives all lanes back. */
  async close(): Promise<void> {
    await Promise.all([...this.held.keys()].map((lane) => this.release(lane)))
    this.#leases.close()
  }

  #drop(lane: number): void {
    this.#options.logger.warn({ lane }, 'the lease of a lane ended')
    void this.held.get(lane)?.release()
    this.held.delete(lane)
    // Renewed without being held, it would keep the lane from whoever is to hold it, for ever.
    this.#leases.forget(lane)
  }

  protected async in<T>(lane: number, work: (held: HeldLane) => T | Promise<T>): Promise<T> {
    if (!this.isHeld(lane)) throw elsewhere(lane)
    return work(this.held.get(lane)!)
  }
}
