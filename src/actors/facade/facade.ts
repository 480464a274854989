/** The facade actor: answers the public API. Its parts are the other files of this folder. */
import { Actor } from '../../runtime/actor.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry, Role } from '../../runtime/cluster/directory.ts'
import { MailroomError } from '../../runtime/errors.ts'
import type { Backend } from '../../storage/ports.ts'
import type { Facade, Peers } from '../protocol.ts'
import { Acceptor } from './accept.ts'
import { DeadLetters } from './dead.ts'
import { Holders } from './holders.ts'
import { LoggingPool } from './logging-pool.ts'
import { Reader } from './read.ts'
import { Readiness } from './readiness.ts'

/** Batches that run at once, of all kinds; more only add latency. */
const CONCURRENCY = 4

/** Answers `Facade`. */
export class FacadeActor extends Actor implements Facade {
  readonly #laneCount: number
  readonly #acceptor: Acceptor
  readonly #reader: Reader
  readonly #deadLetters: DeadLetters
  readonly #readiness: Readiness

  readonly post: Facade['post'] = (text, deadlineAt) => this.#acceptor.post(text, deadlineAt)
  readonly postBatch: Facade['postBatch'] = (texts, options) => this.#acceptor.postBatch(texts, options)
  readonly lists: Facade['lists'] = (limit) => this.#reader.lists(limit)
  readonly logPage: Facade['logPage'] = (range) => this.#reader.logPage(range)
  readonly storePage: Facade['storePage'] = (name, range) => this.#reader.storePage(name, range)
  readonly find: Facade['find'] = (id, waitMs) => this.#reader.find(id, waitMs)
  readonly dead: Facade['dead'] = (range) => this.#deadLetters.list(range)
  readonly deadOne: Facade['deadOne'] = (id) => this.#deadLetters.find(id)
  readonly replay: Facade['replay'] = (id) => this.#deadLetters.replay(id)
  readonly purge: Facade['purge'] = (id) => this.#deadLetters.purge(id)
  readonly redrive: Facade['redrive'] = (range) => this.#deadLetters.redrive(range)
  readonly missing: Facade['missing'] = () => this.#readiness.missing(this.draining)
  readonly damaged: Facade['damaged'] = () => this.#readiness.damaged()
  readonly warnings: Facade['warnings'] = () => this.#readiness.warnings()
  readonly actors: Facade['actors'] = () => this.context.directory.actors()
  readonly restart: Facade['restart'] = (role) => this.context.restart(role)

  constructor(context: ActorContext, backend: Pick<Backend, 'queue' | 'missing' | 'damaged'>, peers: Peers) {
    super(context, { concurrency: CONCURRENCY })
    this.#laneCount = backend.queue.laneCount
    const logging = new LoggingPool(context, peers)
    const holders = new Holders(context, peers, this.#laneCount)
    this.#acceptor = new Acceptor(context, this.mailbox, backend.queue, logging)
    this.#reader = new Reader(context, logging, holders, () => this.draining)
    this.#deadLetters = new DeadLetters(context.clock, holders, logging)
    this.#readiness = new Readiness(context, backend)
  }

  override status() {
    return { ...super.status(), handled: this.#acceptor.acceptedCount, missing: this.missing() }
  }

  async scale(role: Role, count: number): Promise<readonly ActorEntry[]> {
    const limit = this.#laneCount
    if (role === 'messages' && count > limit) {
      const reason = 'a messages actor needs at least one lane (--lanes)'
      throw new MailroomError('MR_SCALE_REFUSED', { role, count, limit, reason })
    }
    return this.context.scale(role, count)
  }
}
