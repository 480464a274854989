/**
 * Wakes the holders of lanes when messages arrive: at most one call per holder at a time, and one in `DELIVERY_MS`. Lanes
 * that need a wake-up meanwhile share the next call. A lost wake-up costs time only, as holders poll their lanes too.
 */
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import { livingMessages } from '../../runtime/cluster/directory.ts'
import { DELIVERY_MS, WAKE_TIMEOUT_MS } from '../../runtime/timings.ts'
import { assignLanes } from '../../storage/lanes.ts'
import type { Peers } from '../protocol.ts'

/** A lane's holder (null: none) and its pending messages as of the holder's last heartbeat. */
interface LaneDepth {
  holder: string | null
  waiting: number
}

/** What `queue.accept` needs to know of the lanes' holders. */
export class Waker {
  readonly #context: ActorContext
  readonly #peers: Peers
  readonly #laneCount: number
  /** Holder -> lanes of its next call. */
  readonly #nextLanes = new Map<string, Set<number>>()
  readonly #calling = new Set<string>()
  /** Computed from the directory; undefined after a change of it. */
  #lanes: { holders: string[]; depths: LaneDepth[] } | undefined

  constructor(context: ActorContext, peers: Peers, laneCount: number) {
    this.#context = context
    this.#peers = peers
    this.#laneCount = laneCount
    context.directory.onChange(() => {
      this.#lanes = undefined
    })
  }

  /** Sends a wake-up to the lane's holder, without waiting for it. Never throws. */
  wake(lane: number): void {
    const holder = this.#read().holders[lane]
    if (holder === undefined) return
    const lanes = this.#nextLanes.get(holder) ?? new Set()
    this.#nextLanes.set(holder, lanes.add(lane))
    if (!this.#calling.has(holder)) void this.#call(holder)
  }

  /** By lane number. */
  depths(): readonly LaneDepth[] {
    return this.#read().depths
  }

  #read(): { holders: string[]; depths: LaneDepth[] } {
    if (this.#lanes === undefined) {
      const actors = this.#context.directory.actors()
      const holders = assignLanes(this.#laneCount, livingMessages(actors))
      const byName = new Map(actors.map((entry) => [entry.name, entry]))
      const depths = Array.from({ length: this.#laneCount }, (_, lane) => {
        const holder = holders[lane] ?? null
        return { holder, waiting: (holder !== null && byName.get(holder)?.lanes?.[lane]) || 0 }
      })
      this.#lanes = { holders, depths }
    }
    return this.#lanes
  }

  async #call(holder: string): Promise<void> {
    this.#calling.add(holder)
    const { clock, directory } = this.#context
    for (let lanes = this.#nextLanes.get(holder); lanes !== undefined; lanes = this.#nextLanes.get(holder)) {
      this.#nextLanes.delete(holder)
      const address = directory.actors().find(({ name }) => name === holder)?.address
      if (!address) continue
      const pause = clock.sleep(DELIVERY_MS)
      await this.#peers
        .messages(address, WAKE_TIMEOUT_MS)
        .wake([...lanes])
        .catch(() => {})
      await pause
    }
    this.#calling.delete(holder)
  }
}
