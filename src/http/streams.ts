/**
 * Bodies that are read while they are answered, and answers that are written while they are made, in bounded
 * memory.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Context } from 'koa'
import type { Cancel, Clock } from '../runtime/clock.ts'
import { READ_STALL_MS, STREAM_DRAIN_CHECK_MS, STREAM_SILENCE_MS } from '../runtime/timings.ts'
import { atOf } from '../storage/ids.ts'
import type { Message } from '../storage/ports.ts'
import { ClientDisconnected } from './body.ts'
import type { ApiContext } from './context.ts'

/** An answer is sent in chunks of about this size. */
const CHUNK_CHARACTERS = 32 * 1024
/** A page is read in parts: the first has this many items, the next as many as fit into the bound below. */
const FIRST_PART_COUNT = 100
const PART_CHARACTERS = 2 * 1024 * 1024

/**
 * The body of a request, chunk by chunk as it arrives. It ends with the body, or early when this server drains.
 * A client that sends nothing for a minute is disconnected.
 */
export class RequestStream {
  readonly #request: IncomingMessage
  readonly #clock: Clock
  readonly #draining: () => boolean
  readonly #stopChecking: Cancel
  #wake: (() => void) | undefined
  #blockedSince = 0
  #sawClosing = false
  #cutOff = false
  #failure: unknown

  constructor(request: IncomingMessage, { clock, draining }: Pick<ApiContext, 'clock' | 'draining'>) {
    this.#request = request
    this.#clock = clock
    this.#draining = draining
    this.#stopChecking = clock.every(STREAM_DRAIN_CHECK_MS, () => this.#check())
    request.on('readable', this.#onEvent).on('end', this.#onEvent).on('close', this.#onEvent)
    request.on('error', this.#onEvent)
  }

  /** True when this server ended the stream: the client may have had more to send. */
  get cutOff(): boolean {
    return this.#cutOff
  }

  /**
   * The next chunk; undefined at the end.
   *
   * @throws {ClientDisconnected} The client closed the connection or was disconnected. Or the error `fail` was given.
   */
  async next(): Promise<Buffer | undefined> {
    const request = this.#request
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      if (this.#cutOff) return undefined
      const chunk = request.read() as Buffer | null
      if (chunk !== null) return chunk
      if (request.readableEnded) return undefined
      if (request.destroyed) throw new ClientDisconnected()
      this.#blockedSince = this.#clock.monotonic()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Makes `next` throw `error`, also when it is blocked. */
  fail(error: unknown): void {
    this.#failure = error
    this.#onEvent()
  }

  /** Removes the timer and the listeners. */
  close(): void {
    this.#stopChecking()
    for (const event of ['readable', 'end', 'close', 'error']) this.#request.off(event, this.#onEvent)
  }

  readonly #onEvent = () => {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  /** The first check that sees the drain lets what has arrived in; the second cuts the stream off. */
  #check(): void {
    if (this.#draining()) {
      this.#cutOff = this.#sawClosing
      this.#sawClosing = true
    }
    const silentMs = this.#wake === undefined ? 0 : this.#clock.monotonic() - this.#blockedSince
    if (silentMs >= STREAM_SILENCE_MS) this.#request.destroy()
    if (this.#cutOff) this.#onEvent()
  }
}

/**
 * The body of an answer, sent in chunks. Each waits until the client has taken the one before. A client that
 * reads nothing for 10 s is disconnected. A body of one chunk is sent whole, with its length. Status and headers
 * are set before.
 */
export class ResponseStream {
  readonly #response: ServerResponse
  readonly #clock: Clock
  #chunk = ''

  constructor(response: ServerResponse, clock: Clock) {
    this.#response = response
    this.#clock = clock
  }

  /** True when the client has closed the connection. */
  get closed(): boolean {
    return this.#response.destroyed
  }

  /**
   * Adds text. Returns a promise only when it has to wait for the client.
   *
   * @throws {ClientDisconnected} The client closed the connection or was disconnected.
   */
  write(text: string): Promise<void> | undefined {
    this.#chunk += text
    return this.#chunk.length < CHUNK_CHARACTERS ? undefined : this.flush()
  }

  /** Sends the chunk, and waits until there is room for more. */
  async flush(): Promise<void> {
    if (this.closed) throw new ClientDisconnected()
    if (this.#chunk === '') return
    const chunk = this.#chunk
    this.#chunk = ''
    if (!this.#response.write(chunk)) await this.#waitFor('drain')
  }

  /** Sends the rest and ends the answer; resolves when it has been handed to the kernel. */
  async end(): Promise<void> {
    if (this.closed) throw new ClientDisconnected()
    if (!this.#response.headersSent) {
      this.#response.setHeader('Content-Length', Buffer.byteLength(this.#chunk))
    }
    const finished = this.#waitFor('finish')
    this.#response.end(this.#chunk)
    await finished
  }

  #waitFor(event: 'drain' | 'finish'): Promise<void> {
    return new Promise((resolve, reject) => {
      const response = this.#response
      const finish = (error?: Error) => {
        cancel()
        response.off(event, finish).off('close', onClose)
        if (error === undefined) resolve()
        else reject(error)
      }
      const onClose = () => finish(response.writableFinished ? undefined : new ClientDisconnected())
      const cancel = this.#clock.after(READ_STALL_MS, () => response.destroy(), { unref: true })
      response.on(event, finish).on('close', onClose)
    })
  }
}

/** Begins an answer of JSON that is written while it is made. */
export function openJson(context: Context, clock: Clock): ResponseStream {
  context.respond = false
  context.status = 200
  context.res.setHeader('Content-Type', 'application/json')
  return new ResponseStream(context.res, clock)
}

/** How a page is read and written. */
export interface Page<T> {
  limit: number
  /** Reads up to `count` items after `cursor`, exclusive; undefined: from the start of the page. */
  read(cursor: string | undefined, count: number): Promise<readonly T[]>
  /** An item as JSON text. */
  toJson(item: T): string
  /** The path of the next page, from the last id of this one and whether it is full; null when there is none. */
  next(lastId: string | undefined, isFull: boolean): string | null
}

/**
 * Answers with one page, `{"items":[…],"next":…}`. A page may hold 1,000 texts of 64 KiB, so it is read and
 * written in parts, one part in memory. If the first part fails, so does the request; if a later one fails, the
 * answer is cut short.
 */
export async function replyPage<T extends { id: string }>(
  context: Context,
  clock: Clock,
  { limit, read, toJson, next }: Page<T>,
): Promise<void> {
  let asked = Math.min(limit, FIRST_PART_COUNT)
  let part = await read(undefined, asked)
  const out = openJson(context, clock)
  await out.write('{"items":[')
  let count = 0
  let characters = 0
  let lastId: string | undefined
  for (;;) {
    for (const item of part) {
      const json = toJson(item)
      characters += json.length
      await out.write(count++ === 0 ? json : `,${json}`)
      lastId = item.id
    }
    if (part.length < asked || count >= limit) break
    const fitting = Math.ceil(PART_CHARACTERS / (characters / count))
    asked = Math.min(limit - count, fitting)
    part = await read(lastId, asked)
  }
  await out.write(`],"next":${JSON.stringify(next(lastId, count >= limit))}}`)
  await out.end()
}

/** Answers with one page of messages, newest first. `path` is the page's own, with its `limit`. */
export function replyNewestFirst(
  context: Context,
  clock: Clock,
  page: { path: string; limit: number; before?: string },
  read: (range: { before?: string; limit: number }) => Promise<Message[]>,
): Promise<void> {
  return replyPage(context, clock, {
    limit: page.limit,
    read(cursor = page.before, limit) {
      return read({ ...(cursor !== undefined && { before: cursor }), limit })
    },
    toJson: messageJson,
    next: (lastId, isFull) => (isFull ? `${page.path}&before=${lastId}` : null),
  })
}

/** A message of a list, as JSON text. */
export function messageJson({ id, text }: Message): string {
  return `{"id":"${id}","text":${JSON.stringify(text)},"at":"${atOf(id)}"}`
}
