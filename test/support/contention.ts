/** How much of a processor a process gets here: a bound of time is the program's promise, not its neighbours'. */
import type { TestContext } from 'node:test'

const EVERY_MS = 100
const SPIN_US = 3000

/** Measures until the test ends, with little work of its own. */
export class Contention {
  #wallUs = 0
  #cpuUs = 0

  constructor(context: Pick<TestContext, 'after'>) {
    const timer = setInterval(() => this.#measure(), EVERY_MS)
    this.#measure()
    context.after(() => clearInterval(timer))
  }

  /** A bound of `ms` on a machine that has nothing else to do, as it is on this one since the last time asked. */
  allow(ms: number): number {
    const factor = Math.max(1, this.#wallUs / this.#cpuUs)
    this.#wallUs = 0
    this.#cpuUs = 0
    this.#measure()
    return ms * factor
  }

  #measure(): void {
    const began = performance.now()
    const before = process.cpuUsage()
    let spent = 0
    while (spent < SPIN_US) {
      const { user, system } = process.cpuUsage(before)
      spent = user + system
    }
    this.#wallUs += (performance.now() - began) * 1000
    this.#cpuUs += spent
  }
}
