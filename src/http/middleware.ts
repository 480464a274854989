/**
 * The outermost middleware: the request id, the headers of every answer, the refusal of a head that `head.ts` found
 * wrong, the one place where an error becomes an answer, and the log line of a change.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Context, Middleware } from 'koa'
import { type ErrorCode, isMailroomError } from '../runtime/errors.ts'
import { ClientDisconnected, discardRest, hasBody } from './body.ts'
import { ChangeLog } from './change-log.ts'
import type { ApiContext } from './context.ts'
import { headOf } from './head.ts'
import { problemOf, replyProblem, requestIds } from './problems.ts'
import { countRefused, countRequest } from './request-figures.ts'

/** Makes the middleware. Requests are logged at level debug only: at info the line costs more than the request. */
export function createMiddleware(api: ApiContext): Middleware {
  const { clock, random, logger, figures, closing } = api
  const nextId = requestIds(random)
  const changes = new ChangeLog(api)
  const isDebug = logger.isLevelEnabled('debug')

  return async (context, next) => {
    const { req: request, res: response } = context
    const startedAt = clock.monotonic()
    const requestId = givenId(request) ?? nextId()
    response.setHeader('X-Request-Id', requestId)
    response.setHeader('X-Content-Type-Options', 'nosniff')
    response.setHeader('Cache-Control', 'no-store')
    if (closing()) response.setHeader('Connection', 'close')
    let code: ErrorCode | null | undefined
    try {
      const { refusal } = headOf(request)
      if (refusal !== undefined) throw refusal
      await next()
    } catch (error) {
      code = error instanceof ClientDisconnected ? null : isMailroomError(error) ? error.code : 'MR_INTERNAL'
      await replyError(context, error, requestId, api)
    }
    changes.note(context, requestId, code)
    if (closing() && !response.headersSent) response.setHeader('Connection', 'close')
    const tookMs = clock.monotonic() - startedAt
    const { method, path } = context
    countRequest(figures, { method, route: context.state['route'], status: statusOf(response), tookMs })
    if (isDebug) {
      logger.debug({ requestId, method, path, status: response.statusCode, tookMs }, 'request')
    }
  }
}

async function replyError(
  context: Context,
  error: unknown,
  requestId: string,
  { clock, random, logger, figures }: ApiContext,
): Promise<void> {
  const { req: request, res: response, method, path } = context
  if (error instanceof ClientDisconnected) {
    context.respond = false
    response.destroy()
    return
  }
  if (!isMailroomError(error) || error.code === 'MR_INTERNAL') {
    logger.error({ err: error, requestId, method, path }, 'bug')
  }
  if (response.headersSent) {
    // The answer has begun, so cutting it short is the only way left to report the failure.
    context.respond = false
    response.destroy()
    return
  }
  if (headOf(request).kind !== 'other') countRefused(figures, error)
  const reading = method === 'GET' || method === 'HEAD'
  // The handler had taken the answer over from Koa but sent nothing yet: let Koa send the problem.
  context.respond = true
  replyProblem(context, problemOf(error, { requestId, random, reading }))
  // A small body often arrives with the head. `complete` is right only after the parser has finished both.
  await undefined
  if (hasBody(request) && !request.complete) await replyAndClose(context, discardRest(request, clock))
}

/** None when the client has left before an answer began. */
function statusOf({ destroyed, headersSent, statusCode }: ServerResponse): number | undefined {
  return destroyed && !headersSent ? undefined : statusCode
}

/** Answers before the whole request was read, and closes the connection when the rest is read or a second is over. */
async function replyAndClose(context: Context, discarded: Promise<void>): Promise<void> {
  const { res: response } = context
  context.respond = false
  response.setHeader('Connection', 'close')
  response.write(context.body as string)
  await discarded
  response.end()
}

function givenId({ headers }: IncomingMessage): string | undefined {
  const given = headers['x-request-id']
  return typeof given === 'string' && /^[\x21-\x7e]{1,128}$/.test(given) ? given : undefined
}
