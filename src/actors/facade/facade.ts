/** The facade actor: answers the public API. Each part of `Facade` stands in a file of its own; this composes them. */
import { Actor } from '../../runtime/actor.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry, Role } from '../../runtime/cluster/directory.ts'
import { MailroomError } from '../../runtime/errors.ts'
import type { Backend, Dead, IdempotencyKey, Message, Range, Receipt } from '../../storage/ports.ts'
import type { Facade, Found, Lists, Peers, Redriven } from '../protocol.ts'
import { Acceptor } from './accept.ts'
import { DeadLetters } from './dead.ts'
import { Holders } from './holders.ts'
import { LoggingPool } from './logging-pool.ts'
import { Reader } from './read.ts'
import { Readiness } from './readiness.ts'

/** Batches in flight. More of them only add latency. */
const CONCURRENCY = 4

/** Answers `Facade`. */
export class FacadeActor extends Actor implements Facade {
  readonly #laneCount: number
  readonly #acceptor: Acceptor
  readonly #reader: Reader
  readonly #deadLetters: DeadLetters
  readonly #readiness: Readiness

  constructor(context: ActorContext, backend: Pick<Backend, 'queue' | 'missing' | 'damaged'>, peers: Peers) {
    super(context, { concurrency: CONCURRENCY })
    this.#laneCount = backend.queue.laneCount
    const logging = new LoggingPool(context, peers)
    const holders = new Holders(context, peers, this.#laneCount)
    this.#acceptor = new Acceptor(context, this.mailbox, backend.queue, logging)
    this.#reader = new Reader({ context, logging, holders, isDraining: () => this.draining })
    this.#deadLetters = new DeadLetters(context.clock, holders, logging)
    this.#readiness = new Readiness(context.directory, backend)
  }

  override status() {
    return { ...super.status(), handled: this.#acceptor.acceptedCount, missing: this.missing() }
  }

  post(text: string, deadlineAt: number): Promise<Receipt> {
    return this.#acceptor.post(text, deadlineAt)
  }

  postBatch(
    texts: readonly string[],
    options: { deadlineAt: number; key?: IdempotencyKey },
  ): Promise<Receipt[]> {
    return this.#acceptor.postBatch(texts, options)
  }

  lists(limit?: number): Promise<Lists> {
    return this.#reader.lists(limit)
  }

  logPage(range: Range): Promise<Message[]> {
    return this.#reader.logPage(range)
  }

  storePage(name: string, range: Range): Promise<Message[]> {
    return this.#reader.storePage(name, range)
  }

  find(id: string, waitMs: number): Promise<Found | undefined> {
    return this.#reader.find(id, waitMs)
  }

  dead(range: { after?: string; limit: number }): Promise<Dead[]> {
    return this.#deadLetters.list(range)
  }

  deadOne(id: string): Promise<Dead | undefined> {
    return this.#deadLetters.find(id)
  }

  replay(id: string): Promise<boolean> {
    return this.#deadLetters.replay(id)
  }

  purge(id: string): Promise<boolean> {
    return this.#deadLetters.purge(id)
  }

  redrive(range: { after?: string; limit: number }): Promise<Redriven> {
    return this.#deadLetters.redrive(range)
  }

  missing(): string[] {
    return this.#readiness.missing(this.draining)
  }

  damaged(): string[] {
    return this.#readiness.damaged()
  }

  actors(): readonly ActorEntry[] {
    return this.context.directory.actors()
  }

  async scale(role: Role, count: number): Promise<readonly ActorEntry[]> {
    const limit = this.#laneCount
    if (role === 'messages' && count > limit) {
      const reason = 'a messages actor needs at least one lane (--lanes)'
      throw new MailroomError('MR_SCALE_REFUSED', { role, count, limit, reason })
    }
    return this.context.scale(role, count)
  }

  restart(role: Role): Promise<readonly ActorEntry[]> {
    return this.context.restart(role)
  }
}
