/**
 * Gathers single items into batches: items that arrive while earlier batches are in flight share the next batch.
 * There is no timer. On an idle system a batch leaves after the current event-loop iteration.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { Cost, Mailbox } from '../../runtime/mailbox.ts'

/** Results delivered in one event-loop iteration: each may send an answer to a client, which takes time. */
const RESULTS_PER_ITERATION = 32

/** How items become batches. */
export interface BatcherOptions<T, R> {
  /** Bounds the items that wait or are in flight, and runs the batches. */
  mailbox: Mailbox
  clock: Clock
  maxCount: number
  maxBytes: number
  /** Batches in flight. */
  concurrency: number
  /** Sends one batch and returns the results in the order of its items. When it throws, each item fails. */
  send: (items: readonly T[]) => Promise<readonly R[]>
}

interface Queued<T, R> {
  item: T
  count: number
  bytes: number
  leave: () => void
  resolve: (result: R) => void
  reject: (error: unknown) => void
}

/** Batches items of type `T` to results of type `R`, in order of arrival. */
export class Batcher<T, R> {
  readonly #options: BatcherOptions<T, R>
  #queue: Queued<T, R>[] = []
  #inFlight = 0
  #isScheduled = false

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options
  }

  /**
   * Adds one item.
   *
   * @param cost Its size in a batch and in the mailbox.
   * @returns Its result, when its batch has been sent.
   * @throws {MailroomError} What `Mailbox.run` throws when it refuses the item, or what `send` threw for its batch.
   */
  async add(item: T, { count = 1, bytes = 0 }: Cost): Promise<R> {
    const leave = this.#options.mailbox.admit({ count, bytes })
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, count, bytes, leave, resolve, reject })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#isScheduled || this.#inFlight >= this.#options.concurrency) return
    this.#isScheduled = true
    this.#options.clock.soon(() => {
      this.#isScheduled = false
      this.#inFlight++
      void this.#options.mailbox
        .runAdmitted(() => this.#sendOne())
        .finally(() => {
          this.#inFlight--
          if (this.#queue.length > 0) this.#schedule()
        })
    })
  }

  /** Takes its items only when it has a slot in the mailbox, so that it takes all that have arrived by then. */
  async #sendOne(): Promise<void> {
    const batch = this.#take()
    if (this.#queue.length > 0) this.#schedule()
    if (batch.length === 0) return
    try {
      const results = await this.#options.send(batch.map(({ item }) => item))
      for (const [index, { leave, resolve }] of batch.entries()) {
        if (index > 0 && index % RESULTS_PER_ITERATION === 0) await this.#nextIteration()
        leave()
        resolve(results[index]!)
      }
    } catch (error) {
      for (const { leave, reject } of batch) {
        leave()
        reject(error)
      }
    }
  }

  #nextIteration(): Promise<void> {
    return new Promise((resolve) => this.#options.clock.soon(resolve))
  }

  #take(): Queued<T, R>[] {
    const { maxCount, maxBytes } = this.#options
    let length = 0
    let [count, bytes] = [0, 0]
    for (const queued of this.#queue) {
      count += queued.count
      bytes += queued.bytes
      if (length > 0 && (count > maxCount || bytes > maxBytes)) break
      length++
    }
    const batch = this.#queue.slice(0, length)
    this.#queue = this.#queue.slice(length)
    return batch
  }
}
