/** Searches the log where it is read: texts that nobody asked for are not sent. */
import type { Clock } from '../../runtime/clock.ts'
import { SEARCH_SLICE_MS } from '../../runtime/timings.ts'
import { bytesOf, contentOf, sourceText, storedText } from '../../storage/content.ts'
import { MAX_ID } from '../../storage/ids.ts'
import { PAGE_MAX_COUNT } from '../../storage/limits.ts'
import { ascending, descending, Page, walk } from '../../storage/paging.ts'
import type { Log, Message, Range } from '../../storage/ports.ts'
import { beginningOf } from '../../storage/preview.ts'
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
  const having = [
    ...(search.contains === undefined ? [] : [search.contains]),
    ...(search.source === undefined ? [] : [sourceText(search.source)]),
  ]
  const isFiltered = having.length > 0
  const { after, before = MAX_ID, limit } = range
  const source = (after === undefined ? descending : ascending)((part) =>
    log.page({ ...range, ...part }, having),
  )
  const page = new Page<LogItem>(limit)
  const found: LogFound = { items: page.items, looked: 0, last: null, isEnd: false }
  for await (const { items, next } of walk(source, after ?? before, {
    count: isFiltered ? search.mostCount : Math.min(search.mostCount, limit),
    partCount: STEP_COUNT,
    turn: { clock, ms: SEARCH_SLICE_MS },
  })) {
    for (const message of items) {
      found.looked++
      found.last = message.id
      const item = itemOf(message, search)
      if (item !== undefined && page.add(item)) return found
    }
    found.isEnd = next === null
  }
  return found
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
    return { id, text: storedText({ ...shown, text: beginningOf(shown.text, characters) }), bytes }
  // Base64 stays whole when it is cut after four characters.
  const base64 = shown.base64.slice(0, characters - (characters % 4))
  return { id, text: storedText({ ...shown, base64 }), bytes }
}
