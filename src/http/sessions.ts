/**
 * Sessions: what a browser has instead of a token. A session is a cookie that says a role and when it ends, signed with
 * a key derived from that role's token. So every facade of every node with the same token knows it, after a restart
 * too, nobody keeps a list of sessions, and all sessions of a token end when the token is changed.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../runtime/clock.ts'
import { SESSION_MS } from '../runtime/timings.ts'
import { type CallerRole, type TokenSettings, tokensOf } from './tokens.ts'

export const SESSION_COOKIE = 'mailroom'
const VALUE = /^(?<claim>(?<role>read|post|all)\.(?<expiresAt>\d{1,15}))\.(?<signature>[\w-]{43})$/

/** A session. `expiresAt`: in milliseconds since 1970, by the node's time. */
export interface Session {
  role: CallerRole
  expiresAt: number
}

/** Makes what begins, finds and ends sessions. `isSecure` is true when the browser speaks https. */
export function createSessions(
  settings: TokenSettings,
  clock: Pick<Clock, 'now'>,
): {
  /** Begins a session: its value of `Set-Cookie`. */
  begin(role: CallerRole, isSecure: boolean): Session & { setCookie: string }
  /** The session of a header `Cookie`; null without one, with two, and with one that is not right or is over. */
  find(cookies: string | undefined): Session | null
} {
  const keys = new Map(
    [...tokensOf(settings)].map(([role, token]) => [
      role,
      Buffer.from(hkdfSync('sha256', token, '', `mailroom session ${role}`, 32)),
    ]),
  )
  const signatureOf = (claim: string, key: Buffer) =>
    createHmac('sha256', key).update(claim).digest('base64url')
  return {
    begin(role, isSecure) {
      const expiresAt = clock.now() + SESSION_MS
      const claim = `${role}.${expiresAt}`
      const setCookie = setCookieOf(`${claim}.${signatureOf(claim, keys.get(role)!)}`, SESSION_MS, isSecure)
      return { role, expiresAt, setCookie }
    },
    find(cookies = '') {
      const given = cookies.split(';').flatMap((cookie) => {
        const [name, ...value] = cookie.split('=')
        return name!.trim() === SESSION_COOKIE ? [value.join('=').trim()] : []
      })
      const { claim, role, expiresAt, signature } =
        (given.length === 1 && VALUE.exec(given[0]!)?.groups) || {}
      const key = keys.get(role as CallerRole)
      if (key === undefined) return null
      const expected = Buffer.from(signatureOf(claim!, key))
      if (!timingSafeEqual(Buffer.from(signature!), expected)) return null
      const session = { role: role as CallerRole, expiresAt: Number(expiresAt) }
      return session.expiresAt > clock.now() ? session : null
    },
  }
}

/** The value of `Set-Cookie` that ends a session in the browser. */
export function endSession(isSecure: boolean): string {
  return setCookieOf('', 0, isSecure)
}

function setCookieOf(value: string, ageMs: number, isSecure: boolean): string {
  const cookie = `${SESSION_COOKIE}=${value}; Path=/; Max-Age=${ageMs / 1000}; HttpOnly; SameSite=Strict`
  return isSecure ? `${cookie}; Secure` : cookie
}
