/**
 * Gathers single items to batches: whatever arrived while the last batches were in flight goes together. There
 * is no timer: on an idle system an item leaves as soon as what has already arrived has been seen.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { Mailbox } from '../../runtime/mailbox.ts'

/** Results told in one turn: each may become an answer to a client, and others are to be heard in between. */
const TOLD_COUNT = 32

/** How items become batches. */
export interface BatcherOptions<T, R> {
  /** Bounds the items inside, and runs the batches. */
  mailbox: Mailbox
  clock: Clock
  maxCount: number
  maxBytes: number
  /** Batches in flight. */
  concurrency: number
  /** Sends one batch; its results in the order of the items. A failure fails every item of it. */
  send: (items: readonly T[]) => Promise<readonly R[]>
}

interface Waiting<T, R> {
  item: T
  bytes: number
  leave: () => void
  resolve: (result: R) => void
  reject: (error: unknown) => void
}

/** Batches items of type `T` to results of type `R`, in order of arrival. */
export class Batcher<T, R> {
  readonly #options: BatcherOptions<T, R>
  #waiting: Waiting<T, R>[] = []
  #inFlight = 0
  #scheduled = false

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options
  }

  /**
   * Adds one item.
   *
   * @param bytes Its weight in a batch and in the mailbox.
   * @returns Its result, when its batch has been sent.
   * @throws {MailroomError} As `Mailbox.run` (then it was not taken), or what `send` threw for its batch.
   */
  async add(item: T, bytes: number): Promise<R> {
    const leave = this.#options.mailbox.admit({ bytes })
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, bytes, leave, resolve, reject })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= this.#options.concurrency) return
    this.#scheduled = true
    this.#options.clock.soon(() => {
      this.#scheduled = false
      this.#inFlight++
      void this.#options.mailbox
        .runAdmitted(() => this.#sendOne())
        .finally(() => {
          this.#inFlight--
          if (this.#waiting.length > 0) this.#schedule()
        })
    })
  }

  /** Takes its items only now, when it has a slot: so nothing that could go along is left behind. */
  async #sendOne(): Promise<void> {
    const batch = this.#take()
    if (this.#waiting.length > 0) this.#schedule()
    if (batch.length === 0) return
    try {
      const results = await this.#options.send(batch.map(({ item }) => item))
      for (const [index, { leave, resolve }] of batch.entries()) {
        if (index > 0 && index % TOLD_COUNT === 0) await this.#turn()
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

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#options.clock.soon(resolve))
  }

  #take(): Waiting<T, R>[] {
    const { maxCount, maxBytes } = this.#options
    let count = 0
    let bytes = 0
    for (const waiting of this.#waiting) {
      if (count > 0 && (count === maxCount || bytes + waiting.bytes > maxBytes)) break
      count++
      bytes += waiting.bytes
    }
    const batch = this.#waiting.slice(0, count)
    this.#waiting = this.#waiting.slice(count)
    return batch
  }
}
