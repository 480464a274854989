/**
 * The embedded backend's queue. A log row, with its lane, is at once the entry in the log and the one in the
 * queue, so accepting is appending; consuming is reading a lane's rows and writing the lane's home.
 */
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Clock } from '../../runtime/clock.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { LaneChoice, type LaneReport } from '../lane-choice.ts'
import type {
  Batch,
  Claimed,
  Dead,
  Delivered,
  Depth,
  LaneBatch,
  Queue,
  Range,
  Receipt,
  Settlement,
  Whereabouts,
} from '../ports.ts'
import type { Damage } from './damage.ts'
import { HeldLane, noRoom } from './held-lane.ts'
import { Home } from './home.ts'
import { type Lock, takeLock } from './lock-file.ts'
import type { LogFiles } from './log-files.ts'
import { faultOf, setAside } from './sqlite.ts'

/** What a queue needs. */
export interface EmbeddedQueueOptions {
  data: string
  laneCount: number
  clock: Clock
  retentionMs: number
  files: LogFiles
  damage: Damage
  /** How busy the lanes' holders are; without it all count alike. */
  depths?: LaneReport | undefined
  /** Tells a lane's holder, somewhere else, that something waits there. */
  wakeRemote?: ((lane: number) => void) | undefined
}

/** Answers `Queue`. */
export class EmbeddedQueue implements Queue {
  readonly laneCount: number
  readonly #options: EmbeddedQueueOptions
  readonly #choice: LaneChoice
  readonly #held = new Map<number, HeldLane>()
  #turns = Promise.resolve()

  constructor(options: EmbeddedQueueOptions) {
    this.laneCount = options.laneCount
    this.#options = options
    const nobody = () => Array.from({ length: options.laneCount }, () => ({ holder: null, waiting: 0 }))
    this.#choice = new LaneChoice(options.clock, options.depths ?? nobody)
  }

  async accept(batch: Batch, append: (batch: LaneBatch) => Promise<Receipt[]>): Promise<Receipt[]> {
    const { key, messages } = batch
    const lane = key === undefined ? this.#choice.choose(messages.length) : crc32(key.value) % this.laneCount
    const receipts = await append({ ...batch, lane })
    this.wake(lane)
    this.#options.wakeRemote?.(lane)
    return receipts
  }

  wake(lane: number): void {
    this.#held.get(lane)?.wake()
  }

  isHeld(lane: number): boolean {
    return this.#held.has(lane)
  }

  async hold(lane: number): Promise<number> {
    const { data, clock, files } = this.#options
    // Opening files holds the event loop, longer on a slow disk: a supervisor wants to hear from us in between.
    this.#turns = this.#turns.then(() => new Promise((resolve) => clock.soon(resolve)))
    await this.#turns
    if (this.#held.has(lane)) return 0
    let lock: Lock | undefined
    try {
      lock = takeLock(join(data, `home-${lane}.lock`))
      if (lock === undefined) throw elsewhere(lane)
      const home = this.#openHome(lane)
      this.#held.set(lane, new HeldLane({ lane, home, lock, files, clock }))
      return home.leftOpenCount
    } catch (error) {
      lock?.release()
      throw faultOf(error) === 'full' ? noRoom(error) : error
    }
  }

  async release(lane: number): Promise<void> {
    this.#held.get(lane)?.release()
    this.#held.delete(lane)
  }

  claim(lane: number, maxCount: number, waitMs: number, maxRetryCount = maxCount): Promise<Claimed[]> {
    return this.#in(lane, (held) => held.claim(maxCount, waitMs, maxRetryCount))
  }

  start(lane: number, ids: readonly string[]): Promise<void> {
    return this.#in(lane, (held) => held.start(ids))
  }

  settle(lane: number, settlements: readonly Settlement[]): Promise<Delivered[]> {
    return this.#in(lane, (held) => held.settle(settlements))
  }

  /** Never anything: a list has one writer, who has its lock. */
  late(): Delivered[] {
    return []
  }

  find(lane: number, id: string): Promise<Whereabouts> {
    return this.#in(lane, (held) => held.find(id))
  }

  delivered(lane: number, range: Range): Promise<Delivered[]> {
    return this.#in(lane, ({ home }) => {
      const page: Delivered[] = []
      let next = range
      // A damaged row leaves a gap: read on, so that a page is short at the end only.
      while (page.length < range.limit) {
        const limit = range.limit - page.length
        const rows = home.delivered({ ...next, limit })
        for (const { damaged, ...message } of rows) {
          if (damaged) this.#options.damage.reportText(message.id)
          else page.push(message)
        }
        if (rows.length < limit) break
        const last = rows.at(-1)!.id
        next = range.after === undefined ? { ...next, before: last } : { ...next, after: last }
      }
      return page
    })
  }

  depth(lane: number): Promise<Depth> {
    return this.#in(lane, (held) => held.depth())
  }

  dead(lane: number, range: { after?: string; limit: number }): Promise<Dead[]> {
    return this.#in(lane, ({ home }) => home.dead(range))
  }

  replay(lane: number, id: string): Promise<boolean> {
    return this.#in(lane, (held) => held.replay(id))
  }

  purge(lane: number, id: string): Promise<boolean> {
    return this.#in(lane, (held) => held.purge(id))
  }

  /** The log row is the queue's entry: what is logged waits, or has been settled. */
  redrive(lane: number): Promise<number> {
    return this.#in(lane, () => 0)
  }

  /** Removes what is older than the retention from the lanes held. */
  async removeOld(): Promise<void> {
    for (const lane of [...this.#held.keys()]) await this.#in(lane, (held) => held.removeOld())
  }

  close(): void {
    for (const held of this.#held.values()) held.release()
    this.#held.clear()
  }

  async #in<T>(lane: number, work: (held: HeldLane) => T | Promise<T>): Promise<T> {
    const held = this.#held.get(lane)
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
    const { data, clock, retentionMs } = this.#options
    const path = join(data, homeName(lane))
    try {
      return new Home(path, clock, retentionMs)
    } catch (error) {
      if (faultOf(error) !== 'damaged') throw error
      this.#setHomeAside(lane)
      return new Home(path, clock, retentionMs)
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

function elsewhere(lane: number): MailroomError<'MR_LANE_ELSEWHERE'> {
  return new MailroomError('MR_LANE_ELSEWHERE', { lane, name: 'this process' })
}
