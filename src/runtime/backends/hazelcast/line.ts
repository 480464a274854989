/**
 * A held lane's line of batches: those that are known to wait, by their keys in `pending`, and those whose texts
 * are here because some of their messages are in hand.
 */
import { idAtPlace, timeOf } from '../../ids.ts'
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

/** What waits, its order, and what of it is here. */
export class Line {
  /** Key -> whether its wake-up proves that it is in the log. */
  readonly #waiting = new Map<string, boolean>()
  readonly #batches = new Map<string, Batch>()

  has(key: string): boolean {
    return this.#waiting.has(key) || this.#batches.has(key)
  }

  /** A batch that waits. @param isLogged Known to be in the log. */
  add(key: string, isLogged: boolean): void {
    if (this.#batches.has(key)) return
    this.#waiting.set(key, isLogged || this.#waiting.get(key) === true)
  }

  /** The first of those that wait, at least one, up to about so many messages and bytes, in order. */
  next(
    maxCount: number,
    maxBytes: number,
    bytesOf: (count: number) => number,
  ): [key: string, isLogged: boolean][] {
    const chosen: [string, boolean][] = []
    let count = 0
    let bytes = 0
    for (const [key, isLogged] of this.#waiting) {
      const size = partsOf(key).count!
      if (chosen.length > 0 && (count >= maxCount || bytes + bytesOf(size) > maxBytes)) break
      chosen.push([key, isLogged])
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
    const isLogged = this.#waiting.get(key)
    if (isLogged === undefined) return
    this.#waiting.delete(key)
    this.#waiting.set(key, isLogged)
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
