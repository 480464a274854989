/** The actor: private state, one mailbox, and a life that begins with `start` and ends with `drain`. */

import type { ActorContext } from './cluster/actor-context.ts'
import type { ActorStatus } from './cluster/directory.ts'
import { Mailbox } from './mailbox.ts'

/** Texts in one mailbox, beside the bound in messages (`--mailbox-capacity`). */
const CAPACITY_BYTES = 64 * 1024 * 1024

/** What every actor is. What others ask of it goes through its mailbox. */
export abstract class Actor {
  readonly name: string
  protected readonly context: ActorContext
  protected readonly mailbox: Mailbox
  #draining = false
  #drained: Promise<void> | undefined

  constructor(context: ActorContext, { concurrency }: { concurrency: number }) {
    this.name = context.name
    this.context = context
    const capacityCount = context.config.mailboxCapacity
    this.mailbox = new Mailbox({
      name: context.name,
      capacityCount,
      capacityBytes: CAPACITY_BYTES,
      concurrency,
    })
  }

  /** True once a drain began or was announced. */
  get draining(): boolean {
    return this.#draining
  }

  /** What the actor tells of itself with each heartbeat. Cheap. */
  status(): ActorStatus {
    const { depth, capacity, refused, handled } = this.mailbox
    return { mailbox: { depth, capacity, refused }, handled, missing: [] }
  }

  /** Begins what the actor does beside its mailbox. */
  async start(): Promise<void> {}

  /** Says that a drain is near: `draining` is true, yet work is still taken. */
  announceDrain(): void {
    this.#draining = true
  }

  /** Takes nothing new, finishes what was admitted, gives back what it holds. Every caller gets the same promise. */
  drain(): Promise<void> {
    this.#draining = true
    this.#drained ??= this.mailbox.control(() => this.onDrain())
    return this.#drained
  }

  /** What a drain means; an actor with more than a mailbox adds to it. */
  protected async onDrain(): Promise<void> {
    this.mailbox.close()
    await this.mailbox.idle()
  }
}
