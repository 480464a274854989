/**
 * The client end of the calls between actors: over the open exchange with the actor, or as `POST /ask/<method>` with the
 * arguments as an array (`wire.ts`) over kept-alive connections. Each call has its own timeout. `server.ts` is the server end.
 */
import { once } from 'node:events'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { Logging, Messages, Peers } from '../../actors/protocol.ts'
import type { Cancel, Clock } from '../../runtime/clock.ts'
import type { Directory } from '../../runtime/cluster/directory.ts'
import { fromWire, isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { Agent, request } from '../../runtime/node-http.ts'
import { CONNECT_TIMEOUT_MS } from '../../runtime/timings.ts'
import { type Ask, remoteLogging, remoteMessages } from './calls.ts'
import { EXCHANGE_MAX_CHARACTERS, Exchange } from './exchange.ts'
import { SECRET_HEADER } from './secret.ts'
import { decode, encode } from './wire.ts'

const CONNECTIONS_PER_ACTOR = 32
/** An idle connection is closed so long before the actor's server would close it: no call meets that. */
const IDLE_MARGIN_MS = 2000

/** An answer with its body. */
interface Answer {
  status: number | undefined
  body: Buffer
}

/** `Peers` over HTTP; exchanges with addresses that left the directory are closed. */
export class HttpPeers implements Peers {
  readonly #secret: string
  readonly #clock: Clock
  /** A connection ends with its actor, or when it is idle. */
  readonly #agent = new Agent({
    keepAlive: true,
    maxSockets: CONNECTIONS_PER_ACTOR,
    agentKeepAliveTimeoutBuffer: IDLE_MARGIN_MS,
  })
  /** Calls under way that are no exchange's. */
  readonly #asked = new Set<Promise<Answer>>()
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
    await Promise.all([Promise.allSettled(this.#asked), ...exchanges.map((each) => each.close())])
    this.#agent.destroy()
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
    const answered = this.#post(address, method, args, deadlineMs)
    this.#asked.add(answered)
    try {
      const { status, body } = await answered
      if (status === 200) return decode(body)
      throw lostIfForbidden(address, fromWire(JSON.parse(body.toString())))
    } finally {
      this.#asked.delete(answered)
    }
  }

  /** @throws {MailroomError} `MR_DEADLINE_EXPIRED`, or `MR_PEER_LOST`, with outcome none when no connection was made. */
  async #post(address: string, method: string, args: string | Buffer, deadlineMs: number): Promise<Answer> {
    const what = `${method} at ${address}`
    const sent = request(`http://${address}/ask/${method}`, {
      ...{ method: 'POST', agent: this.#agent },
      headers: { [SECRET_HEADER]: this.#secret, 'content-type': 'application/json' },
    })
    sent.on('error', () => {}) // It may come after the answer has begun.
    const expired = Promise.withResolvers<never>()
    // A call that waits for a connection is not ended by `destroy`.
    const cancel = this.#clock.after(deadlineMs, () => {
      expired.reject(new MailroomError('MR_DEADLINE_EXPIRED', { what, deadlineMs }))
      sent.destroy()
    })
    let isConnected = false
    let cancelConnect: Cancel = () => {}
    sent.on('socket', (socket) => {
      isConnected = !socket.connecting
      if (isConnected) return
      const late = new Error(`no connection within ${CONNECT_TIMEOUT_MS} ms`)
      cancelConnect = this.#clock.after(CONNECT_TIMEOUT_MS, () => sent.destroy(late))
      socket.once('connect', () => {
        isConnected = true
        cancelConnect()
      })
    })
    try {
      sent.end(args)
      return await Promise.race([answerOf(sent), expired.promise])
    } catch (error) {
      if (error instanceof MailroomError) throw error
      const facts = { peer: what, reason: (error as Error).message }
      const outcome = isConnected ? 'unknown' : 'none'
      throw new MailroomError('MR_PEER_LOST', facts, { outcome, cause: error })
    } finally {
      cancel()
      cancelConnect()
    }
  }

  #closeUnlisted(directory: Directory): void {
    const known = new Set(directory.actors().map(({ address }) => address))
    for (const [address, exchange] of this.#exchanges) {
      if (known.has(address)) continue
      this.#exchanges.delete(address)
      void exchange.close()
    }
  }
}

async function answerOf(sent: ClientRequest): Promise<Answer> {
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  return { status: response.statusCode, body: await buffer(response) }
}

/** Another process listens at the address now: the actor is lost. The answer must not reach a client as its own 403. */
function lostIfForbidden(address: string, error: MailroomError): MailroomError {
  if (!isMailroomError(error, 'MR_FORBIDDEN')) return error
  const facts = { peer: `the actor at ${address}`, reason: error.message }
  return new MailroomError('MR_PEER_LOST', facts, { outcome: 'none', cause: error })
}
