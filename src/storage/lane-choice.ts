/** Chooses the lane of the next batch. */

import type { Clock } from '../runtime/clock.ts'
import { BACKLOG_PERIOD_MS, DELIVERY_MS } from '../runtime/timings.ts'

/** By lane: its holder, and its pending messages as of the holder's last heartbeat. */
export type LaneReport = () => readonly { holder: string | null; waiting: number }[]

/** Chooses a lane of the holder with the smallest backlog, in rotation, and keeps it for `DELIVERY_MS`. */
export class LaneChoice {
  readonly #clock: Clock
  readonly #report: LaneReport
  readonly #sent = new Map<string | null, number>()
  #sentSince: number
  #last = -1
  /** Of the last lane. */
  #holder: string | null = null
  #keptUntil = Number.NEGATIVE_INFINITY

  /** @param report Without one all lanes count alike. */
  constructor(clock: Clock, laneCount: number, report?: LaneReport) {
    const alike = Array.from({ length: laneCount }, () => ({ holder: null, waiting: 0 }))
    this.#clock = clock
    this.#report = report ?? (() => alike)
    this.#sentSince = clock.monotonic()
  }

  /** The lane for a batch of `count` messages. */
  choose(count: number): number {
    const now = this.#clock.monotonic()
    if (now - this.#sentSince > BACKLOG_PERIOD_MS) {
      this.#sent.clear()
      this.#sentSince = now
    }
    const lanes = this.#report()
    if (now < this.#keptUntil && lanes[this.#last]!.holder === this.#holder) {
      this.#sent.set(this.#holder, (this.#sent.get(this.#holder) ?? 0) + count)
      return this.#last
    }
    const loads = new Map<string | null, number>()
    for (const { holder, waiting } of lanes) {
      loads.set(holder, (loads.get(holder) ?? this.#sent.get(holder) ?? 0) + waiting)
    }
    const least = Math.min(...loads.values())
    for (let step = 1; step <= lanes.length; step++) {
      const lane = (this.#last + step) % lanes.length
      const { holder } = lanes[lane]!
      if (loads.get(holder) !== least) continue
      this.#last = lane
      this.#holder = holder
      this.#keptUntil = now + DELIVERY_MS
      this.#sent.set(holder, (this.#sent.get(holder) ?? 0) + count)
      return lane
    }
    throw new Error('there is no lane')
  }
}
