/**
 * Requests that Node's parser refuses (malformed, head too large, head too slow), answered as problems like all
 * other errors.
 */
import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { MailroomError } from '../runtime/errors.ts'
import { HEAD_TIMEOUT_MS } from '../runtime/timings.ts'
import type { Connections } from './connections.ts'
import { badRequest, shortened } from './problems.ts'

/** The largest head of a request. */
export const HEAD_MAX_BYTES = 16 * 1024

/** Answers the requests that Node's parser refuses on `server`. */
export function answerParseErrors(server: Server, connections: Connections): void {
  const refused = new WeakSet<Socket>()

  const refuse = (socket: Socket, error: MailroomError) => {
    // The parser reports further errors for the bytes that follow.
    if (refused.has(socket)) return
    refused.add(socket)
    const responses = connections.inFlight(socket)
    // Pipelining: earlier requests are answered first, or the client would take this refusal for their answer.
    const whole = responses.findLast(({ req }) => req.complete)
    if (whole === undefined) answer(socket, error, responses[0])
    else whole.once('close', () => answer(socket, error))
  }

  const answer = (socket: Socket, error: MailroomError, begun?: ServerResponse) => {
    if (!socket.writable || begun?.headersSent) socket.destroy()
    else connections.refuse(socket, error)
  }

  server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuse(socket as Socket, errorOf(error)))
  server.on('connect', ({ socket, method = '', url: path = '' }) => {
    refuse(socket, new MailroomError('MR_METHOD_UNSUPPORTED', { method, path: shortened(path), allowed: [] }))
  })
}

function errorOf({ code = '' }: NodeJS.ErrnoException): MailroomError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new MailroomError('MR_REQUEST_TIMEOUT', { deadlineMs: HEAD_TIMEOUT_MS })
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new MailroomError('MR_HEAD_TOO_LARGE', { limitBytes: HEAD_MAX_BYTES })
  }
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') {
    return new MailroomError('MR_TOO_LARGE', {
      what: 'The extensions of a chunk',
      limitBytes: HEAD_MAX_BYTES,
    })
  }
  return badRequest({ where: 'the request', expected: 'HTTP/1.1', got: `something else (${code})` })
}
