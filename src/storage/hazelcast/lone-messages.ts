/** A held lane's lone messages: those that left their batch to be started, retried or replayed. */
import { type Clock, steadyNow } from '../../runtime/clock.ts'
import { timeOf } from '../ids.ts'
import { type Attempts, adopted } from '../lane.ts'
import type { Message } from '../ports.ts'
import { type ClusterMap, FOR_EVER_MS, makeSure, putOnce } from './cluster.ts'
import { type LoneEntry, laneKey } from './entries.ts'

const FETCH_COUNT = 16
/** New ones that are written at once. */
const ADD_COUNT = 64

/** A lone message without its text, which stays in the cluster. */
export type Lone = Omit<LoneEntry, 'text'>

/** What they need. */
export interface LoneMessagesOptions {
  /** `pending` */
  map: ClusterMap
  lane: number
  clock: Clock
  /** A start that is due later was written by a clock that was ahead. */
  retryMaxMs: number
}

/** The lone messages of one lane. All throw as `ClusterMap` does. */
export class LoneMessages {
  readonly #map: ClusterMap
  readonly #lane: number
  readonly #retryMaxMs: number
  /** For `dueAt`. */
  readonly #dueNow: () => number
  readonly #known = new Map<string, Lone>()

  constructor({ map, lane, clock, retryMaxMs }: LoneMessagesOptions) {
    this.#dueNow = steadyNow(clock)
    this.#map = map
    this.#lane = lane
    this.#retryMaxMs = retryMaxMs
  }

  get count(): number {
    return this.#known.size
  }

  /** Those that a failure or an outage has put off. */
  get retryingCount(): number {
    let count = 0
    for (const { open, dueAt } of this.#known.values()) if (!open && dueAt > 0) count++
    return count
  }

  has(id: string): boolean {
    return this.#known.has(id)
  }

  get(id: string): Lone | undefined {
    return this.#known.get(id)
  }

  /** Learns what these are. A start that is open now is of a holder that is gone: the message is suspect. @returns How many. */
  async load(ids: readonly string[]): Promise<number> {
    let openCount = 0
    for (let index = 0; index < ids.length; index += FETCH_COUNT) {
      const found = await this.#valuesOf(ids.slice(index, index + FETCH_COUNT))
      // Because of one that is here its batch is left: so it is to be here for sure.
      for (const [id, { text: _, ...lone }] of parsed(await makeSure(this.#map, found, FOR_EVER_MS))) {
        // Earlier versions did not count deaths, nor keep when a message was replayed.
        const known = { ...lone, deaths: lone.deaths ?? 0, replayedAt: lone.replayedAt ?? 0 }
        this.#known.set(id, { ...known, ...adopted(known, this.dueIn(this.#retryMaxMs)) })
        if (lone.open) openCount++
      }
    }
    return openCount
  }

  ids(): Iterable<string> {
    return this.#known.keys()
  }

  /** Those that are there, as they are written. */
  async fetch(ids: readonly string[]): Promise<Map<string, LoneEntry>> {
    return new Map(parsed(await this.#valuesOf(ids)))
  }

  /** Writes one, durably; what stood there before does not matter. */
  async write(id: string, text: string, lone: Lone): Promise<void> {
    const entry: LoneEntry = { text, ...lone }
    await this.#map.set(laneKey(this.#lane, id), JSON.stringify(entry), FOR_EVER_MS)
    this.#known.set(id, lone)
  }

  /** Writes new ones, durably, without learning of them; one that stands there already stays as it is. */
  async add(messages: readonly (Message & { attempts: Attempts })[]): Promise<void> {
    for (let index = 0; index < messages.length; index += ADD_COUNT) {
      const chunk = messages.slice(index, index + ADD_COUNT)
      await Promise.all(
        chunk.map(({ id, text, attempts }) => {
          const entry: LoneEntry = { text, ...attempts, replayed: false }
          return putOnce(this.#map, laneKey(this.#lane, id), JSON.stringify(entry), FOR_EVER_MS)
        }),
      )
    }
  }

  forget(id: string): void {
    this.#known.delete(id)
  }

  /** The `dueAt` of a start that is due after so many ms. */
  dueIn(ms: number): number {
    return this.#dueNow() + ms
  }

  /** Those whose next start is due, the longest due first. */
  due(isFree: (id: string) => boolean): string[] {
    const now = this.#dueNow()
    return [...this.#known]
      .filter(([id, { dueAt }]) => dueAt <= now && isFree(id))
      .sort(([, a], [, b]) => a.dueAt - b.dueAt)
      .map(([id]) => id)
  }

  /** After how many ms the next one that is not due becomes so; infinite when there is none. */
  nextDueInMs(): number {
    const now = this.#dueNow()
    let next = Number.POSITIVE_INFINITY
    for (const { dueAt } of this.#known.values()) if (dueAt > now && dueAt < next) next = dueAt
    return next - now
  }

  /** The instant (ms) of the oldest; infinite when there is none. */
  oldestAt(): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const id of this.#known.keys()) oldest = Math.min(oldest, timeOf(id))
    return oldest
  }

  #valuesOf(ids: readonly string[]): Promise<Map<string, string>> {
    return this.#map.getAll(ids.map((id) => laneKey(this.#lane, id)))
  }
}

function parsed(values: ReadonlyMap<string, string>): [id: string, entry: LoneEntry][] {
  return [...values].map(([key, value]) => [key.slice(key.indexOf('/') + 1), JSON.parse(value) as LoneEntry])
}
