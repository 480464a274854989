/** What is counted of requests to the public API. */
import { type ErrorCode, isMailroomError } from '../runtime/errors.ts'
import type { Figures } from '../runtime/figures.ts'

/** Any other is `_OTHER`, as OpenTelemetry says: a client may write what it likes. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])

/** Why a post is refused when Mailroom is in trouble. */
const TROUBLES = [
  ...['MR_OVERLOADED', 'MR_MAILBOX_FULL', 'MR_STORE_UNAVAILABLE', 'MR_DEADLINE_EXPIRED', 'MR_DRAINING'],
  ...['MR_PEER_LOST', 'MR_CLOCK_WRONG', 'MR_INTERNAL'],
] as const satisfies ErrorCode[]

/** Begins series at 0, so that their first increase is seen. @param sources Names of the sources. */
export function beginSeries(figures: Figures, sources: readonly string[]): void {
  for (const code of TROUBLES) figures.count('mailroom_refused_total', { code }, 0)
  for (const source of ['', ...sources]) figures.count('mailroom_messages_accepted_total', { source }, 0)
}

/** Counts a request that was answered, or whose client has left. `route` is undefined where no route is. */
export function countRequest(
  figures: Figures,
  request: { method: string; route: string | undefined; status: number | undefined; tookMs: number },
): void {
  const { method, route = '', status = '', tookMs } = request
  figures.observe('http_server_request_duration_seconds', tookMs / 1000, {
    http_request_method: METHODS.has(method) ? method : '_OTHER',
    http_route: route,
    http_response_status_code: status,
  })
}

/** Counts a post that is refused with an error. */
export function countRefused(figures: Figures, error: unknown): void {
  figures.count('mailroom_refused_total', { code: isMailroomError(error) ? error.code : 'MR_INTERNAL' })
}
