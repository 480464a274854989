/**
 * Forwards each message to a URL: a POST of its bytes, with its content type and the headers kept with it.
 *
 *   2xx                                              done
 *   410                                              dead at once: the receiver wants no more of it
 *   429, 502, 503, 504, and no answer at all         an outage of the receiver
 *   the rest: 3xx (never followed), 4xx, 500, …      a failure of the message
 *
 * The status decides. The body of an answer only adds to the text of an error, so it is not waited for long.
 */
import { createHmac } from 'node:crypto'
import { Client, type Dispatcher } from 'undici'
import type { Clock } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import { FORWARD_BODY_MS, FORWARD_CONNECT_MS } from '../../runtime/timings.ts'
import { bytesOf, type Content, contentOf } from '../../storage/content.ts'
import type { Message } from '../../storage/ports.ts'
import type { Run, Runner, RunOptions } from './runner.ts'
import { type Share, Slots } from './slots.ts'

/** Requests at once of one messages actor. */
const FORWARD_SLOTS = 32
/** Of the body of an error so much is told. */
const TOLD_BYTES = 1024
/** Of any body so much is read. The connection of a longer one is closed. */
const READ_BYTES = 64 * 1024

const OUTAGES = new Set([429, 502, 503, 504])
/** What undici and the peer say when a connection ended under a request. */
const RESETS = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])
/** Codes of undici's own, all of which judge an answer or a request, except these two: there was no answer. */
const JUDGED = /^UND_ERR_(?!SOCKET|CONNECT_TIMEOUT)/

/** Headers that are ours or the connection's: those kept with a message never take their place. */
const OURS = new Set([
  ...['content-type', 'content-length', 'idempotency-key', 'mailroom-attempt', 'mailroom-source'],
  ...['host', 'expect'],
  ...['connection', 'keep-alive', 'proxy-connection', 'proxy-authorization', 'proxy-authenticate'],
  ...['te', 'trailer', 'transfer-encoding', 'upgrade', 'http2-settings'],
])
const SIGNED = ['webhook-id', 'webhook-timestamp', 'webhook-signature']
const HEADER_NAME = /^[!#$%&'*+.^_`|~\dA-Za-z-]+$/
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** Options of `ForwardRunner`. */
export interface ForwardOptions {
  /** `http:` or `https:`, without a user. */
  url: string
  /** Signs each request as Standard Webhooks 1.0 says. Null: unsigned. */
  secret: string | null
  /** From the start of a request to the end of its answer. */
  timeoutMs: number
  clock: Clock
  /** The receiver compares the time of a signature with a clock on the wall, not with the node's time. */
  wallClock: Pick<Clock, 'now'>
  logger: Logger
}

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  /** The first `TOLD_BYTES` of its body. */
  head: Buffer
}

/** Forwards the messages of one messages actor to a URL. */
export class ForwardRunner implements Runner {
  readonly target: string
  readonly #options: ForwardOptions
  readonly #url: URL
  readonly #key: Buffer | null
  readonly #slots = new Slots(FORWARD_SLOTS)
  /** Without a request; the one used last is the last. Each is one connection at most, and connects when it has none. */
  readonly #idle: Client[] = []

  constructor(options: ForwardOptions) {
    this.#options = options
    this.#url = new URL(options.url)
    this.#key = options.secret === null ? null : keyOf(options.secret)
    this.target = this.#url.origin + this.#url.pathname
  }

  /** Waits for a slot, as `Slots.acquire`. No message can end our process, so none has to run alone. */
  acquire(share: Share): Promise<() => void> {
    return this.#slots.acquire(share === 'alone' ? 'retry' : share)
  }

  /** A URL is always ready to be tried. */
  async ready(): Promise<void> {}

  /** Nothing: whether the receiver answers is known from the runs. */
  missing(): string[] {
    return []
  }

  /** Closes all connections that are idle. Those in use are closed by the abort of their runs. */
  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((client) => client.destroy()))
  }

  /**
   * Posts the message once, up to the timeout. Never rejects.
   *
   * @param abort Aborted when a drain ends the attempt. The message is then given back, unless it was answered.
   */
  async run(message: Message, { attempt, abort, onStart }: RunOptions): Promise<Run> {
    const { clock, timeoutMs } = this.#options
    onStart()
    const over = new AbortController()
    const end = () => over.abort()
    const cancel = clock.after(timeoutMs, end)
    abort.addEventListener('abort', end, { once: true })
    if (abort.aborted) end()
    try {
      const content = contentOf(message.text)
      const body = bytesOf(content)
      const headers = this.#headers(message.id, content, body, attempt)
      return this.#judged(await this.#post({ headers, body }, over))
    } catch (error) {
      if (abort.aborted) return { as: 'back', isSuspect: false }
      if (!over.signal.aborted) return lost(error as Error)
      return { as: 'failed', error: `No answer within ${timeoutMs} ms`, isSuspect: false, isOutage: true }
    } finally {
      cancel()
      abort.removeEventListener('abort', end)
    }
  }

  /**
   * Sends a request on an idle connection, else on a new one. The receiver may close an idle connection while the
   * request is on its way: then, on a reset before any answer, it is sent once more, on a new connection.
   */
  async #post(
    request: Pick<Dispatcher.RequestOptions, 'headers' | 'body'>,
    over: AbortController,
    client = this.#idle.pop() ?? this.#connection(),
  ): Promise<Answer> {
    const isReused = client.stats.connected
    try {
      const path = this.#url.pathname + this.#url.search
      const sent = { ...request, method: 'POST', path, signal: over.signal } as const
      const { statusCode: status, headers, body } = await client.request(sent)
      const head = await this.#head(body, over)
      this.#idle.push(client)
      return { status, headers, head }
    } catch (error) {
      void client.destroy() // It may still be connecting.
      const { code = '' } = error as { code?: string }
      if (!isReused || over.signal.aborted || !RESETS.has(code)) throw error
      return this.#post(request, over, this.#connection())
    }
  }

  #connection(): Client {
    return new Client(this.#url.origin, {
      // The clock of the run counts the time.
      ...{ headersTimeout: 0, bodyTimeout: 0, connect: { timeout: FORWARD_CONNECT_MS } },
      allowH2: false,
    })
  }

  /** The beginning of a body, which is read up to `READ_BYTES`, for `FORWARD_BODY_MS`. Never rejects. */
  async #head(body: AsyncIterable<Buffer>, over: AbortController): Promise<Buffer> {
    const cancel = this.#options.clock.after(FORWARD_BODY_MS, () => over.abort())
    let head = Buffer.alloc(0)
    let size = 0
    try {
      for await (const chunk of body) {
        head = Buffer.concat([head, chunk.subarray(0, TOLD_BYTES - head.length)])
        size += chunk.length
        if (size > READ_BYTES) break // This closes the connection, and so does an abort.
      }
    } catch {
      // It broke off: the status has decided.
    }
    cancel()
    return head
  }

  #judged({ status, headers, head }: Answer): Run {
    if (status >= 200 && status < 300) return { as: 'done' }
    const told = [`Answered ${status}`]
    if (status < 400) told.push(`redirects are not followed (Location: ${placeIn(headers['location'])})`)
    const body = visible(new TextDecoder().decode(head, { stream: true }))
    if (body !== '') told.push(body)
    const failed = { as: 'failed', error: told.join(': '), isSuspect: false } as const
    if (status === 410) return { ...failed, retry: false }
    const afterMs = this.#retryAfterMs(headers)
    return {
      ...failed,
      ...(afterMs > 0 && { retry: { afterMs } }),
      ...(OUTAGES.has(status) && { isOutage: true }),
    }
  }

  /** What `Retry-After` asks for; 0 without it. A date is compared with the answer's own, where it has one. */
  #retryAfterMs({ 'retry-after': asked, date }: Answer['headers']): number {
    const value = String(asked)
    if (/^\d{1,9}$/.test(value)) return Number(value) * 1000
    const until = value.endsWith('GMT') ? Date.parse(value) : Number.NaN
    const now = Date.parse(String(date))
    return Math.max(0, until - (Number.isNaN(now) ? this.#options.wallClock.now() : now)) || 0
  }

  /** Names and values, in turn. A header that HTTP cannot carry is left out. */
  #headers(id: string, content: Content, body: Buffer, attempt: number): string[] {
    const { source, type, headers: kept = {} } = content
    const signed = this.#key === null ? [] : this.#signature(this.#key, id, body)
    const names = new Set([...OURS, ...signed.map(([name]) => name)])
    const passedOn = Object.entries(kept).filter(([name, value]) => {
      if (names.has(name.toLowerCase())) return false
      const isCarried = HEADER_NAME.test(name) && HEADER_VALUE.test(value)
      if (!isCarried) this.#options.logger.warn({ id, header: name }, 'a header cannot be sent')
      return isCarried
    })
    // What was posted to `/messages` is a text. A source keeps the type that it was told, if any.
    const isPlain = source === undefined && type === undefined && content.headers === undefined
    const sentType = isPlain ? 'text/plain; charset=utf-8' : type
    const hasType = sentType !== undefined && HEADER_VALUE.test(sentType)
    const isNamed = passedOn.some(([name]) => name.toLowerCase() === 'user-agent')
    return [
      ...(isNamed ? [] : [['user-agent', 'Mailroom']]),
      ...passedOn,
      ...(hasType ? [['content-type', sentType]] : []),
      ['idempotency-key', id],
      ['mailroom-attempt', String(attempt)],
      ...(source === undefined ? [] : [['mailroom-source', source]]),
      ...signed,
    ].flat()
  }

  #signature(key: Buffer, id: string, body: Buffer): [name: string, value: string][] {
    const time = String(Math.floor(this.#options.wallClock.now() / 1000))
    const hmac = createHmac('sha256', key).update(`${id}.${time}.`).update(body)
    const values = [id, time, `v1,${hmac.digest('base64')}`]
    return SIGNED.map((name, index) => [name, values[index]!])
  }
}

/** The key that a secret stands for: Base64 after `whsec_`, else its own bytes. */
function keyOf(secret: string): Buffer {
  const encoded = /^whsec_(.*)$/.exec(secret)?.[1]
  return encoded === undefined ? Buffer.from(secret) : Buffer.from(encoded, 'base64')
}

/** The run of a request that got no answer, or one that is not HTTP. */
function lost({ name, message, code = '' }: Error & { code?: string }): Run {
  const error = `No answer: ${visible(message || code).slice(0, TOLD_BYTES)}`
  const isAnswered = name === 'HTTPParserError' || JUDGED.test(code)
  return { as: 'failed', error, isSuspect: false, ...(!isAnswered && { isOutage: true }) }
}

/** Where a redirect leads, without its query. */
function placeIn(location: string | string[] | undefined): string {
  return location === undefined
    ? 'none'
    : visible(
        String(location)
          .replace(/[?#].*/s, '')
          .slice(0, TOLD_BYTES),
      )
}

/** A text of others on one line, without control characters. */
function visible(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim()
}
