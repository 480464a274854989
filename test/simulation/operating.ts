/** The operator of a simulated world: fixes the handler, then replays dead letters or purges some. */
import type { Clients } from './clients.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'
import { passUntil, within } from './waiting.ts'

const PAUSE_MS = { min: 50, max: 500 }
const PURGES = 0.25
/** What is replayed has its five starts again. */
const CALM_MS = 120_000

/** What it needs of its world. */
export interface OperatingOptions {
  scheduler: Scheduler
  rng: Rng
  clients: Clients
  /** True when nothing waits, and nothing is under way. */
  isQuiet: () => boolean
  onBug: (what: string) => void
}

/** The operator of one history. */
export class Operating {
  readonly #options: OperatingOptions
  /** Ids that a purge was asked of, and whether it was told that they are gone. */
  readonly #purges = new Map<string, boolean>()

  constructor(options: OperatingOptions) {
    this.#options = options
  }

  /** Ids that need be in no list: they were purged, or may have been. */
  get purged(): ReadonlySet<string> {
    return new Set(this.#purges.keys())
  }

  /** Any letter, again and again while faults happen. */
  async underFire(goOn: () => boolean): Promise<void> {
    const { clients, rng } = this.#options
    while (goOn()) {
      const letters = (await clients.deadLetters()) ?? []
      if (letters.length > 0) await this.#dealWith(rng.pick(letters))
      await clients.pause(PAUSE_MS)
    }
  }

  /** When all is quiet: replays what is left, once each. What was purged is not among it. */
  async inCalm(): Promise<void> {
    const { scheduler, clients, isQuiet, onBug } = this.#options
    const letters = await within(
      scheduler,
      CALM_MS,
      this.#answered(() => clients.deadLetters()),
    )
    if (letters === undefined) return onBug('the dead letters could not be had')
    for (const id of letters) {
      if (this.#purges.get(id)) onBug(`purged, and there again: ${id}`)
      const replayed = await within(scheduler, CALM_MS, this.#replayed(id))
      if (!replayed) onBug(`a dead letter that cannot be replayed: ${id}`)
    }
    await passUntil(scheduler, CALM_MS, isQuiet)
  }

  /** A call whose outcome is not known may have done it. */
  async #replayed(id: string): Promise<boolean> {
    let tries = 0
    const answer = await this.#answered(() => {
      tries++
      return this.#options.clients.replay(id)
    })
    return answer || tries > 1
  }

  /** What was replayed before may kill who is asked. */
  async #answered<T>(ask: () => Promise<T | undefined>): Promise<T> {
    for (let answer = await ask(); ; answer = await ask()) {
      if (answer !== undefined) return answer
      await this.#options.clients.pause(PAUSE_MS)
    }
  }

  async #dealWith(id: string): Promise<void> {
    const { clients, rng } = this.#options
    if (!rng.chance(PURGES)) {
      await clients.replay(id)
      return
    }
    // Until it is known: it may be gone.
    this.#purges.set(id, this.#purges.get(id) ?? false)
    const purged = await clients.purge(id)
    if (purged) this.#purges.set(id, true)
  }
}
