/** What is to be out of a held lane's `pending`. That is no outcome: nobody waits for it, and it is tried until it succeeds. */
import { MailroomError } from '../../errors.ts'
import { type ClusterMap, onlyAway } from './cluster.ts'

/** The keys of one lane's entries that leave `pending`. */
export class Leaving {
  readonly #pending: ClusterMap
  /** What is under way of each; undefined: it failed, and waits for the next look-through. */
  readonly #keys = new Map<string, Promise<void> | undefined>()
  /** Those that went since the last look-through began. */
  readonly #gone = new Set<string>()

  constructor(pending: ClusterMap) {
    this.#pending = pending
  }

  /** True for one that is to be out and is not known to be. */
  has(key: string): boolean {
    return this.#keys.has(key)
  }

  /** True for one that a look-through may have found although it is none of its affair any more. */
  hasOrHad(key: string): boolean {
    return this.#keys.has(key) || this.#gone.has(key)
  }

  /** Takes one out: now, or with a later look-through. */
  add(key: string): void {
    if (this.#keys.get(key) !== undefined) return
    const under = this.#pending.delete(key).then(
      () => {
        this.#keys.delete(key)
        this.#gone.add(key)
      },
      (error: unknown) => {
        onlyAway(error)
        this.#keys.set(key, undefined)
      },
    )
    this.#keys.set(key, under)
  }

  /** A look-through begins: what failed is tried again. */
  again(): void {
    this.#gone.clear()
    for (const key of this.#keys.keys()) this.add(key)
  }

  /**
   * Resolves when this key is out: it may be put in anew then, and stays.
   *
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE` (none) when it cannot be taken out now.
   */
  async out(key: string): Promise<void> {
    if (!this.#keys.has(key)) return
    this.add(key)
    await this.#keys.get(key)
    if (!this.#keys.has(key)) return
    const reason = 'what was settled cannot be taken out of its line now'
    throw new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason })
  }

  /** Resolves when nothing is under way. */
  async rest(): Promise<void> {
    await Promise.all(this.#keys.values())
  }
}
