/**
 * A messages actor's store: the newest messages that its lanes delivered, in memory, sorted by id. It has no lock of
 * its own. The actor's mutex guards it, for consumers that write and for readers.
 */
import type { Clock } from '../../runtime/clock.ts'
import { MAX_ID, MIN_ID } from '../../storage/ids.ts'
import { descending, walk } from '../../storage/paging.ts'
import type { Message, Queue, Range } from '../../storage/ports.ts'

/** Approximate memory of one message beyond its text, in bytes. */
const ITEM_BYTES = 160

interface Item extends Message {
  lane: number
}

/** The newest `windowBytes` of the delivered lists of the lanes held. */
export class Store {
  /** Ascending by id, no id twice. */
  #items: Item[] = []
  #bytes = 0
  /** The store holds every message of its lanes with an id above this one. */
  #floor = MIN_ID
  readonly #windowBytes: number

  constructor(windowBytes: number) {
    this.#windowBytes = windowBytes
  }

  /** Adds messages that a lane delivered, ascending by id. Those already here are skipped. */
  add(lane: number, messages: readonly Message[]): void {
    for (const { id, text } of messages) {
      if (id <= this.#floor) continue
      const index = this.#indexAfter(id)
      if (this.#items[index - 1]?.id === id) continue
      const item = { id, text, lane }
      if (index === this.#items.length) this.#items.push(item)
      else this.#items.splice(index, 0, item)
      this.#bytes += weightOf(item)
    }
    this.#trim()
  }

  /**
   * Adds a lane with the newest part of its list.
   *
   * @param completeAbove Every message of the list with an id above this one is in `messages`.
   */
  addLane(lane: number, messages: readonly Message[], completeAbove: string): void {
    if (completeAbove > this.#floor) this.#raiseFloor(completeAbove)
    this.add(lane, messages)
  }

  /** Removes a lane with all its messages. */
  removeLane(lane: number): void {
    this.#items = this.#items.filter((item) => item.lane !== lane)
    this.#bytes = this.#items.reduce((bytes, item) => bytes + weightOf(item), 0)
  }

  /**
   * One page. Undefined when messages of it may have left the store: then read the lanes' lists instead.
   *
   * @param oldest Messages below this id are older than the retention and not shown.
   */
  page({ after, before, limit }: Range, oldest = MIN_ID): Message[] | undefined {
    const end = before === undefined ? this.#items.length : this.#indexBefore(before)
    const from = after === undefined || after < oldest ? oldest : after
    const begin = this.#indexAfter(from)
    if (after !== undefined) {
      if (from < this.#floor) return undefined
      return this.#items.slice(begin, Math.min(end, begin + limit)).map(toMessage)
    }
    if (end - begin < limit && this.#floor > from) return undefined
    return this.#items
      .slice(Math.max(begin, end - limit), Math.max(begin, end))
      .reverse()
      .map(toMessage)
  }

  #trim(): void {
    if (this.#bytes <= this.#windowBytes) return
    let excess = this.#bytes - this.#windowBytes * 0.9
    let index = 0
    while (excess > 0 && index < this.#items.length) excess -= weightOf(this.#items[index++]!)
    this.#raiseFloor(this.#items[index - 1]!.id)
  }

  #raiseFloor(floor: string): void {
    this.#floor = floor
    for (const item of this.#items.splice(0, this.#indexAfter(floor))) this.#bytes -= weightOf(item)
  }

  /** Index of the first item above `id`. */
  #indexAfter(id: string): number {
    if (this.#items.length === 0 || this.#items[this.#items.length - 1]!.id <= id) return this.#items.length
    let low = 0
    let high = this.#items.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#items[middle]!.id <= id) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Index of the first item at or above `id`. */
  #indexBefore(id: string): number {
    const index = this.#indexAfter(id)
    return this.#items[index - 1]?.id === id ? index - 1 : index
  }
}

/**
 * Reads the newest `maxBytes` of a held lane's list, or all of it when it is smaller.
 *
 * @returns What `Store.addLane` takes; messages are ascending.
 * @throws {MailroomError} As `queue.delivered`.
 */
export async function loadNewest(
  queue: Queue,
  lane: number,
  maxBytes: number,
  clock: Clock,
): Promise<{ messages: Message[]; completeAbove: string }> {
  const messages: Message[] = []
  let completeAbove = MIN_ID
  const list = descending((range) => queue.delivered(lane, range))
  // A backend may answer without I/O.
  const bounds = { bytes: { max: maxBytes, of: weightOf }, turn: { clock } }
  for await (const { items, next } of walk(list, MAX_ID, bounds)) {
    messages.push(...items)
    completeAbove = next ?? MIN_ID
  }
  return { messages: messages.reverse(), completeAbove }
}

/** About what a message takes in memory, in bytes. */
function weightOf({ text }: Message): number {
  return Buffer.byteLength(text) + ITEM_BYTES
}

function toMessage({ id, text }: Item): Message {
  return { id, text }
}
