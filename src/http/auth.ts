/**
 * Who may call. With a token: callers that send it. Without one: everybody but web pages of other sites, because a
 * browser lets any page send requests to this machine and its network. `Sec-Fetch-Site` or `Origin` shows those
 * requests. `Host` shows a name that an attacker made to point here (DNS rebinding).
 */
import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { MailroomError } from '../runtime/errors.ts'
import type { Config } from '../settings/config.ts'
import { isLoopback } from '../settings/setting-values.ts'
import { createSecretCheck } from './internal/secret.ts'
import { quoted } from './problems.ts'

type CallerCheck = (headers: IncomingHttpHeaders, authority: string | undefined) => void

/**
 * Makes the checks of a caller, for requests that are not open to all.
 *
 * @returns Functions of the headers and of the host that the request names (undefined: none, as HTTP/1.0 allows). They
 * throw `MR_HOST_FORBIDDEN`, `MR_TOKEN_INVALID` or `MR_FORBIDDEN` for a caller who may not. `caller` asks for the token,
 * when there is one; `page` never does.
 */
export function createAuth(config: Pick<Config, 'token' | 'host' | 'allowedHosts'>): {
  caller: CallerCheck
  page: CallerCheck
} {
  const { token, allowedHosts } = config
  const isAllowed = createHostCheck(config)
  const checkHost = (authority: string | undefined) => {
    if (authority === undefined || isAllowed(authority)) return
    throw new MailroomError('MR_HOST_FORBIDDEN', { got: quoted(authority) })
  }
  const page: CallerCheck = (headers, authority) => {
    checkHost(authority)
    if (isOwnPage(headers, authority)) return
    throw new MailroomError('MR_FORBIDDEN', {
      reason: 'A page of another site may not call without a token: expected Origin to be the same as Host',
    })
  }
  if (token === null) return { caller: page, page }
  const isToken = createSecretCheck(token)
  return {
    page,
    caller({ authorization = '' }, authority) {
      // A page of an attacker's name has no token.
      if (allowedHosts !== null) checkHost(authority)
      const given = /^Bearer +(\S+)$/i.exec(authorization)?.[1]
      if (given === undefined || !isToken(given)) throw new MailroomError('MR_TOKEN_INVALID', {})
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

/** True unless a browser says that a page of another origin sends the request. Another port is another origin. */
function isOwnPage(headers: IncomingHttpHeaders, authority: string | undefined): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  const { origin } = headers
  if (origin === undefined) return true
  // Behind a proxy that ends TLS the scheme is the browser's; it decides which port may be left out.
  const [, scheme, host] = /^(https?:\/\/)([^/?#]+)$/i.exec(origin) ?? []
  if (scheme === undefined || authority === undefined) return false
  return URL.parse(`${scheme}${host}`)?.host === URL.parse(`${scheme}${authority}`)?.host
}
