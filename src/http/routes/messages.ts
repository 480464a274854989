/**
 * `/messages`: accepts one message or a batch (the hot path) or a stream of lines (`lines.ts`); shows the two
 * lists; shows one message.
 */
import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import type { Look, PagedList, Wait } from '../../actors/protocol.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { POST_DEADLINE_MS } from '../../runtime/timings.ts'
import { shown } from '../../storage/content.ts'
import { atOf } from '../../storage/ids.ts'
import type { Receipt } from '../../storage/ports.ts'
import { ClientDisconnected, mediaTypeOf } from '../body.ts'
import {
  type ApiContext,
  checkId,
  countAccepted,
  type Endpoint,
  numberParameter,
  pathParameter,
  type Query,
  replyJson,
} from '../context.ts'
import { ConcurrencyLimit } from '../overload.ts'
import { badRequest, quoted } from '../problems.ts'
import { inRoom, inSingleRoom, messageJson, openJson, type ResponseStream } from '../streams.ts'
import { postLines } from './lines.ts'
import { placeJson } from './place.ts'
import { hashOf, readPosted } from './posted.ts'
import { ROUTES } from './table.ts'

/** Streams of lines at once. */
export const STREAMS_MAX = 100
/** Reads with `?wait=` at once. */
export const LONG_POLLS_MAX = 1000
/** Redeliveries at once. */
export const REDELIVERIES_MAX = 100
/** The seconds of `?wait=`. */
export const WAIT_SECONDS = { min: 0, max: 30, fallback: 0 }
/** Of an idempotency key. */
export const KEY_MAX_CHARACTERS = 255
/** The `limit` of both lists. */
export const LISTS_LIMIT = { min: 1, max: 10_000, fallback: undefined }

/** The routes of `/messages`. */
export function messageRoutes(
  api: ApiContext,
  readers: ConcurrencyLimit,
): Record<'postMessages' | 'getLists' | 'getMessage' | 'redeliverMessage', Endpoint> {
  const { facade, clock, figures } = api
  const streams = new ConcurrencyLimit('streams of messages', STREAMS_MAX)
  const redeliveries = new ConcurrencyLimit('redeliveries', REDELIVERIES_MAX)
  const longPolls = new ConcurrencyLimit('long polls', LONG_POLLS_MAX)
  const look: Look = async (read) => {
    const place = await api.singleRoom.enter()
    return read().finally(() => place.leave())
  }
  const longPoll = async ({ res }: Context, id: string, wait: Omit<Wait, 'gone'>) => {
    const gone = new AbortController()
    const leave = () => gone.abort()
    res.once('close', leave)
    try {
      return await facade.find(id, { ...wait, gone: gone.signal })
    } finally {
      res.off('close', leave)
    }
  }
  return {
    async postMessages(context, query) {
      const type = mediaTypeOf(context.req, ROUTES.postMessages.types)
      const key = keyOf(context.req)
      if (type === 'application/x-ndjson') {
        if (key !== undefined) {
          throw badRequest({ where: 'Idempotency-Key', expected: 'absent with NDJSON', got: 'one' })
        }
        const errorsOnly = acksOf(query)
        return streams.run(() => postLines(context, errorsOnly, api))
      }
      if (query['acks'] !== undefined) {
        throw badRequest({ where: 'query parameter "acks"', expected: 'absent but with NDJSON', got: 'one' })
      }
      const posted = await readPosted(context, type, api)
      const { texts, many } = posted
      const deadlineAt = clock.monotonic() + POST_DEADLINE_MS
      let receipts: readonly Receipt[]
      if (key !== undefined) {
        const hash = hashOf(posted)
        receipts = await facade.postBatch(texts, { deadlineAt, key: { value: key, hash } })
        if (receipts[0]!.replayed) context.res.setHeader('Idempotent-Replayed', 'true')
      } else {
        receipts = many
          ? await facade.postBatch(texts, { deadlineAt })
          : [await facade.post(texts[0]!, deadlineAt)]
      }
      countAccepted(figures, receipts, '')
      replyReceipts(context, many, receipts)
    },

    async redeliverMessage(context) {
      const id = checkId(pathParameter(context, 'id'), 'the id')
      if (!(await redeliveries.run(() => facade.redeliver(id, look)))) {
        throw new MailroomError('MR_NOT_FOUND', { what: `message ${id}` })
      }
      replyJson(context, 200, `{"id":"${id}","state":"delivered"}`)
    },

    getLists: (context, query) => readers.run(() => getLists(context, query, api)),

    async getMessage(context, query) {
      const id = checkId(pathParameter(context, 'id'), 'the id')
      const waitMs = numberParameter(query, 'wait', WAIT_SECONDS) * 1000
      await inSingleRoom(context, api, async (enter) => {
        if (waitMs === 0) await enter()
        const found = await (waitMs === 0
          ? facade.find(id)
          : longPolls.run(() => longPoll(context, id, { waitMs, look, beforeText: enter })))
        if (found === undefined) throw new MailroomError('MR_NOT_FOUND', { what: `message ${id}` })
        return { message: found, json: JSON.stringify({ ...shown(found), ...placeJson(found) }) }
      })
    },
  }
}

function replyReceipts(context: Context, many: boolean, receipts: readonly Receipt[]): void {
  if (!many) context.res.setHeader('Location', `/messages/${receipts[0]!.id}`)
  const entries = receipts.map(({ id }) => `{"id":"${id}","at":"${atOf(id)}"}`)
  replyJson(context, 201, many ? `[${entries.join(',')}]` : entries[0]!)
}

/** The key of a request: as it stands, or as a quoted string of Structured Fields (RFC 9651), which is the same key. */
function keyOf({ headers }: IncomingMessage): string | undefined {
  const header = headers['idempotency-key']
  if (header === undefined) return undefined
  const given = String(header)
  const isQuoted = given.startsWith('"')
  const key = isQuoted ? /^"((?:[^"\\]|\\["\\])*)"$/.exec(given)?.[1]?.replaceAll(/\\(.)/g, '$1') : given
  const wrong = (got: string) =>
    badRequest({
      where: 'Idempotency-Key',
      expected: `1 to ${KEY_MAX_CHARACTERS} visible ASCII characters, bare or in double quotes`,
      got,
    })
  if (key === undefined) throw wrong('a quoted string with a stray quote or backslash')
  if (key === '' || key.length > KEY_MAX_CHARACTERS) throw wrong(`${key.length} characters`)
  const bad = /[^\x21-\x7e]/.exec(key)
  if (bad !== null) throw wrong(`${quoted(bad[0])} as character ${bad.index + 1}`)
  return key
}

function acksOf(query: Query): boolean {
  const acks = query['acks']
  if (acks === undefined || acks === 'errors') return acks !== undefined
  throw badRequest({ where: 'query parameter "acks"', expected: '"errors"', got: 'something else' })
}

async function getLists(context: Context, query: Query, api: ApiContext): Promise<void> {
  const limit = numberParameter(query, 'limit', LISTS_LIMIT)
  if (context.method === 'HEAD') {
    // Without a length, which is known only after all of it was read.
    openJson(context, api.clock)
    context.res.end()
    return
  }
  const { logged, delivered, deliveredTo } = await api.facade.lists(limit)
  const out = openJson(context, api.clock)
  const partial: string[] = []
  await out.write('{')
  if (!(await writeList(out, 'logged', logged, api))) partial.push('logged')
  await out.write(',')
  if (!(await writeList(out, 'delivered', delivered, api))) partial.push('delivered')
  await out.write(`,"deliveredTo":${JSON.stringify(deliveredTo)},"partial":${JSON.stringify(partial)}}`)
  await out.end()
}

/** Writes one list, and closes its array also when its source fails. Returns true when the list is complete. */
async function writeList(
  out: ResponseStream,
  name: string,
  { pages, whole }: PagedList,
  { logger, listRoom }: ApiContext,
): Promise<boolean> {
  let complete = false
  let separator = ''
  await out.write(`"${name}":[`)
  try {
    const iterator = pages[Symbol.asyncIterator]()
    for (let isOver = false; !isOver; ) {
      const read = async () => {
        const { done, value } = await iterator.next()
        isOver = done === true
        return isOver ? [] : value
      }
      await inRoom(listRoom, read, async (page) => {
        for (const message of page) {
          await out.write(separator + messageJson(message))
          separator = ','
        }
      })
    }
    complete = whole()
  } catch (error) {
    if (error instanceof ClientDisconnected) throw error
    logger.warn({ err: error, list: name }, 'a list ended early')
  }
  await out.write(']')
  return complete
}
