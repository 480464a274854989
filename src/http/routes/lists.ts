/** What reads messages: the two lists, the log, one actor's store, one message. */
import type { Context } from 'koa'
import type { Found, ListHalf } from '../../actors/protocol.ts'
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import { CURSOR_DELAY_MS, LONG_POLL_SLICE_MS } from '../../runtime/timings.ts'
import { atOf, idAt } from '../../storage/ids.ts'
import type { Message, Range } from '../../storage/ports.ts'
import { ClientGone } from '../body.ts'
import { type Handler, pathParameter, type Reach, replyJson } from '../context.ts'
import { Gate } from '../limits.ts'
import type { Outflow } from '../outflow.ts'
import { openJson, replyPage } from '../pages.ts'
import { badRequest } from '../problems.ts'
import { checkId, idParameter, type Query, wholeNumber } from '../query.ts'

const LIMIT = { min: 1, max: 1000, fallback: 100 }
const WAIT_MAX_SECONDS = 30
const WAITERS_MAX = 1000
const READERS_MAX = 200

/** The routes that read messages. */
export function listRoutes(reach: Reach): Record<'getLists' | 'getMessage' | 'getLog' | 'getStore', Handler> {
  const { facade, clock } = reach
  const waiters = new Gate('waiting requests', WAITERS_MAX)
  const readers = new Gate('readers of lists', READERS_MAX)

  const replyMessages = (
    context: Context,
    {
      read,
      range,
      next,
    }: Pick<Parameters<typeof replyPage<Message>>[2], 'next'> & {
      read: (range: Range) => Promise<Message[]>
      range: Range
    },
  ) =>
    readers.pass(() =>
      replyPage(context, clock, {
        limit: range.limit,
        read(cursor, limit) {
          if (cursor === undefined) return read({ ...range, limit })
          return read(range.after === undefined ? { before: cursor, limit } : { after: cursor, limit })
        },
        show: shown,
        next,
      }),
    )

  return {
    getLists: (context, query) => readers.pass(() => getLists(context, query, reach)),

    async getMessage(context, query) {
      const id = checkId(pathParameter(context, 'id'), 'the id')
      const waitMs = wholeNumber(query, 'wait', { min: 0, max: WAIT_MAX_SECONDS, fallback: 0 }) * 1000
      const found = await (waitMs === 0 ? facade.find(id, 0) : waiters.pass(() => waitFor(id, waitMs, reach)))
      if (found === undefined) throw new MailroomError('MR_NOT_FOUND', { what: `message ${id}` })
      const { text, state, deliveredTo, attempts } = found
      const deliveredAt = found.deliveredAt === null ? null : new Date(found.deliveredAt).toISOString()
      const at = atOf(id)
      replyJson(context, 200, JSON.stringify({ id, text, at, state, deliveredTo, deliveredAt, attempts }))
    },

    getLog(context, query) {
      const limit = wholeNumber(query, 'limit', LIMIT)
      const { before } = idParameter(query, 'before')
      const { after } = idParameter(query, 'after')
      if (before !== undefined && after !== undefined) {
        throw badRequest({ where: 'the query', expected: 'either before or after', got: 'both' })
      }
      const path = `/log?limit=${limit}`
      const read = (range: Range) => facade.logPage(range)
      if (after === undefined) {
        return replyMessages(context, { read, range: backwards(before, limit), next: olderThan(path) })
      }
      const next = (lastId: string | undefined) => {
        const cursor = settledCursor(lastId, clock)
        return cursor !== undefined && cursor > after ? `${path}&after=${cursor}` : null
      }
      return replyMessages(context, { read, range: { after, limit }, next })
    },

    getStore(context, query) {
      const name = pathParameter(context, 'name')
      const limit = wholeNumber(query, 'limit', LIMIT)
      const { before } = idParameter(query, 'before')
      return replyMessages(context, {
        read: (range) => facade.storePage(name, range),
        range: backwards(before, limit),
        next: olderThan(`/actors/${encodeURIComponent(name)}/messages?limit=${limit}`),
      })
    },
  }
}

/** Waits in short turns: a drain must not last as long as a client is willing to wait. */
async function waitFor(id: string, waitMs: number, { facade, closing }: Reach): Promise<Found | undefined> {
  for (let leftMs = waitMs; ; leftMs -= LONG_POLL_SLICE_MS) {
    const found = await facade.find(id, closing() ? 0 : Math.min(leftMs, LONG_POLL_SLICE_MS))
    if (found?.state !== 'queued' || leftMs <= LONG_POLL_SLICE_MS || closing()) return found
  }
}

async function getLists(context: Context, query: Query, { facade, clock, logger }: Reach): Promise<void> {
  const limit = wholeNumber(query, 'limit', { min: 1, max: 10_000, fallback: undefined })
  if (context.method === 'HEAD') {
    // Its length would be known only after reading it all.
    openJson(context, clock)
    context.res.end()
    return
  }
  const { logged, delivered, deliveredTo } = await facade.lists(limit)
  const out = openJson(context, clock)
  const partial: string[] = []
  const writeHalf = async (name: string, half: ListHalf) => {
    if (!(await writeList(out, name, half, logger))) partial.push(name)
  }
  await out.write('{')
  await writeHalf('logged', logged)
  await out.write(',')
  await writeHalf('delivered', delivered)
  await out.write(`,"deliveredTo":${JSON.stringify(deliveredTo)},"partial":${JSON.stringify(partial)}}`)
  await out.end()
}

/** Writes one list, and ends it properly whatever happens to its source; true when it is whole. */
async function writeList(
  out: Outflow,
  name: string,
  { pages, whole }: ListHalf,
  logger: Logger,
): Promise<boolean> {
  let complete = false
  let separator = ''
  await out.write(`"${name}":[`)
  try {
    for await (const page of pages) {
      for (const message of page) {
        await out.write(separator + shown(message))
        separator = ','
      }
    }
    complete = whole()
  } catch (error) {
    if (error instanceof ClientGone) throw error
    logger.warn({ err: error, list: name }, 'a list ended early')
  }
  await out.write(']')
  return complete
}

function shown({ id, text }: Message): string {
  return `{"id":"${id}","text":${JSON.stringify(text)},"at":"${atOf(id)}"}`
}

function backwards(before: string | undefined, limit: number): Range {
  return { ...(before !== undefined && { before }), limit }
}

function olderThan(path: string): (lastId: string | undefined, full: boolean) => string | null {
  return (lastId, full) => (full ? `${path}&before=${lastId}` : null)
}

/** The cursor a follower of the log is handed: its last id, unless ids below that may yet be stored. */
export function settledCursor(lastId: string | undefined, clock: Clock): string | undefined {
  if (lastId === undefined) return undefined
  const youngest = idAt(clock.now() - CURSOR_DELAY_MS)
  return lastId < youngest ? lastId : youngest
}
