/** Calls of the API: each is a call that a person can make, too, and is shown as a curl line. */

/** Who this page is for Mailroom. @type {{ role: 'read' | 'post' | 'all' | null, isSignedIn: boolean }} */
export const session = { role: null, isSignedIn: false }

/** @typedef {{ method: string, path: string, body?: unknown, text?: string, key?: string }} Request */

/** An answer that is no success, or none at all (`status` 0). */
export class Problem extends Error {
  /** @param {{ status: number, code: string, detail: string, retryAfter?: number }} problem */
  constructor({ status, code, detail, retryAfter = 1 }) {
    super(detail)
    this.status = status
    this.code = code
    /** In seconds. */
    this.retryAfter = retryAfter
  }
}

/** The URL of a path, below whatever path this page has. @param {string} path */
export function urlOf(path) {
  return new URL(path.replace(/^\//, ''), document.baseURI.replace(/[?#].*$/, '')).href
}

/**
 * Calls, and resolves with the answer's JSON, or undefined when it has none.
 *
 * @param {Request} request
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>} Rejects with a `Problem`, or with the reason of the signal.
 */
export async function call({ method, path, ...request }, signal) {
  let response
  let text
  try {
    response = await fetch(urlOf(path), {
      ...{
        method,
        headers: headersOf({ method, path, ...request }),
        cache: 'no-store',
        signal: signal ?? null,
      },
      body: bodyOf(request) ?? null,
    })
    text = await response.text()
  } catch (error) {
    if (signal?.aborted) throw error
    throw new Problem({ status: 0, code: 'NO_ANSWER', detail: 'Mailroom does not answer.' })
  }
  if (response.ok) return text === '' ? undefined : JSON.parse(text)
  if (response.status === 401) dispatchEvent(new Event('signed-out'))
  throw problemOf(response, text)
}

/**
 * Calls, and repeats what a restart or an overload refused, for as long as a minute. The signal ends the repeats: a call
 * that was sent is waited for, so that what it did is counted.
 *
 * @param {Request} request
 * @param {AbortSignal} [signal]
 */
export async function callPatiently(request, signal) {
  const endAt = Date.now() + 60_000
  for (;;) {
    try {
      return await call(request)
    } catch (error) {
      const isPassing = error instanceof Problem && [0, 429, 503].includes(error.status)
      if (!isPassing || Date.now() > endAt) throw error
      await sleep(error.retryAfter * 1000)
      signal?.throwIfAborted()
    }
  }
}

/** @param {number} ms */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** One argument may have 128 KiB; what the shell itself writes has no bound. */
const ARGUMENT_CHARACTERS = 30_000

/**
 * A request as a line for any shell of POSIX. The body goes as it is: curl would take one that begins with `@` for the
 * name of a file, and an argument can not have what a terminal might act on, or a zero.
 *
 * @param {Request & { base64?: string, type?: string }} request `base64`: a body that is no text, of this content type.
 */
export function curlOf({ method, path, base64, type, ...request }) {
  const body = bodyOf(request)
  const isPiped = body !== undefined && (body.length > ARGUMENT_CHARACTERS || UNSEEN.test(body))
  const headers = {
    ...(type !== undefined && { 'Content-Type': type }),
    ...headersOf({ method, path, ...request }),
  }
  const given = Object.entries(headers).filter(([name]) => name !== 'X-Mailroom')
  const hasBody = base64 !== undefined || body !== undefined
  return [
    base64 !== undefined
      ? `printf %s ${quoted(base64)} | base64 -d |`
      : isPiped && `printf %b ${escaped(body)} |`,
    'curl',
    method !== 'GET' && !(method === 'POST' && hasBody) && `-X ${method}`,
    quoted(urlOf(path)),
    session.isSignedIn && '-H "Authorization: Bearer $MAILROOM_TOKEN"',
    ...given.map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    base64 !== undefined || isPiped ? '--data-binary @-' : hasBody && `--data-raw ${quoted(body ?? '')}`,
  ]
    .filter((part) => part)
    .join(' ')
}

/** What is not seen, and what a terminal might act on. */
const UNSEEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

/** A word of a shell. @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** A word that `printf %b` makes the text of. @param {string} text */
function escaped(text) {
  const parts = [...text.replaceAll('\\', '\\\\')].map((part) => (UNSEEN.test(part) ? octalOf(part) : part))
  return quoted(parts.join(''))
}

/** @param {string} character */
function octalOf(character) {
  return [...new TextEncoder().encode(character)]
    .map((byte) => `\\0${byte.toString(8).padStart(3, '0')}`)
    .join('')
}

/** @param {Request} request @returns {Record<string, string>} */
function headersOf({ method, body, text, key }) {
  return {
    ...(body !== undefined && { 'Content-Type': 'application/json' }),
    ...(text !== undefined && { 'Content-Type': 'text/plain' }),
    ...(key !== undefined && { 'Idempotency-Key': key }),
    // A cookie alone changes nothing: another site could have sent it.
    ...(method !== 'GET' && { 'X-Mailroom': '1' }),
  }
}

/** @param {Pick<Request, 'body' | 'text'>} request */
function bodyOf({ body, text }) {
  return body === undefined ? text : JSON.stringify(body)
}

/** @param {Response} response @param {string} text */
function problemOf({ status, headers }, text) {
  const retryAfter = Number(headers.get('Retry-After') ?? 1)
  try {
    const { code, detail } = JSON.parse(text)
    return new Problem({ status, code, detail, retryAfter })
  } catch {
    // A proxy's own page.
    return new Problem({
      status,
      code: `HTTP ${status}`,
      detail: `The answer was HTTP ${status}.`,
      retryAfter,
    })
  }
}
