/**
 * A simulated process: unchanged code, with every input and every effect under control. Between two events its code
 * is blocked in awaits of the simulated world, so withholding all further input kills it. Withholding all further
 * effects kills it during an event, which is a crash at any await.
 */
import type { Cancel } from '../../src/runtime/clock.ts'
import { beforeLeaps, type NodeClock, type NodeTime, timeAt } from '../../src/runtime/node-time.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'

/** The instant at which wall clocks start. */
const EPOCH = Date.UTC(2026, 0, 1)

/** A machine. Its processes share a wall clock. */
export interface Machine {
  name: string
  /** Added to its wall clock, in ms. */
  clockOffsetMs: number
  /** Another one after each loss of power. */
  boot: number
  /** The time of its node. Without it, processes go by the wall clock. */
  time?: NodeTime
}

/** A machine's wall clock, in ms since 1970. */
export function wallClockOf({ now }: Scheduler, { clockOffsetMs }: Machine): number {
  return Math.floor(EPOCH + now + clockOffsetMs)
}

/** What processes of a machine stamp with, in ms since 1970. */
function nodeTimeOf(scheduler: Scheduler, machine: Machine): number {
  const { time } = machine
  return time === undefined ? wallClockOf(scheduler, machine) : Math.floor(timeAt(time, scheduler.now))
}

/** As `Clock.ago` of the processes of a machine. */
export function agoOn(scheduler: Scheduler, machine: Machine, ms: number): number {
  return beforeLeaps(nodeTimeOf(scheduler, machine), ms, machine.time?.leaps ?? [])
}

/** One process. */
export class SimProcess {
  readonly name: string
  readonly machine: Machine
  readonly scheduler: Scheduler
  readonly rng: Rng
  readonly clock: NodeClock
  /** Unanswered calls that it made or serves: a fault now would hit them. */
  inFlight = 0
  /** Called before each effect on the world, for faults that wait for one. */
  onLeave: () => void = () => {}
  readonly #waiting: (() => void)[] = []
  readonly #deathListeners: (() => void)[] = []
  #alive = true
  #freezes = 0
  /** It dies after this many more effects. `#lastCallLeaves`: whether the last one happens. */
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

  /** Delivers an input: now, when it is thawed, or (dead) never. */
  reach(work: () => void): void {
    if (!this.#alive) return
    if (this.#freezes > 0 || this.#waiting.length > 0) this.#waiting.push(work)
    else this.#enter(work)
  }

  /** Must be called before each effect on the world. False when the effect must not happen. */
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

  /** Calls `listener` when it dies. @returns A function that removes the listener. */
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

  /** Blocks it in a system call for `ms`; then `done` runs before the inputs that arrived meanwhile. */
  block(ms: number, done: () => void): void {
    this.#freezes++
    this.scheduler.after(ms, () => {
      if (!this.#alive) return
      this.#waiting.unshift(done)
      this.thaw()
    })
  }

  /** Delivers the waiting inputs one by one. All microtasks of one run before the next. */
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

function clockOf(process: SimProcess): NodeClock {
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
    now: () => nodeTimeOf(scheduler, machine),
    ago: (ms) => agoOn(scheduler, machine, ms),
    problem: () => undefined,
    warnings: () => [],
    monotonic: () => scheduler.now,
    after,
    every(periodMs, work) {
      let cancel: Cancel
      const again = () => {
        cancel = after(periodMs, again)
        work()
      }
      // So that timers of different processes are out of step.
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
