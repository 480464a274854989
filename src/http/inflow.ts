/**
 * A body that is read while it is answered: what has arrived, as soon as it has. Ends with the body; or when
 * this server says goodbye, a moment later; a client that sends nothing for a minute is cut.
 */
import type { IncomingMessage } from 'node:http'
import type { Cancel, Clock } from '../runtime/clock.ts'
import { STREAM_DRAIN_CHECK_MS, STREAM_SILENCE_MS } from '../runtime/timings.ts'
import { ClientGone } from './body.ts'

/** The reading end of one request. */
export class Inflow {
  readonly #request: IncomingMessage
  readonly #clock: Clock
  readonly #closing: () => boolean
  readonly #stopLooking: Cancel
  #wake: (() => void) | undefined
  #waitingSince = 0
  #sawClosing = false
  #cutOff = false
  #fault: unknown

  constructor(request: IncomingMessage, { clock, closing }: { clock: Clock; closing: () => boolean }) {
    this.#request = request
    this.#clock = clock
    this.#closing = closing
    this.#stopLooking = clock.every(STREAM_DRAIN_CHECK_MS, () => this.#look())
    request.on('readable', this.#onEvent).on('end', this.#onEvent).on('close', this.#onEvent)
    request.on('error', this.#onEvent)
  }

  /** True when it was this server that ended it: the client may have had more to say. */
  get cutOff(): boolean {
    return this.#cutOff
  }

  /**
   * The next piece; undefined at the end.
   *
   * @throws {ClientGone} The client went away or was cut. What `fail` was given.
   */
  async next(): Promise<Buffer | undefined> {
    const request = this.#request
    for (;;) {
      if (this.#fault !== undefined) throw this.#fault
      if (this.#cutOff) return undefined
      const piece = request.read() as Buffer | null
      if (piece !== null) return piece
      if (request.readableEnded) return undefined
      if (request.destroyed) throw new ClientGone()
      this.#waitingSince = this.#clock.monotonic()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Makes the reader, which may be waiting, fail. */
  fail(error: unknown): void {
    this.#fault = error
    this.#onEvent()
  }

  /** Stops listening and looking. */
  close(): void {
    this.#stopLooking()
    for (const event of ['readable', 'end', 'close', 'error']) this.#request.off(event, this.#onEvent)
  }

  readonly #onEvent = () => {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  #look(): void {
    if (this.#closing()) {
      this.#cutOff = this.#sawClosing
      this.#sawClosing = true
    }
    const isWaiting = this.#wake !== undefined
    if (isWaiting && this.#clock.monotonic() - this.#waitingSince >= STREAM_SILENCE_MS)
      this.#request.destroy()
    if (this.#cutOff) this.#onEvent()
  }
}
