/** The queues of a simulated cluster. Delivery is at most once: an item is removed before its taker has it. */
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'

/** A `take` that waits for an item. */
interface Parked {
  give: (item: string | undefined) => void
}

/** All queues of one cluster, by name. */
export class SimQueues {
  /** Told when an item was given to a process that is dead. */
  onSwallowed: () => void = () => {}
  readonly #scheduler: Scheduler
  readonly #rng: Rng
  /** Items: oldest first. */
  readonly #queues = new Map<string, { items: string[]; parked: Parked[] }>()

  constructor(scheduler: Scheduler, rng: Rng) {
    this.#scheduler = scheduler
    this.#rng = rng
  }

  offer(name: string, item: string): void {
    const queue = this.#queueOf(name)
    const taker = queue.parked.shift()
    if (taker === undefined) queue.items.push(item)
    else taker.give(item)
  }

  take(name: string, maxCount: number): string[] {
    return this.#queueOf(name).items.splice(0, maxCount)
  }

  /** Waits at the cluster; what it is given is gone, whether the process still is there or not. */
  park(name: string, process: SimProcess, waitMs: number, reply: (item: string | undefined) => void): void {
    const queue = this.#queueOf(name)
    const parked: Parked = {
      give: (item) => {
        if (!process.alive) this.onSwallowed()
        reply(item)
      },
    }
    queue.parked.push(parked)
    const leave = (then: () => void) => {
      const index = queue.parked.indexOf(parked)
      if (index < 0) return
      queue.parked.splice(index, 1)
      then()
    }
    this.#scheduler.after(waitMs, () => leave(() => reply(undefined)))
    // A dead taker is noticed only when its connection is.
    const forget = () => void this.#scheduler.after(this.#rng.between(0, 50), () => leave(() => {}))
    if (process.alive) process.onDeath(forget)
    else forget()
  }

  /** A member dies: what queues held is copied a moment later than what maps hold, so some of it is gone. */
  loseSome(): void {
    for (const queue of this.#queues.values()) queue.items = queue.items.filter(() => this.#rng.chance(0.7))
  }

  /** All members stop: items are gone, and takers wait for nothing. */
  clear(): void {
    this.#queues.clear()
  }

  #queueOf(name: string) {
    let queue = this.#queues.get(name)
    if (queue === undefined) {
      queue = { items: [], parked: [] }
      this.#queues.set(name, queue)
    }
    return queue
  }
}
