/**
 * A messages actor's in-memory store: what its lanes delivered, sorted by id, the newest so many bytes of it.
 * Not locked here: the actor's mutex guards it, taken by the consumers that write and the readers alike.
 */
import { MIN_ID } from '../../storage/ids.ts'
import type { Message, Range } from '../../storage/ports.ts'

interface Item extends Message {
  lane: number
}

/** What one message weighs in memory beyond its text, about. */
const ITEM_BYTES = 160

/** A bounded window over the delivered lists of the lanes held. */
export class Store {
  /** Ascending by id, no id twice. */
  #items: Item[] = []
  #bytes = 0
  /** Every message of every lane here with an id above it is in the window. */
  #floor = MIN_ID
  readonly #windowBytes: number

  constructor(windowBytes: number) {
    this.#windowBytes = windowBytes
  }

  /** Messages in the window. */
  get count(): number {
    return this.#items.length
  }

  /** Adds messages a lane delivered, ascending by id; those known are left alone. */
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
   * Takes a lane in with the newest part of its list.
   *
   * @param completeAbove The lane's list has nothing above this id that is not in `messages`.
   */
  addLane(lane: number, messages: readonly Message[], completeAbove: string): void {
    if (completeAbove > this.#floor) this.#raiseFloor(completeAbove)
    this.add(lane, messages)
  }

  /** Lets a lane go, with all it delivered. */
  removeLane(lane: number): void {
    this.#items = this.#items.filter((item) => item.lane !== lane)
    this.#bytes = this.#items.reduce((bytes, item) => bytes + weightOf(item), 0)
  }

  /** One page, or undefined when a part of it lies below the window: ask the lanes' homes then. */
  page({ after, before, limit }: Range): Message[] | undefined {
    const end = before === undefined ? this.#items.length : this.#indexBefore(before)
    if (after !== undefined) {
      if (after < this.#floor) return undefined
      const begin = this.#indexAfter(after)
      return this.#items.slice(begin, Math.min(end, begin + limit)).map(toMessage)
    }
    if (end < limit && this.#floor !== MIN_ID) return undefined
    return this.#items
      .slice(Math.max(0, end - limit), end)
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

/** What a message weighs in the window, about, in bytes. */
export function weightOf({ text }: Message): number {
  return text.length + ITEM_BYTES
}

function toMessage({ id, text }: Item): Message {
  return { id, text }
}
