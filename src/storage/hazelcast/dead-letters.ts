/** A held lane's dead letters. A purged one leaves a mark, so that it does not come back. */
import type { Clock } from '../../runtime/clock.ts'
import { MIN_ID } from '../ids.ts'
import { PAGE_MAX_BYTES } from '../limits.ts'
import { firstBytes } from '../paging.ts'
import type { Dead } from '../ports.ts'
import { type Cluster, type ClusterMap, FOR_EVER_MS, makeSure, putOnce } from './cluster.ts'
import { type DeadEntry, laneBounds, laneKey, NAMES, partsOf } from './entries.ts'

const PURGED = '!'
const FETCH_COUNT = 16

/** What dead letters need of their lane. */
export interface LaneDeadLettersOptions {
  lane: number
  cluster: Cluster
  clock: Clock
  retentionMs: number
  /** Which of these messages are delivered, durably: whatever a former holder wrote late, delivered wins. */
  delivered: (ids: readonly string[]) => Promise<Set<string>>
}

/** The dead letters of one lane. All throw as `ClusterMap` does. */
export class LaneDeadLetters {
  readonly #options: LaneDeadLettersOptions
  readonly #map: ClusterMap
  readonly #dead = new Set<string>()
  readonly #purged = new Set<string>()

  constructor(options: LaneDeadLettersOptions) {
    this.#options = options
    this.#map = options.cluster.map(NAMES.dead)
  }

  /** Learns which there are. */
  async load(): Promise<void> {
    for (const key of await this.#map.keys(...laneBounds(this.#options.lane))) {
      const id = key.slice(key.indexOf('/') + 1)
      if (id.endsWith(PURGED)) this.#purged.add(id.slice(0, -1))
      else this.#dead.add(id)
    }
    for (const id of this.#purged) this.#dead.delete(id)
  }

  /** Learns of those of these messages that are dead, durably: a former holder may have buried them after `load`. */
  async learn(ids: readonly string[]): Promise<void> {
    const found = await this.#map.getAll(ids.map((id) => this.#keyOf(id)))
    const sure = await makeSure(this.#map, found, FOR_EVER_MS)
    for (const key of sure.keys()) this.#dead.add(partsOf(key).id)
  }

  get count(): number {
    return this.#dead.size
  }

  /** True for a dead letter, also one that was purged. */
  has(id: string): boolean {
    return this.#dead.has(id) || this.#purged.has(id)
  }

  isPurged(id: string): boolean {
    return this.#purged.has(id)
  }

  /** Of dead letters, and of those that were purged. */
  ids(): string[] {
    return [...this.#dead, ...this.#purged]
  }

  /** Those that are there, as they are written. */
  async fetch(ids: readonly string[]): Promise<Map<string, DeadEntry>> {
    const values = await this.#map.getAll(ids.map((id) => this.#keyOf(id)))
    return new Map([...values].map(([key, value]) => [partsOf(key).id, JSON.parse(value) as DeadEntry]))
  }

  /** True when one is there, durably, or was purged: what `load` found may be on one member only. */
  async isSure(id: string): Promise<boolean> {
    if (this.#purged.has(id)) return true
    const key = this.#keyOf(id)
    const sure = await makeSure(this.#map, await this.#map.getAll([key]), FOR_EVER_MS)
    if (!sure.has(key)) this.#dead.delete(id)
    return sure.has(key)
  }

  /** Makes a message a dead letter, durably; repeating it changes nothing. */
  async bury(id: string, entry: Omit<DeadEntry, 'deadAt'>): Promise<void> {
    const value: DeadEntry = { ...entry, deadAt: this.#options.clock.now() }
    await putOnce(this.#map, this.#keyOf(id), JSON.stringify(value), FOR_EVER_MS)
    this.#dead.add(id)
  }

  /** As `Queue.dead`. */
  async page({ after = MIN_ID, limit }: { after?: string; limit: number }): Promise<Dead[]> {
    const ids = [...this.#dead].filter((id) => id > after).sort()
    const page: Dead[] = []
    let bytes = 0
    for (
      let index = 0;
      index < ids.length && page.length < limit && bytes < PAGE_MAX_BYTES;
      index += FETCH_COUNT
    ) {
      const chunk = ids.slice(index, index + FETCH_COUNT)
      const [values, delivered] = await Promise.all([
        this.#map.getAll(chunk.map((id) => this.#keyOf(id))),
        this.#options.delivered(chunk),
      ])
      for (const id of chunk) {
        const value = values.get(this.#keyOf(id))
        if (value === undefined || delivered.has(id)) this.#dead.delete(id)
        else {
          const letter: Dead = { id, ...(JSON.parse(value) as DeadEntry) }
          page.push(letter)
          bytes += Buffer.byteLength(letter.text)
        }
      }
    }
    return firstBytes(page.slice(0, limit), PAGE_MAX_BYTES)
  }

  /** One that is there and was not delivered meanwhile. */
  async get(id: string): Promise<DeadEntry | undefined> {
    if (!this.#dead.has(id)) return undefined
    const value = await this.#map.get(this.#keyOf(id))
    if (value === undefined) this.#dead.delete(id)
    if (value === undefined || (await this.#options.delivered([id])).has(id)) return undefined
    return JSON.parse(value) as DeadEntry
  }

  /** Takes this letter away, as its message is pending again. One that the message becomes later stays. */
  async remove(id: string, letter: DeadEntry): Promise<void> {
    await this.#map.removeIfSame(this.#keyOf(id), JSON.stringify(letter))
    this.#dead.delete(id)
  }

  /** As `Queue.purge`: first the mark, then the letter goes. */
  async purge(id: string): Promise<boolean> {
    const letter = await this.get(id)
    if (letter === undefined) return false
    await putOnce(this.#map, this.#keyOf(id) + PURGED, '', this.#options.retentionMs)
    this.#purged.add(id)
    await this.remove(id, letter)
    return true
  }

  #keyOf(id: string): string {
    return laneKey(this.#options.lane, id)
  }
}
