/**
 * The client end of the calls between actors: over the open exchange with the actor, or as `POST /ask/<method>` with the
 * arguments as an array (`wire.ts`) over kept-alive connections. Each call has its own timeout. `server.ts` is the server end.
 */
import { Pool } from 'undici'
import type { Logging, Messages, Peers } from '../../actors/protocol.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Directory } from '../../runtime/cluster/directory.ts'
import { fromWire, isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { CONNECT_TIMEOUT_MS } from '../../runtime/timings.ts'
import { type Ask, remoteLogging, remoteMessages } from './calls.ts'
import { EXCHANGE_MAX_CHARACTERS, Exchange } from './exchange.ts'
import { SECRET_HEADER } from './secret.ts'
import { decode, encode } from './wire.ts'

const CONNECTIONS_PER_ACTOR = 32

const NEVER_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** `Peers` over HTTP; connections to addresses that left the directory are closed. */
export class HttpPeers implements Peers {
  readonly #secret: string
  readonly #clock: Clock
  readonly #pools = new Map<string, Pool>()
  readonly #exchanges = new Map<string, Exchange>()
  readonly #unwatch: () => void

  constructor(options: { secret: string; clock: Clock; directory: Directory }) {
    this.#secret = options.secret
    this.#clock = options.clock
    this.#unwatch = options.directory.onChange(() => this.#closeUnlisted(options.directory))
  }

  logging(address: string, timeoutMs: number): Logging {
    return remoteLogging(this.#asker(address, timeoutMs))
  }

  messages(address: string, timeoutMs: number): Messages {
    return remoteMessages(this.#asker(address, timeoutMs))
  }

  /** Closes all connections, when the calls in flight have ended. */
  async close(): Promise<void> {
    this.#unwatch()
    const exchanges = [...this.#exchanges.values()]
    const pools = [...this.#pools.values()]
    await Promise.all([...pools.map((pool) => pool.close()), ...exchanges.map((each) => each.close())])
    this.#pools.clear()
    this.#exchanges.clear()
  }

  #asker(address: string, timeoutMs: number): Ask {
    return (method, args, { isExchanged = false, extraMs = 0 }) => {
      const body = encode(args)
      if (isExchanged && typeof body === 'string' && body.length <= EXCHANGE_MAX_CHARACTERS)
        return this.#exchangeWith(address).call(method, body, { timeoutMs, extraMs })
      return this.#ask(address, method, body, timeoutMs + extraMs)
    }
  }

  #exchangeWith(address: string): Exchange {
    let exchange = this.#exchanges.get(address)
    if (exchange === undefined || exchange.isOver) {
      exchange = new Exchange(address, { secret: this.#secret, clock: this.#clock })
      this.#exchanges.set(address, exchange)
    }
    return exchange
  }

  /** @param args The method's arguments, encoded. */
  async #ask(address: string, method: string, args: string | Buffer, deadlineMs: number): Promise<unknown> {
    const expired = new AbortController()
    const cancel = this.#clock.after(deadlineMs, () => expired.abort())
    try {
      const { statusCode, body } = await this.#poolOf(address).request({
        method: 'POST',
        path: `/ask/${method}`,
        headers: { [SECRET_HEADER]: this.#secret, 'content-type': 'application/json' },
        body: args,
        signal: expired.signal,
      })
      const answer = Buffer.from(await body.arrayBuffer())
      if (statusCode === 200) return decode(answer)
      throw lostIfForbidden(address, fromWire(JSON.parse(answer.toString())))
    } catch (error) {
      if (error instanceof MailroomError) throw error
      const what = `${method} at ${address}`
      if (expired.signal.aborted) {
        throw new MailroomError('MR_DEADLINE_EXPIRED', { what, deadlineMs })
      }
      const { code = '', message } = error as Error & { code?: string }
      const outcome = NEVER_CONNECTED.has(code) ? 'none' : 'unknown'
      throw new MailroomError('MR_PEER_LOST', { peer: what, reason: message }, { outcome, cause: error })
    } finally {
      cancel()
    }
  }

  #poolOf(address: string): Pool {
    let pool = this.#pools.get(address)
    if (pool === undefined) {
      pool = new Pool(`http://${address}`, {
        connections: CONNECTIONS_PER_ACTOR,
        pipelining: 1,
        headersTimeout: 0,
        bodyTimeout: 0,
        connect: { timeout: CONNECT_TIMEOUT_MS },
      })
      this.#pools.set(address, pool)
    }
    return pool
  }

  #closeUnlisted(directory: Directory): void {
    const known = new Set(directory.actors().map(({ address }) => address))
    for (const [address, pool] of this.#pools) {
      if (known.has(address)) continue
      this.#pools.delete(address)
      pool.close().catch(() => {})
    }
    for (const [address, exchange] of this.#exchanges) {
      if (known.has(address)) continue
      this.#exchanges.delete(address)
      void exchange.close()
    }
  }
}

/** Another process listens at the address now: the actor is lost. The answer must not reach a client as its own 403. */
function lostIfForbidden(address: string, error: MailroomError): MailroomError {
  if (!isMailroomError(error, 'MR_FORBIDDEN')) return error
  const facts = { peer: `the actor at ${address}`, reason: error.message }
  return new MailroomError('MR_PEER_LOST', facts, { outcome: 'none', cause: error })
}
