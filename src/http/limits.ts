/** A bound on what runs at once: refuses at the door, never queues. */
import { MailroomError } from '../runtime/errors.ts'

/** Counts what is inside; `capacity` in the unit of the weights given to `enter`. */
export class Gate {
  readonly #what: string
  readonly #capacity: number
  #inside = 0

  constructor(what: string, capacity: number) {
    this.#what = what
    this.#capacity = capacity
  }

  /**
   * Runs `work` inside.
   *
   * @throws {MailroomError} `MR_OVERLOADED` (none) when there is no room; nothing was begun.
   */
  async pass<T>(work: () => Promise<T>, weight = 1): Promise<T> {
    if (this.#inside + weight > this.#capacity) {
      throw new MailroomError('MR_OVERLOADED', { what: this.#what, limit: this.#capacity })
    }
    this.#inside += weight
    try {
      return await work()
    } finally {
      this.#inside -= weight
    }
  }
}
