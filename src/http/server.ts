/** The server of the public API: Koa behind Node's HTTP server, its limits, its start and its graceful shutdown. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import Koa from 'koa'
import type { Clock } from '../runtime/clock.ts'
import {
  CLOSE_HOLD_MAX_MS,
  CLOSE_HOLD_MS,
  HEAD_TIMEOUT_MS,
  IDLE_SWEEP_MS,
  KEEP_ALIVE_MS,
  SILENT_CONNECTION_MS,
} from '../runtime/timings.ts'
import type { ApiContext } from './context.ts'
import { createHeadReader } from './head.ts'
import { createMiddleware } from './middleware.ts'
import { protectFromOverload, SliceQueue } from './overload.ts'
import { answerParseErrors, HEAD_MAX_BYTES, REQUEST_EVENTS } from './parse-errors.ts'
import { createRouter } from './router.ts'

/** Length of the accept queue. Beyond it the kernel drops the SYN, and the client retries after 1 s, 3 s and 7 s. */
const ACCEPT_QUEUE_COUNT = 4096
/** libuv accepts one connection per event-loop iteration: after this many without one the accept queue is empty. */
const QUIET_ITERATIONS = 3

/** A listening public server. */
export interface PublicServer {
  port: number
  /**
   * Stops accepting connections, closes idle ones, and resolves when the requests in flight have been answered.
   * Every call returns the same promise.
   */
  stopListening(): Promise<void>
}

/**
 * Serves the public API on the configured host and port, which the facade workers of a node share.
 *
 * While `facade.draining`, every answer closes its connection but all requests are still served: clients reconnect
 * to another facade, and no connection is refused.
 *
 * @returns When it listens. Rejects with Node's error (`EADDRINUSE`, …) when it cannot.
 */
export async function servePublic(options: Omit<ApiContext, 'closing'>): Promise<PublicServer> {
  const { facade, config, clock, logger } = options
  let stopped: Promise<void> | undefined
  const api: ApiContext = { ...options, closing: () => facade.draining || stopped !== undefined }
  const { routes, unrouted } = createRouter(api)
  const app = new Koa()
  app.use(createMiddleware(api)).use(routes).use(unrouted)
  app.on('error', (error) => logger.debug({ err: error }, 'a connection failed'))
  const slices = new SliceQueue(clock)
  const readHead = createHeadReader(config)
  const answer = protectFromOverload(api, slices, app.callback())

  const server = createServer({
    headersTimeout: HEAD_TIMEOUT_MS,
    // `body.ts` has the deadline of bodies; an NDJSON stream has none.
    requestTimeout: 0,
    connectionsCheckingInterval: 1000,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: HEAD_MAX_BYTES,
    // A second Host, token or key becomes part of the value and is refused. Node's default is to drop it.
    joinDuplicateHeaders: true,
    // `head.ts` refuses a missing Host, as a problem.
    requireHostHeader: false,
  })
  // Node silently drops headers beyond its limit; `head.ts` refuses the request.
  server.maxHeadersCount = 0
  const silent = silentSockets(server, clock)
  answerParseErrors(server, api)
  let connectionCount = 0
  server.on('connection', () => {
    connectionCount++
    slices.connectionAccepted()
  })
  let hold: Promise<void> | undefined
  for (const event of REQUEST_EVENTS) {
    server.on(event, (request, response) => {
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
  const stop = async () => {
    // Clients that wait for an answer open no connection. So answers are held back until the accept queue is empty:
    // closing the listener would reset the connections in it.
    const held = Promise.withResolvers<void>()
    hold = held.promise
    await clock.sleep(CLOSE_HOLD_MS)
    await acceptQueueEmpty()
    const closed = once(server, 'close')
    server.close()
    held.resolve()
    // `soon`: first read what has arrived, so that a connection with a new request does not count as idle.
    const closeIdle = () => {
      server.closeIdleConnections()
      silent.closeOld()
    }
    const cancel = clock.every(IDLE_SWEEP_MS, () => clock.soon(closeIdle))
    await closed
    cancel()
  }
  return { port, stopListening: () => (stopped ??= stop()) }
}

/** Connections that have sent nothing yet. Node does not count them as idle, and they would delay the shutdown. */
function silentSockets(server: Server, clock: Clock): { closeOld(): void } {
  const since = new Map<Socket, number>()
  server.on('connection', (socket: Socket) => {
    since.set(socket, clock.monotonic())
    socket.once('close', () => since.delete(socket))
  })
  for (const event of REQUEST_EVENTS) {
    server.on(event, ({ socket }: IncomingMessage) => since.delete(socket))
  }
  return {
    closeOld() {
      const limit = clock.monotonic() - SILENT_CONNECTION_MS
      for (const [socket, at] of since) if (at <= limit) socket.destroy()
    },
  }
}
