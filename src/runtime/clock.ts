/**
 * Time and randomness as parameters, so that a simulation can pass its own. The only file that uses `Date.now`,
 * the timers and `Math.random`.
 */

/** Cancels a timer; harmless when it has fired. */
export type Cancel = () => void

/** A source of time. All durations in milliseconds, all instants in milliseconds since 1970 UTC. */
export interface Clock {
  /** The wall clock. It may step forwards and backwards. */
  now(): number
  /** Time since some fixed point; never steps. For measuring durations. */
  monotonic(): number
  /** Calls `work` once after at least `delayMs`. A pending timer keeps the process alive unless `unref`. */
  after(delayMs: number, work: () => void, options?: { unref?: boolean }): Cancel
  /** Calls `work` every `periodMs` until cancelled; never keeps the process alive. */
  every(periodMs: number, work: () => void): Cancel
  /** Calls `work` in the next event-loop iteration, after pending input and microtasks. */
  soon(work: () => void): void
  /** Resolves after `delayMs`, or at once when `signal` is or gets aborted; never rejects. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
}

/** A source of randomness: evenly distributed in [0, 1). */
export type Random = () => number

/** The real clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, work, options) {
    const timer = setTimeout(work, delayMs)
    if (options?.unref) timer.unref()
    return () => clearTimeout(timer)
  },
  every(periodMs, work) {
    const timer = setInterval(work, periodMs)
    timer.unref()
    return () => clearInterval(timer)
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

/** The real randomness. */
export const systemRandom: Random = Math.random
