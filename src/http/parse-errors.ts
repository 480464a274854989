/**
 * Requests that Node's parser refuses (malformed, head too large, head too slow), answered as problems like all
 * other errors.
 */
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock, Random } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'
import { HEAD_TIMEOUT_MS, LINGER_MS } from '../runtime/timings.ts'
import { badRequest, problemOf, shortened } from './problems.ts'

/** The largest head of a request. */
export const HEAD_MAX_BYTES = 16 * 1024

/** The events of Node's server that carry a request. */
export const REQUEST_EVENTS = ['request', 'checkContinue', 'checkExpectation'] as const

/** Answers the requests that Node's parser refuses on `server`. */
export function answerParseErrors(server: Server, { clock, random }: { clock: Clock; random: Random }): void {
  const refused = new WeakSet<Duplex>()
  const inFlight = new WeakMap<Duplex, Set<ServerResponse>>()
  for (const event of REQUEST_EVENTS) {
    server.on(event, ({ socket }: IncomingMessage, response: ServerResponse) => {
      const responses = inFlight.get(socket) ?? new Set()
      inFlight.set(socket, responses.add(response))
      response.once('close', () => responses.delete(response))
    })
  }

  const refuse = (socket: Duplex, error: MailroomError) => {
    // The parser reports further errors for the bytes that follow.
    if (refused.has(socket)) return
    refused.add(socket)
    const responses = [...(inFlight.get(socket) ?? [])]
    // Pipelining: earlier requests are answered first, or the client would take this refusal for their answer.
    const whole = responses.findLast(({ req }) => req.complete)
    if (whole === undefined) answer(socket, error, responses[0])
    else whole.once('close', () => answer(socket, error))
  }

  const answer = (socket: Duplex, error: MailroomError, begun?: ServerResponse) => {
    if (!socket.writable || begun?.headersSent) {
      socket.destroy()
      return
    }
    const requestId = `refused-${Math.floor(random() * 36 ** 8).toString(36)}`
    const { status, headers, body } = problemOf(error, { requestId, random, reading: true })
    const lines = Object.entries({
      ...headers,
      'Content-Length': Buffer.byteLength(body),
      Connection: 'close',
    }).map(([name, value]) => `${name}: ${value}`)
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('\r\n')}\r\n\r\n${body}`)
    const cancel = clock.after(LINGER_MS, () => socket.destroy(), { unref: true })
    socket.on('close', cancel)
  }

  server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuse(socket, errorOf(error)))
  server.on('connect', ({ method = '', url: path = '' }, socket) => {
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
