/**
 * Reading a request's body, strictly: its size is known to be allowed before and while it is read, its bytes
 * are UTF-8 or refused, its type is one we take. Nothing is repaired.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'
import { BODY_TIMEOUT_MS, LINGER_MS } from '../runtime/timings.ts'
import { GatheredBytes } from './gathered-bytes.ts'

/** The bytes of half-read bodies that may be in memory at once. */
const IN_HAND_MAX_BYTES = 256 * 1024 * 1024

/** The client went away in the middle: there is nobody to answer. */
export class ClientGone extends Error {
  constructor() {
    super('The client closed the connection')
    this.name = 'ClientGone'
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
let inHandBytes = 0

/**
 * The media type of a request, lower case, without parameters.
 *
 * @throws {MailroomError} `MR_TYPE_UNSUPPORTED`: none given, not one of `expected`, a charset other than
 * UTF-8, or any content encoding.
 */
export function mediaTypeOf<T extends string>(request: IncomingMessage, expected: readonly T[]): T {
  const { 'content-type': header, 'content-encoding': encoding } = request.headers
  if (encoding !== undefined) {
    throw new MailroomError('MR_TYPE_UNSUPPORTED', {
      what: 'Content-Encoding',
      expected: 'absent',
      got: JSON.stringify(encoding),
    })
  }
  if (expected.includes(header as T)) return header as T
  const wrong = () =>
    new MailroomError('MR_TYPE_UNSUPPORTED', {
      what: 'Content-Type',
      expected: `${expected.join(' or ')}, in UTF-8`,
      got: header === undefined ? 'none' : JSON.stringify(header),
    })
  const [type = '', ...parameters] = (header ?? '').toLowerCase().split(';')
  for (const parameter of parameters) {
    const [name = '', value = ''] = parameter.split('=')
    if (name.trim() === 'charset' && !/^\s*(utf-?8|"utf-?8")\s*$/.test(value)) throw wrong()
  }
  return expected.find((one) => one === type.trim()) ?? raise(wrong())
}

/**
 * Reads a whole body.
 *
 * @throws {MailroomError} `MR_TOO_LARGE` beyond `limitBytes`, by its Content-Length before a byte is read;
 * `MR_REQUEST_TIMEOUT` after `BODY_TIMEOUT_MS`; `MR_OVERLOADED` when too much is being read already.
 * @throws {ClientGone} When the client went away.
 */
export function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  { what, limitBytes, clock }: { what: string; limitBytes: number; clock: Clock },
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const tooLarge = () => new MailroomError('MR_TOO_LARGE', { what, limitBytes })
    if (Number(request.headers['content-length'] ?? 0) > limitBytes) return reject(tooLarge())
    const gathered = new GatheredBytes()
    const settle = (error?: Error) => {
      cancel()
      request.off('data', onData).off('end', settle).off('error', onGone).off('close', onGone)
      inHandBytes -= gathered.length
      if (error === undefined) return resolve(gathered.take())
      request.pause()
      reject(error)
    }
    const onGone = () => settle(new ClientGone())
    const onData = (chunk: Buffer) => {
      inHandBytes += chunk.length
      gathered.add(chunk)
      if (gathered.length > limitBytes) settle(tooLarge())
      else if (inHandBytes > IN_HAND_MAX_BYTES) {
        settle(new MailroomError('MR_OVERLOADED', { what: 'bytes of bodies', limit: IN_HAND_MAX_BYTES }))
      }
    }
    const cancel = clock.after(
      BODY_TIMEOUT_MS,
      () => settle(new MailroomError('MR_REQUEST_TIMEOUT', { deadlineMs: BODY_TIMEOUT_MS })),
      { unref: true },
    )
    request.on('data', onData).on('end', settle).on('error', onGone).on('close', onGone)
    sayContinue(request, response)
  })
}

/** True when a request announces a body, of a byte or more. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/**
 * Reads and throws away what is left of a request, for at most a second: a connection closed on unread bytes is
 * reset, and the reset may overtake the answer.
 */
export function discardRest(request: IncomingMessage, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    if (request.complete || request.destroyed) return resolve()
    const settle = () => {
      cancel()
      request.off('end', settle).off('close', settle)
      resolve()
    }
    const cancel = clock.after(LINGER_MS, settle, { unref: true })
    request.on('end', settle).on('close', settle).resume()
  })
}

/** Tells a client that waits for `100 Continue` to go on; nothing for the others. */
export function sayContinue(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.expect !== undefined && !response.headersSent) response.writeContinue()
}

/** The text of bytes that are UTF-8, byte order mark and all; undefined when they are not. */
export function utf8Of(bytes: Buffer): string | undefined {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    return undefined
  }
}

function raise(error: Error): never {
  throw error
}
