/**
 * Turns of reading. A part of a page is half a MiB that three processes turn into text and back, some milliseconds each.
 * With hundreds of readers at once every post would wait for all of them, here and at the logging actors. So few parts of
 * a source are under way at a time, and readers of everything wait for those who ask for little.
 */
import { Semaphore } from 'async-mutex'

/** One is read while another is sent. */
const PARTS_AT_ONCE = 2
/** Who asks for no more items goes first. */
const LITTLE_COUNT = 100

/** Of one facade. */
export class ReadTurns {
  readonly #bySource = new Map<string, Semaphore>()

  /**
   * Reads a part of a page when it has a turn.
   *
   * @param source `log`, `dead` or the name of a messages actor: one that does not answer holds up no other.
   * @param limit Items of the page.
   * @throws What `read` throws.
   */
  take<T>(source: string, limit: number, read: () => Promise<T>): Promise<T> {
    const turns = this.#bySource.get(source) ?? new Semaphore(PARTS_AT_ONCE)
    this.#bySource.set(source, turns)
    return turns.runExclusive(read, 1, limit <= LITTLE_COUNT ? 1 : 0)
  }
}
