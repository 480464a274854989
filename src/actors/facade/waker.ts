/**
 * Wakes the holders of lanes: one call a holder at a time, the lanes that come up meanwhile go together in the
 * next. Nobody waits for it, and nothing is lost with it: a holder looks through its lanes anyway.
 */

import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import { livingMessages } from '../../runtime/cluster/directory.ts'
import { WAKE_TIMEOUT_MS } from '../../runtime/timings.ts'
import { assignLanes } from '../../storage/lanes.ts'
import type { Peers } from '../protocol.ts'

/** A lane's holder, and messages waiting there. */
interface LaneDepth {
  holder: string | null
  waiting: number
}

/** What `queue.accept` needs to know of the lanes' holders. */
export class Waker {
  readonly #context: ActorContext
  readonly #peers: Peers
  readonly #laneCount: number
  readonly #pending = new Map<string, Set<number>>()
  readonly #calling = new Set<string>()
  /** What follows from the directory alone: made anew when it has changed. */
  #known: { holders: string[]; depths: LaneDepth[] } | undefined

  constructor(context: ActorContext, peers: Peers, laneCount: number) {
    this.#context = context
    this.#peers = peers
    this.#laneCount = laneCount
    context.directory.onChange(() => {
      this.#known = undefined
    })
  }

  /** Tells the lane's holder, soon. Never throws. */
  wake(lane: number): void {
    const holder = this.#read().holders[lane]
    if (holder === undefined) return
    const lanes = this.#pending.get(holder) ?? new Set()
    this.#pending.set(holder, lanes.add(lane))
    if (!this.#calling.has(holder)) void this.#call(holder)
  }

  /** By lane: its holder, and messages waiting there as of the last heartbeat. */
  depths(): readonly LaneDepth[] {
    return this.#read().depths
  }

  #read(): { holders: string[]; depths: LaneDepth[] } {
    if (this.#known === undefined) {
      const actors = this.#context.directory.actors()
      const holders = assignLanes(this.#laneCount, livingMessages(actors))
      const byName = new Map(actors.map((entry) => [entry.name, entry]))
      const depths = Array.from({ length: this.#laneCount }, (_, lane) => {
        const holder = holders[lane] ?? null
        return { holder, waiting: (holder !== null && byName.get(holder)?.lanes?.[lane]) || 0 }
      })
      this.#known = { holders, depths }
    }
    return this.#known
  }

  async #call(holder: string): Promise<void> {
    this.#calling.add(holder)
    for (let lanes = this.#pending.get(holder); lanes !== undefined; lanes = this.#pending.get(holder)) {
      this.#pending.delete(holder)
      const address = this.#context.directory.actors().find(({ name }) => name === holder)?.address
      // A call that fails has lost a hint, no more.
      if (address)
        await this.#peers
          .messages(address, WAKE_TIMEOUT_MS)
          .wake([...lanes])
          .catch(() => {})
    }
    this.#calling.delete(holder)
  }
}
