/**
 * Who may call. With a token: callers that send it. Without one: everybody but web pages of other sites, because a
 * browser lets any page send requests to loopback. `Sec-Fetch-Site` shows those requests; `Host` shows a name that
 * an attacker made to point at loopback (DNS rebinding).
 */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { MailroomError } from '../runtime/errors.ts'
import type { Config } from '../settings/config.ts'
import { isLoopback } from '../settings/setting-values.ts'
import { createSecretCheck } from './internal/secret.ts'
import { badRequest } from './problems.ts'
import { ROUTES } from './routes/table.ts'

const MAX_HEADERS = 100
const HOST = /^[\w.:[\]-]*$/
const OPEN_PATHS: ReadonlySet<string> = new Set(
  Object.values(ROUTES)
    .filter(({ auth }) => auth === 'open')
    .map(({ path }) => path),
)

/**
 * Makes the check that every request passes first.
 *
 * @returns A function that throws `MR_REQUEST_INVALID` for an invalid head, `MR_TOKEN_INVALID` or
 * `MR_FORBIDDEN` for a caller who may not.
 */
export function createAuth({
  token,
  host,
}: Pick<Config, 'token' | 'host'>): (request: IncomingMessage, path: string) => void {
  const isToken = token === null ? undefined : createSecretCheck(token)
  const loopbackOnly = token === null && isLoopback(host)
  return (request, path) => {
    const authority = checkHead(request)
    if (isToken !== undefined) {
      if (OPEN_PATHS.has(path)) return
      const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
      if (given === undefined || !isToken(given)) throw new MailroomError('MR_TOKEN_INVALID', {})
      return
    }
    if (request.headers['sec-fetch-site'] === 'cross-site') {
      throw new MailroomError('MR_FORBIDDEN', {
        reason: 'A page of another site may not call without a token',
      })
    }
    if (loopbackOnly) checkHost(authority)
  }
}

/** Checks the head. Returns the host that the request names; undefined when none, which HTTP/1.0 allows. */
function checkHead({ headers, rawHeaders, httpVersion, url = '' }: IncomingMessage): string | undefined {
  if (rawHeaders.length > MAX_HEADERS * 2) {
    const got = String(rawHeaders.length / 2)
    throw badRequest({ where: 'the number of headers', expected: `at most ${MAX_HEADERS}`, got })
  }
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw badRequest({ where: 'the version of HTTP', expected: '1.1 or 1.0', got: httpVersion })
  }
  if (url.includes('#')) {
    throw badRequest({ where: 'the target', expected: 'without a fragment', got: 'one with' })
  }
  const { host, expect } = headers
  if (host === undefined ? httpVersion === '1.1' : !HOST.test(host)) {
    const got = host === undefined ? 'none' : 'something else'
    throw badRequest({ where: 'the header Host', expected: 'one host, with or without a port', got })
  }
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
    throw badRequest({ where: 'the header Expect', expected: '100-continue', got: 'something else' })
  }
  // A target that is a whole URL overrides Host (RFC 9112, 3.2.2).
  return /^[a-z][a-z\d+.-]*:\/\/([^/?]*)/i.exec(url)?.[1] ?? host
}

function checkHost(header: string | undefined): void {
  if (header === undefined) return
  const name = header
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()
  // Names under .localhost resolve to loopback (RFC 6761).
  if (isIP(name) !== 0 || isLoopback(name) || name.endsWith('.localhost')) return
  throw new MailroomError('MR_FORBIDDEN', {
    reason: 'Without a token only requests to an address or to localhost are taken, and this Host is neither',
  })
}
