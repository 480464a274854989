/**
 * Turns of reading. A part of a page is half a MiB that three processes turn into text and back, some milliseconds each.
 * With hundreds of readers at once every post would wait for all of them, here and at the logging actors. So few parts of
 * a source are under way at a time. Who asks for little does not wait for those who read everything, nor they for him.
 */
import { Semaphore } from 'async-mutex'

/** One is read while another is sent. */
const PARTS_AT_ONCE = 2
/** Items of a page that is little. */
const LITTLE_COUNT = 100

/** Of one facade. */
export class ReadTurns {
  readonly #byQueue = new Map<string, Semaphore>()

  /**
   * Reads a part of a page when it has a turn.
   *
   * @param source `log`, `dead` or the name of a messages actor: one that does not answer holds up no other.
   * @param limit Items of the page.
   * @throws What `read` throws.
   */
  take<T>(source: string, limit: number, read: () => Promise<T>): Promise<T> {
    const queue = `${limit <= LITTLE_COUNT ? 'little' : 'much'} of ${source}`
    const turns = this.#byQueue.get(queue) ?? new Semaphore(PARTS_AT_ONCE)
    this.#byQueue.set(queue, turns)
    return turns.runExclusive(read)
  }
}
