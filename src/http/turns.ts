/**
 * Work in short turns. Between two looks at its sockets a process does everything that has arrived; a look takes
 * in one new connection at most. A thousand posts between two looks leave those who knock outside for minutes,
 * a probe of /livez among them. So posts wait in line here, and few are taken up each turn.
 */
import type { Clock } from '../runtime/clock.ts'
import { SLICE_MS } from '../runtime/timings.ts'

/** So many turns in a row may pass without work while each brings one who knocked. */
export const LOOKS_MAX = 16

/** A line of work, first in, first out. */
export class Turns {
  readonly #clock: Clock
  #line: (() => void)[] = []
  #scheduled = false
  #knocked = false
  #looks = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Somebody was let in, and there may be more outside: another look before more work. */
  knocked(): void {
    this.#knocked = true
  }

  /** Adds work, which must not throw. */
  add(work: () => void): void {
    this.#line.push(work)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#clock.soon(() => {
      this.#scheduled = false
      this.#turn()
      if (this.#line.length > 0) this.#schedule()
    })
  }

  #turn(): void {
    const isLook = this.#knocked && this.#looks < LOOKS_MAX
    this.#knocked = false
    this.#looks = isLook ? this.#looks + 1 : 0
    if (isLook) return
    const began = this.#clock.monotonic()
    let done = 0
    while (done < this.#line.length) {
      this.#line[done++]!()
      if (this.#clock.monotonic() - began >= SLICE_MS) break
    }
    this.#line = this.#line.slice(done)
  }
}
