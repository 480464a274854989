/** `/session`: a browser signs in with a token, asks who it is, and signs out. */
import type { Context } from 'koa'
import { z } from 'zod'
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { SIGN_IN_WINDOW_MS } from '../../runtime/timings.ts'
import { isHttps } from '../auth.ts'
import { addToChange } from '../change-log.ts'
import { type ApiContext, type Endpoint, replyJson } from '../context.ts'
import { headOf } from '../head.ts'
import { readJsonObject } from '../json-body.ts'
import { createSessions, endSession } from '../sessions.ts'
import { type CallerRole, createRoleOf, tokensOf } from '../tokens.ts'

/** A token has up to 512 characters, each of which may be an escape of six. */
export const SESSION_MAX_BYTES = 4096
/** Sign-ins in `SIGN_IN_WINDOW_MS`, whatever their token. */
export const SIGN_INS_MAX = 10

/** What `POST /session` takes. */
export const PostSession = z.strictObject({ token: z.string().min(1).max(512) })

/** The routes of sessions. */
export function sessionRoutes({
  config,
  clock,
}: ApiContext): Record<'getSession' | 'postSession' | 'deleteSession', Endpoint> {
  const hasTokens = tokensOf(config).size > 0
  const roleOf = createRoleOf(config)
  const sessions = createSessions(config, clock)
  const signIns = new SignIns(clock)
  return {
    getSession(context) {
      const { role, expiresAt, foreign } = headOf(context.req).caller
      reply(context, foreign === undefined ? role : null, expiresAt)
    },
    async postSession(context) {
      const { req: request, res: response } = context
      const expected = '{"token": a text of 1 to 512 characters} and nothing else'
      const limits = { clock, limitBytes: SESSION_MAX_BYTES }
      const { token } = await readJsonObject(context, { schema: PostSession, expected, ...limits })
      signIns.take()
      // Without tokens there is nothing to show, and nothing to sign with.
      if (!hasTokens) return reply(context, 'all', null)
      const role = roleOf(token)
      if (role === null) {
        const needs = 'a token that Mailroom was started with, as "token" of its body'
        throw new MailroomError('MR_TOKEN_INVALID', { needs })
      }
      addToChange(context, { role })
      const { expiresAt, setCookie } = sessions.begin(role, isHttps(request.headers))
      response.setHeader('Set-Cookie', setCookie)
      reply(context, role, expiresAt)
    },
    deleteSession(context) {
      context.res.setHeader('Set-Cookie', endSession(isHttps(context.req.headers)))
      context.status = 204
    },
  }
}

function reply(context: Context, role: CallerRole | null, expiresAt: number | null): void {
  const until = role === null || expiresAt === null ? null : new Date(expiresAt).toISOString()
  replyJson(context, 200, JSON.stringify({ role, expiresAt: until }))
}

/** Bounds the guesses at tokens. */
class SignIns {
  readonly #clock: Clock
  /** When the last ones were, the oldest first. */
  readonly #takenAt: number[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts one. @throws {MailroomError} `MR_SIGN_INS_LIMITED` when there were too many; that one does not count. */
  take(): void {
    const now = this.#clock.monotonic()
    while (this.#takenAt.length > 0 && this.#takenAt[0]! <= now - SIGN_IN_WINDOW_MS) this.#takenAt.shift()
    if (this.#takenAt.length >= SIGN_INS_MAX) {
      const waitMs = this.#takenAt[0]! + SIGN_IN_WINDOW_MS - now
      throw new MailroomError('MR_SIGN_INS_LIMITED', { limit: SIGN_INS_MAX, waitMs })
    }
    this.#takenAt.push(now)
  }
}
