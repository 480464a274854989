/**
 * The server end of the calls between actors (`client.ts` is the client end). It needs the system's secret. Two paths:
 * `POST /ask/<method>`, arguments as an array (`wire.ts`), and `POST /exchange` for many calls (`exchange.ts`). Without Koa:
 * five of a node's six workers would load it for these two.
 */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Clock } from '../../runtime/clock.ts'
import { addressOf, EVERY_ADDRESS } from '../../runtime/cluster/directory.ts'
import { fromWire, MailroomError, toWire } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import { createServer } from '../../runtime/node-http.ts'
import {
  INTERNAL_CLOSE_NOTICE_MS,
  INTERNAL_IDLE_SWEEP_MS,
  INTERNAL_KEEP_ALIVE_MS,
} from '../../runtime/timings.ts'
import type { Config } from '../../settings/config.ts'
import { storedMaxBytes } from '../../storage/limits.ts'
import type { Methods } from './calls.ts'
import { EXCHANGE_PATH, ServedExchange } from './exchange.ts'
import { createSystemCheck, SECRET_HEADER } from './secret.ts'
import { decode, encode } from './wire.ts'

/** A listening internal server. */
export interface InternalServer {
  /** `host:port`, as reached from this node. */
  address: string
  /**
   * Stops listening when callers have learned of it from the directory; resolves when the calls in flight have been
   * answered. Until then every answer closes its connection, so that no call meets a close.
   */
  close(): Promise<void>
}

const ASK_PATH = '/ask/'
/** The status of every error. The caller goes by the code in the body. */
const ERROR_STATUS = 503
/** A call has this much at least. */
const BODY_MIN_BYTES = 16 * 1024 * 1024
/** What a byte of a text may take in JSON, and a little for the rest: a control character is `\\u0001`. */
const JSON_BYTES = 7

/**
 * Serves an actor's methods on a free port, this worker's alone.
 *
 * @returns When it listens.
 */
export async function serveInternal(options: {
  methods: Methods
  config: Pick<Config, 'internalHost' | 'maxMessageBytes'>
  secret: string
  clock: Clock
  logger: Logger
}): Promise<InternalServer> {
  const { methods, logger } = options
  const { internalHost, maxMessageBytes } = options.config
  const bodyMaxBytes = Math.max(BODY_MIN_BYTES, JSON_BYTES * storedMaxBytes(maxMessageBytes))
  const check = createSystemCheck(options.secret)
  const call = async (name: string, args: unknown[]) => {
    if (!Object.hasOwn(methods, name)) throw new MailroomError('MR_NOT_FOUND', { what: `method ${name}` })
    return methods[name]!(...(args as never[]))
  }
  let isClosing = false
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const url = request.url ?? ''
    let body: string | Buffer
    try {
      check(String(request.headers[SECRET_HEADER]))
      if (!url.startsWith(ASK_PATH)) throw new MailroomError('MR_NOT_FOUND', { what: url })
      const args = decode(await readBody(request, bodyMaxBytes)) as unknown[]
      body = encode(await call(url.slice(ASK_PATH.length), args))
    } catch (error) {
      if (!(error instanceof MailroomError)) logger.error({ err: error, path: url }, 'bug')
      response.statusCode = ERROR_STATUS
      body = JSON.stringify(toWire(error))
    }
    if (isClosing) response.setHeader('Connection', 'close')
    response.setHeader('Content-Type', 'application/json')
    response.end(body)
  }

  const exchanges = new Set<ServedExchange>()
  const exchange = (request: IncomingMessage, response: ServerResponse) => {
    try {
      check(String(request.headers[SECRET_HEADER]))
    } catch (error) {
      response.writeHead(ERROR_STATUS).end(JSON.stringify(toWire(error)))
      return
    }
    const served = new ServedExchange(request, response, {
      clock: options.clock,
      call: (name, args) =>
        call(name, args).catch((error: unknown) => throwAsMailroomError(error, name, logger)),
    })
    exchanges.add(served)
    response.on('close', () => exchanges.delete(served))
  }
  const server = createServer(
    { requestTimeout: 0, keepAliveTimeout: INTERNAL_KEEP_ALIVE_MS },
    (request, response) =>
      void (request.url === EXCHANGE_PATH ? exchange(request, response) : answer(request, response)),
  )
  server.listen({ host: internalHost, port: 0, exclusive: true })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    address: addressOf({ host: EVERY_ADDRESS.has(internalHost) ? '127.0.0.1' : internalHost, port }),
    async close() {
      if (isClosing) return
      isClosing = true
      await options.clock.sleep(INTERNAL_CLOSE_NOTICE_MS)
      const closed = once(server, 'close')
      server.close()
      for (const served of exchanges) void served.close()
      // A connection that was busy when the server closed stays open when idle, because its caller keeps it alive.
      const cancel = options.clock.every(INTERNAL_IDLE_SWEEP_MS, () => server.closeIdleConnections())
      await closed
      cancel()
    },
  }
}

/** Logs a bug as such. */
function throwAsMailroomError(error: unknown, method: string, logger: Logger): never {
  if (error instanceof MailroomError) throw error
  logger.error({ err: error, method }, 'bug')
  throw fromWire(toWire(error))
}

async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    if (bytes > maxBytes) {
      throw new MailroomError('MR_TOO_LARGE', { what: 'A call between actors', limitBytes: maxBytes })
    }
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}
