/** Answers to the handshakes by which senders try a URL before they use it. */

import { valuesOf } from './raw-headers.ts'
import { isSecretOf } from './schemes.ts'
import type { Source } from './source.ts'

/** An answer. `headers` are by their names; Content-Length is not among them. */
export interface Answer {
  status: number
  headers: Record<string, string>
  body: string
}

/** What may be sent back as it came. */
const CHALLENGE = /^[\w-]{1,200}$/
/** Larger bodies are no handshakes, and are not parsed. */
const HANDSHAKE_MAX_BYTES = 4096

/**
 * Slack's `url_verification`. Call it with a body whose signature was checked.
 *
 * @returns The challenge as text; undefined for any other body, which is a message.
 */
export function slackHandshake(source: Source, body: Buffer): Answer | undefined {
  if (source.verify !== 'slack' || body.length > HANDSHAKE_MAX_BYTES) return undefined
  try {
    const { type, challenge } = JSON.parse(body.toString())
    const isAsked = type === 'url_verification' && typeof challenge === 'string' && CHALLENGE.test(challenge)
    if (isAsked) return text(200, challenge)
  } catch {
    // No JSON, or null: a message.
  }
  return undefined
}

/**
 * Meta's `GET` with `hub.mode=subscribe`.
 *
 * @param query That of the URL.
 * @returns 200 with `hub.challenge` as text if `hub.verify_token` is the source's; else 403.
 */
export function metaHandshake({ verifyToken }: Source, query: URLSearchParams): Answer {
  const [mode, token, challenge] = ['hub.mode', 'hub.verify_token', 'hub.challenge'].map((name) => {
    const [value, ...others] = query.getAll(name)
    return others.length === 0 ? value : undefined
  })
  const isOurs = verifyToken !== undefined && isSecretOf([verifyToken], Buffer.from(token ?? ''))
  const isAsked = mode === 'subscribe' && challenge !== undefined && CHALLENGE.test(challenge)
  return isOurs && isAsked ? text(200, challenge) : text(403, '')
}

/**
 * The `OPTIONS` by which senders of CloudEvents ask whether they may. Anybody may ask: what is posted is checked. A
 * callback is never called.
 */
export function cloudEventsOptions(rawHeaders: readonly string[]): Answer {
  const [origin = ''] = valuesOf(rawHeaders, 'webhook-request-origin')
  return {
    status: 200,
    headers: {
      Allow: 'POST, OPTIONS',
      'WebHook-Allowed-Origin': /^[\w.:/-]{1,253}$/.test(origin) ? origin : '*',
      'WebHook-Allowed-Rate': '*',
    },
    body: '',
  }
}

function text(status: number, body: string): Answer {
  const headers = { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' }
  return { status, headers, body }
}
