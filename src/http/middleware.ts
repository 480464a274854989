/**
 * What every request passes on its way in and out: its id, the guard, the headers of every answer, and the one
 * place where an error becomes an answer.
 */
import type { IncomingMessage } from 'node:http'
import type { Context, Middleware } from 'koa'
import { isMailroomError } from '../runtime/errors.ts'
import { createGuard } from './auth.ts'
import { ClientGone, discardRest, hasBody } from './body.ts'
import type { Reach } from './context.ts'
import { problemOf, replyProblem } from './problems.ts'

/**
 * The outermost middleware.
 *
 * @remarks An access line is logged at level debug only: at info it would cost more than the request.
 */
export function envelope(reach: Reach): Middleware {
  const { config, clock, random, logger, closing } = reach
  const guard = createGuard(config)
  const idPrefix = Math.floor(random() * 36 ** 8).toString(36)
  let requestCount = 0
  const isDebug = logger.isLevelEnabled('debug')

  return async (context, next) => {
    const { req: request, res: response } = context
    const startedAt = isDebug ? clock.monotonic() : 0
    const requestId = givenId(request) ?? `${idPrefix}-${(++requestCount).toString(36)}`
    response.setHeader('X-Request-Id', requestId)
    response.setHeader('X-Content-Type-Options', 'nosniff')
    response.setHeader('Cache-Control', 'no-store')
    if (closing()) response.setHeader('Connection', 'close')
    try {
      guard(request, context.path)
      await next()
    } catch (error) {
      await refuse(context, error, requestId, reach)
    }
    if (closing() && !response.headersSent) response.setHeader('Connection', 'close')
    if (isDebug) {
      const { method, path } = context
      const tookMs = clock.monotonic() - startedAt
      logger.debug({ requestId, method, path, status: response.statusCode, tookMs }, 'request')
    }
  }
}

async function refuse(
  context: Context,
  error: unknown,
  requestId: string,
  { clock, random, logger }: Reach,
): Promise<void> {
  const { req: request, res: response, method, path } = context
  if (error instanceof ClientGone) {
    context.respond = false
    response.destroy()
    return
  }
  if (!isMailroomError(error) || error.code === 'MR_INTERNAL') {
    logger.error({ err: error, requestId, method, path }, 'bug')
  }
  if (response.headersSent) {
    // The answer has begun: that it is cut short is the only way left to say it failed.
    context.respond = false
    response.destroy()
    return
  }
  const reading = method === 'GET' || method === 'HEAD'
  // A handler that meant to answer by itself had not begun: its error is Koa's to send.
  context.respond = true
  replyProblem(context, problemOf(error, { requestId, random, reading }))
  // Whether a small body has come along with the head is known once the parser is done with both.
  await undefined
  if (hasBody(request) && !request.complete) await replyAndClose(context, discardRest(request, clock))
}

/** Answers before the request has been read, and closes the connection once the client can have the answer. */
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
