/**
 * A simulated process: code that runs unchanged, and all that reaches it or leaves it. Between two events its
 * code stands at awaits of this world only; so to kill it is to let nothing reach it any more. To kill it in the
 * midst of an event is to let nothing leave it any more: a crash at any await.
 */
import type { Cancel, Clock } from '../../src/runtime/clock.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'

/** Where the wall clocks of a world begin. */
const EPOCH = Date.UTC(2026, 0, 1)

/** What processes of one machine share. */
export interface Machine {
  name: string
  /** How far its wall clock is off, in ms. */
  clockOffsetMs: number
}

/** A machine's wall clock, in ms since 1970. */
export function wallClockOf({ now }: Scheduler, { clockOffsetMs }: Machine): number {
  return Math.floor(EPOCH + now + clockOffsetMs)
}

/** One process. */
export class SimProcess {
  readonly name: string
  readonly machine: Machine
  readonly scheduler: Scheduler
  readonly rng: Rng
  readonly clock: Clock
  /** Calls it made or serves that have not been answered: what a fault now would hit. */
  inFlight = 0
  /** Told of each effect on the world, for faults that wait for one. */
  onLeave: () => void = () => {}
  readonly #waiting: (() => void)[] = []
  readonly #deathListeners: (() => void)[] = []
  #alive = true
  #freezes = 0
  /** Dies when so many more calls have left it; the last one perhaps not. */
  #callsToLive = Number.POSITIVE_INFINITY
  #lastCallLeaves = true

  constructor(scheduler: Scheduler, name: string, machine: Machine, rng: Rng) {
    this.scheduler = scheduler
    this.name = name
    this.machine = machine
    this.rng = rng
    this.clock = clockOf(this)
  }

  get alive(): boolean {
    return this.#alive
  }

  get frozen(): boolean {
    return this.#freezes > 0
  }

  /** Something reaches it: now, when it is thawed, or never. */
  reach(work: () => void): void {
    if (!this.#alive) return
    if (this.#freezes > 0 || this.#waiting.length > 0) this.#waiting.push(work)
    else this.#enter(work)
  }

  /** Asked before each effect on the world: false when that does not happen any more. */
  leaves(): boolean {
    if (!this.#alive) return false
    this.onLeave()
    if (--this.#callsToLive > 0) return true
    this.#callsToLive = Number.POSITIVE_INFINITY
    this.scheduler.note(`${this.name} dies at a call, which ${this.#lastCallLeaves ? 'leaves' : 'does not'}`)
    this.die()
    return this.#lastCallLeaves
  }

  /** It dies at its `count`-th effect on the world from now on. */
  dieAtCall(count: number, lastCallLeaves: boolean): void {
    this.#callsToLive = count
    this.#lastCallLeaves = lastCallLeaves
  }

  die(): void {
    if (!this.#alive) return
    this.#alive = false
    this.#waiting.length = 0
    for (const listener of this.#deathListeners.splice(0)) listener()
  }

  /** Calls `listener` when it dies; never when it is dead. @returns Stops listening. */
  onDeath(listener: () => void): () => void {
    this.#deathListeners.push(listener)
    return () => {
      const index = this.#deathListeners.indexOf(listener)
      if (index >= 0) this.#deathListeners.splice(index, 1)
    }
  }

  freeze(): void {
    this.#freezes++
  }

  thaw(): void {
    if (--this.#freezes === 0 && this.#waiting.length > 0) this.scheduler.after(0, () => this.#catchUp())
  }

  /** It stands in a call into the system for so long; then `done` comes before all that waited. */
  block(ms: number, done: () => void): void {
    this.#freezes++
    this.scheduler.after(ms, () => {
      if (!this.#alive) return
      this.#waiting.unshift(done)
      this.thaw()
    })
  }

  /** What waited comes in one by one: between two of them, all that each sets in motion runs. */
  #catchUp(): void {
    if (this.#freezes > 0 || !this.#alive) return
    const [next] = this.#waiting
    if (next === undefined) return
    this.scheduler.after(0, () => this.#catchUp())
    this.#waiting.shift()
    this.#enter(next)
  }

  #enter(work: () => void): void {
    this.scheduler.stirred = true
    work()
  }
}

function clockOf(process: SimProcess): Clock {
  const { scheduler, machine } = process
  const after = (delayMs: number, work: () => void): Cancel => {
    if (!process.alive) return () => {}
    let cancelled = false
    const timer = scheduler.after(Math.max(delayMs, 0), () =>
      process.reach(() => {
        if (!cancelled) work()
      }),
    )
    return () => {
      cancelled = true
      scheduler.cancel(timer)
    }
  }
  return {
    now: () => wallClockOf(scheduler, machine),
    monotonic: () => scheduler.now,
    after,
    every(periodMs, work) {
      let cancel: Cancel
      const again = () => {
        cancel = after(periodMs, again)
        work()
      }
      // Timers of different processes do not stand in step.
      cancel = after(periodMs * process.rng.between(0.5, 1), again)
      return () => cancel()
    },
    soon(work) {
      after(0, work)
    },
    sleep: (delayMs, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve()
        const cancel = after(delayMs, () => {
          signal?.removeEventListener('abort', wake)
          resolve()
        })
        const wake = () => {
          cancel()
          resolve()
        }
        signal?.addEventListener('abort', wake, { once: true })
      }),
  }
}
