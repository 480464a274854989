/**
 * The room for the texts of answers. A client may take its answer slowly, and hundreds may read at once; the texts that are
 * read for them and not yet sent have a bound together. Who finds too little room waits in line.
 */
import type { Clock } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'
import { READ_STALL_MS } from '../runtime/timings.ts'
import { HAND_MAX_BYTES, handMaxBytes } from '../storage/limits.ts'

/** What one answer has of the room. */
export interface AnswerPlace {
  /** How many bytes its texts have, once they are read. */
  keep(bytes: number): void
  /** Gives it back. May be called twice. */
  leave(): void
}

/** Bounds the texts of answers of one kind, of one facade. */
export class AnswerRoom {
  readonly #clock: Clock
  readonly #mostBytes: number
  #bytes = 0
  #line: (() => void)[] = []

  /** @param mostBytes What the texts of one answer, or of a part of one, may have. Until they are read, that counts. */
  constructor(clock: Clock, mostBytes: number) {
    this.#clock = clock
    this.#mostBytes = mostBytes
  }

  /**
   * Enters, before texts are read.
   *
   * @throws {MailroomError} `MR_OVERLOADED` after `READ_STALL_MS`: by then, clients that take nothing are disconnected.
   */
  async enter(): Promise<AnswerPlace> {
    if (this.#line.length > 0 || !this.#fits) await this.#turn()
    else this.#bytes += this.#mostBytes
    let own = this.#mostBytes
    const keep = (bytes: number) => {
      this.#bytes += bytes - own
      own = bytes
      this.#admit()
    }
    return { keep, leave: () => keep(0) }
  }

  get #fits(): boolean {
    return this.#bytes === 0 || this.#bytes + this.#mostBytes <= handMaxBytes(this.#mostBytes)
  }

  #turn(): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        cancel()
        resolve()
      }
      const cancel = this.#clock.after(READ_STALL_MS, () => {
        this.#line = this.#line.filter((each) => each !== enter)
        reject(new MailroomError('MR_OVERLOADED', { what: 'bytes of answers', limit: HAND_MAX_BYTES }))
      })
      this.#line.push(enter)
    })
  }

  #admit(): void {
    while (this.#line.length > 0 && this.#fits) {
      this.#bytes += this.#mostBytes
      this.#line.shift()!()
    }
  }
}
