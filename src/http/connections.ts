/**
 * The connections of the public server: which are idle, how an idle one is closed, and how it is passed on to
 * another facade of this node. Passing on keeps clients connected through a rolling restart, and gives each facade
 * its share of the connections.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock, Random } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'
import { STATUS_CODES } from '../runtime/node-http.ts'
import { BALANCE_MS, IDLE_CLOSE_MS, LINGER_MS } from '../runtime/timings.ts'
import { problemOf, requestIds } from './problems.ts'

/** The events of Node's server that carry a request. */
export const REQUEST_EVENTS = ['request', 'checkContinue', 'checkExpectation'] as const

/** What connections need from outside. */
interface Options {
  clock: Clock
  random: Random
  keepAliveMs: number
  /** Sends an idle connection to another facade. Resolves to false when it stays here. */
  passOn: (connection: Socket) => Promise<boolean>
}

interface Connection {
  /** The answers that are not yet whole, in the order of their requests. */
  inFlight: Set<ServerResponse>
  /** When it was made, or its last answer ended. */
  idleSince: number
  isClosing: boolean
}

/** All connections of one server. */
export class Connections {
  readonly #server: Server
  readonly #options: Options
  readonly #nextId: () => string
  readonly #open = new Map<Socket, Connection>()
  readonly #timedOut = new Set<Socket>()
  #surplus = 0
  #isScheduled = false
  #onEmpty: (() => void) | undefined

  constructor(server: Server, options: Options) {
    this.#server = server
    this.#options = options
    this.#nextId = requestIds(options.random, 'refused-')
    server.on('connection', (socket: Socket) => this.#add(socket))
    server.on('timeout', (socket: Socket) => this.#closeIfIdle(socket))
    for (const event of REQUEST_EVENTS) {
      server.on(event, ({ socket }: IncomingMessage, response: ServerResponse) =>
        this.#began(socket, response),
      )
    }
  }

  get count(): number {
    return this.#open.size
  }

  /** True when the connection was closed before this request arrived: it must not be answered. */
  isTooLate(request: IncomingMessage): boolean {
    const isTooLate = this.#open.get(request.socket)?.isClosing !== false
    if (isTooLate) request.resume()
    return isTooLate
  }

  /** The answers of a connection that are not yet whole, in the order of their requests. */
  inFlight(socket: Socket): ServerResponse[] {
    return [...(this.#open.get(socket)?.inFlight ?? [])]
  }

  /**
   * Answers on the socket itself, outside of any request, and closes the connection. What arrives from now on is
   * read and dropped for a while, as a reset could overtake the answer.
   */
  refuse(socket: Socket, error: MailroomError): void {
    const { clock, random } = this.#options
    const { status, headers, body } = problemOf(error, { requestId: this.#nextId(), random, reading: true })
    const lines = Object.entries({
      ...headers,
      'Content-Length': Buffer.byteLength(body),
      Connection: 'close',
    })
    const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head}\r\n${body}`)
    lingerAndClose(socket, clock)
  }

  /** Passes on `count` connections, and none beyond them: the idle ones now, others when they are idle. */
  passOn(count: number): void {
    this.#surplus = count
    if (count > 0) this.#passOnIdle()
  }

  /**
   * Takes over a connection that another facade passed on. Node's server gets it when a request begins, because it
   * expects the head of a request soon after a connection.
   */
  adopt(socket: Socket): void {
    const { clock, keepAliveMs } = this.#options
    this.#add(socket)
    const forget = () => {
      cancel()
      socket.off('readable', begin).off('end', end).off('error', forget).off('close', forget)
    }
    const begin = () => {
      // At the end of the stream, Node waits for a read before it emits `end`.
      if (socket.readableLength === 0) return socket.read()
      forget()
      this.#server.emit('connection', socket)
    }
    const end = () => socket.end()
    const cancel = clock.after(keepAliveMs, () => this.#closeIfIdle(socket), { unref: true })
    socket.on('readable', begin).on('end', end).on('error', forget).on('close', forget)
  }

  /** Closes the connections that have been idle for `IDLE_CLOSE_MS`. */
  closeIdle(): void {
    const limit = this.#options.clock.monotonic() - IDLE_CLOSE_MS
    for (const socket of this.#idle()) if (this.#open.get(socket)!.idleSince <= limit) this.#close(socket)
  }

  /** Resolves when there is no connection. */
  empty(): Promise<void> {
    return new Promise((resolve) => {
      this.#onEmpty = resolve
      if (this.#open.size === 0) resolve()
    })
  }

  #add(socket: Socket): void {
    if (this.#open.has(socket)) return
    const idleSince = this.#options.clock.monotonic()
    this.#open.set(socket, { inFlight: new Set(), idleSince, isClosing: false })
    socket.once('close', () => {
      this.#open.delete(socket)
      if (this.#open.size === 0) this.#onEmpty?.()
    })
    this.#schedule()
  }

  #began(socket: Socket, response: ServerResponse): void {
    const connection = this.#open.get(socket)
    if (connection === undefined) return
    connection.inFlight.add(response)
    response.once('close', () => {
      connection.inFlight.delete(response)
      connection.idleSince = this.#options.clock.monotonic()
      this.#schedule()
    })
  }

  /** `soon`: Node first ends a connection whose answer had `Connection: close`. */
  #schedule(): void {
    if (this.#surplus === 0 || this.#isScheduled) return
    this.#isScheduled = true
    this.#options.clock.soon(() => {
      this.#isScheduled = false
      this.#passOnIdle()
    })
  }

  #passOnIdle(): void {
    for (const socket of this.#idle()) {
      if (this.#surplus === 0) return
      this.#surplus--
      this.#open.get(socket)!.isClosing = true
      void this.#leave(socket)
    }
  }

  /** Passes a connection on. One that stays is served again, and leaves later. */
  async #leave(socket: Socket): Promise<void> {
    const { clock, passOn } = this.#options
    if (await passOn(socket)) return
    const connection = this.#open.get(socket)
    if (connection !== undefined) connection.isClosing = false
    clock.after(BALANCE_MS, () => this.#schedule(), { unref: true })
  }

  #closeIfIdle(socket: Socket): void {
    // Many time out at once after a burst: the idle ones are found once for all of them.
    if (this.#timedOut.add(socket).size > 1) return
    this.#options.clock.soon(() => {
      const idle = this.#idle()
      for (const one of this.#timedOut) if (idle.has(one)) this.#close(one)
      this.#timedOut.clear()
    })
  }

  /**
   * Answers an idle connection 408 and closes it. A client may be sending its next request right now: it takes the
   * 408 for the answer, which is true, as nothing that arrives from now on is acted upon.
   */
  #close(socket: Socket): void {
    const connection = this.#open.get(socket)!
    connection.isClosing = true
    const deadlineMs = Math.round(this.#options.clock.monotonic() - connection.idleSince)
    this.refuse(socket, new MailroomError('MR_REQUEST_TIMEOUT', { deadlineMs }))
  }

  /** Connections without a request, whole or begun. */
  #idle(): Set<Socket> {
    const betweenRequests = new Set(
      parsersOf(this.#server)
        .idle()
        .map((parser) => parser.socket),
    )
    const idle = new Set<Socket>()
    for (const [socket, { inFlight, isClosing }] of this.#open) {
      const isQuiet = inFlight.size === 0 && !isClosing && socket.writable
      const isFlushed = socket.writableLength === 0 && socket.readableLength === 0
      if (isQuiet && isFlushed && (socket.bytesRead === 0 || betweenRequests.has(socket))) idle.add(socket)
    }
    return idle
  }
}

/**
 * Sends FIN after what is still to be sent, then reads and drops what arrives, for at most a second: a connection
 * that is closed with unread bytes is reset, and the reset may overtake the answer.
 */
export function lingerAndClose(socket: Socket, clock: Clock): void {
  socket.end()
  socket.resume()
  const cancel = clock.after(LINGER_MS, () => socket.destroy(), { unref: true })
  socket.once('close', cancel)
}

/** Node's list of the parsers of a server. Only it knows whether a part of a request has been read. */
interface ParserList {
  /** Those that have read nothing since their last whole request. */
  idle(): readonly { socket: Socket }[]
}

/** Of a server that listens. */
function parsersOf(server: Server): ParserList {
  const symbols = Object.getOwnPropertySymbols(server)
  const symbol = symbols.find(({ description }) => description === 'http.server.connections')!
  return (server as unknown as Record<symbol, ParserList>)[symbol]!
}
