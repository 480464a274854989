/**
 * A held lane's line of batches: those that are known to wait, by their keys in `pending`, and those whose texts
 * are here because some of their messages are in hand.
 */
import { idAtPlace, timeOf } from '../ids.ts'
import { partsOf } from './entries.ts'

/** A batch whose texts are here. */
export interface Batch {
  batchKey: string
  /** Under which it stands in `pending`. */
  key: string
  texts: readonly string[]
  /** Places of messages that wait, ascending. */
  ready: number[]
  /** Places of messages that are still this batch's affair: they wait or are in hand. */
  open: Set<number>
}

/** What is known of a batch that waits. */
export interface Known {
  /** Its wake-up came, so it is in the log. */
  isLogged: boolean
  /** Its wake-up was the first we heard of it, and came in time: no holder can have begun it. */
  isFresh: boolean
}

/** What waits, its order, and what of it is here. */
export class Line {
  readonly #waiting = new Map<string, Known>()
  readonly #batches = new Map<string, Batch>()

  has(key: string): boolean {
    return this.#waiting.has(key) || this.#batches.has(key)
  }

  /** A batch that waits: found by a scan. */
  found(key: string): void {
    if (!this.has(key)) this.#waiting.set(key, { isLogged: false, isFresh: false })
  }

  /** A batch that waits: its wake-up came. @param inTime So soon that no holder can have begun it. */
  woken(key: string, inTime: boolean): void {
    if (this.#batches.has(key)) return
    const isFresh = inTime && this.#waiting.get(key)?.isFresh !== false
    this.#waiting.set(key, { isLogged: true, isFresh })
  }

  /** The first of those that wait, at least one, up to about so many messages and bytes, in order. */
  next(
    maxCount: number,
    maxBytes: number,
    bytesOf: (count: number) => number,
  ): { key: string; known: Known }[] {
    const chosen: { key: string; known: Known }[] = []
    let count = 0
    let bytes = 0
    for (const [key, known] of this.#waiting) {
      const size = partsOf(key).count!
      if (chosen.length > 0 && (count >= maxCount || bytes + bytesOf(size) > maxBytes)) break
      chosen.push({ key, known })
      count += size
      bytes += bytesOf(size)
    }
    return chosen
  }

  /** A batch has come here. */
  loaded(batch: Batch): void {
    this.#waiting.delete(batch.key)
    this.#batches.set(batch.key, batch)
  }

  /** A batch is nobody's affair any more. */
  remove(key: string): void {
    this.#waiting.delete(key)
    this.#batches.delete(key)
  }

  /** Puts one behind all others. */
  postpone(key: string): void {
    const known = this.#waiting.get(key)
    if (known === undefined) return
    this.#waiting.delete(key)
    this.#waiting.set(key, known)
  }

  /** Takes messages that wait in batches that are here. */
  take(maxCount: number): { id: string; text: string; batch: Batch }[] {
    const taken: { id: string; text: string; batch: Batch }[] = []
    for (const batch of this.#batches.values()) {
      for (const place of batch.ready.splice(0, maxCount - taken.length)) {
        taken.push({ id: idAtPlace(batch.batchKey, place), text: batch.texts[place - 1]!, batch })
      }
      if (taken.length === maxCount) break
    }
    return taken
  }

  /** Batches that wait and are not here. */
  get waitingCount(): number {
    return this.#waiting.size
  }

  /** Messages that wait, and the instant (ms) of the oldest that is not settled. */
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
