/** The figures of the last minutes, for the charts of the dashboard: the primary keeps them, in memory only. */
import { type Distribution, quantileOf, type Stats } from './stats.ts'
import { HEARTBEAT_MS, HISTORY_MS } from './timings.ts'

/** One second. Counts are messages per second. */
export interface Point {
  /** Its end, the node's time, ms since 1970. */
  at: number
  accepted: number
  delivered: number
  refused: number
  died: number
  /** Messages that waited at its end. */
  waiting: number
  /** What 99 of 100 took at most, in seconds; null when there were none. */
  acceptP99: number | null
  deliveryP99: number | null
}

type Counts = Pick<
  Stats,
  'at' | 'accepted' | 'delivered' | 'refused' | 'died' | 'waiting' | 'accept' | 'delivery'
>

/** Keeps a point for each second of the last `HISTORY_MS`. */
export class History {
  readonly #points: Point[] = []
  #before: Counts | undefined

  /** Takes what the figures are now, once a second. */
  add(now: Counts): void {
    const before = this.#before
    this.#before = now
    if (before === undefined || now.at <= before.at) return
    const perSecond = (count: 'accepted' | 'delivered' | 'refused' | 'died') =>
      // A node has left, or begun anew.
      Math.max(0, ((now[count] - before[count]) * 1000) / (now.at - before.at))
    const p99 = (of: 'accept' | 'delivery') => p99Between(before[of], now[of])
    this.#points.push({
      ...{ at: now.at, accepted: perSecond('accepted'), delivered: perSecond('delivered') },
      ...{ refused: perSecond('refused'), died: perSecond('died'), waiting: now.waiting },
      ...{ acceptP99: p99('accept'), deliveryP99: p99('delivery') },
    })
    if (this.#points.length > HISTORY_MS / HEARTBEAT_MS) this.#points.shift()
  }

  /** The oldest first. */
  points(): Point[] {
    return [...this.#points]
  }
}

function p99Between(before: Distribution, now: Distribution): number | null {
  return now.count === before.count ? null : (quantileOf(0.99, now, before) ?? null)
}
