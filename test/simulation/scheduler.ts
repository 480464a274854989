/**
 * Virtual time: events in the order of their instants. Time passes only when all microtasks have run: between
 * two events the loop goes once through a real `setImmediate`, before which Node empties its microtask queue.
 * So a run is deterministic as long as nothing in it awaits anything real.
 */
import { crc32 } from 'node:zlib'

/** A future event. */
export interface Timer {
  readonly at: number
  readonly order: number
  run: (() => void) | undefined
}

/** Virtual time, and the record of what happened in it. */
export class Scheduler {
  /** Milliseconds since the world began; never steps. */
  now = 0
  /** Events that have run. */
  eventCount = 0
  /** Of the record so far. Equal hashes, equal runs. */
  hash = 0
  /** Set by whatever runs code that may await something: only then are there microtasks to wait for. */
  stirred = false
  /** The record in words, when asked for. */
  readonly trace: string[] | undefined
  readonly #heap: Timer[] = []
  #order = 0

  constructor({ traced = false } = {}) {
    this.trace = traced ? [] : undefined
  }

  /** Runs `run` after so many ms. */
  after(delayMs: number, run: () => void): Timer {
    const timer = { at: this.now + Math.max(0, delayMs), order: this.#order++, run }
    this.#push(timer)
    return timer
  }

  /** It does not run; harmless when it has. */
  cancel(timer: Timer): void {
    timer.run = undefined
  }

  /** Adds a line to the record. */
  note(line: string): void {
    const stamped = `${this.now.toFixed(3)} ${line}`
    this.hash = crc32(stamped, this.hash)
    this.trace?.push(stamped)
  }

  /** Lets so many ms pass. */
  async pass(ms: number): Promise<void> {
    const endAt = this.now + ms
    await quiet()
    for (let next = this.#heap[0]; next !== undefined && next.at <= endAt; next = this.#heap[0]) {
      this.#pop()
      if (next.run === undefined) continue
      this.now = next.at
      this.eventCount++
      this.stirred = false
      next.run()
      if (this.stirred) await quiet()
    }
    this.now = endAt
  }

  #push(timer: Timer): void {
    const heap = this.#heap
    let index = heap.push(timer) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!isBefore(timer, heap[parent]!)) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = timer
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** Resolves when every microtask has run. */
function quiet(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
