/**
 * An actor's bounded line of work. Admission is our own counter in front of p-queue (which has no bound):
 * refused at once when full, never queued at the door. The only door to p-queue.
 *
 * p-queue's own `timeout` and `signal` free a slot while its work still runs: never passed here. A deadline
 * is the work's own affair; its slot stays taken until it has settled.
 */
import PQueue from 'p-queue'
import { MailroomError } from './errors.ts'

/** What a piece of work weighs in its mailbox. */
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
  /** Pieces of work that run at once: 1 where there is state, a few where there is none. */
  concurrency: number
}

/** Bounded in messages and bytes; first in, first out. */
export class Mailbox {
  readonly #options: MailboxOptions
  readonly #work: PQueue
  readonly #control = new PQueue({ concurrency: 1 })
  readonly #idleWaiters: (() => void)[] = []
  /** Messages admitted and not yet settled: never above `capacityCount`. */
  #depth = 0
  /** Their bytes: never above `capacityBytes`. */
  #bytes = 0
  #refused = 0
  #handled = 0
  #closed = false

  constructor(options: MailboxOptions) {
    this.#options = options
    this.#work = new PQueue({ concurrency: options.concurrency })
  }

  /** Messages inside, waiting or running. */
  get depth(): number {
    return this.#depth
  }

  /** Messages that fit. */
  get capacity(): number {
    return this.#options.capacityCount
  }

  /** Messages refused since the beginning. */
  get refused(): number {
    return this.#refused
  }

  /** Messages whose work has settled since the beginning. */
  get handled(): number {
    return this.#handled
  }

  /**
   * Admits one piece of work, or refuses it at once; never waits for room.
   *
   * @param work Must settle. Runs when a slot is free, at most `concurrency` at once, in order of admission.
   * @returns What `work` returned. Settles when the work has, not at admission.
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
   * Takes room for work that is run later through `runAdmitted`, such as a message that waits for its batch.
   *
   * @returns Gives the room back; to be called once, when the work has settled.
   * @throws {MailroomError} As `run`.
   */
  admit({ count = 1, bytes = 0 }: Cost): () => void {
    const { name, capacityCount, capacityBytes } = this.#options
    if (this.#closed) throw new MailroomError('MR_DRAINING', { name })
    if (this.#depth + count > capacityCount || this.#bytes + bytes > capacityBytes) {
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

  /** Runs work whose room has been taken with `admit`. */
  runAdmitted<T>(work: () => Promise<T>): Promise<T> {
    return this.#work.add(work)
  }

  /** Runs control work (drain): one at a time, never refused, never behind what was admitted. */
  control<T>(work: () => Promise<T>): Promise<T> {
    return this.#control.add(work)
  }

  /** Refuses everything from now on; what was admitted runs. */
  close(): void {
    this.#closed = true
  }

  /** Resolves when nothing is inside. */
  async idle(): Promise<void> {
    while (this.#depth > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve))
  }
}
