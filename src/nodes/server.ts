/**
 * The internal server of a node. Other nodes, which know the system's secret, get its directory; everybody gets its
 * health.
 */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createSecretFinder, createSystemCheck, SECRET_HEADER } from '../http/internal/secret.ts'
import { isMailroomError, MailroomError, toWire } from '../runtime/errors.ts'
import type { Logger } from '../runtime/logger.ts'
import { formatOf, METRICS_TYPES, type MetricsFormat } from '../runtime/metrics.ts'
import { createServer } from '../runtime/node-http.ts'
import type { NodeDirectory } from './node-directory.ts'

interface NodeServerOptions {
  host: string
  port: number
  secret: string
  /** Tokens that may read the metrics, as the public API takes them. */
  readTokens: readonly string[]
  logger: Logger
  directory(): NodeDirectory
  /** As `NodeFigures.metrics`. */
  metrics(format: MetricsFormat): Promise<string>
  /** The actors of this node that do not run, for people; empty when the node is healthy. */
  notRunning(): string[]
  /** What this node lacks to be ready, for people; empty when it is ready. */
  missing(): string[]
  /** What is wrong around it, human-readable; it is ready nevertheless. */
  warnings(): string[]
  /** A caller at this address asked for the directory without the secret. */
  onRefused(host: string): void
}

/**
 * Serves `GET /directory` (with the secret), `/metrics` (with the secret or a token), `/healthz`, `/readyz` and `/livez`.
 *
 * @returns When it listens. `close` also closes all connections.
 */
export async function serveNode(
  options: NodeServerOptions,
): Promise<{ port: number; close: () => Promise<void> }> {
  const { host, port, secret, directory, notRunning, missing, warnings, onRefused, logger } = options
  const check = createSystemCheck(secret)
  const checkReader = createReaderCheck(options)
  // Health checks of load balancers may send no Host.
  const server = createServer({ requireHostHeader: false }, async (request, response) => {
    try {
      if (request.method !== 'GET') throw new MailroomError('MR_NOT_FOUND', { what: 'such call' })
      switch (request.url) {
        case '/directory':
          check(String(request.headers[SECRET_HEADER] ?? ''))
          reply(response, 200, directory())
          break
        case '/metrics': {
          checkReader(request)
          const format = formatOf(request.headers.accept)
          const text = await options.metrics(format)
          response.writeHead(200, { 'Content-Type': METRICS_TYPES[format] }).end(text)
          break
        }
        case '/healthz': {
          const wrong = notRunning()
          const isHealthy = wrong.length === 0
          reply(response, isHealthy ? 200 : 503, { status: isHealthy ? 'healthy' : 'unhealthy', wrong })
          break
        }
        case '/readyz': {
          const lacking = missing()
          const isReady = lacking.length === 0
          const warned = warnings()
          reply(response, isReady ? 200 : 503, {
            ...{ status: isReady ? 'ready' : 'unready', missing: lacking },
            ...(warned.length > 0 && { warnings: warned }),
          })
          break
        }
        case '/livez':
          reply(response, 200, { status: 'ok' })
          break
        default:
          throw new MailroomError('MR_NOT_FOUND', { what: 'such path' })
      }
    } catch (error) {
      if (isMailroomError(error, 'MR_FORBIDDEN') && request.url === '/directory') onRefused(hostOf(request))
      if (!isMailroomError(error)) logger.error({ err: error, path: request.url }, 'bug')
      reply(response, statusOf(error), toWire(error))
    }
  })
  server.listen({ host, port, exclusive: true })
  await once(server, 'listening')
  return {
    port: (server.address() as { port: number }).port,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

/** Other nodes send the secret in a header of their own; a scraper can send a bearer token only, of either kind. */
function createReaderCheck({ secret, readTokens }: Pick<NodeServerOptions, 'secret' | 'readTokens'>) {
  const findSecret = createSecretFinder([[true, secret]])
  const findBearer = createSecretFinder([secret, ...readTokens].map((one) => [true, one]))
  return ({ headers }: IncomingMessage) => {
    const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
    if (findSecret(String(headers[SECRET_HEADER] ?? '')) !== null) return
    if (bearer !== undefined && findBearer(bearer) !== null) return
    const reason =
      'Expected `Authorization: Bearer` with the secret of the system (--secret), or a token that may read (--token, --read-token)'
    throw new MailroomError('MR_FORBIDDEN', { reason })
  }
}

/** The address of a caller; an IPv4 address without the prefix that it has on a socket for both. */
function hostOf({ socket }: IncomingMessage): string {
  return (socket.remoteAddress ?? '').replace(/^::ffff:/, '')
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
}

function statusOf(error: unknown): number {
  if (isMailroomError(error, 'MR_FORBIDDEN')) return 403
  return isMailroomError(error, 'MR_NOT_FOUND') ? 404 : 500
}
