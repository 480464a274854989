/** Cuts a stream of bytes into lines, in flat memory: of a line that is too long nothing is kept. */
import { GatheredBytes } from '../gathered-bytes.ts'

/** The longest line, in bytes, its end not counted. */
export const LINE_MAX_BYTES = 512 * 1024

const LINE_FEED = 10

/** One line. `bytes` is undefined when it was longer than `LINE_MAX_BYTES`. */
export interface Line {
  /** From 1. */
  number: number
  bytes: Buffer | undefined
}

/** Lines of one stream. */
export class LineSplitter {
  readonly #gathered = new GatheredBytes()
  #tooLong = false
  #count = 0

  /** Lines given out so far. */
  get count(): number {
    return this.#count
  }

  /** The lines that end in this piece. */
  *push(piece: Buffer): Generator<Line> {
    let from = 0
    for (;;) {
      const end = piece.indexOf(LINE_FEED, from)
      this.#add(piece.subarray(from, end === -1 ? piece.length : end))
      if (end === -1) return
      yield this.#finish()
      from = end + 1
    }
  }

  /** The last line, when the stream did not end with a line feed. */
  *end(): Generator<Line> {
    if (this.#tooLong || this.#gathered.length > 0) yield this.#finish()
  }

  #add(bytes: Buffer): void {
    if (this.#tooLong) return
    this.#tooLong = this.#gathered.length + bytes.length > LINE_MAX_BYTES
    if (this.#tooLong) this.#gathered.take()
    else this.#gathered.add(bytes)
  }

  #finish(): Line {
    const bytes = this.#tooLong ? undefined : this.#gathered.take()
    this.#tooLong = false
    return { number: ++this.#count, bytes }
  }
}
