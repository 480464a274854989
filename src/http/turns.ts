/**
 * Work in short turns. Between two looks at its sockets a process does everything that has arrived; a look takes
 * in one new connection at most. A thousand posts between two looks leave those who knock outside for minutes,
 * a probe of /livez among them. So posts wait in line here, and few are taken up each turn.
 */
import type { Clock } from '../runtime/clock.ts'

/** The work of one turn. */
const SLICE_MS = 1

/** A line of work, first in, first out. */
export class Turns {
  readonly #clock: Clock
  #line: (() => void)[] = []
  #scheduled = false
  #knocked = false
  #workedAt = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Somebody was let in, and there may be more outside: they are looked for, for as long as a turn's work took. */
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
    const began = this.#clock.monotonic()
    const looking = this.#knocked && began - this.#workedAt < SLICE_MS
    this.#knocked = false
    if (looking) return
    let done = 0
    while (done < this.#line.length) {
      this.#line[done++]!()
      this.#workedAt = this.#clock.monotonic()
      if (this.#workedAt - began >= SLICE_MS) break
    }
    this.#line = this.#line.slice(done)
  }
}
