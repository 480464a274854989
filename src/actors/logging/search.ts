/** Searches the log where it is read: texts that nobody asked for are not sent. */
import type { Clock } from '../../runtime/clock.ts'
import { SEARCH_SLICE_MS } from '../../runtime/timings.ts'
import { bytesOf, contentOf, storedText } from '../../storage/content.ts'
import { PAGE_MAX_BYTES, PAGE_MAX_COUNT } from '../../storage/limits.ts'
import type { Log, Message, Range } from '../../storage/ports.ts'
import type { LogFound, LogItem, LogSearch } from '../protocol.ts'

/** Messages that are read at a time: appends go on between two reads. */
const STEP_COUNT = PAGE_MAX_COUNT / 4

/**
 * As `Logging.search`. It ends with `limit` items, with the one whose text reaches `PAGE_MAX_BYTES`, after `mostCount`
 * messages or after `SEARCH_SLICE_MS`.
 *
 * @throws {MailroomError} As `Log.page`.
 */
export async function searchLog(
  log: Pick<Log, 'page'>,
  clock: Clock,
  range: Range,
  search: LogSearch,
): Promise<LogFound> {
  const endAt = clock.monotonic() + SEARCH_SLICE_MS
  const isFiltered = search.source !== undefined || search.contains !== undefined
  const found: LogFound = { items: [], looked: 0, last: null, isEnd: false }
  let bytes = 0
  for (let next: Range = range; ; ) {
    const left = Math.min(
      search.mostCount - found.looked,
      isFiltered ? STEP_COUNT : range.limit - found.items.length,
    )
    const page = await log.page({ ...next, limit: Math.min(left, STEP_COUNT) })
    if (page.length === 0) return { ...found, isEnd: true }
    for (const message of page) {
      found.looked++
      found.last = message.id
      const item = itemOf(message, search)
      if (item === undefined) continue
      found.items.push(item)
      bytes += Buffer.byteLength(item.text)
      if (found.items.length === range.limit || bytes >= PAGE_MAX_BYTES) return found
    }
    if (found.looked >= search.mostCount || clock.monotonic() >= endAt) return found
    next = range.after === undefined ? { ...range, before: found.last! } : { ...range, after: found.last! }
    await new Promise<void>((resolve) => clock.soon(resolve))
  }
}

/** What is shown of a message; undefined when it is not looked for. */
function itemOf({ id, text }: Message, { characters, source, contains }: LogSearch): LogItem | undefined {
  // Most texts have no head: what they have in them is told without taking them apart.
  if (contains !== undefined && !text.includes(contains)) return undefined
  const content = contentOf(text)
  if (source !== undefined && content.source !== source) return undefined
  if (contains !== undefined && !(content.text?.includes(contains) ?? false)) return undefined
  if (characters === undefined) return { id, text }
  const { headers: _, ...shown } = content
  const bytes = content.text !== undefined ? Buffer.byteLength(content.text) : bytesOf(content).length
  if (shown.text !== undefined)
    return { id, text: storedText({ ...shown, text: firstOf(shown.text, characters) }), bytes }
  // Base64 stays whole when it is cut after four characters.
  const base64 = shown.base64.slice(0, characters - (characters % 4))
  return { id, text: storedText({ ...shown, base64 }), bytes }
}

/** The first characters of a text, by code points. */
function firstOf(text: string, count: number): string {
  return [...text.slice(0, 2 * count)].slice(0, count).join('')
}
