/** The server of the public API: Koa behind Node's HTTP server, its limits, its start and its graceful shutdown. */
import { once } from 'node:events'
import { type AddressInfo, Server, type Socket } from 'node:net'
import Koa from 'koa'
import { createServer } from '../runtime/node-http.ts'
import { CLOSE_HOLD_MAX_MS, CLOSE_HOLD_MS, HEAD_TIMEOUT_MS, IDLE_SWEEP_MS } from '../runtime/timings.ts'
import { PAGE_MAX_BYTES, storedMaxBytes } from '../storage/limits.ts'
import { AnswerRoom } from './answer-room.ts'
import { Connections, REQUEST_EVENTS } from './connections.ts'
import type { ApiContext } from './context.ts'
import { createHeadReader } from './head.ts'
import { createMiddleware } from './middleware.ts'
import { Admission, protectFromOverload, SliceQueue } from './overload.ts'
import { answerParseErrors, HEAD_MAX_BYTES } from './parse-errors.ts'
import { beginSeries } from './request-figures.ts'
import { createRouter } from './router.ts'

/** Length of the accept queue. Beyond it the kernel drops the SYN, and the client retries after 1 s, 3 s and 7 s. */
const ACCEPT_QUEUE_COUNT = 4096
/** libuv accepts one connection per event-loop iteration: after this many without one the accept queue is empty. */
const QUIET_ITERATIONS = 3

/** A listening public server. */
export interface PublicServer {
  port: number
  /** Open connections. */
  connectionCount(): number
  /** Takes over a connection that another facade passed on. */
  adopt(connection: Socket): void
  /** Passes on so many connections when they are idle. */
  passOn(count: number): void
  /**
   * Stops accepting connections, and resolves when the requests in flight have been answered and no connection is
   * left. Every call returns the same promise.
   *
   * @param replaced Idle connections are passed on to another facade. Otherwise they are closed.
   */
  stopListening(replaced?: boolean): Promise<void>
}

/**
 * Serves the public API on the configured host and port, which the facade workers of a node share.
 *
 * While `facade.draining`, all requests are still served. Unless the connections are passed on, every answer closes
 * its connection.
 *
 * @param passOn Sends an idle connection to another facade, or back to `adopt` when there is none. Resolves to false
 * when it stays here.
 * @returns When it listens. Rejects with Node's error (`EADDRINUSE`, …) when it cannot.
 */
export async function servePublic(
  options: Omit<ApiContext, 'draining' | 'closing' | 'overloaded' | 'listRoom' | 'singleRoom'> & {
    passOn: (connection: Socket) => Promise<boolean>
  },
): Promise<PublicServer> {
  const { facade, config, clock, random, logger, passOn } = options
  const { keepAliveMs } = config
  const mostBytes = storedMaxBytes(config.maxMessageBytes)
  let stopped: Promise<void> | undefined
  let isReplaced = false
  const draining = () => facade.draining || stopped !== undefined
  const admission = new Admission(clock)
  const api: ApiContext = {
    ...options,
    draining,
    closing: () => !isReplaced && draining(),
    overloaded: () => admission.overloaded,
    listRoom: new AnswerRoom(clock, PAGE_MAX_BYTES + mostBytes),
    singleRoom: new AnswerRoom(clock, mostBytes),
  }
  const { routes, unrouted } = createRouter(api)
  beginSeries(options.figures, Object.keys(config.inbox))
  const app = new Koa()
  app.use(createMiddleware(api)).use(routes).use(unrouted)
  app.on('error', (error) => logger.debug({ err: error }, 'a connection failed'))
  const slices = new SliceQueue(clock)
  const readHead = createHeadReader(config, clock)
  const answer = protectFromOverload(api, admission, slices, app.callback())

  const server = createServer({
    headersTimeout: HEAD_TIMEOUT_MS,
    // `body.ts` has the deadline of bodies; an NDJSON stream has none.
    requestTimeout: 0,
    connectionsCheckingInterval: 1000,
    keepAliveTimeout: keepAliveMs,
    maxHeaderSize: HEAD_MAX_BYTES,
    // A second Host, token or key becomes part of the value and is refused. Node's default is to drop it.
    joinDuplicateHeaders: true,
    // `head.ts` refuses a missing Host, as a problem.
    requireHostHeader: false,
  })
  // Node silently drops headers beyond its limit; `head.ts` refuses the request.
  server.maxHeadersCount = 0
  const connections = new Connections(server, {
    ...{ clock, random, keepAliveMs },
    async passOn(connection) {
      const hasLeft = await passOn(connection)
      if (!hasLeft && draining()) keepConnections()
      return hasLeft
    },
  })
  /** In a drain: no other facade takes connections, so they are closed when idle. */
  const keepConnections = () => {
    isReplaced = false
    connections.passOn(0)
  }
  answerParseErrors(server, connections)
  let connectionCount = 0
  server.on('connection', () => {
    connectionCount++
    slices.connectionAccepted()
  })
  let hold: Promise<void> | undefined
  for (const event of REQUEST_EVENTS) {
    server.on(event, (request, response) => {
      if (connections.isTooLate(request)) return
      readHead(request)
      if (hold === undefined) answer(request, response)
      else void hold.then(() => answer(request, response))
    })
  }

  server.listen({ host: config.host, port: config.port, backlog: ACCEPT_QUEUE_COUNT })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  /** Waits for the accept queue to be empty: a process that was paused runs its timers before it accepts. */
  const acceptQueueEmpty = async () => {
    const endAt = clock.monotonic() + CLOSE_HOLD_MAX_MS
    for (let quiet = 0; quiet < QUIET_ITERATIONS && clock.monotonic() < endAt; quiet++) {
      const before = connectionCount
      await new Promise<void>((resolve) => clock.soon(resolve))
      if (connectionCount > before) quiet = 0
    }
  }
  // Not the HTTP server's own `close`, which resets idle connections.
  const closeListener = () => Server.prototype.close.call(server)
  const stop = async () => {
    if (isReplaced) {
      closeListener()
      connections.passOn(Number.POSITIVE_INFINITY)
    } else {
      // Clients that wait for an answer open no connection. So answers are held back until the accept queue is empty:
      // closing the listener would reset the connections in it.
      const held = Promise.withResolvers<void>()
      hold = held.promise
      await clock.sleep(CLOSE_HOLD_MS)
      await acceptQueueEmpty()
      closeListener()
      held.resolve()
    }
    const cancel = clock.every(IDLE_SWEEP_MS, () => isReplaced || connections.closeIdle())
    await connections.empty()
    cancel()
  }
  return {
    port,
    connectionCount: () => connections.count,
    adopt(connection) {
      // It came back, or from a facade that did not know yet that this one drains: there is no other facade.
      if (draining()) keepConnections()
      connections.adopt(connection)
    },
    passOn(count) {
      if (!draining()) connections.passOn(count)
    },
    stopListening: (replaced = false) => {
      if (stopped === undefined) {
        isReplaced = replaced
        stopped = stop()
      }
      return stopped
    },
  }
}
