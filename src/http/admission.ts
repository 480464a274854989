/**
 * Admission of posts: bounds how long one waits behind others, without turning bursts away. Overload is not many
 * posts at once; it is more than are served for longer than a moment: for a whole second nobody was answered at
 * once. From then on a newcomer is refused while there are as many inside as the bound, until a second goes by
 * in which none was. (CoDel's idea, for requests.)
 */
import type { Clock } from '../runtime/clock.ts'
import { OVERLOAD_WINDOW_MS, PROMPT_ANSWER_MS } from '../runtime/timings.ts'

/** So many posts inside keep a fast store busy; more only wait. */
export const INSIDE_MAX = 1024
/** So few are no overload, however slow the store is. */
export const INSIDE_MIN = 256

/** Counts the posts inside, and how fast they leave. */
export class Admission {
  readonly #clock: Clock
  #inside = 0
  /** When somebody was last answered at once, or there was nobody. */
  #calmAt = 0
  /** When the last one was refused; undefined while there is no overload. */
  #refusedAt: number | undefined
  /** Posts that left in the last period, and in the one that runs since `#periodAt`. */
  #leftBefore = 0
  #left = 0
  #periodAt: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#periodAt = clock.monotonic()
  }

  /** Posts that may be inside before a crowd is one. */
  get bound(): number {
    return Math.min(INSIDE_MAX, Math.max(INSIDE_MIN, this.#leftBefore, this.#left))
  }

  /** True while newcomers may be refused. */
  get overloaded(): boolean {
    return this.#refusedAt !== undefined
  }

  /** Lets one post in and gives its way out, to be called once; undefined when it is to be refused. O(1). */
  enter(): (() => void) | undefined {
    const now = this.#clock.monotonic()
    this.#turn(now)
    if (this.#inside === 0) this.#calmAt = now
    if (this.#refusedAt !== undefined && now - this.#refusedAt >= OVERLOAD_WINDOW_MS)
      this.#refusedAt = undefined
    const stands = this.#refusedAt !== undefined || now - this.#calmAt >= OVERLOAD_WINDOW_MS
    if (stands && this.#inside >= this.bound) {
      this.#refusedAt = now
      return undefined
    }
    this.#inside++
    return () => this.#leave(now)
  }

  #leave(enteredAt: number): void {
    const now = this.#clock.monotonic()
    this.#inside--
    this.#left++
    if (now - enteredAt < PROMPT_ANSWER_MS) this.#calmAt = now
  }

  #turn(now: number): void {
    const tookMs = now - this.#periodAt
    if (tookMs < OVERLOAD_WINDOW_MS) return
    this.#leftBefore = tookMs < 2 * OVERLOAD_WINDOW_MS ? this.#left : 0
    this.#left = 0
    this.#periodAt = now
  }
}
