/** `/events`: what happens, as it happens. */
import type { IncomingMessage } from 'node:http'
import type { EventCursor, Topic } from '../../actors/protocol.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { CURSOR_DELAY_MS } from '../../runtime/timings.ts'
import { MIN_ID } from '../../storage/ids.ts'
import type { ApiContext, Endpoint, Query } from '../context.ts'
import { cursorText, EventReaders, type EventRequest, parseCursor, TOPICS } from '../events.ts'
import { badRequest, quoted } from '../problems.ts'

/** The routes of events. */
export function eventRoutes(api: ApiContext): Record<'getEvents', Endpoint> {
  const readers = new EventReaders(api)
  return {
    async getEvents(context, query) {
      const { req: request, res: response } = context
      const topics = topicsOf(query)
      const given = cursorOf(request, query)
      context.respond = false
      context.status = 200
      response.setHeader('Content-Type', 'text/event-stream')
      response.setHeader('X-Accel-Buffering', 'no')
      if (context.method === 'HEAD') response.end()
      else await readers.open(response, { topics, ...(await keptOf(given, api)) })
    },
  }
}

function topicsOf({ only }: Query): ReadonlySet<Topic> {
  if (only === undefined) return new Set(TOPICS)
  return new Set(
    only.split(',').map((name) => {
      const topic = TOPICS.find((known) => known === name)
      if (topic !== undefined) return topic
      const expected = `some of ${TOPICS.join(', ')}, with commas between them`
      throw badRequest({ where: 'query parameter "only"', expected, got: quoted(name) })
    }),
  )
}

/** The header is the younger of the two: a browser sends it when it connects again, to the address of the first time. */
function cursorOf({ headers }: IncomingMessage, { after }: Query): EventCursor | undefined {
  const header = headers['last-event-id']
  const [where, text] =
    header === undefined || header === ''
      ? ['query parameter "after"', after]
      : ['the header Last-Event-ID', String(header)]
  if (text === undefined) return undefined
  const cursor = parseCursor(text)
  if (cursor !== undefined) return cursor
  throw badRequest({ where, expected: 'a cursor, as it stands in an `id` of GET /events', got: quoted(text) })
}

/** From where on a reader can be given everything: within the retention, and not ahead of the cursors of now. */
async function keptOf(
  given: EventCursor | undefined,
  { facade, clock, config }: Pick<ApiContext, 'facade' | 'clock' | 'config'>,
): Promise<Pick<EventRequest, 'from' | 'gap'>> {
  if (given === undefined) return { from: undefined, gap: undefined }
  const oldest = clock.ago(config.retentionMs)
  const youngest = clock.now() - CURSOR_DELAY_MS
  const within = (at: number) => Math.min(youngest, Math.max(oldest, at))
  const from = { logged: within(given.logged), settled: within(given.settled) }
  if (Math.min(given.logged, given.settled) >= oldest) return { from, gap: undefined }
  const { code, message } = new MailroomError('MR_CURSOR_EXPIRED', { after: cursorText(given) })
  const first = await facade.logPage({ after: MIN_ID, limit: 1 }).catch((error: unknown) => {
    if (!isMailroomError(error)) throw error
    return [] // The log is away: which message is the oldest is not known.
  })
  return { from, gap: { code, detail: message, oldest: first[0]?.id ?? null } }
}
