/** A client of the public API: what the client commands speak through. */
import { Agent, request } from 'undici'
import { systemClock as clock, systemRandom as random } from '../runtime/clock.ts'

const CONNECT_MS = 3000
const RETRY_FIRST_MS = 200
const RETRY_MAX_MS = 5000

/** An answer of the API that is not a 2xx, in words for people. */
export class ApiError extends Error {
  readonly status: number
  /** The problem's code, such as `MR_NOT_FOUND`; undefined when the answer was not Mailroom's. */
  readonly code: string | undefined
  readonly retryAfterMs: number | undefined

  constructor(status: number, body: string, retryAfter: string | undefined) {
    const problem = problemIn(body)
    super(
      problem === undefined
        ? `answered ${status}: ${body.slice(0, 200)}`
        : `${problem.detail} (${problem.code})`,
    )
    this.name = 'ApiError'
    this.status = status
    this.code = problem?.code
    this.retryAfterMs = retryAfter === undefined ? undefined : Number(retryAfter) * 1000
  }

  /** Whether the same call may succeed later. */
  get retryable(): boolean {
    return this.status === 409 ? this.code === 'MR_KEY_BUSY' : this.status === 429 || this.status >= 500
  }
}

/** Nothing answered, in words for people. */
export class Unreachable extends Error {
  constructor(url: string, cause: Error & { code?: string }) {
    super(`Nothing answers at ${url} (${cause.code ?? cause.message}). Start it with: mailroom start`, {
      cause,
    })
    this.name = 'Unreachable'
  }
}

/** Calls one node. */
export class ApiClient {
  readonly #url: string
  readonly #token: string | undefined
  readonly #agent = new Agent({ connect: { timeout: CONNECT_MS }, headersTimeout: 0, bodyTimeout: 0 })

  /** @param url Such as `http://127.0.0.1:8080`. */
  constructor(url: string, token: string | undefined) {
    this.#url = url.replace(/\/+$/, '')
    this.#token = token
  }

  /**
   * One call; `body` is sent as JSON.
   *
   * @returns The parsed answer, undefined for an empty one.
   * @throws {ApiError} For an answer that is not a 2xx. @throws {Unreachable} When there is none.
   */
  async call<T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<T> {
    let answer: { statusCode: number; text: string; retryAfter: string | undefined }
    try {
      const response = await request(this.#url + path, {
        method,
        dispatcher: this.#agent,
        headers: {
          ...headers,
          ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      const retryAfter = response.headers['retry-after']
      answer = {
        statusCode: response.statusCode,
        text: await response.body.text(),
        retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
      }
    } catch (error) {
      throw new Unreachable(this.#url, error as Error)
    }
    const { statusCode, text, retryAfter } = answer
    if (statusCode < 200 || statusCode > 299) throw new ApiError(statusCode, text, retryAfter)
    return (text === '' ? undefined : JSON.parse(text)) as T
  }

  /**
   * As `call`, again and again for up to `timeoutMs` while the other side is away or overloaded. Safe only for
   * calls that may be repeated: reads, and posts with an idempotency key.
   */
  async insist<T>(
    timeoutMs: number,
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<T> {
    const endAt = clock.monotonic() + timeoutMs
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.call(method, path, body, headers)
      } catch (error) {
        const mayRetry = error instanceof Unreachable || (error instanceof ApiError && error.retryable)
        const backoffMs = RETRY_FIRST_MS * 2 ** attempt * (0.5 + random())
        const waitMs = Math.min(RETRY_MAX_MS, (error as ApiError).retryAfterMs ?? backoffMs)
        if (!mayRetry || clock.monotonic() + waitMs > endAt) throw error
        await clock.sleep(waitMs)
      }
    }
  }

  /** Closes the connections. */
  close(): Promise<void> {
    return this.#agent.close()
  }
}

function problemIn(body: string): { code: string; detail: string } | undefined {
  try {
    const { code, detail } = JSON.parse(body) as Record<string, unknown>
    return typeof code === 'string' && typeof detail === 'string' ? { code, detail } : undefined
  } catch {
    return undefined
  }
}
