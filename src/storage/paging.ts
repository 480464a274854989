/**
 * Reading lists. The pager reads what is larger than a page; `Page` is what is filled; `mergeById` makes one page of several
 * sorted sources. A page, and each answer of a source, ends at its limit, or with the text that reaches `PAGE_MAX_BYTES`. So
 * a page of large messages is short; only an empty one is sure to be the end.
 */
import type { Clock } from '../runtime/clock.ts'
import { batchKeyOf } from './ids.ts'
import { HAND_MAX_BYTES, PAGE_MAX_BYTES, PAGE_MAX_COUNT } from './limits.ts'

/** What pages are made of. One without a text counts nothing. */
interface Item {
  id: string
  text?: string | null
}

/** What a source answers: some items, and how far it looked for them. */
export interface Part<P, T> {
  items: readonly T[]
  /** Where to go on; null when nothing is behind. Without items there may be more all the same. */
  next: P | null
}

/** What ends a walk; each absent bound is none. The part that reaches a bound is the last one, and is given whole. */
export interface Bounds<T> {
  /** The most items. */
  count?: number
  /** The most items of one part. */
  partCount?: number
  /** The most bytes of all items. */
  bytes?: { max: number; of: (item: T) => number }
  /** Other work of the process is done between two parts, and none is begun after `ms`. */
  turn?: { clock: Clock; ms?: number }
}

/**
 * The pager: walks a source from a place on, part by part, until nothing is behind or a bound is reached.
 *
 * @param source Answers up to `count` items from a place on.
 * @returns Parts; `next` of the last one is where another walk goes on.
 * @throws What `source` throws.
 */
export async function* walk<P, T>(
  source: (place: P, count: number) => Promise<Part<P, T>>,
  from: P,
  bounds: Bounds<T> = {},
): AsyncGenerator<Part<P, T>> {
  const { count = Number.POSITIVE_INFINITY, partCount = PAGE_MAX_COUNT, bytes, turn } = bounds
  const endAt = turn?.ms === undefined ? Number.POSITIVE_INFINITY : turn.clock.monotonic() + turn.ms
  let [leftCount, leftBytes] = [count, bytes?.max ?? 0]
  for (let place: P | null = from; place !== null; ) {
    const part: Part<P, T> = await source(place, Math.min(partCount, leftCount))
    yield part
    leftCount -= part.items.length
    if (bytes !== undefined) for (const item of part.items) leftBytes -= bytes.of(item)
    place = part.next
    if (place === null || leftCount <= 0 || (bytes !== undefined && leftBytes <= 0)) return
    if (turn === undefined) continue
    if (turn.clock.monotonic() >= endAt) return
    await new Promise<void>((resolve) => turn.clock.soon(resolve))
  }
}

/** A list by id as a source, oldest first; its places are ids. @param read Reads a page; only an empty one is the end. */
export function ascending<T extends Item>(
  read: (range: { after: string; limit: number }) => Promise<readonly T[]>,
): (after: string, count: number) => Promise<Part<string, T>> {
  return (after, limit) => partOf(read({ after, limit }))
}

/** The same, newest first. */
export function descending<T extends Item>(
  read: (range: { before: string; limit: number }) => Promise<readonly T[]>,
): (before: string, count: number) => Promise<Part<string, T>> {
  return (before, limit) => partOf(read({ before, limit }))
}

async function partOf<T extends Item>(page: Promise<readonly T[]>): Promise<Part<string, T>> {
  const items = await page
  return { items, next: items.at(-1)?.id ?? null }
}

/** A page that is filled item by item. */
export class Page<T extends Item> {
  readonly items: T[] = []
  readonly #limit: number
  readonly #maxBytes: number
  #bytes = 0

  /** @param maxBytes The text that reaches so many makes it full. */
  constructor(limit: number, maxBytes = PAGE_MAX_BYTES) {
    this.#limit = limit
    this.#maxBytes = maxBytes
  }

  get isFull(): boolean {
    return this.items.length >= this.#limit || this.#bytes >= this.#maxBytes
  }

  /** @param bytes Of its text. @returns True when the page is full with it. */
  add(item: T, bytes = textBytes(item)): boolean {
    this.items.push(item)
    this.#bytes += bytes
    return this.isFull
  }
}

/** Texts that are kept of all sources while they are merged. What is beyond is read again when its turn comes. */
const KEPT_BYTES = HAND_MAX_BYTES / 4

/** A sorted source: up to `count` items beyond the cursor (exclusive; undefined: from the range's edge), as a page. */
export type Source<T> = (cursor: string | undefined, count: number) => Promise<T[]> | T[]

/** What a merge of pages is to be. */
export interface Merge {
  /** The most items. */
  limit: number
  /** How each source sorts, and the result. */
  order: 'ascending' | 'descending'
  /** Sources that are read at the same time, each up to a page. Default: all. */
  atOnce?: number
}

/**
 * A page of all sources together, equal neighbours (same id) once.
 *
 * @remarks Fetches from each source in chunks of about its share, so the cost grows with `limit`, little with
 * the number of sources.
 */
export async function mergeById<T extends Item>(
  sources: readonly Source<T>[],
  { limit, order, atOnce = sources.length }: Merge,
): Promise<T[]> {
  const share = Math.ceil((limit * 1.5) / Math.max(1, sources.length))
  const count = Math.min(limit, Math.max(8, share))
  const heads = sources.map((source) => new Head(source, count))
  const isAhead = order === 'ascending' ? (a: string, b: string) => a < b : (a: string, b: string) => a > b
  for (let index = 0; index < heads.length; index += Math.max(1, atOnce)) {
    await Promise.all(heads.slice(index, index + Math.max(1, atOnce)).map((head) => head.read()))
    letGo(heads, isAhead)
  }
  const page = new Page<T>(limit)
  while (!page.isFull) {
    const best = nearest(heads, isAhead)
    if (best === undefined) break
    if (best.isLetGo) {
      // Its items were let go, and the first may be gone by now: look again which is first.
      await best.read()
      letGo(heads, isAhead)
      continue
    }
    const item = best.take()
    if (item.id !== page.items.at(-1)?.id) page.add(item)
    if (best.isSpent && !page.isFull) {
      await best.read()
      letGo(heads, isAhead)
    }
  }
  return page.items
}

/** What is read of one source. */
class Head<T extends Item> {
  readonly #source: Source<T>
  readonly #count: number
  /** The id of the last item that was taken. */
  #cursor: string | undefined
  #isOver = false
  #items: T[] = []
  #index = 0
  /** Of the texts of the items that were read last. */
  bytes = 0
  /** The id of its next item; undefined when none is known. */
  next: string | undefined

  constructor(source: Source<T>, count: number) {
    this.#source = source
    this.#count = count
  }

  /** All that was read is taken, and there may be more. */
  get isSpent(): boolean {
    return this.next === undefined && !this.#isOver
  }

  /** Its next item is known, and has to be read again. */
  get isLetGo(): boolean {
    return this.next !== undefined && this.#items.length === 0
  }

  async read(): Promise<void> {
    this.#items = await this.#source(this.#cursor, this.#count)
    this.#index = 0
    this.bytes = bytesOf(this.#items)
    this.next = this.#items[0]?.id
    this.#isOver =
      this.#items.length === 0 || (this.#items.length < this.#count && this.bytes < PAGE_MAX_BYTES)
  }

  take(): T {
    const item = this.#items[this.#index++]!
    this.#cursor = item.id
    this.next = this.#items[this.#index]?.id
    return item
  }

  /** Forgets the items, but not where they begin. */
  letGo(): void {
    this.#items = []
    this.bytes = 0
  }
}

/** The one whose next item is the first of all. */
function nearest<T extends Item>(
  heads: readonly Head<T>[],
  isAhead: (a: string, b: string) => boolean,
): Head<T> | undefined {
  let best: Head<T> | undefined
  for (const head of heads) {
    if (head.next !== undefined && (best === undefined || isAhead(head.next, best.next!))) best = head
  }
  return best
}

/** Lets go of the items that are needed last, until the others are `KEPT_BYTES` at most, or of one source. */
function letGo<T extends Item>(heads: readonly Head<T>[], isAhead: (a: string, b: string) => boolean): void {
  let bytes = heads.reduce((sum, head) => sum + head.bytes, 0)
  if (bytes <= KEPT_BYTES) return
  const others = heads
    .filter((head) => head.next !== undefined)
    .sort((a, b) => (isAhead(a.next!, b.next!) ? -1 : 1))
  for (const head of others.slice(1).reverse()) {
    if (bytes <= KEPT_BYTES) return
    bytes -= head.bytes
    head.letGo()
  }
}

function bytesOf(items: readonly Item[]): number {
  return items.reduce((bytes, item) => bytes + textBytes(item), 0)
}

function textBytes({ text }: Pick<Item, 'text'>): number {
  return Buffer.byteLength(text ?? '')
}

/** The first messages, up to and including the one whose text reaches `maxBytes`. */
export function firstBytes<T extends Item>(messages: T[], maxBytes: number): T[] {
  const page = new Page<T>(Number.POSITIVE_INFINITY, maxBytes)
  const end = messages.findIndex((message) => page.add(message))
  return end === -1 ? messages : page.items
}

/** The same parts, each read while the one before is used. */
export async function* readAhead<T>(parts: AsyncGenerator<T>): AsyncGenerator<T> {
  for (let next = parts.next(); ; ) {
    const { done, value } = await next
    if (done) return
    next = parts.next()
    next.catch(() => {}) // It is thrown when its turn comes.
    yield value
  }
}

/**
 * Reads ascending pages until one is empty, and cuts them anew: none ends within a batch.
 *
 * @param read Reads a page after an id.
 */
export async function* wholeBatches<T extends { id: string }>(
  read: (after: string) => Promise<T[]>,
  after: string,
): AsyncGenerator<T[]> {
  let rest: T[] = []
  for await (const { items, next } of walk(
    ascending(({ after }) => read(after)),
    after,
  )) {
    const all = [...rest, ...items]
    const whole = next === null ? all : all.filter(({ id }) => batchKeyOf(id) !== batchKeyOf(next))
    if (whole.length > 0) yield whole
    rest = all.slice(whole.length)
  }
}
