/**
 * What lanes have settled lately, in memory, in the order in which it became known here: for followers, who ask every
 * 100 ms. A lane that nobody follows keeps nothing.
 */
import type { Clock, Random } from '../../runtime/clock.ts'
import { RECENT_KEPT_MS } from '../../runtime/timings.ts'
import type { DeadHead, DeliveredHead } from '../../storage/ports.ts'
import type { RecentPart } from '../protocol.ts'

/** So many are kept of a lane, at least; a follower that is behind by more reads the lane's lists. */
const KEPT_COUNT = 2000
/** So many are given in one answer, of all lanes. */
const GIVEN_COUNT = 1000

type Settled = { delivered: DeliveredHead } | { dead: DeadHead }

/** Of one lane, from when it is first asked for. */
interface Kept {
  /** Begins its positions: no other lane, holder or time has it. */
  name: string
  /** The number of the first of `items`. */
  first: number
  items: Settled[]
  askedAt: number
}

/** What the held lanes of one messages actor have settled lately. */
export class Recent {
  readonly #clock: Clock
  readonly #random: Random
  readonly #lanes = new Map<number, Kept>()

  constructor({ clock, random }: { clock: Clock; random: Random }) {
    this.#clock = clock
    this.#random = random
  }

  /** True while somebody follows the lane. */
  isKept(lane: number): boolean {
    const kept = this.#lanes.get(lane)
    if (kept === undefined) return false
    if (this.#clock.monotonic() - kept.askedAt < RECENT_KEPT_MS) return true
    this.#lanes.delete(lane)
    return false
  }

  /** Keeps what a followed lane has settled, durably. */
  add(lane: number, settled: readonly Settled[]): void {
    const kept = this.#lanes.get(lane)
    if (kept === undefined) return
    kept.items.push(...settled)
    if (kept.items.length < 2 * KEPT_COUNT) return
    const count = kept.items.length - KEPT_COUNT
    kept.items.splice(0, count)
    kept.first += count
  }

  /** The lane is held no more, or something was not kept: positions in it are not known any more. */
  forget(lane: number): void {
    this.#lanes.delete(lane)
  }

  /** As `Messages.recent`, of lanes that are held. */
  since(asked: readonly { lane: number; position: string | null }[]): RecentPart[] {
    let room = GIVEN_COUNT
    return asked.map(({ lane, position }) => {
      const kept = this.#keep(lane)
      const [name, number] = position?.split(' ') ?? []
      const index = Number(number) - kept.first
      const isNew = name !== kept.name || index < 0
      const begin = isNew ? kept.items.length : index
      const items = kept.items.slice(begin, begin + room)
      room -= items.length
      return {
        position: `${kept.name} ${kept.first + begin + items.length}`,
        isNew,
        isEnd: begin + items.length === kept.items.length,
        delivered: items.flatMap((item) => ('delivered' in item ? item.delivered : [])),
        dead: items.flatMap((item) => ('dead' in item ? item.dead : [])),
      }
    })
  }

  #keep(lane: number): Kept {
    const askedAt = this.#clock.monotonic()
    const known = this.isKept(lane) ? this.#lanes.get(lane) : undefined
    const kept = known ?? { name: this.#random().toString(36).slice(2), first: 0, items: [], askedAt }
    kept.askedAt = askedAt
    this.#lanes.set(lane, kept)
    return kept
  }
}
