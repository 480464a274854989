/**
 * The operator of a simulated world: fixes the handler, then replays dead letters or purges some. Every second one does so in
 * bulk, page by page: of the letters that were there before none may be left out.
 */
import type { Dead, Message } from '../../src/storage/ports.ts'
import type { Clients } from './clients.ts'
import { POISONS } from './poison.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'
import { passUntil, within } from './waiting.ts'

const PAUSE_MS = { min: 50, max: 500 }
const PURGES = 0.25
const IN_BULK = 1 / 2
const BULK_PURGES = 0.1
/** While so many of the bulk replays at the end run, messages actors are restarted. */
const RESTARTS = 0.8
const RESTART_PAUSE_MS = { min: 0, max: 500 }
/** Fewer than there are, so that there are pages. */
const BULK_LIMIT = { min: 1, max: 12 }
/** What is replayed has its five starts again. */
const CALM_MS = 120_000

/** What it needs of its world. */
export interface OperatingOptions {
  scheduler: Scheduler
  rng: Rng
  /** Decides whether it works in bulk. */
  bulkRng: Rng
  clients: Clients
  /** Restarts the messages actors of some node, so that lanes move. */
  restart: () => Promise<unknown>
  /** True when nothing waits, and nothing is under way. */
  isQuiet: () => boolean
  onBug: (what: string) => void
}

/** The operator of one history. */
export class Operating {
  readonly #options: OperatingOptions
  /** Ids that a purge was asked of, and whether it was told that they are gone. */
  readonly #purges = new Map<string, boolean>()
  readonly #isInBulk: boolean
  #hasPurgedAll = false

  constructor(options: OperatingOptions) {
    this.#options = options
    this.#isInBulk = options.bulkRng.chance(IN_BULK)
  }

  /** Those of the log that need be in no list: they were purged, or may have been. */
  purgedOf(logged: readonly Pick<Message, 'id' | 'text'>[]): ReadonlySet<string> {
    // A purge of all takes those that die meanwhile, and those of which no client knows that they were stored.
    const isPoison = (text: string) => POISONS.some((poison) => text.startsWith(poison))
    const all = logged.filter(({ text }) => this.#hasPurgedAll && isPoison(text))
    return new Set([...this.#purges.keys(), ...all.map(({ id }) => id)])
  }

  /** Any letter, or all of them, again and again while faults happen. */
  async underFire(goOn: () => boolean): Promise<void> {
    const { clients, rng } = this.#options
    while (goOn()) {
      const letters = (await clients.deadLetters()) ?? []
      if (letters.length > 0 && this.#isInBulk) await this.#dealWithAll(letters, goOn)
      else if (letters.length > 0) await this.#dealWith(rng.pick(letters).id)
      await clients.pause(PAUSE_MS)
    }
  }

  /** When all is quiet: replays what is left, once each. What was purged is not among it. */
  async inCalm(): Promise<void> {
    const { scheduler, bulkRng, clients, restart, isQuiet, onBug } = this.#options
    const letters = await within(
      scheduler,
      CALM_MS,
      this.#answered(() => clients.deadLetters()),
    )
    if (letters === undefined) return onBug('the dead letters could not be had')
    if (this.#isInBulk) {
      const restarted = bulkRng.chance(RESTARTS) ? restart() : undefined
      if (restarted !== undefined) await within(scheduler, CALM_MS, clients.pause(RESTART_PAUSE_MS))
      const replayed = this.#inBulk('replay', letters, () => true)
      const told = await within(scheduler, CALM_MS, replayed)
      await within(scheduler, CALM_MS, Promise.resolve(restarted))
      if (told === undefined) onBug('a bulk replay does not come to its end')
      else if (told.allTold && told.count !== letters.length)
        onBug(`${told.count} dead letters replayed instead of ${letters.length}`)
      return passUntil(scheduler, CALM_MS, isQuiet)
    }
    for (const { id } of letters) {
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

  async #dealWithAll(letters: readonly Dead[], goOn: () => boolean): Promise<void> {
    const { bulkRng } = this.#options
    if (!bulkRng.chance(BULK_PURGES)) {
      await this.#inBulk('replay', letters, goOn)
      return
    }
    this.#hasPurgedAll = true
    await this.#inBulk('purge', letters, goOn)
  }

  /** All there are. @param letters Those known before: none of them may be as dead as it was. @returns As `Clients.changeDead`. */
  async #inBulk(change: 'replay' | 'purge', letters: readonly Dead[], goOn: () => boolean) {
    const { bulkRng, clients, onBug } = this.#options
    const limit = BULK_LIMIT.min + bulkRng.below(BULK_LIMIT.max - BULK_LIMIT.min)
    const told = await clients.changeDead(change, { limit, goOn })
    if (told === undefined) return undefined
    const left = new Map((await clients.deadLetters())?.map(({ id, deadAt }) => [id, deadAt]))
    for (const { id, deadAt } of letters)
      if (left.get(id) === deadAt) onBug(`left out by a bulk ${change}: ${id}`)
    return told
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
