/**
 * A node's own internal server: tells other nodes of its actors, to whoever knows the system's secret, and
 * everyone how it is.
 */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { createSystemCheck, SECRET_HEADER } from '../http/internal/secret.ts'
import { isMailroomError, MailroomError, toWire } from '../runtime/errors.ts'
import type { Logger } from '../runtime/logger.ts'
import type { NodeDirectory } from './node-directory.ts'

/** What the server is given. */
interface NodeServerOptions {
  host: string
  port: number
  secret: string
  logger: Logger
  directory(): NodeDirectory
  /** What this node lacks to do its part, in words for people; empty when ready. */
  missing(): string[]
}

/**
 * Serves `GET /directory` (with the secret), `/readyz` and `/livez`.
 *
 * @returns When it listens: the port, and the way to close it with all its connections.
 */
export async function serveNode(
  options: NodeServerOptions,
): Promise<{ port: number; close: () => Promise<void> }> {
  const { host, port, secret, directory, missing, logger } = options
  const check = createSystemCheck(secret)
  const server = createServer((request, response) => {
    try {
      if (request.method !== 'GET') throw new MailroomError('MR_NOT_FOUND', { what: 'such call' })
      switch (request.url) {
        case '/directory':
          check(String(request.headers[SECRET_HEADER] ?? ''))
          reply(response, 200, directory())
          break
        case '/readyz': {
          const lacked = missing()
          const isReady = lacked.length === 0
          reply(response, isReady ? 200 : 503, { status: isReady ? 'ready' : 'unready', missing: lacked })
          break
        }
        case '/livez':
          reply(response, 200, { status: 'ok' })
          break
        default:
          throw new MailroomError('MR_NOT_FOUND', { what: 'such path' })
      }
    } catch (error) {
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

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
}

function statusOf(error: unknown): number {
  if (isMailroomError(error, 'MR_FORBIDDEN')) return 403
  return isMailroomError(error, 'MR_NOT_FOUND') ? 404 : 500
}
