/**
 * A body that is written while it is made, in flat memory: text is gathered to slices, each waits until the
 * client has taken the one before. A client that takes nothing for 10 s is cut. A body of one slice is sent
 * whole, with its length.
 */
import type { ServerResponse } from 'node:http'
import type { Clock } from '../runtime/clock.ts'
import { READ_STALL_MS } from '../runtime/timings.ts'
import { ClientGone } from './body.ts'

const SLICE_CHARACTERS = 32 * 1024

/** The writing end of one response. Its head (status, headers) is set before. */
export class Outflow {
  readonly #response: ServerResponse
  readonly #clock: Clock
  #gathered = ''

  constructor(response: ServerResponse, clock: Clock) {
    this.#response = response
    this.#clock = clock
  }

  /** True when nobody reads any more. */
  get gone(): boolean {
    return this.#response.destroyed
  }

  /**
   * Adds text; a promise only when it has to wait for the client.
   *
   * @throws {ClientGone} The client went away or was cut.
   */
  write(text: string): Promise<void> | undefined {
    this.#gathered += text
    return this.#gathered.length < SLICE_CHARACTERS ? undefined : this.flush()
  }

  /** Sends what is gathered, and waits until there is room for more. */
  async flush(): Promise<void> {
    if (this.gone) throw new ClientGone()
    if (this.#gathered === '') return
    const slice = this.#gathered
    this.#gathered = ''
    if (!this.#response.write(slice)) await this.#waitFor('drain')
  }

  /** Sends the rest and ends; resolves when the client has it all. */
  async end(): Promise<void> {
    if (this.gone) throw new ClientGone()
    if (!this.#response.headersSent) {
      this.#response.setHeader('Content-Length', Buffer.byteLength(this.#gathered))
    }
    const finished = this.#waitFor('finish')
    this.#response.end(this.#gathered)
    await finished
  }

  #waitFor(event: 'drain' | 'finish'): Promise<void> {
    return new Promise((resolve, reject) => {
      const response = this.#response
      const settle = (error?: Error) => {
        cancel()
        response.off(event, settle).off('close', onGone)
        if (error === undefined) resolve()
        else reject(error)
      }
      const onGone = () => settle(response.writableFinished ? undefined : new ClientGone())
      const cancel = this.#clock.after(READ_STALL_MS, () => response.destroy(), { unref: true })
      response.on(event, settle).on('close', onGone)
    })
  }
}
