/**
 * Chooses among peers that can all do the work: the less busy of two random ones. A peer that failed is set
 * aside, longer each time; after that one call at a time tries it until one succeeds.
 */
import type { Clock, Random } from '../../runtime/clock.ts'
import { PASS_OVER_MAX_MS, PASS_OVER_MS } from '../../runtime/timings.ts'

interface Standing {
  inFlight: number
  failures: number
  asideUntil: number
}

/** Keeps the requests in flight and the failures of each peer, by name. */
export class Balancer {
  readonly #clock: Clock
  readonly #random: Random
  readonly #standings = new Map<string, Standing>()

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  /** The name to ask, of `names`; those set aside only when there is no other. Undefined when there is none. */
  pick(names: readonly string[]): string | undefined {
    const good = names.filter((name) => this.#isGood(name))
    const from = good.length > 0 ? good : names
    if (from.length <= 1) return from[0]
    const first = Math.floor(this.#random() * from.length)
    const second = (first + 1 + Math.floor(this.#random() * (from.length - 1))) % from.length
    const [a, b] = [from[first]!, from[second]!]
    return this.#of(a).inFlight <= this.#of(b).inFlight ? a : b
  }

  /** Counts a call to a peer; a failure that speaks against the peer (`blames`) sets it aside. */
  async track<T>(name: string, call: () => Promise<T>, blames: (error: unknown) => boolean): Promise<T> {
    const standing = this.#of(name)
    standing.inFlight++
    try {
      const value = await call()
      standing.failures = 0
      standing.asideUntil = 0
      return value
    } catch (error) {
      const now = this.#clock.monotonic()
      // Calls that were under way together and fail together are one failure.
      if (blames(error) && now >= standing.asideUntil) {
        standing.asideUntil = now + Math.min(PASS_OVER_MAX_MS, PASS_OVER_MS * 2 ** standing.failures++)
      }
      throw error
    } finally {
      standing.inFlight--
    }
  }

  /** True when a call to `name` tries whether it is well again, and one of the `others` is known to be well. */
  isTrial(name: string, others: readonly string[]): boolean {
    return this.#of(name).failures > 0 && others.some((other) => this.#of(other).failures === 0)
  }

  #isGood(name: string): boolean {
    const { failures, asideUntil, inFlight } = this.#of(name)
    if (failures === 0) return true
    return this.#clock.monotonic() >= asideUntil && inFlight === 0
  }

  #of(name: string): Standing {
    let standing = this.#standings.get(name)
    if (standing === undefined) {
      standing = { inFlight: 0, failures: 0, asideUntil: 0 }
      this.#standings.set(name, standing)
    }
    return standing
  }
}
