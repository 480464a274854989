/** Pages by id: merged from several sorted sources, or read chunk by chunk until they hold so many bytes. */
import { PAGE_MAX_BYTES, TEXT_MAX_BYTES } from './limits.ts'
import { type Message, type Range, textBytesOf } from './ports.ts'

/** The first chunk, while the size of the texts is unknown: even the largest texts fit the page. */
const FIRST_COUNT = PAGE_MAX_BYTES / TEXT_MAX_BYTES

/** A sorted source: up to `count` items beyond the cursor (exclusive; undefined: from the range's edge). */
export type Source<T> = (cursor: string | undefined, count: number) => Promise<T[]> | T[]

/**
 * The first `limit` items of all sources together, equal neighbours (same id) once.
 *
 * @param order `ascending` or `descending`: how each source sorts, and the result.
 * @param options.mayBeShort True: only an empty answer of a source is its end. Else a short one is, too.
 * @remarks Fetches from each source in chunks of about its share, so the cost grows with `limit`, little with
 * the number of sources.
 */
export async function mergeById<T extends { id: string }>(
  sources: readonly Source<T>[],
  limit: number,
  order: 'ascending' | 'descending',
  { mayBeShort = false } = {},
): Promise<T[]> {
  const chunk = Math.max(8, Math.min(limit, Math.ceil((limit * 1.5) / Math.max(1, sources.length))))
  const heads = await Promise.all(
    sources.map(async (source) => ({ source, items: await source(undefined, chunk), index: 0 })),
  )
  const ahead = order === 'ascending' ? (a: string, b: string) => a < b : (a: string, b: string) => a > b
  const merged: T[] = []
  let lastId: string | undefined
  while (merged.length < limit) {
    let best: (typeof heads)[number] | undefined
    for (const head of heads) {
      const isOver = mayBeShort ? head.items.length === 0 : head.items.length < chunk
      if (head.index === head.items.length && !isOver) {
        head.items = await head.source(head.items.at(-1)!.id, chunk)
        head.index = 0
      }
      const item = head.items[head.index]
      if (item !== undefined && (best === undefined || ahead(item.id, best.items[best.index]!.id)))
        best = head
    }
    if (best === undefined) break
    const item = best.items[best.index++]!
    if (item.id !== lastId) merged.push(item)
    lastId = item.id
  }
  return merged
}

/** Reads a page chunk by chunk, each as large as still fits, until it holds `range.limit` messages or `maxBytes`. */
export async function boundedPage<T extends Message>(
  range: Range,
  maxBytes: number,
  chunkCount: number,
  read: (range: Range) => Promise<T[]>,
): Promise<T[]> {
  const page: T[] = []
  let bytes = 0
  let next = range
  while (page.length < range.limit && bytes < maxBytes) {
    const fitting = page.length === 0 ? FIRST_COUNT : Math.ceil(((maxBytes - bytes) * page.length) / bytes)
    const limit = Math.min(chunkCount, range.limit - page.length, fitting)
    const chunk = await read({ ...next, limit })
    page.push(...chunk)
    bytes += textBytesOf(chunk)
    if (chunk.length < limit) break
    const last = chunk[chunk.length - 1]!.id
    next = range.after === undefined ? { ...next, before: last } : { ...next, after: last }
  }
  return page
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
