/**
 * Bytes that arrive in pieces, as one buffer. A client may send a megabyte in pieces of one byte: kept as
 * pieces they would take a hundred times their size.
 */
export class GatheredBytes {
  #bytes: Buffer = Buffer.alloc(0)
  #length = 0
  /** The first piece is borrowed, not copied: most of what arrives is one piece. */
  #borrowed = true

  /** Bytes gathered. */
  get length(): number {
    return this.#length
  }

  /** Adds a piece, which nobody may change afterwards. Amortized O(its length). */
  add(piece: Buffer): void {
    const length = this.#length + piece.length
    if (this.#length === 0) {
      this.#bytes = piece
      this.#borrowed = true
    } else {
      if (this.#borrowed || length > this.#bytes.length) {
        const grown = Buffer.allocUnsafe(length * 2)
        this.#bytes.copy(grown, 0, 0, this.#length)
        this.#bytes = grown
        this.#borrowed = false
      }
      piece.copy(this.#bytes, this.#length)
    }
    this.#length = length
  }

  /** Gives everything gathered, and begins anew. */
  take(): Buffer {
    const bytes = this.#bytes.subarray(0, this.#length)
    this.#bytes = Buffer.alloc(0)
    this.#length = 0
    return bytes
  }
}
