/** Merging sources that are each sorted by id into one sorted page. */

/** A sorted source: up to `count` items beyond the cursor (exclusive; undefined: from the range's edge). */
export type Source<T> = (cursor: string | undefined, count: number) => Promise<T[]> | T[]

/**
 * The first `limit` items of all sources together, equal neighbours (same id) once.
 *
 * @param order `ascending` or `descending`: how each source sorts, and the result.
 * @remarks Fetches from each source in chunks of about its share, so the cost grows with `limit`, little with
 * the number of sources.
 */
export async function mergeById<T extends { id: string }>(
  sources: readonly Source<T>[],
  limit: number,
  order: 'ascending' | 'descending',
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
      if (head.index === head.items.length && head.items.length === chunk) {
        head.items = await head.source(head.items[chunk - 1]!.id, chunk)
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
