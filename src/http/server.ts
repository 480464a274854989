/** The server of the public API: Koa behind Node's HTTP server, its limits, its beginning and its end. */
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
import type { Reach, Surroundings } from './context.ts'
import { envelope } from './middleware.ts'
import { createDoor } from './overload.ts'
import { answerRefusals, HEAD_MAX_BYTES, REQUEST_EVENTS } from './parse-errors.ts'
import { createRouter } from './router.ts'
import { Turns } from './turns.ts'

/** Clients that come all at once: beyond it the kernel lets them try again a second later, then three, then seven. */
const BACKLOG = 4096
/** One look at the sockets takes in at most one connection: after so many without one there is none. */
const QUIET_TURNS = 3

/** A listening public server. */
export interface PublicServer {
  address: string
  port: number
  /**
   * Stops accepting connections, closes those that are idle, and resolves when the requests under way have been
   * answered. Every caller gets the same promise.
   */
  stopListening(): Promise<void>
}

/**
 * Serves the public API on the configured host and port, which facade workers of one node share.
 *
 * While `facade.draining` every reply closes its connection, yet all requests are still taken: clients go
 * elsewhere by themselves, and none meets a closed door.
 *
 * @returns When it listens. Rejects with Node's error (`EADDRINUSE`, …) when it cannot.
 */
export async function servePublic(surroundings: Surroundings): Promise<PublicServer> {
  const { facade, config, clock, logger } = surroundings
  let stopped: Promise<void> | undefined
  const reach: Reach = { ...surroundings, closing: () => facade.draining || stopped !== undefined }
  const { routes, unrouted } = createRouter(reach)
  const app = new Koa()
  app.use(envelope(reach)).use(routes).use(unrouted)
  app.on('error', (error) => logger.debug({ err: error }, 'a connection failed'))
  const turns = new Turns(clock)
  const answer = createDoor(reach, turns, app.callback())

  const server = createServer({
    headersTimeout: HEAD_TIMEOUT_MS,
    // Bodies have their own deadline (`body.ts`), and a stream of lines has none.
    requestTimeout: 0,
    connectionsCheckingInterval: 1000,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: HEAD_MAX_BYTES,
    // A second Host, token or key shows as a list, and is refused, where Node would drop it.
    joinDuplicateHeaders: true,
    // The guard answers for a missing Host, in our words.
    requireHostHeader: false,
  })
  // Node drops what is beyond in silence; the guard refuses it.
  server.maxHeadersCount = 0
  const silent = silentSockets(server, clock)
  answerRefusals(server, surroundings)
  let connectionCount = 0
  server.on('connection', () => {
    connectionCount++
    turns.knocked()
  })
  let hold: Promise<void> | undefined
  for (const event of REQUEST_EVENTS) {
    server.on(event, (request, response) => {
      if (hold === undefined) answer(request, response)
      else void hold.then(() => answer(request, response))
    })
  }

  server.listen({ host: config.host, port: config.port, backlog: BACKLOG })
  await once(server, 'listening')
  const { address, port } = server.address() as AddressInfo

  /** A process that was kept from running finds its timers due before its new connections. */
  const allConnected = async () => {
    const endAt = clock.monotonic() + CLOSE_HOLD_MAX_MS
    for (let quiet = 0; quiet < QUIET_TURNS && clock.monotonic() < endAt; quiet++) {
      const before = connectionCount
      await new Promise<void>((resolve) => clock.soon(resolve))
      if (connectionCount > before) quiet = 0
    }
  }
  const stop = async () => {
    const held = Promise.withResolvers<void>()
    hold = held.promise
    await clock.sleep(CLOSE_HOLD_MS)
    await allConnected()
    const closed = once(server, 'close')
    server.close()
    held.resolve()
    // Looked at once what has arrived has been read: a request that is there makes no idle connection.
    const closeIdle = () => {
      server.closeIdleConnections()
      silent.closeOld()
    }
    const cancel = clock.every(IDLE_SWEEP_MS, () => clock.soon(closeIdle))
    await closed
    cancel()
  }
  return { address, port, stopListening: () => (stopped ??= stop()) }
}

/**
 * Connections that have not said anything yet: for Node they are not idle, and would hold up the end.
 */
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
