/** The facade actor: answers the public API. Its parts are the other files of this folder. */
import { Actor } from '../../runtime/actor.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry, Role } from '../../runtime/cluster/directory.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { handMaxBytes, pagesAtOnce, storedMaxBytes } from '../../storage/limits.ts'
import type { Backend } from '../../storage/ports.ts'
import type { Facade, Peers } from '../protocol.ts'
import { Acceptor } from './accept.ts'
import { clustersOf } from './clusters.ts'
import { DeadLetters } from './dead.ts'
import { Delivery } from './delivery.ts'
import { Follower } from './follow.ts'
import { Holders } from './holders.ts'
import { LoggingPool } from './logging-pool.ts'
import { Losses } from './losses.ts'
import { Reader } from './read.ts'
import { Readiness } from './readiness.ts'
import { Redrive } from './redrive.ts'
import { ReadTurns } from './turns.ts'

/** Batches that run at once, of all kinds; more only add latency. */
const CONCURRENCY = 4

/** What a facade needs of its backend. */
type FacadeBackend = Omit<Backend, 'log' | 'close'>

/** Answers `Facade`. */
export class FacadeActor extends Actor implements Facade {
  readonly #laneCount: number
  readonly #logging: LoggingPool
  readonly #acceptor: Acceptor
  readonly #reader: Reader
  readonly #deadLetters: DeadLetters
  readonly #redrive: Redrive
  readonly #delivery: Delivery
  readonly #follower: Follower
  readonly #losses: Losses
  readonly #readiness: Readiness
  readonly #backend: FacadeBackend

  readonly post: Facade['post'] = (text, deadlineAt) => this.#acceptor.post(text, deadlineAt)
  readonly postBatch: Facade['postBatch'] = (texts, options) => this.#acceptor.postBatch(texts, options)
  readonly lists: Facade['lists'] = (limit) => this.#reader.lists(limit)
  readonly logPage: Facade['logPage'] = (range) => this.#reader.logPage(range)
  readonly searchLog: Facade['searchLog'] = (range, search) => this.#reader.searchLog(range, search)
  readonly storePage: Facade['storePage'] = (name, range) => this.#reader.storePage(name, range)
  readonly find: Facade['find'] = (id, wait) => this.#reader.find(id, wait)
  readonly dead: Facade['dead'] = (range) => this.#deadLetters.list(range)
  readonly deadOne: Facade['deadOne'] = (id) => this.#deadLetters.find(id)
  readonly replay: Facade['replay'] = (id) => this.#deadLetters.replay(id)
  readonly purge: Facade['purge'] = (id) => this.#deadLetters.purge(id)
  readonly changeDead: Facade['changeDead'] = (change, range) => this.#deadLetters.change(change, range)
  readonly deadGroups: Facade['deadGroups'] = (from) => this.#deadLetters.groups(from)
  readonly redrive: Facade['redrive'] = (range) => this.#redrive.toQueue(range)
  readonly restore: Facade['restore'] = (range) => this.#redrive.toLog(range)
  readonly redeliver: Facade['redeliver'] = (id, look) => this.#reader.redeliver(id, look)
  readonly isPaused: Facade['isPaused'] = () => this.#delivery.isPaused()
  readonly setPaused: Facade['setPaused'] = (paused) => this.#delivery.setPaused(paused)
  readonly losses: Facade['losses'] = () => this.#losses.open()
  readonly confirmLosses: Facade['confirmLosses'] = () => this.#losses.confirm()
  readonly missing: Facade['missing'] = () => this.#readiness.missing(this.draining)
  readonly degraded: Facade['degraded'] = () => this.#readiness.degraded()
  readonly restoring: Facade['restoring'] = () => this.#readiness.restoring()
  readonly damaged: Facade['damaged'] = () => this.#readiness.damaged()
  readonly warnings: Facade['warnings'] = () => this.#readiness.warnings()
  readonly clusters: Facade['clusters'] = () => clustersOf(this.#backend, this.#logging)
  readonly follow: Facade['follow'] = (topics, from, sink) => this.#follower.follow(topics, from, sink)
  readonly actors: Facade['actors'] = () => this.context.directory.actors()
  readonly metrics: Facade['metrics'] = (format) => this.context.metrics(format)
  readonly stats: Facade['stats'] = () => this.context.stats()
  readonly history: Facade['history'] = () => this.context.history()
  readonly restart: Facade['restart'] = (role) => this.context.restart(role)

  constructor(context: ActorContext, backend: FacadeBackend, peers: Peers) {
    super(context, {
      concurrency: CONCURRENCY,
      capacityBytes: handMaxBytes(storedMaxBytes(context.config.maxMessageBytes)),
    })
    this.#backend = backend
    this.#laneCount = backend.queue.laneCount
    const logging = new LoggingPool(context, peers)
    this.#logging = logging
    const holders = new Holders(context, peers, this.#laneCount)
    this.#losses = new Losses(context.directory, backend, logging)
    this.#readiness = new Readiness(context, backend, { logging, losses: this.#losses })
    this.#acceptor = new Acceptor(context, this.mailbox, backend.queue, {
      logging,
      readiness: this.#readiness,
    })
    const turns = new ReadTurns()
    this.#reader = new Reader(context, { logging, holders, turns, drain: this.drainSignal })
    const { laneCount } = backend.queue
    this.#follower = new Follower(context, { logging, holders, readTurns: turns, laneCount })
    const { clock, directory } = context
    this.#deadLetters = new DeadLetters({
      ...{ clock, holders, turns, laneCount: this.#laneCount },
      pagesAtOnce: pagesAtOnce(context.config.maxMessageBytes),
    })
    this.#delivery = new Delivery({ clock, directory, queue: backend.queue, holders })
    this.#redrive = new Redrive({
      ...{ clock: context.clock, logging, laneCount: this.#laneCount },
      holderOf: (lane) => holders.at(holders.entryOf(lane)),
      isOnClusters: backend.cluster !== undefined,
    })
  }

  override status() {
    const clusters = this.#backend.reports()
    return { ...super.status(), handled: this.#acceptor.acceptedCount, missing: this.missing(), clusters }
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
