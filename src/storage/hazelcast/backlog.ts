/**
 * The batches of a held lane's backlog: those that are only known, by their keys in `pending`, and those that are
 * loaded, because some of their messages are in hand.
 */
import { idAtPlace, timeOf } from '../ids.ts'
import { partsOf } from './entries.ts'

/** A batch whose texts are in memory. */
export interface LoadedBatch {
  batchKey: string
  /** Its key in `pending`. */
  key: string
  /** By place; empty of those that are not open any more. */
  texts: string[]
  /** Places of messages that are pending and not in hand, ascending. */
  ready: number[]
  /** Places of messages that are not settled: those in `ready` and those in hand. */
  open: Set<number>
}

/** What is known of a batch that is not loaded. */
export interface Known {
  /** Its wake-up arrived, so it is in the log. */
  isLogged: boolean
  /** Its wake-up arrived before a scan found it, and in time: no earlier holder can have started it. */
  isFresh: boolean
}

/** Which batches are pending, in which order, and which of them are loaded. */
export class Backlog {
  readonly #waiting = new Map<string, Known>()
  readonly #batches = new Map<string, LoadedBatch>()

  has(key: string): boolean {
    return this.#waiting.has(key) || this.#batches.has(key)
  }

  /** Keys of all batches from this key on, ascending. */
  keysFrom(from: string): string[] {
    return [...this.#waiting.keys(), ...this.#batches.keys()].filter((key) => key >= from).sort()
  }

  /** A scan found a pending batch. */
  found(key: string): void {
    if (!this.has(key)) this.#waiting.set(key, { isLogged: false, isFresh: false })
  }

  /** A batch's wake-up arrived. @param inTime The batch is too young for an earlier holder to have started it. */
  woken(key: string, inTime: boolean): void {
    if (this.#batches.has(key)) return
    const isFresh = inTime && this.#waiting.get(key)?.isFresh !== false
    this.#waiting.set(key, { isLogged: true, isFresh })
  }

  /** The first batches that are not loaded, in order, up to about so many messages; `fits` may end it earlier. */
  next(
    maxCount: number,
    fits: (count: number, isFirst: boolean) => boolean,
  ): { key: string; known: Known }[] {
    const chosen: { key: string; known: Known }[] = []
    let count = 0
    for (const [key, known] of this.#waiting) {
      const size = partsOf(key).count!
      if (count >= maxCount || !fits(size, chosen.length === 0)) break
      chosen.push({ key, known })
      count += size
    }
    return chosen
  }

  /** A batch was loaded. */
  loaded(batch: LoadedBatch): void {
    this.#waiting.delete(batch.key)
    this.#batches.set(batch.key, batch)
  }

  /** Forgets a batch: it is settled, or no longer in `pending`. */
  remove(key: string): void {
    this.#waiting.delete(key)
    this.#batches.delete(key)
  }

  /** Moves a batch behind all others. */
  postpone(key: string): void {
    const known = this.#waiting.get(key)
    if (known === undefined) return
    this.#waiting.delete(key)
    this.#waiting.set(key, known)
  }

  /** Takes messages of loaded batches in hand. */
  take(maxCount: number): { id: string; text: string; batch: LoadedBatch }[] {
    const taken: { id: string; text: string; batch: LoadedBatch }[] = []
    for (const batch of this.#batches.values()) {
      for (const place of batch.ready.splice(0, maxCount - taken.length)) {
        taken.push({ id: idAtPlace(batch.batchKey, place), text: batch.texts[place - 1]!, batch })
      }
      if (taken.length === maxCount) break
    }
    return taken
  }

  /** Batches that are not loaded. */
  get waitingCount(): number {
    return this.#waiting.size
  }

  /** The number of pending messages that are not in hand, and the time (ms) of the oldest unsettled one. */
  measure(): { messages: number; oldestAt: number } {
    let messages = 0
    let oldestAt = Number.POSITIVE_INFINITY
    for (const key of this.#waiting.keys()) {
      const { id, count } = partsOf(key)
      messages += count!
      oldestAt = Math.min(oldestAt, timeOf(id))
    }
    for (const { batchKey, ready } of this.#batches.values()) {
      messages += ready.length
      oldestAt = Math.min(oldestAt, timeOf(batchKey))
    }
    return { messages, oldestAt }
  }
}
