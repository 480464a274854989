/** `POST /messages`: one message, a batch, or a stream of lines. The hot path. */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import { MailroomError } from '../../runtime/errors.ts'
import { POST_DEADLINE_MS } from '../../runtime/timings.ts'
import { atOf } from '../../storage/ids.ts'
import { TEXT_MAX_BYTES } from '../../storage/limits.ts'
import type { Receipt } from '../../storage/ports.ts'
import { mediaTypeOf, readBody, utf8Of } from '../body.ts'
import { type Handler, type Reach, replyJson } from '../context.ts'
import { Gate } from '../limits.ts'
import { badRequest } from '../problems.ts'
import type { Query } from '../query.ts'
import { checkText, type Posted, parsePosted } from './message-schema.ts'
import { postLines } from './post-lines.ts'
import { ROUTES } from './table.ts'

/** The largest body of JSON. */
const JSON_MAX_BYTES = 1024 * 1024
const STREAMS_MAX = 100

/** The handler. */
export function postMessages(reach: Reach): Handler {
  const { facade, clock } = reach
  const streams = new Gate('streams of messages', STREAMS_MAX)
  return async (context, query) => {
    const type = mediaTypeOf(context.req, ROUTES.postMessages.types)
    const key = keyOf(context.req)
    if (type === 'application/x-ndjson') {
      if (key !== undefined) {
        throw badRequest({ where: 'Idempotency-Key', expected: 'absent with NDJSON', got: 'one' })
      }
      const errorsOnly = acksOf(query)
      return streams.pass(() => postLines(context, errorsOnly, reach))
    }
    if (query['acks'] !== undefined) {
      throw badRequest({ where: 'query parameter "acks"', expected: 'absent but with NDJSON', got: 'one' })
    }
    const posted = await readPosted(context, type, reach)
    const deadlineAt = clock.now() + POST_DEADLINE_MS
    if (key !== undefined) {
      const { texts } = posted
      const receipts = await facade.postBatch(texts, {
        deadlineAt,
        key: { value: key, hash: hashOf(posted) },
      })
      if (receipts[0]!.replayed) context.res.setHeader('Idempotent-Replayed', 'true')
      reply(context, posted.many, receipts)
    } else if (posted.many) {
      reply(context, true, await facade.postBatch(posted.texts, { deadlineAt }))
    } else {
      reply(context, false, [await facade.post(posted.texts[0]!, deadlineAt)])
    }
  }
}

async function readPosted(context: Context, type: string, { clock }: Reach): Promise<Posted> {
  const isText = type === 'text/plain'
  const what = isText ? 'The text' : 'The body'
  const limitBytes = isText ? TEXT_MAX_BYTES : JSON_MAX_BYTES
  const source = utf8Of(await readBody(context.req, context.res, { what, limitBytes, clock }))
  if (source === undefined) {
    throw new MailroomError('MR_MESSAGE_INVALID', {
      where: 'the body',
      expected: 'UTF-8',
      got: 'something else',
    })
  }
  return isText ? { texts: [checkText(source, 'the body')], many: false } : parsePosted(source)
}

function reply(context: Context, many: boolean, receipts: readonly Receipt[]): void {
  if (!many) context.res.setHeader('Location', `/messages/${receipts[0]!.id}`)
  const shown = receipts.map(({ id }) => `{"id":"${id}","at":"${atOf(id)}"}`)
  replyJson(context, 201, many ? `[${shown.join(',')}]` : shown[0]!)
}

function keyOf({ headers }: IncomingMessage): string | undefined {
  const key = headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key === 'string' && /^[\w-]{16,64}$/.test(key)) return key
  throw badRequest({
    where: 'Idempotency-Key',
    expected: '16 to 64 characters of A-Z a-z 0-9 _ -',
    got: `${key.length} characters, or others`,
  })
}

/** Of what is asked, not of its spelling: the same text in JSON and as text/plain is the same request. */
function hashOf({ texts, many }: Posted): string {
  const hash = createHash('sha256').update(many ? 'many' : 'one')
  for (const text of texts) hash.update(`,${Buffer.byteLength(text)}:`).update(text)
  return hash.digest('hex')
}

function acksOf(query: Query): boolean {
  const acks = query['acks']
  if (acks === undefined || acks === 'errors') return acks !== undefined
  throw badRequest({ where: 'query parameter "acks"', expected: '"errors"', got: 'something else' })
}
