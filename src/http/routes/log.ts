/** `/log`: pages of the log, and redrive. */
import type { LogItem, LogSearch } from '../../actors/protocol.ts'
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { CURSOR_DELAY_MS, SEARCH_SLICE_MS } from '../../runtime/timings.ts'
import { shown } from '../../storage/content.ts'
import { idAt, MIN_ID } from '../../storage/ids.ts'
import { CONTAINS_MAX_CHARACTERS, PREVIEW_MAX_CHARACTERS, SEARCH_MAX_COUNT } from '../../storage/limits.ts'
import type { Range } from '../../storage/ports.ts'
import {
  type ApiContext,
  type Endpoint,
  idParameter,
  numberParameter,
  PAGE_LIMIT,
  type Query,
  replyJson,
  sourceParameter,
} from '../context.ts'
import { ConcurrencyLimit } from '../overload.ts'
import { badRequest, quoted } from '../problems.ts'
import { messageJson, replyNewestFirst, replyPage } from '../streams.ts'

/** The characters of a preview. */
export const PREVIEW_CHARACTERS = { min: 0, max: PREVIEW_MAX_CHARACTERS, fallback: undefined }
/** The `limit` of a redrive. */
export const REDRIVE_LIMIT = { ...PAGE_LIMIT, fallback: PAGE_LIMIT.max }
/** Redrives at once. */
export const REDRIVES_MAX = 4

/** The routes of the log. */
export function logRoutes(
  api: ApiContext,
  readers: ConcurrencyLimit,
): Record<'getLog' | 'redriveLog', Endpoint> {
  const { facade, clock, config } = api
  const redrives = new ConcurrencyLimit('redrives', REDRIVES_MAX)
  const gapOf = (after: string) => {
    // `MIN_ID` asks for whatever there is.
    const isExpired = after !== MIN_ID && after < idAt(clock.ago(config.retentionMs))
    return isExpired ? gapAfter(after) : undefined
  }
  return {
    getLog(context, query) {
      const limit = numberParameter(query, 'limit', PAGE_LIMIT)
      const before = idParameter(query, 'before')
      const { after } = idParameter(query, 'after')
      if (before.before !== undefined && after !== undefined) {
        throw badRequest({ where: 'the query', expected: 'either before or after', got: 'both' })
      }
      const search = searchIn(query)
      const path = `/log?${new URLSearchParams({ limit: String(limit), ...search.query })}`
      const gap = after === undefined ? undefined : gapOf(after)
      const range = after === undefined ? before : { after }
      /** Where the next page of a follower begins: not behind messages that are yet to be stored. */
      const following = (last: string | undefined) => {
        const cursor = followCursor(last, clock)
        return cursor !== undefined && cursor > after! ? `${path}&after=${cursor}` : null
      }
      if (search.isOpen) {
        if (after === undefined) {
          const page = { path, limit, ...before }
          return readers.run(() => replyNewestFirst(context, api, page, (range) => facade.logPage(range)))
        }
        return readers.run(() =>
          replyPage(context, api, {
            limit,
            read: (cursor = after, count) => facade.logPage({ after: cursor, limit: count }),
            toJson: messageJson,
            ...(gap !== undefined && { gap }),
            next: following,
          }),
        )
      }
      const walk = new LogWalk(api, range, search)
      return readers.run(() =>
        replyPage(context, api, {
          limit,
          read: (_cursor, count) => walk.read(count),
          isOver: () => walk.isOver,
          toJson: itemJson,
          ...(gap !== undefined && { gap }),
          next: () => {
            if (after !== undefined) return following(walk.last)
            return walk.isEnd ? null : `${path}&before=${walk.last}`
          },
        }),
      )
    },

    async redriveLog(context, query) {
      const limit = numberParameter(query, 'limit', REDRIVE_LIMIT)
      const lane = numberParameter(query, 'lane', { min: 0, max: config.lanes - 1, fallback: undefined })
      const since = idParameter(query, 'since')
      const range = { ...idParameter(query, 'after'), limit }
      const path = `/log/redrive?limit=${limit}`
      if (lane !== undefined) {
        const { next, ...done } = await redrives.run(() => facade.restore({ lane, ...since, ...range }))
        const place = next && `&lane=${next.lane}&after=${next.after}`
        const rest = since.since === undefined ? '' : `&since=${since.since}`
        return replyJson(context, 200, JSON.stringify({ ...done, next: place && path + place + rest }))
      }
      if (since.since !== undefined) {
        throw badRequest({ where: 'the query', expected: 'since only with lane', got: 'since alone' })
      }
      const { last, ...done } = await redrives.run(() => facade.redrive(range))
      const next = last === null ? null : `${path}&after=${last}`
      replyJson(context, 200, JSON.stringify({ ...done, next }))
    },
  }
}

/** What a query looks for, and what it wants to be shown. */
interface Search {
  /** As the query says it, for the path of the next page. */
  query: Record<string, string>
  wanted: Omit<LogSearch, 'mostCount'>
  /** It asks for whole messages, and for all. */
  isOpen: boolean
  isFiltered: boolean
}

function searchIn(query: Query): Search {
  const characters = numberParameter(query, 'text', PREVIEW_CHARACTERS)
  const source = sourceParameter(query)
  const { contains } = query
  if (contains !== undefined && (contains === '' || [...contains].length > CONTAINS_MAX_CHARACTERS)) {
    const expected = `a text of 1 to ${CONTAINS_MAX_CHARACTERS} characters`
    throw badRequest({ where: 'query parameter "contains"', expected, got: quoted(contains) })
  }
  const text = characters === undefined ? {} : { text: String(characters) }
  const filter = { ...source, ...(contains !== undefined && { contains }) }
  const wanted = { ...filter, ...(characters !== undefined && { characters }) }
  const isFiltered = Object.keys(filter).length > 0
  return { query: { ...text, ...filter }, wanted, isFiltered, isOpen: Object.keys(wanted).length === 0 }
}

/** One request's way through the log. With a filter it is as long as one call: what it finds does not end it. */
class LogWalk {
  /** The last message that was looked at. */
  last: string | undefined
  /** There is nothing behind it. */
  isEnd = false
  isOver = false
  readonly #api: Pick<ApiContext, 'facade' | 'clock'>
  readonly #range: Omit<Range, 'limit'>
  readonly #search: Search
  readonly #endAt: number
  #leftCount = SEARCH_MAX_COUNT

  constructor(api: Pick<ApiContext, 'facade' | 'clock'>, range: Omit<Range, 'limit'>, search: Search) {
    this.#api = api
    this.#range = range
    this.#search = search
    this.#endAt = api.clock.monotonic() + SEARCH_SLICE_MS
  }

  async read(limit: number): Promise<LogItem[]> {
    const { facade, clock } = this.#api
    const cursor = this.last ?? this.#range.after ?? this.#range.before
    const side = this.#range.after === undefined ? 'before' : 'after'
    const range = { ...(cursor !== undefined && { [side]: cursor }), limit }
    const found = await facade.searchLog(range, { ...this.#search.wanted, mostCount: this.#leftCount })
    this.last = found.last ?? this.last
    this.isEnd = found.isEnd
    if (this.#search.isFiltered) this.#leftCount -= found.looked
    const isSpent = this.#search.isFiltered && (this.#leftCount <= 0 || clock.monotonic() >= this.#endAt)
    this.isOver = this.isEnd || isSpent
    return found.items
  }
}

/** An item of a search as JSON: `bytes` where the body may be cut. */
function itemJson(item: LogItem): string {
  const { id, at, ...content } = shown(item)
  return JSON.stringify({ id, ...content, at, ...(item.bytes !== undefined && { bytes: item.bytes }) })
}

/** Makes the `gap` of a page whose follower may have missed messages. */
function gapAfter(after: string): (oldest: string | null) => object {
  const { code, message } = new MailroomError('MR_CURSOR_EXPIRED', { after })
  return (oldest) => ({ code, detail: message, oldest })
}

/**
 * The cursor for following the log: the last id of the page, but at most the id of 4 s ago. Ids are not in commit
 * order: a message may be stored up to 3 s after its id was made, and clocks differ by up to 1 s.
 */
export function followCursor(lastId: string | undefined, clock: Clock): string | undefined {
  if (lastId === undefined) return undefined
  const youngest = idAt(clock.ago(CURSOR_DELAY_MS))
  return lastId < youngest ? lastId : youngest
}
