/**
 * The room that all lanes of an actor have for the texts of messages that they brought into memory: claimed, or read and
 * not claimed yet. Lanes that find too little of it wait in line, so that a large message gets its turn beside small ones.
 */

/** What one lane has of the room. */
export interface LaneRoom {
  /**
   * Takes so many bytes. Any number fits an empty room.
   *
   * @param mayWait Who is refused then waits in line. He is woken when he is first and what he asked for is there, and asks
   * again, for anything.
   * @returns False, with nothing taken, when there is not so much, or another waits.
   */
  take(bytes: number, mayWait: boolean): boolean
  /** Gives so many back. */
  give(bytes: number): void
  /** Waits in line no more. Who does not ask again would keep all behind him from their turn. */
  leaveLine(): void
  /** Gives back all that the lane has, and leaves the line: it takes nothing any more. */
  close(): void
}

/** Bounds the bytes of one actor. */
export class Room {
  readonly #capacityBytes: number
  #bytes = 0
  /** Those that were refused, in their order: what each asked for, and how to wake it. */
  readonly #line = new Map<LaneRoom, { bytes: number; wake: () => void }>()

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes
  }

  /** Bytes taken. */
  get bytes(): number {
    return this.#bytes
  }

  /** Opens a lane's part. @param wake Called when it need not wait any more. */
  lane(wake: () => void): LaneRoom {
    let own = 0
    let isClosed = false
    const change = (bytes: number) => {
      own += bytes
      this.#bytes += bytes
    }
    const lane: LaneRoom = {
      take: (bytes, mayWait) => {
        const first = this.#line.keys().next().value
        const isTurn = first === undefined || first === lane
        if (isClosed || !isTurn || !this.#fits(bytes)) {
          if (mayWait && !isClosed) this.#line.set(lane, { bytes, wake })
          return false
        }
        change(bytes)
        if (this.#line.delete(lane)) this.#wakeFirst()
        return true
      },
      give: (bytes) => {
        if (isClosed) return
        change(-bytes)
        this.#wakeFirst()
      },
      leaveLine: () => {
        if (this.#line.delete(lane)) this.#wakeFirst()
      },
      close: () => {
        isClosed = true
        change(-own)
        this.#line.delete(lane)
        this.#wakeFirst()
      },
    }
    return lane
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#capacityBytes
  }

  #wakeFirst(): void {
    const first = this.#line.values().next().value
    if (first !== undefined && this.#fits(first.bytes)) first.wake()
  }
}
