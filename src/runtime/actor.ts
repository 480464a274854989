/** The actor: private state and one mailbox. */

import type { ActorContext } from './cluster/actor-context.ts'
import type { ActorStatus } from './cluster/directory.ts'
import { Mailbox } from './mailbox.ts'

/** The base of every actor. Calls of other actors go through its mailbox. */
export abstract class Actor {
  readonly name: string
  protected readonly context: ActorContext
  protected readonly mailbox: Mailbox
  readonly #drain = new AbortController()
  #drained: Promise<void> | undefined

  /** @param options.capacityBytes Of texts in its mailbox. `--mailbox-capacity` bounds the number of messages. */
  constructor(
    context: ActorContext,
    { concurrency, capacityBytes }: { concurrency: number; capacityBytes: number },
  ) {
    this.name = context.name
    this.context = context
    const capacityCount = context.config.mailboxCapacity
    this.mailbox = new Mailbox({
      name: context.name,
      capacityCount,
      capacityBytes,
      concurrency,
    })
  }

  /** True once a drain was announced or has begun. */
  get draining(): boolean {
    return this.#drain.signal.aborted
  }

  /** Aborted when a drain is announced or begins. */
  protected get drainSignal(): AbortSignal {
    return this.#drain.signal
  }

  /** The actor's status, sent with each heartbeat. O(1). */
  status(): ActorStatus {
    const { depth, capacity, refused, handled } = this.mailbox
    return { mailbox: { depth, capacity, refused }, handled, missing: [] }
  }

  /** Announces a drain. The mailbox still admits work. */
  announceDrain(): void {
    this.#drain.abort()
  }

  /** Closes the mailbox, finishes the admitted work, releases what the actor holds. Idempotent. */
  drain(): Promise<void> {
    this.announceDrain()
    this.#drained ??= this.mailbox.control(() => this.onDrain())
    return this.#drained
  }

  /** The steps of a drain. An actor that holds more than a mailbox overrides it. */
  protected async onDrain(): Promise<void> {
    this.mailbox.close()
    await this.mailbox.idle()
  }
}
