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
  { facade, clock, config }: ApiContext,
  readers: ConcurrencyLimit,
): Record<'getLog' | 'redriveLog', Endpoint> {
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
        return readers.run(() => replyNewestFirst(context, clock, page, (range) => facade.logPage(range)))
      }
      return readers.run(() =>
        replyPage(context, clock, {
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
      const range = { ...idParameter(query, 'after'), limit }
      const { checked, redriven, last } = await redrives.run(() => facade.redrive(range))
      const next = last === null ? null : `/log/redrive?limit=${limit}&after=${last}`
      replyJson(context, 200, JSON.stringify({ checked, redriven, next }))
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
