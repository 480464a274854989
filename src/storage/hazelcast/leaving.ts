/** What is to be out of a held lane's `pending`. That is no outcome: nobody waits for it, and it is tried until it succeeds. */
import { MailroomError } from '../../runtime/errors.ts'
import { type ClusterMap, onlyAway } from './cluster.ts'

interface Leaver {
  /** It leaves only as this. */
  value: string | undefined
  /** Undefined: it failed, and waits for the next scan. */
  underWay: Promise<void> | undefined
}

/** The keys of one lane's entries that leave `pending`. */
export class Leaving {
  readonly #pending: ClusterMap
  readonly #leavers = new Map<string, Leaver>()
  /** Those that went since the last scan began. */
  readonly #gone = new Set<string>()

  constructor(pending: ClusterMap) {
    this.#pending = pending
  }

  /** True for one that is to be out and is not known to be. */
  has(key: string): boolean {
    return this.#leavers.has(key)
  }

  /** True for one that a scan may have found although it is none of its affair any more. */
  hasOrHad(key: string): boolean {
    return this.#leavers.has(key) || this.#gone.has(key)
  }

  /**
   * Takes one out: now, or with a later scan.
   *
   * @param value As what it leaves; whatever else stands there then stays. Needed where it may come again, since a
   * call whose outcome is unknown may happen after that.
   */
  add(key: string, value?: string): void {
    if (this.#leavers.get(key)?.underWay !== undefined) return
    const removed = value === undefined ? this.#pending.delete(key) : this.#pending.removeIfSame(key, value)
    const underWay = removed.then(
      () => {
        this.#leavers.delete(key)
        this.#gone.add(key)
      },
      (error: unknown) => {
        onlyAway(error)
        this.#leavers.set(key, { value, underWay: undefined })
      },
    )
    this.#leavers.set(key, { value, underWay })
  }

  /** A scan begins: what failed is tried again. */
  again(): void {
    this.#gone.clear()
    for (const [key, { value }] of this.#leavers) this.add(key, value)
  }

  /**
   * Resolves when this key is out: it may be put in anew then, and stays.
   *
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE` (none) when it cannot be taken out now.
   */
  async out(key: string): Promise<void> {
    const leaver = this.#leavers.get(key)
    if (leaver === undefined) return
    this.add(key, leaver.value)
    await this.#leavers.get(key)?.underWay
    if (!this.#leavers.has(key)) return
    const reason = 'what was settled cannot be taken out of its line now'
    throw new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason })
  }

  /** Resolves when nothing is under way. */
  async rest(): Promise<void> {
    await Promise.all([...this.#leavers.values()].map(({ underWay }) => underWay))
  }
}
