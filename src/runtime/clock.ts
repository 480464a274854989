/**
 * Time and randomness as parameters, so that a simulation can pass its own. The only file that uses `Date.now`,
 * the timers and `Math.random`.
 */

/** Cancels a timer; harmless when it has fired. */
export type Cancel = () => void

/** A source of time. All durations in milliseconds, all instants in milliseconds since 1970 UTC. */
export interface Clock {
  /** The time that messages are stamped with. In a worker it is the node's time, which never runs backwards. */
  now(): number
  /** What `now` was `ms` ago: what was stamped before that is older than `ms`, also when the clock was set since. */
  ago(ms: number): number
  /** Time since a fixed point, the same in all processes of a machine; never steps. For durations and deadlines. */
  monotonic(): number
  /** Calls `work` once after at least `delayMs`. A pending timer keeps the process alive unless `unref`. */
  after(delayMs: number, work: () => void, options?: { unref?: boolean }): Cancel
  /**
   * Calls `work` every `periodMs` until cancelled, for the first time within `periodMs`; never keeps the process alive.
   * `systemClock` calls at multiples of the period, so that timers share their wake-ups of the process.
   */
  every(periodMs: number, work: () => void): Cancel
  /** Calls `work` in the next event-loop iteration, after pending input and microtasks. */
  soon(work: () => void): void
  /** Resolves after `delayMs`, or at once when `signal` is or gets aborted; never rejects. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
}

/** A source of randomness: evenly distributed in [0, 1). */
export type Random = () => number

function monotonic(): number {
  // Unlike `performance.now`, it does not count from the start of its process.
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}

/** All that is called every `periodMs`, by one timer. */
class Ticks {
  readonly #periodMs: number
  readonly #works = new Set<{ work: () => void }>()
  #dueAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(periodMs: number) {
    this.#periodMs = periodMs
  }

  add(work: () => void): Cancel {
    const own = { work }
    this.#works.add(own)
    if (this.#works.size === 1) {
      this.#dueAt = this.#nextMultiple()
      this.#schedule()
    }
    return () => {
      if (this.#works.delete(own) && this.#works.size === 0) clearTimeout(this.#timer)
    }
  }

  #nextMultiple(): number {
    return (Math.floor(monotonic() / this.#periodMs) + 1) * this.#periodMs
  }

  #schedule(): void {
    const delayMs = Math.max(1, Math.ceil(this.#dueAt - monotonic()))
    this.#timer = setTimeout(() => this.#run(), delayMs).unref()
  }

  #run(): void {
    // A timer may fire up to 1 ms early.
    this.#dueAt = Math.max(this.#dueAt + this.#periodMs, this.#nextMultiple())
    this.#schedule()
    for (const own of [...this.#works]) if (this.#works.has(own)) own.work()
  }
}

const ticksOf = new Map<number, Ticks>()

/** The machine's own clocks: `now` is its wall clock, which may step forwards and backwards. */
export const systemClock: Clock = {
  now: () => Date.now(),
  ago: (ms) => Date.now() - ms,
  monotonic,
  after(delayMs, work, options) {
    const timer = setTimeout(work, delayMs)
    if (options?.unref) timer.unref()
    return () => clearTimeout(timer)
  },
  every(periodMs, work) {
    const ticks = ticksOf.get(periodMs) ?? new Ticks(periodMs)
    ticksOf.set(periodMs, ticks)
    return ticks.add(work)
  },
  soon(work) {
    setImmediate(work)
  },
  sleep(delayMs, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const wake = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const timer = setTimeout(wake, delayMs)
      signal?.addEventListener('abort', wake, { once: true })
    })
  },
}

/** Instants that go on from now at the pace of the monotonic clock: no correction of `now` moves a time that is due. */
export function steadyNow(clock: Pick<Clock, 'now' | 'monotonic'>): () => number {
  const offset = clock.now() - clock.monotonic()
  return () => clock.monotonic() + offset
}

/** The real randomness. */
export const systemRandom: Random = Math.random
