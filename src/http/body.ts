/**
 * Reads the body of a request, strictly. Its media type is one the route takes, its size is within the limit
 * (checked before and while it is read), its bytes are UTF-8, its JSON has no duplicate keys. Nothing is repaired.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Cancel, Clock } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'
import { BODY_MIB_MS, BODY_TIMEOUT_MS, LINGER_MS } from '../runtime/timings.ts'
import { mediaTypeIn } from './head.ts'
import { quoted } from './problems.ts'

const MiB = 1024 * 1024
/** Bytes of half-read bodies that may be in memory at once. */
const IN_MEMORY_MAX_BYTES = 256 * MiB
const SHARE_MAX_BYTES = IN_MEMORY_MAX_BYTES / 4

/**
 * What one source has in memory, of bodies that are read or being stored: at most a quarter of what all may have, so that
 * one source cannot keep out the others.
 */
export class BodyShare {
  readonly #what: string
  #bytes = 0

  /** @param what Whose bodies they are, for people. */
  constructor(what: string) {
    this.#what = what
  }

  /**
   * Runs `work` and forgets then what it has taken.
   *
   * @param work Its argument adds bytes. It throws `MR_OVERLOADED` (none) when the share is used up.
   */
  async run<T>(work: (take: (bytes: number) => void) => Promise<T>): Promise<T> {
    let taken = 0
    const take = (bytes: number) => {
      taken += bytes
      this.#bytes += bytes
      if (this.#bytes > SHARE_MAX_BYTES) {
        throw new MailroomError('MR_OVERLOADED', {
          what: `bytes of bodies of ${this.#what}`,
          limit: SHARE_MAX_BYTES,
        })
      }
    }
    try {
      return await work(take)
    } finally {
      this.#bytes -= taken
    }
  }
}

/** The client closed the connection before the request ended, so there is nobody to answer. */
export class ClientDisconnected extends Error {
  constructor() {
    super('The client closed the connection')
    this.name = 'ClientDisconnected'
  }
}

const BACKSLASH = 92
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
let inMemoryBytes = 0

/**
 * The media type of a request: one of `expected`.
 *
 * @throws {MailroomError} `MR_TYPE_UNSUPPORTED`: there is none, it is not one of `expected`, its charset
 * is not UTF-8, or there is a content encoding.
 */
export function mediaTypeOf<T extends string>(request: IncomingMessage, expected: readonly T[]): T {
  const { 'content-type': header } = request.headers
  refuseEncoded(request)
  if (expected.includes(header as T)) return header as T
  const wrong = () =>
    new MailroomError('MR_TYPE_UNSUPPORTED', {
      what: 'Content-Type',
      expected: `${expected.join(' or ')}, in UTF-8`,
      got: header === undefined ? 'none' : quoted(header),
    })
  const [, ...parameters] = (header ?? '').toLowerCase().split(';')
  for (const parameter of parameters) {
    const [name = '', value = ''] = parameter.split('=')
    if (name.trim() === 'charset' && !/^\s*(utf-?8|"utf-?8")\s*$/.test(value)) throw wrong()
  }
  const type = mediaTypeIn(header)
  return expected.find((one) => one === type) ?? raise(wrong())
}

/** @throws {MailroomError} `MR_TYPE_UNSUPPORTED`: the body is compressed, or otherwise encoded. */
export function refuseEncoded({ headers }: IncomingMessage): void {
  const encoding = headers['content-encoding']
  if (encoding === undefined) return
  throw new MailroomError('MR_TYPE_UNSUPPORTED', {
    what: 'Content-Encoding',
    expected: 'absent',
    got: quoted(encoding),
  })
}

/**
 * Reads a whole body.
 *
 * @param options.take Called with the bytes of each part as it comes; it may refuse it by throwing.
 * @throws {MailroomError} `MR_TOO_LARGE` beyond `limitBytes`, by its Content-Length before a byte is read;
 * `MR_REQUEST_TIMEOUT` after `BODY_TIMEOUT_MS` and `BODY_MIB_MS` for each MiB that is announced or read; `MR_OVERLOADED` when the bodies being read hold too many bytes.
 * @throws {ClientDisconnected} When the client closed the connection.
 */
export async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  {
    what,
    limitBytes,
    clock,
    take = () => {},
  }: { what: string; limitBytes: number; clock: Clock; take?: (bytes: number) => void },
): Promise<Buffer> {
  const tooLarge = () => new MailroomError('MR_TOO_LARGE', { what, limitBytes })
  const { complete, readableLength } = request
  const announcedBytes = Number(request.headers['content-length'] ?? 0)
  if (Math.max(readableLength, announcedBytes) > limitBytes) throw tooLarge()
  // Most bodies come with the head and are small. Such a one is there by now: it needs no listeners and no timer.
  if (complete && readableLength > 0) {
    take(readableLength)
    return request.read() as Buffer
  }
  return new Promise((resolve, reject) => {
    const buffer = new ByteBuffer()
    const finish = (error?: Error) => {
      cancel()
      request.off('data', onData).off('end', finish).off('error', onClose).off('close', onClose)
      inMemoryBytes -= buffer.length
      if (error === undefined) return resolve(buffer.take())
      request.pause()
      reject(error)
    }
    const onClose = () => finish(new ClientDisconnected())
    const onData = (chunk: Buffer) => {
      inMemoryBytes += chunk.length
      buffer.add(chunk)
      try {
        take(chunk.length)
      } catch (error) {
        return finish(error as Error)
      }
      if (buffer.length > limitBytes) finish(tooLarge())
      else if (inMemoryBytes > IN_MEMORY_MAX_BYTES) {
        finish(new MailroomError('MR_OVERLOADED', { what: 'bytes of bodies', limit: IN_MEMORY_MAX_BYTES }))
      }
    }
    const beganAt = clock.monotonic()
    /** A body whose length was not announced gets its time as it comes. */
    const wait = () => {
      const deadlineMs = bodyTimeoutMs(Math.max(announcedBytes, buffer.length))
      const leftMs = beganAt + deadlineMs - clock.monotonic()
      if (leftMs <= 0) return finish(new MailroomError('MR_REQUEST_TIMEOUT', { deadlineMs }))
      cancel = clock.after(leftMs, wait, { unref: true })
    }
    let cancel: Cancel = () => {}
    wait()
    request.on('data', onData).on('end', finish).on('error', onClose).on('close', onClose)
    sendContinue(request, response)
  })
}

/** How long a body of so many bytes may take. */
function bodyTimeoutMs(bytes: number): number {
  return BODY_TIMEOUT_MS + Math.floor(bytes / MiB) * BODY_MIB_MS
}

/** What one stream has of the bytes that all bodies together may have in memory. */
export class BodyBytes {
  #own = 0

  /** Takes so many. @throws {MailroomError} `MR_OVERLOADED`, with none taken, when the bodies hold too many bytes. */
  take(bytes: number): void {
    if (inMemoryBytes + bytes > IN_MEMORY_MAX_BYTES) {
      throw new MailroomError('MR_OVERLOADED', { what: 'bytes of bodies', limit: IN_MEMORY_MAX_BYTES })
    }
    this.#own += bytes
    inMemoryBytes += bytes
  }

  /** Gives so many back. */
  give(bytes: number): void {
    this.#own -= bytes
    inMemoryBytes -= bytes
  }

  /** Gives back all that it has. */
  close(): void {
    this.give(this.#own)
  }
}

/** True when a request announces a body of at least one byte. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/**
 * Reads and drops the rest of a request, for at most a second. A connection that is closed with unread bytes is
 * reset, and the reset may overtake the answer.
 */
export function discardRest(request: IncomingMessage, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    if (request.complete || request.destroyed) return resolve()
    const finish = () => {
      cancel()
      request.off('end', finish).off('close', finish)
      resolve()
    }
    const cancel = clock.after(LINGER_MS, finish, { unref: true })
    request.on('end', finish).on('close', finish).resume()
  })
}

/** Sends `100 Continue` to a client that waits for it; does nothing for the others. */
export function sendContinue(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.expect !== undefined && !response.headersSent) response.writeContinue()
}

/** Decodes UTF-8 and keeps a byte order mark; undefined when the bytes are not UTF-8. */
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

/**
 * True when `source` holds a key twice (`JSON.parse` silently keeps the last one). `source` has been parsed and has
 * a shape with `stringCount` strings, keys and values; it holds more quotes only with a duplicate. O(length).
 */
export function hasDuplicateKeys(source: string, stringCount: number): boolean {
  let quotes = 0
  for (let at = source.indexOf('"'); at !== -1; at = source.indexOf('"', at + 1)) {
    let before = at
    while (source.charCodeAt(before - 1) === BACKSLASH) before--
    if ((at - before) % 2 === 0) quotes++
  }
  return quotes !== stringCount * 2
}

/**
 * Bytes that arrive in chunks, as one buffer. A client may send a megabyte in chunks of one byte, which as a list
 * would take a hundred times their size.
 */
export class ByteBuffer {
  #bytes: Buffer = Buffer.alloc(0)
  #length = 0
  /** The first chunk is borrowed, not copied, because most bodies are one chunk. */
  #borrowed = true

  /** Bytes in the buffer. */
  get length(): number {
    return this.#length
  }

  /** Adds a chunk, which nobody may change afterwards. Amortized O(its length). */
  add(chunk: Buffer): void {
    const length = this.#length + chunk.length
    if (this.#length === 0) {
      this.#bytes = chunk
      this.#borrowed = true
    } else {
      if (this.#borrowed || length > this.#bytes.length) {
        const grown = Buffer.allocUnsafe(length * 2)
        this.#bytes.copy(grown, 0, 0, this.#length)
        this.#bytes = grown
        this.#borrowed = false
      }
      chunk.copy(this.#bytes, this.#length)
    }
    this.#length = length
  }

  /** Returns all bytes and empties the buffer. */
  take(): Buffer {
    const bytes = this.#bytes.subarray(0, this.#length)
    this.#bytes = Buffer.alloc(0)
    this.#length = 0
    return bytes
  }
}
