/**
 * The embedded backend's queue. A log row, with its lane, is at once the entry in the log and the one in the
 * queue, so accepting is appending; consuming is reading a lane's rows and writing the lane's home.
 */
import { join } from 'node:path'
import { isMailroomError } from '../../runtime/errors.ts'
import { DISK_PROBE_MS } from '../../runtime/timings.ts'
import { LaneChoice } from '../lane-choice.ts'
import { elsewhere, LaneQueue } from '../lane-queue.ts'
import { HAND_MAX_BYTES } from '../limits.ts'
import type { Batch, Delivered, LaneBatch, Queue, Receipt, Stored } from '../ports.ts'
import { Room } from '../room.ts'
import type { Damage } from './damage.ts'
import { whyUnwritable } from './guard.ts'
import { HeldLane, unavailable } from './held-lane.ts'
import { Home } from './home.ts'
import { type Lock, takeLock } from './lock-file.ts'
import type { LogFiles } from './log-files.ts'
import type { EmbeddedOptions } from './options.ts'
import { PauseFile } from './pause-file.ts'
import { faultOf, isUnavailable, setAside } from './sqlite.ts'

/** What a queue needs. */
export interface EmbeddedQueueOptions
  extends Pick<
    EmbeddedOptions,
    | 'data'
    | 'dataIdentity'
    | 'laneCount'
    | 'clock'
    | 'retentionMs'
    | 'retryMaxMs'
    | 'depths'
    | 'wakeRemote'
    | 'meter'
  > {
  files: LogFiles
  damage: Damage
}

/** Answers `Queue`. */
export class EmbeddedQueue extends LaneQueue<HeldLane> implements Queue {
  readonly laneCount: number
  readonly #options: EmbeddedQueueOptions
  readonly #choice: LaneChoice
  /** Why a lane could not be taken, human-readable, and when (monotonic, ms). */
  readonly #notHeld = new Map<number, { reason: string; at: number }>()
  readonly #room = new Room(HAND_MAX_BYTES)
  readonly #retryRoom = new Room(HAND_MAX_BYTES / 2)
  #turns = Promise.resolve()

  readonly #pauseFile: PauseFile

  constructor(options: EmbeddedQueueOptions) {
    super()
    this.laneCount = options.laneCount
    this.#pauseFile = new PauseFile(options.data, options.dataIdentity)
    this.#options = options
    this.#choice = new LaneChoice(options.clock, options.laneCount, options.depths)
  }

  async accept(batch: Batch, append: (batch: LaneBatch) => Promise<Receipt[]>): Promise<Receipt[]> {
    // With a key, too: a repeat finds the row of the first, in whichever lane it is.
    const lane = this.#choice.choose(batch.messages.length)
    const receipts = await append({ ...batch, lane })
    this.wake(lane)
    this.#options.wakeRemote?.(lane)
    return receipts
  }

  async hold(lane: number): Promise<number> {
    const { data, dataIdentity, clock, files } = this.#options
    // Opening files holds the event loop, longer on a slow disk: a supervisor wants to hear from us in between.
    this.#turns = this.#turns.then(() => new Promise((resolve) => clock.soon(resolve)))
    await this.#turns
    if (this.held.has(lane)) return 0
    let lock: Lock | undefined
    try {
      lock = takeLock(join(data, `home-${lane}.lock`), { directory: dataIdentity })
      if (lock === undefined) throw elsewhere(lane)
      const home = this.#openHome(lane)
      const rooms = { room: this.#room, retryRoom: this.#retryRoom }
      this.held.set(lane, new HeldLane({ lane, home, lock, files, clock, ...rooms }))
      this.#notHeld.delete(lane)
      this.#options.meter?.buried(home.buriedCount)
      return home.leftOpenCount
    } catch (error) {
      lock?.release()
      if (!isUnavailable(error)) throw error
      const reason = whyUnwritable(join(data, homeName(lane)), error)
      this.#notHeld.set(lane, { reason, at: clock.monotonic() })
      throw unavailable(reason, error)
    }
  }

  async release(lane: number): Promise<void> {
    this.held.get(lane)?.release()
    this.held.delete(lane)
  }

  /** None: a list has one writer, which has its lock. */
  deliveredByFormerHolder(): Delivered[] {
    return []
  }

  /** The log row is the queue's entry: what is logged waits, or has been settled. */
  redrive(lane: number): Promise<number> {
    return this.in(lane, () => 0)
  }

  stored(lane: number): Promise<Stored[]> {
    return this.in(lane, () => [])
  }

  async isPaused(): Promise<boolean> {
    return this.#pauseFile.exists()
  }

  async setPaused(paused: boolean): Promise<void> {
    this.#pauseFile.set(paused)
  }

  /** Why outcomes cannot be recorded now, human-readable. */
  missing(): string[] {
    // Another actor may have to hold such a lane since.
    const since = this.#options.clock.monotonic() - 2 * DISK_PROBE_MS
    const notHeld = [...this.#notHeld.values()].flatMap(({ reason, at }) => (at > since ? reason : []))
    return [...notHeld, ...[...this.held.values()].flatMap(({ unwritable = [] }) => unwritable)]
  }

  /** Notices what became of the lanes' files: of all, or only of those that cannot be written. */
  async watch(onlyUnwritable: boolean): Promise<void> {
    await this.#inEach((held) => held.watch(), onlyUnwritable)
  }

  /** Ends the waits of claims whose lanes may have something pending. */
  poll(): void {
    for (const held of this.held.values()) held.poll()
  }

  /** Makes what is delivered durable. A lane whose sync fails is out of use. */
  async sync(): Promise<void> {
    await this.#inEach((held) => held.sync())
  }

  /** Gives the room of the write-ahead logs back, and with it what they have of deleted texts. */
  async checkpoint(): Promise<void> {
    for (const held of [...this.held.values()]) {
      held.checkpoint()
      await new Promise<void>((resolve) => this.#options.clock.soon(resolve))
    }
  }

  /** Removes what is older than the retention from the lanes held. */
  async removeOld(): Promise<void> {
    await this.#inEach((held) => held.removeOld())
  }

  /** One lane after another; one that is released meanwhile is left out. */
  async #inEach(work: (held: HeldLane) => Promise<void>, onlyUnwritable = false): Promise<void> {
    for (const [lane, { unwritable }] of [...this.held]) {
      if (onlyUnwritable && unwritable === undefined) continue
      await this.in(lane, work).catch((error) => {
        if (!isMailroomError(error, 'MR_LANE_ELSEWHERE')) throw error
      })
    }
  }

  close(): void {
    for (const held of this.held.values()) held.release()
    this.held.clear()
  }

  protected async in<T>(lane: number, work: (held: HeldLane) => T | Promise<T>): Promise<T> {
    const held = this.held.get(lane)
    if (held === undefined) throw elsewhere(lane)
    try {
      return await work(held)
    } catch (error) {
      // It ends this process; its successor begins anew with what is there then.
      const isFirst = !isMailroomError(error) && held.break(error)
      if (isFirst && faultOf(error) === 'damaged') this.#setHomeAside(lane)
      throw error
    }
  }

  #openHome(lane: number): Home {
    const { data, clock, retentionMs, retryMaxMs } = this.#options
    const path = join(data, homeName(lane))
    try {
      return new Home(path, clock, retentionMs, retryMaxMs)
    } catch (error) {
      if (faultOf(error) !== 'damaged') throw error
      this.#setHomeAside(lane)
      return new Home(path, clock, retentionMs, retryMaxMs)
    }
  }

  #setHomeAside(lane: number): void {
    const { data, clock, damage } = this.#options
    damage.report(setAside(join(data, homeName(lane)), clock.now()), 'was damaged and has been set aside')
  }
}

/** The name of a lane's home. */
export function homeName(lane: number): string {
  return `home-${lane}.db`
}
