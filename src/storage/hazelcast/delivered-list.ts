/** A held lane's list. A former holder may still put something into it: whoever meets that is told what stands there. */
import type { Clock } from '../../runtime/clock.ts'
import type { Delivered, Range } from '../ports.ts'
import type { Census } from './census.ts'
import { type Cluster, type ClusterMap, makeSure, putOnce } from './cluster.ts'
import {
  type DeliveredEntry,
  type Delivery,
  deliveredKeysOf,
  deliveredOf,
  laneKey,
  NAMES,
  partsOf,
} from './entries.ts'
import { KeyRange } from './key-range.ts'

/** What a list needs of its lane. */
export interface DeliveredListOptions {
  lane: number
  cluster: Cluster
  clock: Clock
  retentionMs: number
  census: Census
}

/** The list of one lane. All throw as `ClusterMap` does. */
export class DeliveredList {
  readonly #options: DeliveredListOptions
  readonly #map: ClusterMap
  readonly #range: KeyRange<Delivered>

  constructor(options: DeliveredListOptions) {
    const { lane, cluster, clock, retentionMs } = options
    this.#options = options
    this.#map = cluster.map(NAMES.delivered)
    this.#range = new KeyRange({
      ...{ map: this.#map, prefix: laneKey(lane, ''), clock, retentionMs, itemsOf: deliveredOf },
    })
  }

  /** As `Queue.delivered`. */
  page(range: Range): Promise<Delivered[]> {
    return this.#range.page(range)
  }

  /**
   * Puts one entry into it, durably, unless there is one.
   *
   * @param id Of a message, or the key of a batch.
   * @param texts By place in the batch, null for what is not settled by this; a message alone: its text.
   * @param settled When, and after how many attempts; `own`: by place, where it was not so for all.
   * @returns What stands there.
   */
  async put(
    id: string,
    texts: (string | null)[],
    settled: { at: number; attempts: number; own?: (Delivery | null)[] },
  ): Promise<Delivered[]> {
    const { lane, retentionMs, census } = this.#options
    const { at: deliveredAt, ...rest } = settled
    const entry: DeliveredEntry = { texts, deliveredAt, ...rest }
    const stands = await putOnce(this.#map, laneKey(lane, id), JSON.stringify(entry), retentionMs)
    const messages = deliveredOf(id, stands)
    census.note(messages.length)
    return messages
  }

  /** Which of these messages are in it, by id; perhaps on one member only. */
  async find(ids: readonly string[]): Promise<Map<string, Delivered>> {
    return among(new Set(ids), await this.#entriesOf(ids))
  }

  /** The same, durably: only so may what is in the list leave `pending`, or be shown. */
  async findSure(ids: readonly string[]): Promise<Map<string, Delivered>> {
    const wanted = new Set(ids)
    const entries = [...(await this.#entriesOf(ids))].filter((entry) =>
      messagesIn(entry).some(({ id }) => wanted.has(id)),
    )
    return among(wanted, await this.#sure(new Map(entries)))
  }

  /** All that is in it of these batches, durably, by id. */
  async batchesSure(batchKeys: readonly string[]): Promise<Map<string, Delivered>> {
    const ranges = batchKeys.map((batchKey) => {
      const from = laneKey(this.#options.lane, batchKey)
      return this.#map.keys(from, `${from.slice(0, -2)}~`)
    })
    const entries = await this.#sure(await this.#map.getAll((await Promise.all(ranges)).flat()))
    return new Map([...entries].flatMap(messagesIn).map((message) => [message.id, message]))
  }

  #entriesOf(ids: readonly string[]): Promise<Map<string, string>> {
    const keys = new Set(ids.flatMap((id) => deliveredKeysOf(this.#options.lane, id)))
    return this.#map.getAll([...keys])
  }

  #sure(entries: ReadonlyMap<string, string>): Promise<Map<string, string>> {
    return makeSure(this.#map, entries, this.#options.retentionMs)
  }
}

function messagesIn([key, value]: [string, string]): Delivered[] {
  return deliveredOf(partsOf(key).id, value)
}

function among(wanted: ReadonlySet<string>, entries: ReadonlyMap<string, string>): Map<string, Delivered> {
  const messages = [...entries].flatMap(messagesIn).filter(({ id }) => wanted.has(id))
  return new Map(messages.map((message) => [message.id, message]))
}
