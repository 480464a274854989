/**
 * Who may call. With tokens: whoever sends one, or the cookie of a session, and only what its role allows. Without
 * tokens: everybody. A browser lets any page send requests to this machine and its network, and adds cookies by itself.
 * So without the header `Authorization`, which no other page can add, pages of other origins are refused:
 * `Sec-Fetch-Site` or `Origin` shows them. `Host` shows a name that an attacker made to point here (DNS rebinding).
 */
import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import type { Clock } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'
import type { Config } from '../settings/config.ts'
import { isLoopback } from '../settings/setting-values.ts'
import { quoted } from './problems.ts'
import type { Match } from './routes/match.ts'
import { createSessions } from './sessions.ts'
import { type CallerRole, createRoleOf, tokensOf } from './tokens.ts'

/** The settings that say who may call. */
export type AuthSettings = Pick<Config, 'token' | 'readToken' | 'postToken' | 'host' | 'allowedHosts'>

/** Who sends a request. */
export interface Caller {
  /** Null: nobody knows. */
  role: CallerRole | null
  /** What shows the role. `nothing`: there are no tokens, so nothing has to. */
  by: 'header' | 'cookie' | 'nothing'
  /** Of a session, in milliseconds since 1970. */
  expiresAt: number | null
  /** Why it may do nothing: it is a page of another origin, and shows no token. */
  foreign: string | undefined
}

/** The head of a request, as far as it says who sends it. `authority`: the host it names (HTTP/1.0 needs none). */
export interface Sender {
  headers: IncomingHttpHeaders
  authority: string | undefined
}

/** Makes the checks of callers. */
export function createAuth(
  settings: AuthSettings,
  clock: Pick<Clock, 'now'>,
): {
  callerOf(sender: Sender): Caller
  /**
   * Checks that a caller may do what a route does.
   *
   * @throws {MailroomError} `MR_HOST_FORBIDDEN`, `MR_TOKEN_INVALID`, `MR_FORBIDDEN` or `MR_ROLE_FORBIDDEN`.
   */
  check(
    caller: Caller,
    sender: Sender,
    asked: { role: Exclude<Match['role'], 'source'>; isRead: boolean },
  ): void
  /** Checks that it is no page of another origin. @throws {MailroomError} `MR_HOST_FORBIDDEN` or `MR_FORBIDDEN`. */
  checkPage(sender: Sender): void
} {
  const hasTokens = tokensOf(settings).size > 0
  const roleOf = createRoleOf(settings)
  const sessions = createSessions(settings, clock)
  const isAllowed = createHostCheck(settings)
  const checkHost = ({ authority }: Sender) => {
    if (authority === undefined || isAllowed(authority)) return
    throw new MailroomError('MR_HOST_FORBIDDEN', { got: quoted(authority) })
  }
  return {
    callerOf(sender) {
      const { authorization, cookie } = sender.headers
      if (!hasTokens) return { role: 'all', by: 'nothing', expiresAt: null, foreign: foreignOf(sender) }
      if (authorization !== undefined) {
        const given = /^Bearer +(\S+)$/i.exec(authorization)?.[1]
        const role = given === undefined ? null : roleOf(given)
        return { role, by: 'header', expiresAt: null, foreign: undefined }
      }
      const session = sessions.find(cookie)
      if (session === null) return { role: null, by: 'header', expiresAt: null, foreign: undefined }
      return { ...session, by: 'cookie', foreign: foreignOf(sender) }
    },
    check({ role, by, foreign }, sender, { role: needed, isRead }) {
      if (needed === 'open') {
        // Nobody else's page signs a browser in or out.
        const strange = isRead ? undefined : foreignOf(sender)
        if (strange !== undefined) throw new MailroomError('MR_FORBIDDEN', { reason: strange })
        return
      }
      // A page of an attacker's name has no token, and no cookie of ours.
      if (!hasTokens || settings.allowedHosts !== null) checkHost(sender)
      if (role === null) {
        const needs = 'the header Authorization: Bearer <a token that Mailroom was started with>'
        throw new MailroomError('MR_TOKEN_INVALID', { needs })
      }
      if (foreign !== undefined) throw new MailroomError('MR_FORBIDDEN', { reason: foreign })
      if (by === 'cookie' && !isRead && sender.headers['x-mailroom'] !== '1') {
        const reason = 'A change by the cookie of a session needs the header X-Mailroom: 1'
        throw new MailroomError('MR_FORBIDDEN', { reason })
      }
      if (role === 'all' || needed === 'any' || role === needed) return
      throw new MailroomError('MR_ROLE_FORBIDDEN', { needed, role })
    },
    checkPage(sender) {
      checkHost(sender)
      const reason = foreignOf(sender)
      if (reason !== undefined) throw new MailroomError('MR_FORBIDDEN', { reason })
    },
  }
}

/**
 * Makes the check of hosts. An address or a name of loopback is never an attacker's name; this machine's name and
 * the one it listens on are its own; the others are those of `--allowed-hosts`.
 */
function createHostCheck({
  host,
  allowedHosts,
}: Pick<Config, 'host' | 'allowedHosts'>): (authority: string) => boolean {
  const names = new Set([...(allowedHosts ?? []), host, hostname()].map((name) => name.toLowerCase()))
  const suffixes = [...names].filter((name) => name.startsWith('*.')).map((name) => name.slice(1))
  if (names.has('*')) return () => true
  // Nearly all requests name the same host.
  let lastAllowed: string | undefined
  return (authority) => {
    if (authority === lastAllowed) return true
    const name = authority
      .replace(/:\d*$/, '')
      .replace(/^\[(.*)\]$/, '$1')
      .replace(/\.$/, '')
      .toLowerCase()
    const isAllowed =
      // Names under .localhost resolve to loopback (RFC 6761).
      [isIP(name) !== 0, isLoopback(name), name.endsWith('.localhost'), names.has(name)].includes(true) ||
      suffixes.some((suffix) => name.endsWith(suffix))
    if (isAllowed) lastAllowed = authority
    return isAllowed
  }
}

/** Why a request is that of a page of another origin; undefined when it is not. Another port is another origin. */
function foreignOf({ headers, authority }: Sender): string | undefined {
  const may = 'A page of another origin may not call without the header Authorization'
  const { origin, 'sec-fetch-site': site } = headers
  if (site !== undefined) {
    if (site === 'same-origin' || site === 'none') return undefined
    return `${may}: expected Sec-Fetch-Site to be same-origin or none, got ${quoted(site)}`
  }
  if (origin === undefined) return undefined
  const scheme = schemeOf(headers)
  const own = authority === undefined ? undefined : originOf(`${scheme}://${authority}`)
  const given = originOf(origin)
  if (own !== undefined && given === own) return undefined
  const hint =
    scheme === 'http' && given?.startsWith('https:')
      ? '; a proxy that ends TLS says X-Forwarded-Proto: https'
      : ''
  return `${may}: expected Origin to be ${own ?? 'that of Host'}, got ${quoted(origin)}${hint}`
}

/** Scheme, host and port in one spelling; undefined for what is no origin of a web page. */
function originOf(text: string): string | undefined {
  return /^https?:\/\/[^/?#]+$/i.test(text) ? URL.parse(text)?.origin : undefined
}

/** What the browser speaks, as far as a proxy in front says so: no page can send this header to another origin. */
function schemeOf(headers: IncomingHttpHeaders): 'http' | 'https' {
  // Each of several proxies may have added what it was spoken to; the browser spoke to the first.
  const [first = ''] = String(headers['x-forwarded-proto'] ?? '').split(',')
  return first.trim().toLowerCase() === 'https' ? 'https' : 'http'
}

/** True when the browser speaks https: a proxy says so, or the browser itself does. */
export function isHttps(headers: IncomingHttpHeaders): boolean {
  return schemeOf(headers) === 'https' || /^https:/i.test(headers.origin ?? '')
}
