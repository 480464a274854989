/** The client of the public API that the client commands use. */
import { createRequire } from 'node:module'
import { systemClock as clock, systemRandom as random } from '../runtime/clock.ts'
import {
  CLI_CONNECT_MS,
  CLI_EVENTS_SILENCE_MS,
  CLI_RETRY_MAX_MS,
  CLI_RETRY_MIN_MS,
  CLI_SILENCE_MS,
} from '../runtime/timings.ts'

const QUOTED_CHARACTERS = 200

/** An answer that is not a 2xx. Its message is for people. */
export class ApiError extends Error {
  readonly status: number
  /** The problem's code, such as `MR_NOT_FOUND`; undefined when the answer was not Mailroom's. */
  readonly code: string | undefined
  /** True when the request changed nothing, so that it may be repeated. */
  readonly isOutcomeNone: boolean
  /** From the header `Retry-After`; 0 without it. */
  readonly retryAfterMs: number

  constructor(status: number, body: string, retryAfter: unknown) {
    const problem = problemIn(body)
    super(sentenceOf(status, body, problem))
    this.name = 'ApiError'
    this.status = status
    this.code = problem?.code
    this.isOutcomeNone = problem?.outcome === 'none'
    this.retryAfterMs = /^\d{1,6}$/.test(String(retryAfter)) ? Number(retryAfter) * 1000 : 0
  }

  /** Whether the same call may succeed later. */
  get retryable(): boolean {
    return this.status === 409
      ? this.code === 'MR_KEY_BUSY'
      : [408, 429].includes(this.status) || this.status >= 500
  }
}

/** Codes of a connection that was closed before the answer arrived, so somebody was listening. */
const CLOSED = new Set<string | undefined>(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])

/** No answer arrived. Its message is for people. */
export class Unreachable extends Error {
  /** True when the node answered before, or accepted the connection: it restarts or has ended. */
  readonly wasReached: boolean

  constructor(url: string, cause: Error & { code?: string }, hasAnswered: boolean) {
    const reason = cause.code ?? cause.message
    const wasReached = hasAnswered || CLOSED.has(cause.code)
    super(
      wasReached
        ? `The node at ${url} does not answer any more (${reason}): it restarts, or was stopped`
        : `Nothing answers at ${url} (${reason}): is Mailroom running? Start it with: mailroom start`,
      { cause },
    )
    this.name = 'Unreachable'
    this.wasReached = wasReached
  }
}

/** Codes of a request that was refused before its work began. */
const REFUSED_EARLY = new Set<string | undefined>(['MR_DRAINING', 'MR_OVERLOADED', 'MR_REQUEST_TIMEOUT'])

/** Options of a call that is retried. */
interface RetryOptions {
  startsLater?: boolean
  onRetry?: (error: ApiError | Unreachable) => void
}

/** Options of a call. */
interface CallOptions {
  /** Sent as JSON. */
  body?: unknown
  /** Sent as it is, instead of a body. */
  text?: string
  headers?: Record<string, string>
  /** A status that counts as a success, beside every 2xx. */
  alsoFine?: number
  /** Waits for the answer without a limit, instead of 10 s. */
  patient?: boolean
  /** Aborts the call, which rejects with `Unreachable`; its outcome is then unknown. */
  signal?: AbortSignal
}

/** Options of a client. */
interface ClientOptions {
  token?: string | undefined
  /** No retry of a call begins later than this many milliseconds after the call. */
  retryMs: number
  /** Called before the first retry of all calls. */
  onFirstRetry: (error: Error) => void
}

/** A client of one node. */
export class ApiClient {
  readonly #url: string
  readonly #options: ClientOptions
  #hasAnswered = false
  #hasRetried = false
  /** Loaded by the first client: `mailroom start` makes none. */
  readonly #undici = createRequire(import.meta.url)('undici') as typeof import('undici')
  readonly #agent = new this.#undici.Agent({ connect: { timeout: CLI_CONNECT_MS } })

  /** @param url Such as `http://127.0.0.1:8080`. */
  constructor(url: string, options: ClientOptions) {
    this.#url = url.replace(/\/+$/, '')
    this.#options = options
  }

  /**
   * Makes one call.
   *
   * @returns The parsed answer; undefined when it is empty.
   * @throws {ApiError} When the answer is not a 2xx. @throws {Unreachable} When there is no answer.
   */
  async call<T>(
    method: string,
    path: string,
    { body, text: plain, headers, alsoFine, patient = false, signal }: CallOptions = {},
  ): Promise<T> {
    const silenceMs = patient ? 0 : CLI_SILENCE_MS
    const { token } = this.#options
    const response = await this.#orUnreachable(
      this.#undici.request(this.#url + path, {
        method,
        dispatcher: this.#agent,
        ...(signal !== undefined && { signal }),
        headersTimeout: silenceMs,
        bodyTimeout: silenceMs,
        headers: {
          ...headers,
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...(plain !== undefined && { 'content-type': 'text/plain' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(plain !== undefined && { body: plain }),
      }),
    )
    this.#hasAnswered = true
    const text = await this.#orUnreachable(response.body.text())
    const status = response.statusCode
    if ((status < 200 || status > 299) && status !== alsoFine) {
      throw new ApiError(status, text, response.headers['retry-after'])
    }
    try {
      return (text === '' ? undefined : JSON.parse(text)) as T
    } catch {
      throw new ApiError(status, text, undefined)
    }
  }

  /**
   * Posts a body as it is, once, as a stranger does: without the token.
   *
   * @returns The answer, whatever its status. `location`: of the header.
   * @throws {Unreachable} When there is no answer.
   */
  async post(
    path: string,
    { headers, body }: { headers: Record<string, string>; body: string },
  ): Promise<{ status: number; location: string | undefined; text: string }> {
    const response = await this.#orUnreachable(
      this.#undici.request(this.#url + path, {
        ...{ method: 'POST', dispatcher: this.#agent, headers, body },
        ...{ headersTimeout: CLI_SILENCE_MS, bodyTimeout: CLI_SILENCE_MS },
      }),
    )
    const text = await this.#orUnreachable(response.body.text())
    const { location } = response.headers
    return { status: response.statusCode, location: location?.toString(), text }
  }

  /**
   * Like `call`, but retries, with backoff and jitter, while the node is overloaded or restarts. Only for calls that may
   * be repeated. A patient call is retried only when it was refused before it began, or when its answer was lost.
   *
   * @param options.startsLater Retries also while nothing has ever listened at the URL.
   * @param options.onRetry Called before each pause, with the error.
   */
  async insist<T>(
    method: string,
    path: string,
    { startsLater = false, onRetry, ...options }: CallOptions & RetryOptions = {},
  ): Promise<T> {
    const endAt = clock.monotonic() + this.#options.retryMs
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.call(method, path, options)
      } catch (error) {
        if (!(error instanceof ApiError || error instanceof Unreachable)) throw error
        const mayHelp =
          error instanceof ApiError
            ? error.retryable && (!options.patient || REFUSED_EARLY.has(error.code))
            : startsLater || error.wasReached
        if (!mayHelp) throw error
        const backoffMs = CLI_RETRY_MIN_MS * 2 ** attempt * (0.5 + random())
        const askedMs = error instanceof ApiError ? error.retryAfterMs : 0
        const waitMs = Math.min(CLI_RETRY_MAX_MS, Math.max(askedMs, backoffMs))
        if (clock.monotonic() + waitMs > endAt) throw error
        if (!this.#hasRetried) this.#options.onFirstRetry(error)
        this.#hasRetried = true
        onRetry?.(error)
        await clock.sleep(waitMs)
      }
    }
  }

  /**
   * Opens an answer that has no end, such as that of `GET /events`.
   *
   * @returns Its text as it comes. It throws `Unreachable` when the connection is lost, or silent for `CLI_EVENTS_SILENCE_MS`.
   * @throws As `call`.
   */
  async stream(
    path: string,
    { headers, signal }: { headers: Record<string, string>; signal: AbortSignal },
  ): Promise<AsyncIterable<string>> {
    const { token } = this.#options
    const {
      statusCode,
      headers: answered,
      body,
    } = await this.#orUnreachable(
      this.#undici.request(this.#url + path, {
        ...{ method: 'GET', dispatcher: this.#agent, signal },
        ...{ headersTimeout: CLI_SILENCE_MS, bodyTimeout: CLI_EVENTS_SILENCE_MS },
        headers: { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
      }),
    )
    this.#hasAnswered = true
    if (statusCode !== 200) {
      throw new ApiError(statusCode, await this.#orUnreachable(body.text()), answered['retry-after'])
    }
    return this.#textOf(body)
  }

  async *#textOf(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
    const decoder = new TextDecoder()
    const chunks = body[Symbol.asyncIterator]()
    for (;;) {
      const { done, value } = await this.#orUnreachable(chunks.next())
      if (done) return
      yield decoder.decode(value, { stream: true })
    }
  }

  /** Closes the connections. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#agent.close()
  }

  async #orUnreachable<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      throw new Unreachable(this.#url, error as Error, this.#hasAnswered)
    }
  }
}

function sentenceOf(status: number, body: string, problem: ReturnType<typeof problemIn>): string {
  if (problem === undefined) {
    return `Expected an answer of Mailroom, got ${status} ${JSON.stringify(body.slice(0, QUOTED_CHARACTERS))}`
  }
  if (status === 401)
    return `Expected \`--token\` or MAILROOM_TOKEN to be a token of the node (${problem.code})`
  return `${problem.detail} (${problem.code})`
}

function problemIn(body: string): { code: string; detail: string; outcome: unknown } | undefined {
  try {
    const { code, detail, outcome } = JSON.parse(body) as Record<string, unknown>
    return typeof code === 'string' && typeof detail === 'string' ? { code, detail, outcome } : undefined
  } catch {
    return undefined
  }
}
