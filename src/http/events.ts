/**
 * Readers of events (server-sent events): each has a queue of frames behind its socket, and is cut when it does not take
 * them. Frames are made once and shared by all readers that have the same cursor.
 *
 *   retry: 1000
 *   id: <cursor>
 *
 *   id: <cursor>
 *   event: logged
 *   data: [{"id":"…","at":"…","text":"…","bytes":12}]
 */
import type { ServerResponse } from 'node:http'
import type { EventCursor, EventSink, Following, Happened, Topic } from '../actors/protocol.ts'
import type { Cancel, Clock } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'
import {
  CURSOR_DELAY_MS,
  EVENTS_COMMENT_MS,
  EVENTS_RETRY_MS,
  LINGER_MS,
  READ_STALL_MS,
  STREAM_DRAIN_CHECK_MS,
} from '../runtime/timings.ts'
import { ClientDisconnected } from './body.ts'
import type { ApiContext } from './context.ts'

/** Readers of one facade: of `stats` alone, and as many others. */
export const EVENT_READERS_MAX = 1000
/** A reader that is so far behind is cut. */
export const LAG_MAX_BYTES = 256 * 1024
/** An array of items is cut into frames of about this size, so that a reader has a cursor between them. */
const FRAME_CHARACTERS = 32 * 1024

/** What a reader can ask for. */
export const TOPICS: readonly Topic[] = ['logged', 'delivered', 'dead', 'actor', 'stats']

/** What a reader asks for. */
export interface EventRequest {
  topics: ReadonlySet<Topic>
  /** What it had before. */
  from: EventCursor | undefined
  /** Given first, when what it had before is older than what is kept. */
  gap: object | undefined
}

/** The cursor as readers have it. */
export function cursorText({ logged, settled }: EventCursor): string {
  return `1-${Math.floor(logged).toString(36)}-${Math.floor(settled).toString(36)}`
}

/** What `cursorText` makes. */
export const CURSOR_PATTERN = /^1-([0-9a-z]{1,9})-([0-9a-z]{1,9})$/

/** A cursor that `cursorText` has made; undefined for anything else. */
export function parseCursor(text: string): EventCursor | undefined {
  const [, logged, settled] = CURSOR_PATTERN.exec(text) ?? []
  if (logged === undefined || settled === undefined) return undefined
  return { logged: Number.parseInt(logged, 36), settled: Number.parseInt(settled, 36) }
}

/** All readers of one facade. */
export class EventReaders {
  readonly #api: Pick<ApiContext, 'facade' | 'clock' | 'draining' | 'node' | 'figures'>
  readonly #readers = new Set<EventReader>()
  /** By what happened, then by cursor: readers who follow different topics have different ones. */
  readonly #frames = new WeakMap<Happened, Map<string, Buffer[]>>()
  #stopTimers: Cancel = () => {}

  constructor(api: Pick<ApiContext, 'facade' | 'clock' | 'draining' | 'node' | 'figures'>) {
    this.#api = api
    api.figures.count('mailroom_events_cut_total', {}, 0)
  }

  /**
   * Begins to send events to a reader. Headers are set before.
   *
   * @throws {MailroomError} `MR_DRAINING`; `MR_READERS_FULL` when there are `EVENT_READERS_MAX` of its kind.
   */
  async open(response: ServerResponse, { topics, from, gap }: EventRequest): Promise<void> {
    const { facade, clock, draining, node, figures } = this.#api
    if (draining()) throw new MailroomError('MR_DRAINING', { name: node })
    // A reader of the figures alone is cheap, and must not keep out those who follow messages.
    const isLight = topics.size === 1 && topics.has('stats')
    const ofItsKind = [...this.#readers].filter((reader) => reader.isLight === isLight)
    if (ofItsKind.length >= EVENT_READERS_MAX)
      throw new MailroomError('MR_READERS_FULL', { limit: EVENT_READERS_MAX })
    if (response.destroyed) throw new ClientDisconnected()
    const reader = new EventReader(response, { clock, isLight }, (isLagging) => {
      if (isLagging) figures.count('mailroom_events_cut_total', {})
      following.end()
      if (this.#readers.delete(reader) && this.#readers.size === 0) this.#stopTimers()
    })
    const sink: EventSink = {
      live: (happened) => {
        const id = cursorText(following.cursor)
        reader.send(this.#framesOf(happened, id), id)
      },
      async past(happened) {
        const id = cursorText(following.cursor)
        for (const frame of framesOf(happened, id)) {
          reader.send([frame], id)
          await reader.taken()
        }
      },
    }
    const now = clock.now() - CURSOR_DELAY_MS
    const cursor = from ?? { logged: now, settled: now }
    let following: Following = { cursor, ready: async () => {}, end: () => {} }
    if (gap !== undefined) reader.send([frameOf('gap', gap, cursorText(cursor))], cursorText(cursor))
    following = facade.follow(topics, from, sink)
    if (this.#readers.add(reader).size === 1) this.#startTimers()
    await following.ready()
    reader.open(cursorText(cursor), () => cursorText(following.cursor))
  }

  /** Made once for all readers with the same cursor. */
  #framesOf(happened: Happened, id: string): readonly Buffer[] {
    const made = this.#frames.get(happened) ?? new Map<string, Buffer[]>()
    this.#frames.set(happened, made)
    const frames = made.get(id) ?? framesOf(happened, id)
    made.set(id, frames)
    return frames
  }

  #startTimers(): void {
    const { clock, draining } = this.#api
    const stopComments = clock.every(EVENTS_COMMENT_MS, () => {
      for (const reader of this.#readers) reader.comment()
    })
    const stopChecks = clock.every(STREAM_DRAIN_CHECK_MS, () => {
      if (draining()) for (const reader of [...this.#readers]) reader.dismiss()
    })
    this.#stopTimers = () => {
      stopComments()
      stopChecks()
    }
  }
}

interface Queued {
  frame: Buffer
  /** The cursor that it carries. */
  id: string
}

/** One reader: its frames go to its socket as fast as it takes them. */
class EventReader {
  /** It follows `stats` alone. */
  readonly isLight: boolean
  readonly #response: ServerResponse
  readonly #clock: Clock
  readonly #onEnd: (isLagging: boolean) => void
  /** What waits for the socket. Until the answer has begun, everything. */
  #queue: Queued[] = []
  #queuedBytes = 0
  #state: 'waiting' | 'open' | 'over' = 'waiting'
  /** Of the last frame that was handed to the socket. */
  #handedId = ''
  #cursor = () => this.#handedId
  /** Who wait until all is taken. */
  #waiting: (() => void)[] = []

  /** @param onEnd Called once, when nothing more is sent. `isLagging`: it was too far behind. */
  constructor(
    response: ServerResponse,
    { clock, isLight }: { clock: Clock; isLight: boolean },
    onEnd: (isLagging: boolean) => void,
  ) {
    this.isLight = isLight
    this.#response = response
    this.#clock = clock
    this.#onEnd = onEnd
    response.on('drain', () => this.#flush())
    response.once('close', () => this.#end(false))
  }

  /** Begins the answer. @param cursor What the reader has when it has taken all that was sent. */
  open(id: string, cursor: () => string): void {
    if (this.#state !== 'waiting') return
    this.#state = 'open'
    this.#handedId = id
    this.#cursor = cursor
    this.#response.write(`retry: ${EVENTS_RETRY_MS}\nid: ${id}\n\n`)
    this.#flush()
  }

  /** Sends frames, or cuts the reader when it is too far behind with those before. */
  send(frames: readonly Buffer[], id: string): void {
    if (this.#state === 'over') return
    if (this.#queuedBytes + this.#response.writableLength > LAG_MAX_BYTES) {
      this.#cut()
      return
    }
    for (const frame of frames) {
      this.#queue.push({ frame, id })
      this.#queuedBytes += frame.length
    }
    this.#flush()
  }

  /** Resolves when all that was sent has been taken. A reader that takes nothing for `READ_STALL_MS` is cut. */
  taken(): Promise<void> {
    if (this.#isTaken) return Promise.resolve()
    return new Promise((resolve) => {
      const cancel = this.#clock.after(READ_STALL_MS, () => this.#cut(), { unref: true })
      this.#waiting.push(() => {
        cancel()
        resolve()
      })
    })
  }

  /** Shows that the connection stands, and moves the reader's cursor. */
  comment(): void {
    if (this.#state !== 'open' || !this.#isTaken) return
    const id = this.#cursor()
    this.#write({ frame: Buffer.from(`:\nid: ${id}\n\n`), id })
  }

  /** Says goodbye, as the facade drains. What it has not taken is given again to its next connection. */
  dismiss(): void {
    this.#finish('bye', { reason: 'draining', cursor: this.#handedId }, LINGER_MS)
    this.#end(false)
  }

  get #isTaken(): boolean {
    return this.#state === 'over' || (this.#queue.length === 0 && !this.#response.writableNeedDrain)
  }

  #flush(): void {
    while (this.#state === 'open' && !this.#response.writableNeedDrain) {
      const next = this.#queue.shift()
      if (next === undefined) break
      this.#queuedBytes -= next.frame.length
      this.#write(next)
    }
    if (this.#isTaken) this.#settleTaken()
  }

  #write({ frame, id }: Queued): void {
    this.#handedId = id
    this.#response.write(frame)
  }

  #cut(): void {
    this.#finish('lagged', { cursor: this.#handedId }, READ_STALL_MS)
    this.#end(true)
  }

  /** A last frame instead of all that waits, then the end. */
  #finish(event: string, data: object, lingerMs: number): void {
    if (this.#state === 'waiting') this.#response.destroy()
    if (this.#state !== 'open') return
    const response = this.#response
    response.end(frameOf(event, data, this.#handedId))
    const cancel = this.#clock.after(lingerMs, () => response.destroy(), { unref: true })
    response.once('close', cancel)
  }

  #end(isLagging: boolean): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#queue = []
    this.#queuedBytes = 0
    this.#settleTaken()
    this.#onEnd(isLagging)
  }

  #settleTaken(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const settle of waiting) settle()
  }
}

/** Arrays in pieces; actors, and figures, each by itself. */
function framesOf({ topic, items }: Happened, id: string): Buffer[] {
  if (topic === 'actor' || topic === 'stats') return items.map((item) => frameOf(topic, item, id))
  const frames: Buffer[] = []
  let piece: string[] = []
  let length = 0
  for (const item of items) {
    const json = JSON.stringify(item)
    piece.push(json)
    length += json.length
    if (length < FRAME_CHARACTERS) continue
    frames.push(frameOfJson(topic, `[${piece.join(',')}]`, id))
    piece = []
    length = 0
  }
  if (piece.length > 0) frames.push(frameOfJson(topic, `[${piece.join(',')}]`, id))
  return frames
}

function frameOf(event: string, data: object, id: string): Buffer {
  return frameOfJson(event, JSON.stringify(data), id)
}

/** JSON has no line feed: whatever a text is, it ends no line of a frame. */
function frameOfJson(event: string, json: string, id: string): Buffer {
  return Buffer.from(`id: ${id}\nevent: ${event}\ndata: ${json}\n\n`)
}
