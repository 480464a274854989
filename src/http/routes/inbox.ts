/**
 * `/in/{source}`: takes what a source sends, byte for byte. The head shows who may: what it lacks is refused before the
 * body is read. The body's signature is checked before anything of it is parsed. A repeat is stored once.
 */
import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import type { Facade } from '../../actors/protocol.ts'
import { type Answer, cloudEventsOptions, metaHandshake, slackHandshake } from '../../inbox/answers.ts'
import { keptHeaders, takesType } from '../../inbox/headers.ts'
import { repeatKeyOf } from '../../inbox/repeat-key.ts'
import { checkHead } from '../../inbox/schemes.ts'
import { type Source, sourceOf } from '../../inbox/source.ts'
import type { Clock } from '../../runtime/clock.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { POST_DEADLINE_MS, REPEAT_CHECK_MS, REPEAT_WAIT_MS } from '../../runtime/timings.ts'
import { storedText } from '../../storage/content.ts'
import { atOf } from '../../storage/ids.ts'
import type { Receipt } from '../../storage/ports.ts'
import { BodyShare, readBody, refuseEncoded, utf8Of } from '../body.ts'
import { type ApiContext, countAccepted, type Endpoint, pathParameter, replyJson } from '../context.ts'
import { quoted, shortened } from '../problems.ts'
import { RefusalLog } from '../refusal-log.ts'

/** The routes of the inbox. */
export function inboxRoutes(api: ApiContext): Record<'postInbox' | 'getInbox' | 'askInbox', Endpoint> {
  const { facade, config, clock, wallClock, figures } = api
  const shares = new Shares()
  const refused = new RefusalLog(api, {
    one: 'a request to a source was refused',
    more: 'more requests to a source were refused',
  })
  const named = (context: Context): [name: string, source: Source] => {
    const name = pathParameter(context, 'source')
    return [name, sourceOf(config.inbox, name) ?? unknown()]
  }
  return {
    async postInbox(context) {
      const [name, source] = named(context)
      const refuse = (why: string): never => {
        refused.note({ source: name }, { requestId: String(context.res.getHeader('X-Request-Id')), why })
        throw new MailroomError('MR_SIGNATURE_INVALID', { source: name })
      }
      const { req: request, res: response } = context
      const head = checkHead(source, request.rawHeaders, wallClock.now())
      if (!head.ok) return refuse(head.why)
      refuseEncoded(request)
      refuseType(request, source)
      await shares.of(name, source).run(async (take) => {
        const limits = { what: 'The body', limitBytes: source.maxBytes, clock, take }
        const body = await readBody(request, response, limits)
        const deadlineAt = clock.monotonic() + POST_DEADLINE_MS
        if (!head.check(body)) refuse('the signature is not that of the body')
        const answer = slackHandshake(source, body)
        if (answer !== undefined) return reply(context, answer)
        const key = repeatKeyOf(name, source, request.rawHeaders, body)
        const receipt = await store(facade, textOf(name, source, request, body), { key, deadlineAt, clock })
        countAccepted(figures, [receipt], name)
        replyReceipt(context, source, receipt)
      })
    },

    getInbox(context) {
      const [, source] = named(context)
      if (source.verify !== 'meta') throw unsupported(context)
      reply(context, metaHandshake(source, new URLSearchParams(context.querystring)))
    },

    askInbox(context) {
      const [, source] = named(context)
      if (!source.cloudevents) throw unsupported(context)
      reply(context, cloudEventsOptions(context.req.rawHeaders))
    },
  }
}

/** Stores a message once. A repeat waits for the first to end, which may still be under way. */
async function store(
  facade: Facade,
  text: string,
  { key, deadlineAt, clock }: { key: string | undefined; deadlineAt: number; clock: Clock },
): Promise<Receipt> {
  if (key === undefined) return facade.post(text, deadlineAt)
  const waitUntil = clock.monotonic() + REPEAT_WAIT_MS
  for (;;) {
    try {
      const [receipt] = await facade.postBatch([text], { deadlineAt, key: { value: ` ${key}`, hash: '' } })
      return receipt!
    } catch (error) {
      if (!isMailroomError(error, 'MR_KEY_BUSY')) throw error
      if (clock.monotonic() >= waitUntil) throw new MailroomError('MR_REPEAT_BUSY', {})
      await clock.sleep(REPEAT_CHECK_MS)
    }
  }
}

/** The stored text of a body that a source has sent. */
function textOf(
  name: string,
  source: Source,
  { headers, rawHeaders }: IncomingMessage,
  body: Buffer,
): string {
  const type = headers['content-type']
  const kept = keptHeaders(source, rawHeaders)
  const head = {
    source: name,
    ...(type !== undefined && { type }),
    ...(Object.keys(kept).length > 0 && { headers: kept }),
  }
  const text = utf8Of(body)
  return storedText(text === undefined ? { base64: body.toString('base64'), ...head } : { text, ...head })
}

/** @throws {MailroomError} `MR_TYPE_UNSUPPORTED` */
function refuseType({ headers, rawHeaders }: IncomingMessage, source: Source): void {
  if (takesType(source, rawHeaders)) return
  const header = headers['content-type']
  throw new MailroomError('MR_TYPE_UNSUPPORTED', {
    what: 'Content-Type',
    expected: source.types!.join(' or '),
    got: header === undefined ? 'none' : quoted(header),
  })
}

function replyReceipt(context: Context, { verify, answer }: Source, { id, replayed }: Receipt): void {
  const { res: response } = context
  if (replayed) response.setHeader('Idempotent-Replayed', 'true')
  response.setHeader('Location', `/messages/${id}`)
  const json = `{"id":"${id}","at":"${atOf(id)}"}`
  if (answer !== 204 && verify !== 'slack') replyJson(context, answer, json)
  else reply(context, { status: answer, headers: {}, body: '' })
}

function reply(context: Context, { status, headers, body }: Answer): void {
  context.status = status
  for (const [name, value] of Object.entries(headers)) context.res.setHeader(name, value)
  context.body = status === 204 ? null : body
}

function unsupported({ method, path }: Context): MailroomError {
  return new MailroomError('MR_METHOD_UNSUPPORTED', { method, path: shortened(path), allowed: ['POST'] })
}

function unknown(): never {
  throw new MailroomError('MR_NOT_FOUND', { what: 'such source' })
}

/** The bodies in memory by source; those that anybody may post to have one share together. */
class Shares {
  readonly #unchecked = new BodyShare('sources without a check')
  readonly #bySource = new Map<string, BodyShare>()

  of(name: string, { verify }: Source): BodyShare {
    if (verify === 'none') return this.#unchecked
    const known = this.#bySource.get(name)
    if (known !== undefined) return known
    const share = new BodyShare(`the source ${name}`)
    this.#bySource.set(name, share)
    return share
  }
}
