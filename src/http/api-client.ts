/** A client of the public API: what the client commands speak through. */
import { Agent, request } from 'undici'
import { systemClock as clock, systemRandom as random } from '../runtime/clock.ts'
import { CLI_CONNECT_MS, CLI_RETRY_MAX_MS, CLI_RETRY_MIN_MS, CLI_SILENCE_MS } from '../runtime/timings.ts'

const SHOWN_CHARACTERS = 200

/** An answer of the API that is not a 2xx, in words for people. */
export class ApiError extends Error {
  readonly status: number
  /** The problem's code, such as `MR_NOT_FOUND`; undefined when the answer was not Mailroom's. */
  readonly code: string | undefined
  /** What the answer asks for; 0 when it asks for nothing. */
  readonly retryAfterMs: number

  constructor(status: number, body: string, retryAfter: unknown) {
    const problem = problemIn(body)
    super(inWords(status, body, problem))
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

/** Nothing answered, in words for people. */
export class Unreachable extends Error {
  constructor(url: string, cause: Error & { code?: string }) {
    const reason = cause.code ?? cause.message
    super(`Nothing answers at ${url} (${reason}): is Mailroom running? Start it with: mailroom start`, {
      cause,
    })
    this.name = 'Unreachable'
  }
}

/** How a call differs from a plain one. */
interface CallOptions {
  /** Sent as JSON. */
  body?: unknown
  headers?: Record<string, string>
  /** A status that is as good as a 2xx. */
  alsoFine?: number
  /** Waits for the answer as long as it takes; else for 10 s. */
  patient?: boolean
  /** Gives the call up: it then rejects with `Unreachable`, whatever became of it. */
  signal?: AbortSignal
}

/** Calls one node. */
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
   * One call.
   *
   * @returns The parsed answer, undefined for an empty one.
   * @throws {ApiError} For an answer that is not a 2xx. @throws {Unreachable} When there is none.
   */
  async call<T>(
    method: string,
    path: string,
    { body, headers, alsoFine, patient = false, signal }: CallOptions = {},
  ): Promise<T> {
    const silenceMs = patient ? 0 : CLI_SILENCE_MS
    const response = await this.#reached(
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
    const text = await this.#reached(response.body.text())
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
   * As `call`, again and again while the other side is away or overloaded. Safe only for calls that may be
   * repeated: reads, and posts with an idempotency key.
   *
   * @param options.forMs No try begins later than this.
   * @param options.onRetry Called before each wait, with what went wrong.
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

  async #reached<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      throw new Unreachable(this.#url, error as Error)
    }
  }
}

function inWords(
  status: number,
  body: string,
  problem: { code: string; detail: string } | undefined,
): string {
  if (problem === undefined) {
    return `Expected an answer of Mailroom, got ${status} ${JSON.stringify(body.slice(0, SHOWN_CHARACTERS))}`
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
