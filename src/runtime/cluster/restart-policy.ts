/**
 * When a crashed actor is started again: after 0.1 s, doubling, with full jitter, at most 30 s. Five crashes in
 * 60 s open the actor's breaker: from then one probe every 30 s, until one has lived for 60 s.
 */

import type { Clock, Random } from '../clock.ts'
import { CRASH_WINDOW_MS, RESTART_BASE_MS, RESTART_MAX_MS } from '../timings.ts'

const BREAKER_COUNT = 5

/** What to do about a crash: start again after `delayMs`; `failed` while the breaker is open. */
export interface Verdict {
  delayMs: number
  failed: boolean
}

/** Keeps one actor's crashes. */
export class RestartPolicy {
  readonly #clock: Clock
  readonly #random: Random
  /** Instants (monotonic) of the crashes of the last 60 s that speak against the actor. */
  #crashes: number[] = []
  #open = false
  #readyAt: number | null = null

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  /** The actor became ready. */
  ready(): void {
    this.#readyAt = this.#clock.monotonic()
  }

  /** The actor's process ended without being asked to; `forMessage`: a message's handler made it, which does not count. */
  crashed(forMessage = false): Verdict {
    const now = this.#clock.monotonic()
    if (this.#readyAt !== null && now - this.#readyAt >= CRASH_WINDOW_MS) this.#open = false
    this.#readyAt = null
    this.#crashes = this.#crashes.filter((at) => now - at < CRASH_WINDOW_MS)
    if (!forMessage) this.#crashes.push(now)
    if (this.#crashes.length >= BREAKER_COUNT) this.#open = true
    if (this.#open) return { delayMs: RESTART_MAX_MS, failed: true }
    return {
      delayMs: this.#random() * Math.min(RESTART_MAX_MS, RESTART_BASE_MS * 2 ** (this.#crashes.length - 1)),
      failed: false,
    }
  }

  /** The last crash was a message's doing, as is found out only now. */
  forgive(): void {
    this.#crashes.pop()
  }
}
