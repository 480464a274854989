/**
 * Errors as `application/problem+json` (RFC 9457). Only this file knows the HTTP statuses of errors. Anything that
 * is not a `MailroomError` is a bug: its text goes to the log, not to the client.
 */
import type { Context } from 'koa'
import type { Random } from '../runtime/clock.ts'
import { type Details, type ErrorCode, isMailroomError, MailroomError } from '../runtime/errors.ts'

/** Code -> its status and title. */
export const PROBLEMS: Record<ErrorCode, { status: number; title: string }> = {
  MR_CONFIG_INVALID: { status: 409, title: 'Configuration invalid' },
  MR_MESSAGE_INVALID: { status: 400, title: 'Message invalid' },
  MR_REQUEST_INVALID: { status: 400, title: 'Request invalid' },
  MR_NOT_FOUND: { status: 404, title: 'Not found' },
  MR_METHOD_UNSUPPORTED: { status: 405, title: 'Method not supported' },
  MR_TOO_LARGE: { status: 413, title: 'Too large' },
  MR_HEAD_TOO_LARGE: { status: 431, title: 'Head too large' },
  MR_TYPE_UNSUPPORTED: { status: 415, title: 'Type not supported' },
  MR_KEY_REUSED: { status: 422, title: 'Idempotency key reused' },
  MR_REPEAT_BUSY: { status: 503, title: 'First request still running' },
  MR_SIGNATURE_INVALID: { status: 401, title: 'Signature missing or invalid' },
  MR_KEY_BUSY: { status: 409, title: 'First request still running' },
  MR_REDELIVERY_REFUSED: { status: 409, title: 'Redelivery refused' },
  MR_REDELIVERY_FAILED: { status: 502, title: 'Redelivery failed' },
  MR_ROLE_ELSEWHERE: { status: 409, title: 'Role hosted elsewhere' },
  MR_SCALE_REFUSED: { status: 409, title: 'Scaling refused' },
  MR_TOKEN_INVALID: { status: 401, title: 'Token missing or invalid' },
  MR_ROLE_FORBIDDEN: { status: 403, title: 'Role not allowed' },
  MR_SIGN_INS_LIMITED: { status: 429, title: 'Too many sign-ins' },
  MR_FORBIDDEN: { status: 403, title: 'Forbidden' },
  MR_HOST_FORBIDDEN: { status: 403, title: 'Host not allowed' },
  MR_MAILBOX_FULL: { status: 503, title: 'Mailbox full' },
  MR_OVERLOADED: { status: 429, title: 'Overloaded' },
  MR_READERS_FULL: { status: 503, title: 'Too many readers' },
  MR_DRAINING: { status: 503, title: 'Draining' },
  MR_DEADLINE_EXPIRED: { status: 504, title: 'Deadline expired' },
  MR_REQUEST_TIMEOUT: { status: 408, title: 'Request timeout' },
  MR_ANSWER_UNREAD: { status: 408, title: 'Answer not read' },
  MR_CURSOR_EXPIRED: { status: 410, title: 'Cursor expired' },
  MR_STORE_UNAVAILABLE: { status: 503, title: 'Store unavailable' },
  MR_CLOCK_WRONG: { status: 503, title: 'Clock wrong' },
  MR_PEER_LOST: { status: 503, title: 'Actor lost' },
  MR_LANE_ELSEWHERE: { status: 503, title: 'Lane on its way' },
  MR_DATA_LOCKED: { status: 503, title: 'Data locked' },
  MR_DATA_VERSION: { status: 503, title: 'Data version' },
  MR_INTERNAL: { status: 500, title: 'Internal error' },
}

/** Statuses whose answers carry `Retry-After`. */
export const WAIT_AND_RETRY = new Set([429, 503])
const RETRY_AFTER_MAX_SECONDS = 3
/** So many characters of a request are quoted in an error. */
const QUOTED_CHARACTERS = 64

/** An error, ready to be sent. */
interface Problem {
  status: number
  headers: Record<string, string>
  body: string
}

/**
 * Any thrown value as a problem. An error that is not a `MailroomError` becomes `MR_INTERNAL`.
 *
 * @param options.reading The request could not have stored anything: `outcome` is `none`, whatever failed.
 */
export function problemOf(
  thrown: unknown,
  options: { requestId: string; random: Random; reading: boolean },
): Problem {
  const error = isMailroomError(thrown) ? thrown : new MailroomError('MR_INTERNAL', { reason: '' })
  const { status, title } = PROBLEMS[error.code]
  const headers: Record<string, string> = {
    'Content-Type': 'application/problem+json',
    'X-Request-Id': options.requestId,
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
  }
  if (WAIT_AND_RETRY.has(status) || error.code === 'MR_KEY_BUSY') {
    headers['Retry-After'] = String(1 + Math.floor(options.random() * RETRY_AFTER_MAX_SECONDS))
  }
  if (isMailroomError(error, 'MR_SIGN_INS_LIMITED')) {
    headers['Retry-After'] = String(Math.ceil(error.details.waitMs / 1000))
  }
  if (status === 401) {
    headers['WWW-Authenticate'] = error.code === 'MR_TOKEN_INVALID' ? 'Bearer' : 'Signature'
  }
  if (isMailroomError(error, 'MR_METHOD_UNSUPPORTED')) headers['Allow'] = error.details.allowed.join(', ')
  const body = {
    type: `/docs#${error.code}`,
    title,
    status,
    detail: detailOf(error),
    code: error.code,
    outcome: options.reading ? 'none' : error.outcome,
    requestId: options.requestId,
    ...placesOf(error),
  }
  return { status, headers, body: JSON.stringify(body) }
}

/** Makes ids for requests that came without one: `<prefix><the same for all>-<count>`. */
export function requestIds(random: Random, prefix = ''): () => string {
  const base = prefix + Math.floor(random() * 36 ** 8).toString(36)
  let count = 0
  return () => `${base}-${(++count).toString(36)}`
}

/** The fields of a problem in a line of NDJSON. */
export function problemLineOf(thrown: unknown): { code: ErrorCode; detail: string; outcome: string } {
  const error = isMailroomError(thrown) ? thrown : new MailroomError('MR_INTERNAL', { reason: '' })
  return { code: error.code, detail: detailOf(error), outcome: error.outcome }
}

/** Makes a problem Koa's answer. */
export function replyProblem(context: Context, { status, headers, body }: Problem): void {
  context.status = status
  context.set(headers)
  context.body = body
}

/** `MR_REQUEST_INVALID`: a bad request that is not about a message's text. */
export function badRequest(details: Details<'MR_REQUEST_INVALID'>): MailroomError {
  return new MailroomError('MR_REQUEST_INVALID', details)
}

/** Text of a request for an error, in quotes: at most 64 characters of it. */
export function quoted(text: string): string {
  return JSON.stringify(shortened(text))
}

/** At most 64 characters of a text of a request, so that no error repeats a large request. */
export function shortened(text: string): string {
  return (text.length > QUOTED_CHARACTERS ? `${text.slice(0, QUOTED_CHARACTERS)}…` : text).toWellFormed()
}

/** The places that an error names, as fields of its problem. */
function placesOf(error: MailroomError): { errors?: object[]; moreErrors?: number } {
  if (isMailroomError(error, 'MR_MESSAGE_INVALID')) {
    const { others = [], more = 0, ...first } = error.details
    return { errors: [first, ...others], ...(more > 0 && { moreErrors: more }) }
  }
  return isMailroomError(error, 'MR_REQUEST_INVALID', 'MR_TYPE_UNSUPPORTED')
    ? { errors: [error.details] }
    : {}
}

function detailOf(error: MailroomError): string {
  if (error.code === 'MR_INTERNAL') return 'A bug in Mailroom; its log names this request id'
  return error.message
}
