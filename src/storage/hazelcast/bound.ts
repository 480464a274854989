/**
 * Bounds what a map of a cluster may hold: a member whose heap is full loses everything, and evicting would be
 * losing too. Looked at once a second; between two looks, what this process adds counts.
 */

import type { Clock } from '../../runtime/clock.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { BOUND_CHECK_MS } from '../../runtime/timings.ts'
import type { ClusterMap } from './cluster.ts'

/** How much of the mean size the newest entry makes up. */
const WEIGHT = 0.02
/** What an entry takes beside its value, with its index and its backup's. */
const ENTRY_BYTES = 400

/** Knows about how full a map is. */
export class Bound {
  readonly #what: string
  readonly #map: ClusterMap
  readonly #maxBytes: number
  #count = 0
  #meanBytes = ENTRY_BYTES
  readonly #cancel: () => void

  /** @param maxBytes Of all entries together, as one copy. */
  constructor(what: string, map: ClusterMap, maxBytes: number, clock: Clock) {
    this.#what = what
    this.#map = map
    this.#maxBytes = maxBytes
    this.#cancel = clock.every(BOUND_CHECK_MS, () => void this.#check())
  }

  /** @throws {MailroomError} `MR_STORE_UNAVAILABLE` (none) when the map is full. */
  check(): void {
    if (this.#count * this.#meanBytes < this.#maxBytes) return
    const reason = `it holds about ${Math.round(this.#maxBytes / 2 ** 20)} MiB, as much as it may`
    throw new MailroomError('MR_STORE_UNAVAILABLE', { store: this.#what, reason })
  }

  /** Counts an entry of so many characters. */
  added(length: number): void {
    this.#count++
    this.#meanBytes += (length + ENTRY_BYTES - this.#meanBytes) * WEIGHT
  }

  close(): void {
    this.#cancel()
  }

  async #check(): Promise<void> {
    try {
      this.#count = await this.#map.size()
    } catch (error) {
      if (!isMailroomError(error)) throw error // Else the cluster is away, and nothing is accepted anyway.
    }
  }
}
