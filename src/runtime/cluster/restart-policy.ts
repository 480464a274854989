/**
 * The restart policy of one actor: exponential backoff with full jitter, from 0.1 s to 30 s. Five crashes within 60 s
 * open its circuit breaker. It is then probed every 30 s, until a process has been ready for 60 s. A fork that failed
 * says nothing about the actor: it never opens the breaker, and is tried again after 2 s at the latest.
 */

import type { Clock, Random } from '../clock.ts'
import { CRASH_WINDOW_MS, FORK_RETRY_MAX_MS, RESTART_BASE_MS, RESTART_MAX_MS } from '../timings.ts'

const BREAKER_COUNT = 5

/** Restart after `delayMs`; `failed` while the circuit breaker is open. */
export interface Verdict {
  delayMs: number
  failed: boolean
}

/** Keeps one actor's crashes. */
export class RestartPolicy {
  readonly #clock: Clock
  readonly #random: Random
  /** Monotonic times of the crashes within the last 60 s. */
  #crashes: number[] = []
  #open = false
  #readyAt: number | null = null
  /** Forks that failed since the last process. */
  #failedForks = 0

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  /** The actor became ready. */
  ready(): void {
    this.#readyAt = this.#clock.monotonic()
    this.#failedForks = 0
  }

  /** No process could be started for the actor. */
  forkFailed(): Verdict {
    if (this.#open) return { delayMs: RESTART_MAX_MS, failed: true }
    const delayMs = this.#random() * Math.min(FORK_RETRY_MAX_MS, RESTART_BASE_MS * 2 ** this.#failedForks++)
    return { delayMs, failed: false }
  }

  /** The actor's process crashed. */
  crashed(): Verdict {
    const now = this.#clock.monotonic()
    if (this.#readyAt !== null && now - this.#readyAt >= CRASH_WINDOW_MS) this.#open = false
    this.#readyAt = null
    this.#crashes = this.#crashes.filter((at) => now - at < CRASH_WINDOW_MS)
    this.#crashes.push(now)
    if (this.#crashes.length >= BREAKER_COUNT) this.#open = true
    if (this.#open) return { delayMs: RESTART_MAX_MS, failed: true }
    return {
      delayMs: this.#random() * Math.min(RESTART_MAX_MS, RESTART_BASE_MS * 2 ** (this.#crashes.length - 1)),
      failed: false,
    }
  }
}
