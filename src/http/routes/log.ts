/** `/log`: pages of the log, and redrive. */
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { CURSOR_DELAY_MS } from '../../runtime/timings.ts'
import { idAt, MIN_ID } from '../../storage/ids.ts'
import {
  type ApiContext,
  type Endpoint,
  idParameter,
  numberParameter,
  PAGE_LIMIT,
  replyJson,
} from '../context.ts'
import { ConcurrencyLimit } from '../overload.ts'
import { badRequest } from '../problems.ts'
import { messageJson, replyNewestFirst, replyPage } from '../streams.ts'

const REDRIVE_LIMIT = { ...PAGE_LIMIT, fallback: PAGE_LIMIT.max }
const REDRIVES_MAX = 4

/** The routes of the log. */
export function logRoutes(
  api: ApiContext,
  readers: ConcurrencyLimit,
): Record<'getLog' | 'redriveLog', Endpoint> {
  const { facade, clock, config } = api
  const redrives = new ConcurrencyLimit('redrives', REDRIVES_MAX)
  return {
    getLog(context, query) {
      const limit = numberParameter(query, 'limit', PAGE_LIMIT)
      const before = idParameter(query, 'before')
      const { after } = idParameter(query, 'after')
      if (before.before !== undefined && after !== undefined) {
        throw badRequest({ where: 'the query', expected: 'either before or after', got: 'both' })
      }
      const path = `/log?limit=${limit}`
      if (after === undefined) {
        const page = { path, limit, ...before }
        return readers.run(() => replyNewestFirst(context, api, page, (range) => facade.logPage(range)))
      }
      return readers.run(() =>
        replyPage(context, api, {
          limit,
          read: (cursor = after, count) => facade.logPage({ after: cursor, limit: count }),
          toJson: messageJson,
          // `MIN_ID` asks for whatever there is.
          ...(after !== MIN_ID && after < idAt(clock.ago(config.retentionMs)) && { gap: gapAfter(after) }),
          next(lastId) {
            const cursor = followCursor(lastId, clock)
            return cursor !== undefined && cursor > after ? `${path}&after=${cursor}` : null
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
