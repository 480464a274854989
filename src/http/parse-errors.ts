/**
 * Requests that Node refuses before they are requests (malformed, too long a head, too slow a one), answered as
 * problems like all others.
 */
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Clock, Random } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'
import { HEAD_TIMEOUT_MS, LINGER_MS } from '../runtime/timings.ts'
import { badRequest, problemOf } from './problems.ts'

/** The longest head. */
export const HEAD_MAX_BYTES = 16 * 1024

/** The events of Node's server that are a request. */
export const REQUEST_EVENTS = ['request', 'checkContinue', 'checkExpectation'] as const

/** Answers what Node's parser refuses on `server`. */
export function answerRefusals(server: Server, { clock, random }: { clock: Clock; random: Random }): void {
  const refused = new WeakSet<Duplex>()
  const underWay = new WeakMap<Duplex, Set<ServerResponse>>()
  for (const event of REQUEST_EVENTS) {
    server.on(event, ({ socket }: IncomingMessage, response: ServerResponse) => {
      const responses = underWay.get(socket) ?? new Set()
      underWay.set(socket, responses.add(response))
      response.once('close', () => responses.delete(response))
    })
  }

  const refuse = (socket: Duplex, error: MailroomError) => {
    // The parser goes on complaining about what follows.
    if (refused.has(socket)) return
    refused.add(socket)
    const responses = [...(underWay.get(socket) ?? [])]
    // What is refused stands behind these: a client told so in their place would take it for their answer.
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
      'X-Request-Id': requestId,
      'X-Content-Type-Options': 'nosniff',
      'Cache-Control': 'no-store',
      'Content-Length': Buffer.byteLength(body),
      Connection: 'close',
    }).map(([name, value]) => `${name}: ${value}`)
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('\r\n')}\r\n\r\n${body}`)
    const cancel = clock.after(LINGER_MS, () => socket.destroy(), { unref: true })
    socket.on('close', cancel)
  }

  server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuse(socket, meaningOf(error)))
  server.on('connect', ({ method = '', url: path = '' }, socket) => {
    refuse(socket, new MailroomError('MR_METHOD_UNSUPPORTED', { method, path, allowed: [] }))
  })
}

function meaningOf({ code = '' }: NodeJS.ErrnoException): MailroomError {
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
