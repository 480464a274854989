/**
 * Bodies that are read while they are answered, and answers that are written while they are made, in bounded
 * memory.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Context } from 'koa'
import type { Cancel, Clock } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'
import { LINGER_MS, READ_STALL_MS, STREAM_DRAIN_CHECK_MS } from '../runtime/timings.ts'
import { shown } from '../storage/content.ts'
import { type Message, textBytesOf } from '../storage/ports.ts'
import type { AnswerPlace, AnswerRoom } from './answer-room.ts'
import { ClientDisconnected } from './body.ts'
import type { ApiContext } from './context.ts'

/** A client that sends more than this after its stream was cut off is disconnected. */
const DROP_MAX_BYTES = 256 * 1024 * 1024
/** An answer is sent in chunks of about this size. */
const CHUNK_CHARACTERS = 32 * 1024
/** What the client has to take of a larger one within `READ_STALL_MS`. */
const PART_BYTES = 128 * 1024

/**
 * The body of a request, chunk by chunk as it arrives. It ends with the body, or when it is cut off: by this class
 * when the server drains or the client is silent for `--keep-alive`, or by its user.
 */
export class RequestStream {
  readonly #request: IncomingMessage
  readonly #api: Pick<ApiContext, 'clock' | 'config' | 'draining' | 'node'>
  readonly #stopChecking: Cancel
  #wake: (() => void) | undefined
  #blockedSince = 0
  #sawDraining = false
  #cut: MailroomError | undefined
  #droppedBytes = 0
  #failure: unknown

  constructor(request: IncomingMessage, api: Pick<ApiContext, 'clock' | 'config' | 'draining' | 'node'>) {
    this.#request = request
    this.#api = api
    this.#stopChecking = api.clock.every(STREAM_DRAIN_CHECK_MS, () => this.#check())
    request.on('readable', this.#onEvent).on('end', this.#onEvent).on('close', this.#onEvent)
    request.on('error', this.#onEvent)
  }

  /** Why the stream was cut off: the client may have had more to send. */
  get cut(): MailroomError | undefined {
    return this.#cut
  }

  /** Bytes that were read and dropped since the cut. */
  get droppedBytes(): number {
    return this.#droppedBytes
  }

  /**
   * The next chunk; undefined at the end.
   *
   * @throws {ClientDisconnected} The client closed the connection. Or the error `fail` was given.
   */
  async next(): Promise<Buffer | undefined> {
    const request = this.#request
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      if (this.#cut !== undefined) return undefined
      const chunk = request.read() as Buffer | null
      if (chunk !== null) return chunk
      if (request.readableEnded) return undefined
      if (request.destroyed) throw new ClientDisconnected()
      this.#blockedSince = this.#api.clock.monotonic()
      await this.#event()
    }
  }

  /** Makes `next` throw `error`, also when it is blocked. */
  fail(error: unknown): void {
    this.#failure = error
    this.#onEvent()
  }

  /** Cuts the stream off. What still arrives is read and dropped: a client that has to send may not read. */
  cutOff(why: MailroomError): void {
    // Nothing is cut of a stream that has arrived whole.
    if (this.#cut !== undefined || this.#request.readableEnded) return
    this.#cut = why
    this.#request.off('readable', this.#onEvent)
    this.#request.on('data', ({ length }: Buffer) => {
      this.#droppedBytes += length
      if (this.#droppedBytes > DROP_MAX_BYTES) this.#request.destroy()
    })
    this.#request.resume()
    this.#onEvent()
  }

  /** Waits for the end of the request after a cut, while more of it arrives, for at most `limitMs`. */
  async dropped(limitMs: number): Promise<void> {
    const { clock } = this.#api
    const endAt = clock.monotonic() + limitMs
    for (let before = -1; before !== this.#droppedBytes && clock.monotonic() < endAt; ) {
      if (this.#request.readableEnded || this.#request.destroyed) return
      before = this.#droppedBytes
      const cancel = clock.after(LINGER_MS, this.#onEvent, { unref: true })
      await this.#event()
      cancel()
    }
  }

  /** Removes the timer and the listeners. */
  close(): void {
    this.#stopChecking()
    for (const event of ['readable', 'end', 'close', 'error']) this.#request.off(event, this.#onEvent)
  }

  #event(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  readonly #onEvent = () => {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  /** The first check that sees the drain lets what has arrived in; the second cuts the stream off. */
  #check(): void {
    if (this.#cut !== undefined) return
    const { clock, config, draining, node } = this.#api
    const silentMs = this.#wake === undefined ? 0 : clock.monotonic() - this.#blockedSince
    if (this.#sawDraining) this.cutOff(new MailroomError('MR_DRAINING', { name: node }))
    else if (silentMs >= config.keepAliveMs) {
      this.cutOff(new MailroomError('MR_REQUEST_TIMEOUT', { deadlineMs: config.keepAliveMs }))
    }
    this.#sawDraining = draining()
  }
}

/**
 * The body of an answer, sent in chunks. Each waits until the client has taken the one before. A client that
 * reads nothing for 10 s is disconnected, unless `onStall` returns true each time. A body of one chunk is sent whole,
 * with its length. Status and headers are set before.
 */
export class ResponseStream {
  readonly #response: ServerResponse
  readonly #clock: Clock
  readonly #onStall: () => boolean
  #chunk = ''

  constructor(response: ServerResponse, clock: Clock, onStall = () => false) {
    this.#response = response
    this.#clock = clock
    this.#onStall = onStall
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

  /** Sends an empty line now, unless something waits to be sent. */
  pulse(): void {
    if (!this.closed && this.#response.writableLength === 0) this.#response.write('\n')
  }

  /** Sends the chunk, and waits until there is room for more. */
  async flush(): Promise<void> {
    if (this.closed) throw new ClientDisconnected()
    if (this.#chunk === '') return
    const chunk = Buffer.from(this.#chunk)
    this.#chunk = ''
    // A large text in parts: each that the client has taken shows that it reads.
    for (let from = 0; from < chunk.length; from += PART_BYTES) {
      if (!this.#response.write(chunk.subarray(from, from + PART_BYTES))) await this.#waitFor('drain')
    }
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
      const onStall = () => {
        if (this.#onStall()) cancel = this.#clock.after(READ_STALL_MS, onStall, { unref: true })
        else response.destroy()
      }
      let cancel = this.#clock.after(READ_STALL_MS, onStall, { unref: true })
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
export interface Page<T extends Message> {
  limit: number
  /** Reads 1 to `count` items after `cursor`, exclusive; undefined: from the start of the page. None: it is the end. */
  read(cursor: string | undefined, count: number): Promise<readonly T[]>
  /** An item as JSON text. */
  toJson(item: T): string
  /** The path of the next page, from the last id of this one and whether it is full; null when there is none. */
  next(lastId: string | undefined, isFull: boolean): string | null
  /** True once nothing is left to be read, or this answer may not read on. By default an empty part is the end. */
  isOver?(): boolean
  /** Why messages before the first one may be missing, with the id of that one; absent when none can be. */
  gap?(oldest: string | null): object
}

/**
 * Answers with one page, `{"items":[…],"next":…}`, with `gap` before `items` when there is one. A page may hold 1,000
 * large texts, so it is read and written in parts, one part in memory. If the first part fails, so does the request;
 * if a later one fails, the answer is cut short.
 */
export async function replyPage<T extends Message>(
  context: Context,
  { clock, listRoom }: Pick<ApiContext, 'clock' | 'listRoom'>,
  { limit, read, toJson, next, isOver, gap }: Page<T>,
): Promise<void> {
  let out: ResponseStream | undefined
  let count = 0
  let lastId: string | undefined
  for (let isDone = false; !isDone && count < limit; ) {
    await inRoom(
      listRoom,
      () => read(lastId, limit - count),
      async (part) => {
        out ??= await beginPage(context, clock, gap?.(part[0]?.id ?? null))
        for (const item of part) {
          const json = toJson(item)
          await out.write(count++ === 0 ? json : `,${json}`)
          lastId = item.id
        }
        isDone = isOver?.() ?? part.length === 0
      },
    )
  }
  await out!.write(`],"next":${JSON.stringify(next(lastId, count >= limit))}}`)
  await out!.end()
}

async function beginPage(context: Context, clock: Clock, gap: object | undefined): Promise<ResponseStream> {
  const out = openJson(context, clock)
  await out.write(gap === undefined ? '{"items":[' : `{"gap":${JSON.stringify(gap)},"items":[`)
  return out
}

/** Reads texts and sends them, in a place of a room. @throws What both throw, and `AnswerRoom.enter`. */
export async function inRoom<T extends readonly Message[] | undefined>(
  room: AnswerRoom,
  read: () => Promise<T>,
  send: (part: T) => Promise<void>,
): Promise<void> {
  const place = await room.enter()
  try {
    const part = await read()
    place.keep(textBytesOf(part ?? []))
    await send(part)
  } finally {
    place.leave()
  }
}

/**
 * Answers with one message, which has a place in `singleRoom` until the client has taken it. One that takes nothing for
 * `READ_STALL_MS` is disconnected.
 *
 * @param answer Reads it. It enters the room before it reads the text. @returns The message, and the answer in JSON.
 * @throws What `answer` throws, and `AnswerRoom.enter`.
 */
export async function inSingleRoom(
  context: Context,
  { clock, singleRoom }: Pick<ApiContext, 'clock' | 'singleRoom'>,
  answer: (enter: () => Promise<void>) => Promise<{ message: Message; json: string }>,
): Promise<void> {
  let place: AnswerPlace | undefined
  try {
    const { message, json } = await answer(async () => {
      place = await singleRoom.enter()
    })
    place?.keep(textBytesOf([message]))
    const out = openJson(context, clock)
    context.res.setHeader('Content-Length', Buffer.byteLength(json))
    await out.write(json)
    await out.end()
  } finally {
    place?.leave()
  }
}

/** Answers with one page of messages, newest first. `path` is the page's own, with its `limit`. */
export function replyNewestFirst(
  context: Context,
  api: Pick<ApiContext, 'clock' | 'listRoom'>,
  page: { path: string; limit: number; before?: string },
  read: (range: { before?: string; limit: number }) => Promise<Message[]>,
): Promise<void> {
  return replyPage(context, api, {
    limit: page.limit,
    read(cursor = page.before, limit) {
      return read({ ...(cursor !== undefined && { before: cursor }), limit })
    },
    toJson: messageJson,
    next: (lastId, isFull) => (isFull ? `${page.path}&before=${lastId}` : null),
  })
}

/** A message of a list, as JSON text. */
export function messageJson(message: Message): string {
  return JSON.stringify(shown(message))
}
