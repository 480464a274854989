/**
 * Reads a map whose keys end in ids, page by page, in the order of the ids. Results of a cluster are not
 * streamed, so a range is read in windows of time: wider when there was little in one, narrower when much.
 */
import type { Clock } from '../../runtime/clock.ts'
import { batchKeyOf, byId, idAt, MAX_ID, timeOf } from '../ids.ts'
import { PAGE_MAX_BYTES } from '../limits.ts'
import { Page } from '../paging.ts'
import type { Message, Range } from '../ports.ts'
import type { ClusterMap } from './cluster.ts'

const FIRST_SPAN_MS = 500
const MIN_SPAN_MS = 1
const FEW_KEYS = 50
const MANY_KEYS = 2000
const WIDEN = 4
const FETCH_BYTES = 4 * 1024 * 1024
/** So many of the largest entries are fetched at once at most: `HAND_MAX_BYTES`, with room for what JSON adds. */
const FETCH_MAX_COUNT = 24
const FETCH_FIRST_COUNT = 8
/** The last few entries are kept, as the next page often begins in them, and no more of their values than this. */
const CACHE_COUNT = 4
const CACHE_MAX_BYTES = 2 * PAGE_MAX_BYTES

/** How entries are read. */
export interface KeyRangeOptions<T> {
  map: ClusterMap
  /** What stands before the id in each key. */
  prefix: string
  clock: Clock
  /** Nothing older is shown. */
  retentionMs: number
  /** The items of an entry, ascending by id. */
  itemsOf: (id: string, value: string) => T[]
  /** False when an entry may change. By default none does. */
  isFinal?: (value: string) => boolean
}

/** Pages of a map by id. */
export class KeyRange<T extends Message> {
  readonly #options: KeyRangeOptions<T>
  readonly #cache = new Map<string, { items: T[]; bytes: number }>()

  constructor(options: KeyRangeOptions<T>) {
    this.#options = options
  }

  /**
   * One page, which ends with the text that reaches `PAGE_MAX_BYTES`; an id that stands in two entries is shown once.
   *
   * @remarks Cost grows with the page, and a little with the logarithm of the gaps in time.
   */
  async page({ before = MAX_ID, after, limit }: Range): Promise<T[]> {
    const { clock, retentionMs } = this.#options
    const ascending = after !== undefined
    const oldest = idAt(clock.ago(retentionMs))
    const floor = after === undefined || after < oldest ? oldest : after
    const page = new Page<T>(limit)
    for await (const ids of this.#windows(floor, before, ascending)) {
      for await (const items of this.#batches(ids)) {
        const inside = items.filter(({ id }) => id > floor && id < before)
        for (const item of ascending ? inside : inside.reverse()) {
          if (item.id !== page.items.at(-1)?.id && page.add(item)) return page.items
        }
      }
    }
    return page.items
  }

  /** Ids of entries between two bounds, in order, window by window. */
  async *#windows(floor: string, ceiling: string, ascending: boolean): AsyncGenerator<string[]> {
    const { map, prefix, clock } = this.#options
    const bottom = Math.max(timeOf(floor), 0)
    const now = clock.now()
    const top = Math.min(timeOf(ceiling), now)
    // The clock of another node may be ahead: the window that ends now has all that is younger, too.
    const end = top === now ? Number.POSITIVE_INFINITY : top
    // Where there is little, one look finds all of it; else gaps in time cost a look each time they are widened.
    let span = (await map.size()) <= MANY_KEYS ? Number.POSITIVE_INFINITY : FIRST_SPAN_MS
    let at = ascending ? bottom : top
    let first = true
    while (first || (ascending ? at <= top : at >= bottom)) {
      const to = ascending ? at + span - 1 : at
      const from = ascending ? at : Math.max(bottom, at - span + 1)
      first = false
      const found = await map.keys(prefix + lowest(from, floor), prefix + highest(to >= top ? end : to))
      const ids = found.map((key) => key.slice(prefix.length)).sort()
      yield ascending ? ids : ids.reverse()
      at = ascending ? to + 1 : from - 1
      if (ids.length < FEW_KEYS) span *= WIDEN
      else if (ids.length > MANY_KEYS) span = Math.max(MIN_SPAN_MS, Math.floor(span / WIDEN))
    }
  }

  /** The items of each batch that is there, ascending; what of it stands in entries of its own is among them. */
  async *#batches(ids: readonly string[]): AsyncGenerator<T[]> {
    const batches = [...Map.groupBy(ids, batchKeyOf).values()]
    let count = FETCH_FIRST_COUNT
    for (let index = 0; index < batches.length; ) {
      const chunk = batches.slice(index, index + count)
      index += chunk.length
      const { found, bytes } = await this.#fetch(chunk.flat())
      for (const batch of chunk) {
        const items = batch.flatMap((id) => found.get(id) ?? [])
        yield batch.length === 1 ? items : items.sort(byId)
      }
      const each = Math.max(1, bytes / chunk.length)
      count = Math.max(1, Math.min(FETCH_MAX_COUNT, count * 2, Math.floor(FETCH_BYTES / each)))
    }
  }

  /** The items of those entries that are there, and the size of what had to be brought here, about. */
  async #fetch(ids: readonly string[]): Promise<{ found: Map<string, T[]>; bytes: number }> {
    const { map, prefix, itemsOf, isFinal = () => true } = this.#options
    const found = new Map<string, T[]>()
    for (const id of ids) {
      const kept = this.#cache.get(id)
      if (kept !== undefined) found.set(id, kept.items)
    }
    const wanted = ids.filter((id) => !found.has(id))
    let bytes = 0
    if (wanted.length === 0) return { found, bytes }
    for (const [key, value] of await map.getAll(wanted.map((id) => prefix + id))) {
      const id = key.slice(prefix.length)
      const items = itemsOf(id, value)
      found.set(id, items)
      // Other pages are read meanwhile, and trim: what this one needs is not left in the cache alone.
      if (isFinal(value)) this.#cache.set(id, { items, bytes: value.length })
      bytes += value.length
    }
    this.#trim()
    return { found, bytes }
  }

  /** Keeps the newest. */
  #trim(): void {
    let bytes = [...this.#cache.values()].reduce((sum, kept) => sum + kept.bytes, 0)
    for (const [id, kept] of this.#cache) {
      if (this.#cache.size <= CACHE_COUNT && bytes <= CACHE_MAX_BYTES) return
      this.#cache.delete(id)
      bytes -= kept.bytes
    }
  }
}

/** The key of the batch that `floor` is in lies below it. */
function lowest(time: number, floor: string): string {
  return [idAt(time), batchKeyOf(floor)].sort().at(-1)!
}

function highest(time: number): string {
  return `${idAt(time).slice(0, 10)}~`
}
