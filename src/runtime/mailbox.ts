/**
 * An actor's bounded queue of work. p-queue has no bound, so a counter in front of it admits work or refuses it at
 * once. The only file that imports p-queue.
 *
 * p-queue's `timeout` and `signal` free a slot while the work still runs, so they are not used. Work has its own
 * deadline, and occupies its slot until its promise settles.
 */
import PQueue from 'p-queue'
import { MailroomError } from './errors.ts'

/** What one piece of work takes of the mailbox's capacity. */
export interface Cost {
  /** Messages, at least 1. Default 1. */
  count?: number
  /** Bytes of their texts. Default 0. */
  bytes?: number
}

/** How a mailbox is bounded. */
export interface MailboxOptions {
  /** The actor's name, for errors. */
  name: string
  capacityCount: number
  capacityBytes: number
  /** Pieces of work that run concurrently: 1 for an actor with state, more for one without. */
  concurrency: number
}

/** Bounded in messages and bytes; first in, first out. Work with more bytes than its bound is admitted while it has none. */
export class Mailbox {
  readonly #options: MailboxOptions
  readonly #work: PQueue
  readonly #control = new PQueue({ concurrency: 1 })
  readonly #idleWaiters: (() => void)[] = []
  /** Messages admitted whose work has not finished: at most `capacityCount`. */
  #depth = 0
  /** Bytes of their texts: at most `capacityBytes`, or of one piece of work. */
  #bytes = 0
  #refused = 0
  #handled = 0
  #closed = false

  constructor(options: MailboxOptions) {
    this.#options = options
    this.#work = new PQueue({ concurrency: options.concurrency })
  }

  /** Messages admitted: queued or running. */
  get depth(): number {
    return this.#depth
  }

  /** The most messages it admits. */
  get capacity(): number {
    return this.#options.capacityCount
  }

  /** Messages refused so far. */
  get refused(): number {
    return this.#refused
  }

  /** Messages whose work has finished so far. */
  get handled(): number {
    return this.#handled
  }

  /**
   * Admits one piece of work or refuses it at once. It never waits for capacity.
   *
   * @param work Its promise must settle. Runs when a slot is free, in order of admission.
   * @returns What `work` returned, when the work has finished.
   * @throws {MailroomError} `MR_MAILBOX_FULL` or, once closed, `MR_DRAINING`; nothing was admitted.
   */
  async run<T>(work: () => Promise<T>, cost: Cost = {}): Promise<T> {
    const leave = this.admit(cost)
    try {
      return await this.runAdmitted(work)
    } finally {
      leave()
    }
  }

  /**
   * Takes capacity for work that runs later through `runAdmitted`, such as a message that joins the next batch.
   *
   * @returns Gives the capacity back. Call it once, when the work has finished.
   * @throws {MailroomError} As `run`.
   */
  admit({ count = 1, bytes = 0 }: Cost): () => void {
    const { name, capacityCount, capacityBytes } = this.#options
    if (this.#closed) throw new MailroomError('MR_DRAINING', { name })
    const isRoom = bytes === 0 || this.#bytes === 0 || this.#bytes + bytes <= capacityBytes
    if (this.#depth + count > capacityCount || !isRoom) {
      this.#refused += count
      const inMessages = this.#depth + count > capacityCount
      throw new MailroomError('MR_MAILBOX_FULL', {
        mailbox: name,
        depth: inMessages ? this.#depth : this.#bytes,
        capacity: inMessages ? capacityCount : capacityBytes,
        unit: inMessages ? 'messages' : 'bytes',
      })
    }
    this.#depth += count
    this.#bytes += bytes
    return () => {
      this.#depth -= count
      this.#bytes -= bytes
      this.#handled += count
      if (this.#depth === 0) for (const wake of this.#idleWaiters.splice(0)) wake()
    }
  }

  /** Runs work whose capacity was taken with `admit`. */
  runAdmitted<T>(work: () => Promise<T>): Promise<T> {
    return this.#work.add(work)
  }

  /** Runs control work (a drain) one at a time. It is never refused and does not queue behind messages. */
  control<T>(work: () => Promise<T>): Promise<T> {
    return this.#control.add(work)
  }

  /** Refuses everything from now on. Admitted work still runs. */
  close(): void {
    this.#closed = true
  }

  /** Resolves when no admitted work is left. */
  async idle(): Promise<void> {
    while (this.#depth > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve))
  }
}
