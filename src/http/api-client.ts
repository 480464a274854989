/** The client of the public API that the client commands use. */
import { Agent, request } from 'undici'
import { systemClock as clock, systemRandom as random } from '../runtime/clock.ts'
import { CLI_CONNECT_MS, CLI_RETRY_MAX_MS, CLI_RETRY_MIN_MS, CLI_SILENCE_MS } from '../runtime/timings.ts'

const QUOTED_CHARACTERS = 200

/** An answer that is not a 2xx. Its message is for people. */
export class ApiError extends Error {
  readonly status: number
  /** The problem's code, such as `MR_NOT_FOUND`; undefined when the answer was not Mailroom's. */
  readonly code: string | undefined
  /** From the header `Retry-After`; 0 without it. */
  readonly retryAfterMs: number

  constructor(status: number, body: string, retryAfter: unknown) {
    const problem = problemIn(body)
    super(sentenceOf(status, body, problem))
    this.name = 'ApiError'
    this.status = status
    this.code = problem?.code
    this.retryAfterMs = /^\d{1,6}$/.test(String(retryAfter)) ? Number(retryAfter) * 1000 : 0
  }

  /** Whether the same call may succeed later. */
  get retryable(): boolean {
    return this.status === 409 ? this.code === 'MR_KEY_BUSY' : this.status === 429 || this.status >= 500
  }
}

/** No answer arrived. Its message is for people. */
export class Unreachable extends Error {
  constructor(url: string, cause: Error & { code?: string }) {
    const reason = cause.code ?? cause.message
    super(`Nothing answers at ${url} (${reason}): is Mailroom running? Start it with: mailroom start`, {
      cause,
    })
    this.name = 'Unreachable'
  }
}

/** Options of a call. */
interface CallOptions {
  /** Sent as JSON. */
  body?: unknown
  headers?: Record<string, string>
  /** A status that counts as a success, beside every 2xx. */
  alsoFine?: number
  /** Waits for the answer without a limit, instead of 10 s. */
  patient?: boolean
  /** Aborts the call, which rejects with `Unreachable`; its outcome is then unknown. */
  signal?: AbortSignal
}

/** A client of one node. */
export class ApiClient {
  readonly #url: string
  readonly #token: string | undefined
  readonly #agent = new Agent({ connect: { timeout: CLI_CONNECT_MS } })

  /** @param url Such as `http://127.0.0.1:8080`. */
  constructor(url: string, token: string | undefined) {
    this.#url = url.replace(/\/+$/, '')
    this.#token = token
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
    { body, headers, alsoFine, patient = false, signal }: CallOptions = {},
  ): Promise<T> {
    const silenceMs = patient ? 0 : CLI_SILENCE_MS
    const response = await this.#orUnreachable(
      request(this.#url + path, {
        method,
        dispatcher: this.#agent,
        ...(signal !== undefined && { signal }),
        headersTimeout: silenceMs,
        bodyTimeout: silenceMs,
        headers: {
          ...headers,
          ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      }),
    )
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
   * Like `call`, but retries, with backoff and jitter, while the node is unreachable or overloaded. Only for calls that
   * may be repeated: reads, and posts with an idempotency key.
   *
   * @param options.forMs No attempt begins later than this many milliseconds from now.
   * @param options.onRetry Called before each pause, with the error.
   */
  async insist<T>(
    method: string,
    path: string,
    { forMs, onRetry, ...options }: CallOptions & { forMs: number; onRetry?: (error: Error) => void },
  ): Promise<T> {
    const endAt = clock.monotonic() + forMs
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.call(method, path, options)
      } catch (error) {
        if (!(error instanceof Unreachable || (error instanceof ApiError && error.retryable))) throw error
        const backoffMs = CLI_RETRY_MIN_MS * 2 ** attempt * (0.5 + random())
        const askedMs = error instanceof ApiError ? error.retryAfterMs : 0
        const waitMs = Math.min(CLI_RETRY_MAX_MS, Math.max(askedMs, backoffMs))
        if (clock.monotonic() + waitMs > endAt) throw error
        onRetry?.(error)
        await clock.sleep(waitMs)
      }
    }
  }

  /** Closes the connections. */
  close(): Promise<void> {
    return this.#agent.close()
  }

  async #orUnreachable<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      throw new Unreachable(this.#url, error as Error)
    }
  }
}

function sentenceOf(
  status: number,
  body: string,
  problem: { code: string; detail: string } | undefined,
): string {
  if (problem === undefined) {
    return `Expected an answer of Mailroom, got ${status} ${JSON.stringify(body.slice(0, QUOTED_CHARACTERS))}`
  }
  if (status === 401) return `Expected \`--token\` or MAILROOM_TOKEN to be the node's token (${problem.code})`
  return `${problem.detail} (${problem.code})`
}

function problemIn(body: string): { code: string; detail: string } | undefined {
  try {
    const { code, detail } = JSON.parse(body) as Record<string, unknown>
    return typeof code === 'string' && typeof detail === 'string' ? { code, detail } : undefined
  } catch {
    return undefined
  }
}
