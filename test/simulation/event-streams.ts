/**
 * `GET /events` between simulated processes: the answer of a facade, and the connection of a reader. What is written
 * arrives in order, after the delay of the network. A facade that dies, or a reader that hangs up, ends it.
 */
import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import { ClientDisconnected } from '../../src/http/body.ts'
import { isMailroomError } from '../../src/runtime/errors.ts'
import type { Network } from './network.ts'
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'

/** Messages are short here: each byte of a socket counts as so many, so that readers can be too far behind. */
const BYTES_EACH = 256
/** As Node's: what waits in the socket beyond this is asked to wait. */
const HIGH_WATER_BYTES = 64 * 1024
/** A connection that ends is noticed so fast. */
const CLOSE_MS = 1

/** Answers a reader: what the route does. Rejects when it refuses. */
type Open = (response: ServerResponse, lastEventId: string | undefined) => Promise<void>

/** Streams of events, by facade. */
export class EventStreams {
  readonly #scheduler: Scheduler
  readonly #network: Network
  readonly #loses: (frame: string) => boolean
  readonly #servers = new Map<string, { process: SimProcess; open: Open }>()

  /** @param loses Of a planted bug: these frames are not sent. */
  constructor(scheduler: Scheduler, network: Network, loses: (frame: string) => boolean = () => false) {
    this.#scheduler = scheduler
    this.#network = network
    this.#loses = loses
  }

  /** Serves until it is closed, or the process dies. @returns Closes it: streams that are open go on. */
  serve(process: SimProcess, open: Open): () => void {
    if (!process.alive) return () => {}
    this.#servers.set(process.name, { process, open })
    const close = () => void this.#servers.delete(process.name)
    process.onDeath(close)
    return close
  }

  /** Facades that listen. */
  names(): string[] {
    return [...this.#servers.keys()]
  }

  /** A reader connects. */
  connect(
    name: string,
    reader: SimProcess,
    { cursor, rng }: { cursor: string | undefined; rng: Rng },
  ): EventStream {
    const server = this.#servers.get(name)!
    const delay = () => rng.between(0.05, this.#network.weather.delayMs)
    const stream = new EventStream(this.#scheduler, {
      ...{ reader, server: server.process, delay, loses: this.#loses },
    })
    this.#scheduler.after(delay(), () =>
      server.process.reach(() => {
        server.open(stream.response as unknown as ServerResponse, cursor).catch((error: unknown) => {
          if (isMailroomError(error) || error instanceof ClientDisconnected) stream.response.destroy()
          else this.#network.bugs.push(`events of ${name}: ${error instanceof Error ? error.stack : error}`)
        })
      }),
    )
    return stream
  }
}

/** One connection, as its reader has it. */
export class EventStream implements AsyncIterable<string> {
  readonly response: SimResponse
  readonly #reader: SimProcess
  readonly #server: SimProcess
  readonly #scheduler: Scheduler
  readonly #delay: () => number
  readonly #arrived: string[] = []
  readonly #forget: () => void
  #lastAt = 0
  #isOver = false
  #wake: () => void = () => {}

  constructor(
    scheduler: Scheduler,
    {
      reader,
      server,
      delay,
      loses,
    }: {
      reader: SimProcess
      server: SimProcess
      delay: () => number
      loses: (frame: string) => boolean
    },
  ) {
    this.#scheduler = scheduler
    this.#reader = reader
    this.#server = server
    this.#delay = delay
    this.response = new SimResponse(server, {
      send: (text) => this.#carry(() => this.#arrived.push(loses(text) ? '' : text)),
      end: () => this.#carry(() => this.#end()),
      reset: () => this.#after(CLOSE_MS, () => this.#end()),
    })
    this.#forget = server.onDeath(() => this.#after(CLOSE_MS, () => this.#end()))
  }

  /** The reader hangs up. */
  cut(): void {
    if (this.#isOver) return
    this.#end()
    this.#scheduler.after(this.#delay(), () => this.#server.reach(() => this.response.destroy()))
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    for (;;) {
      const text = this.#arrived.shift()
      if (text === undefined && this.#isOver) return
      if (text === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        continue
      }
      yield text
      if (!this.#isOver) this.#server.reach(() => this.response.taken(Buffer.byteLength(text)))
    }
  }

  /** In order. */
  #carry(arrive: () => void): void {
    this.#lastAt = Math.max(this.#lastAt, this.#scheduler.now + this.#delay())
    this.#after(this.#lastAt - this.#scheduler.now, arrive)
  }

  #after(delayMs: number, arrive: () => void): void {
    this.#scheduler.after(delayMs, () =>
      this.#reader.reach(() => {
        if (this.#isOver) return
        arrive()
        this.#wake()
      }),
    )
  }

  #end(): void {
    this.#isOver = true
    this.#forget()
    this.#wake()
  }
}

interface Carrier {
  send: (text: string) => void
  end: () => void
  reset: () => void
}

/** What `src/http/events.ts` uses of a `ServerResponse`. */
class SimResponse extends EventEmitter {
  readonly #process: SimProcess
  readonly #carrier: Carrier
  #waitingBytes = 0
  #isEnded = false
  destroyed = false
  writableNeedDrain = false

  constructor(process: SimProcess, carrier: Carrier) {
    super()
    this.#process = process
    this.#carrier = carrier
  }

  get writableLength(): number {
    return this.#waitingBytes * BYTES_EACH
  }

  setHeader(): void {}

  write(chunk: Buffer | string): boolean {
    if (this.destroyed || this.#isEnded || !this.#process.leaves()) return false
    this.#waitingBytes += Buffer.byteLength(chunk)
    this.writableNeedDrain ||= this.writableLength >= HIGH_WATER_BYTES
    this.#carrier.send(chunk.toString())
    return !this.writableNeedDrain
  }

  end(chunk: Buffer): void {
    this.write(chunk)
    this.#isEnded = true
    this.#carrier.end()
    if (this.#waitingBytes === 0) this.#close()
  }

  destroy(): void {
    if (this.destroyed) return
    if (this.#process.alive) this.#carrier.reset()
    this.#close()
  }

  /** The reader has taken so much. */
  taken(bytes: number): void {
    this.#waitingBytes -= bytes
    if (this.destroyed) return
    if (this.#isEnded) {
      if (this.#waitingBytes === 0) this.#close()
      return
    }
    if (!this.writableNeedDrain || this.writableLength > 0) return
    this.writableNeedDrain = false
    this.emit('drain')
  }

  #close(): void {
    this.destroyed = true
    this.#process.clock.soon(() => this.emit('close'))
  }
}
