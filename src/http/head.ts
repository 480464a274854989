/**
 * The head of a request, read once, before admission control, the router and the routes: its target in one
 * spelling, what it asks for, and whether its caller may ask. All of them go by it, so no spelling of a request is
 * treated by other rules.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { type Source, sourceOf } from '../inbox/source.ts'
import type { Clock } from '../runtime/clock.ts'
import { isMailroomError, type MailroomError } from '../runtime/errors.ts'
import type { NodeConfig } from '../settings/config.ts'
import { type AuthSettings, type Caller, createAuth } from './auth.ts'
import { badRequest, quoted } from './problems.ts'
import { type Match, matchOf } from './routes/match.ts'

const MAX_HEADERS = 100
const HOST = /^[\w.:[\]-]*$/
/** A target that is a whole URL (RFC 9112, 3.2.2). */
const ABSOLUTE_FORM = /^([a-z][a-z\d+.-]*):\/\/([^/?]*)(.*)$/is
const NDJSON = 'application/x-ndjson'

/** What a head says. */
export interface Head {
  /** `post`: one message or a batch, which admission control counts. `stream`: NDJSON, which has bounds of its own. */
  kind: 'post' | 'stream' | 'other'
  /** Why the request is refused, whatever its body: the head is invalid, or the caller may not. */
  refusal: MailroomError | undefined
  /** What it asks for. */
  match: Match
  /** Who asks. A source shows itself later, by what it sends. */
  caller: Caller
  /** It asks for the base path without the slash at its end: what a page names would be sought beside it. */
  isBare: boolean
  /** From where: of a proxy, if there is one. */
  address: string
}

const heads = new WeakMap<IncomingMessage, Head>()

/** The head of a request that `createHeadReader`'s function has read. */
export function headOf(request: IncomingMessage): Head {
  return heads.get(request)!
}

/** Makes the reader of heads. It changes `request.url` to a path in its one spelling, with the query. */
export function createHeadReader(
  config: AuthSettings & Pick<NodeConfig, 'inbox' | 'basePath'>,
  clock: Pick<Clock, 'now'>,
): (request: IncomingMessage) => Head {
  const auth = createAuth(config, clock)
  return (request) => {
    const { method, url = '', headers, socket } = request
    const [, scheme, authority, rest] = (url.startsWith('/') ? undefined : ABSOLUTE_FORM.exec(url)) ?? []
    if (rest !== undefined) request.url = rest.startsWith('/') ? rest : `/${rest}`
    const [path = '', ...query] = request.url!.split('?')
    const whole = plainPath(path)
    const isBare = whole === config.basePath
    const plain = isBare ? '/' : withoutBase(whole, config.basePath)
    if (plain !== path) request.url = [plain, ...query].join('?')
    const match = matchOf(method, plain)
    const { role } = match
    // The authority of a whole URL overrides Host.
    const sender = { headers, authority: authority ?? headers.host }
    const caller = auth.callerOf(sender)
    const head: Head = {
      kind: kindOf(match, headers),
      refusal: refusalOf(() => {
        checkHead(request, { scheme, authority, isOpen: role === 'open' })
        if (role !== 'source') auth.check(caller, sender, { role, isRead: isReading(method) })
        // A source's own check is of the signature, in its route. Without one, pages of other sites are kept out.
        else if (isUnchecked(sourceOf(config.inbox, match.parameters['source']!))) auth.checkPage(sender)
      }),
      ...{ match, caller, isBare, address: socket.remoteAddress?.replace(/^::ffff:/, '') ?? '' },
    }
    heads.set(request, head)
    return head
  }
}

function kindOf({ operation }: Match, headers: IncomingHttpHeaders): Head['kind'] {
  if (operation === 'postInbox') return 'post'
  if (operation !== 'postMessages') return 'other'
  return mediaTypeIn(headers['content-type']) === NDJSON ? 'stream' : 'post'
}

function isReading(method: string | undefined): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
}

/** True for a source that takes what anybody posts, but web pages. An unknown one is no secret. */
function isUnchecked(source: Source | undefined): boolean {
  return source?.verify === 'none' && !source.browser
}

/** The media type of a header `Content-Type`, in lower case, without its parameters. */
export function mediaTypeIn(header = ''): string {
  const end = header.indexOf(';')
  return (end === -1 ? header : header.slice(0, end)).trim().toLowerCase()
}

/** Undoes the escapes of letters, digits and `-._~`, which mean the same without (RFC 3986, 6.2.2.2). */
function plainPath(path: string): string {
  if (!path.includes('%')) return path
  return path.replace(/%(2[de]|3\d|[46][1-9a-f]|[57][\da]|5f|7e)/gi, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

/** The path that a proxy was asked for, behind the one it serves Mailroom at. */
function withoutBase(path: string, base: string | null): string {
  return base !== null && path.startsWith(`${base}/`) ? path.slice(base.length) : path
}

function refusalOf(check: () => void): MailroomError | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    if (!isMailroomError(error)) throw error
    return error
  }
}

function checkHead(
  { headers, rawHeaders, httpVersion, url = '' }: IncomingMessage,
  target: { scheme: string | undefined; authority: string | undefined; isOpen: boolean },
): void {
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
  const { scheme, authority = '', isOpen } = target
  if (scheme !== undefined && !(/^https?$/i.test(scheme) && HOST.test(authority))) {
    const got = quoted(`${scheme}://${authority}`)
    throw badRequest({ where: 'the target', expected: 'a path, or an http URL with a host', got })
  }
  const { host, expect } = headers
  // Health checks of load balancers may name no Host.
  if (host === undefined ? httpVersion === '1.1' && !isOpen : !HOST.test(host)) {
    const got = host === undefined ? 'none' : quoted(host)
    throw badRequest({ where: 'the header Host', expected: 'one host, with or without a port', got })
  }
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
    throw badRequest({ where: 'the header Expect', expected: '100-continue', got: quoted(expect) })
  }
}
