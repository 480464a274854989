/** A clock that stands still until it is told to go on. */
import type { Cancel } from '../../src/runtime/clock.ts'
import type { MailroomError } from '../../src/runtime/errors.ts'
import { beforeLeaps, type NodeClock } from '../../src/runtime/node-time.ts'

interface Timer {
  dueAt: number
  work: () => void
}

/** Time for tests: passes only in `advance`. */
export class FakeClock implements NodeClock {
  /** What `problem` and `warnings` say. */
  wrong: MailroomError | undefined
  off: string[] = []
  readonly #leaps: { to: number; by: number }[] = []
  readonly #timers = new Set<Timer>()
  #now: number
  #monotonic = 0

  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  ago(ms: number): number {
    return beforeLeaps(this.#now, ms, this.#leaps)
  }

  problem(): MailroomError | undefined {
    return this.wrong
  }

  warnings(): string[] {
    return this.off
  }

  monotonic(): number {
    return this.#monotonic
  }

  after(delayMs: number, work: () => void): Cancel {
    const timer = { dueAt: this.#monotonic + Math.max(0, delayMs), work }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  every(periodMs: number, work: () => void): Cancel {
    let cancel: Cancel
    const next = () => this.after(periodMs - (this.#monotonic % periodMs), again)
    const again = () => {
      cancel = next()
      work()
    }
    cancel = next()
    return () => cancel()
  }

  soon(work: () => void): void {
    setImmediate(work)
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const cancel = this.after(delayMs, resolve)
      const wake = () => {
        cancel()
        resolve()
      }
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  /** It steps; timers are not touched. */
  step(byMs: number): void {
    this.#now += byMs
  }

  /** It jumps forward, which makes nothing older. */
  leap(by: number): void {
    this.#now += by
    this.#leaps.unshift({ to: this.#now, by })
  }

  /** Lets `ms` pass: timers fire in their order, and what they set in motion runs in between. */
  async advance(ms: number): Promise<void> {
    const endAt = this.#monotonic + ms
    await settle()
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a.dueAt - b.dueAt)[0]
      if (next === undefined || next.dueAt > endAt) break
      this.#timers.delete(next)
      this.#pass(next.dueAt - this.#monotonic)
      next.work()
      await settle()
    }
    this.#pass(endAt - this.#monotonic)
    await settle()
  }

  #pass(ms: number): void {
    this.#monotonic += ms
    this.#now += ms
  }
}

/** Lets everything happen that can without time passing. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}
