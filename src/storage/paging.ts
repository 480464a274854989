/**
 * Pages by id, merged from several sorted sources. A page, and each answer of a source, ends at its limit, or with the
 * text that reaches `PAGE_MAX_BYTES`. So a page of large messages is short; only an empty one is sure to be the end.
 */
import { batchKeyOf } from './ids.ts'
import { HAND_MAX_BYTES, PAGE_MAX_BYTES } from './limits.ts'

/** What pages are made of. One without a text counts nothing. */
interface Item {
  id: string
  text?: string
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
  const page: T[] = []
  let bytes = 0
  while (page.length < limit && bytes < PAGE_MAX_BYTES) {
    const best = nearest(heads, isAhead)
    if (best === undefined) break
    if (best.isLetGo) {
      // Its items were let go, and the first may be gone by now: look again which is first.
      await best.read()
      letGo(heads, isAhead)
      continue
    }
    const item = best.take()
    if (item.id !== page.at(-1)?.id) {
      page.push(item)
      bytes += Buffer.byteLength(item.text ?? '')
    }
    if (best.isSpent && page.length < limit && bytes < PAGE_MAX_BYTES) {
      await best.read()
      letGo(heads, isAhead)
    }
  }
  return page
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
  let bytes = 0
  for (const { text } of items) bytes += Buffer.byteLength(text ?? '')
  return bytes
}

/** The first messages, up to and including the one whose text reaches `maxBytes`. */
export function firstBytes<T extends { text: string | null }>(messages: T[], maxBytes: number): T[] {
  let bytes = 0
  const end = messages.findIndex(({ text }) => {
    bytes += Buffer.byteLength(text ?? '')
    return bytes >= maxBytes
  })
  return end === -1 ? messages : messages.slice(0, end + 1)
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
  for (let from = after; ; ) {
    const page = await read(from)
    const last = page.at(-1)
    const all = [...rest, ...page]
    const whole = last === undefined ? all : all.filter(({ id }) => batchKeyOf(id) !== batchKeyOf(last.id))
    if (whole.length > 0) yield whole
    if (last === undefined) return
    rest = all.slice(whole.length)
    from = last.id
  }
}
