/**
 * The logging actors, as one: a call goes to any of them. When it fails there, it fails over to another, within its
 * deadline. While none is ready but one is starting, the call waits.
 */
import type { Clock, Random } from '../../runtime/clock.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry } from '../../runtime/cluster/directory.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import type { Loss } from '../../runtime/losses.ts'
import {
  APPEND_ATTEMPT_MS,
  APPEND_MIB_MS,
  APPEND_PROBE_MS,
  APPEND_RETRY_MS,
  LOG_READ_DEADLINE_MS,
  LOGGING_PROBE_MS,
  PASS_OVER_MAX_MS,
  PASS_OVER_MS,
} from '../../runtime/timings.ts'
import {
  type ClusterState,
  type LaneBatch,
  type Logged,
  type LogPosition,
  type Range,
  type Receipt,
  type Stored,
  textBytesOf,
} from '../../storage/ports.ts'
import type { LogFound, LoggedPart, Logging, LogSearch, Peers } from '../protocol.ts'

/** Embedded backend: the unique index over idempotency keys is in the file of this one actor. */
const KEY_ACTOR = 'logging-1'
const MiB = 1024 * 1024

/** Whether a logging actor can append now. */
export interface LoggingAbility {
  isAble: boolean
  /** None is able, but one may be within the time of a post: it starts, or did not answer its last call. */
  mayCome: boolean
  /** Why logging actors are not able, by name, as sentences for people. */
  troubles: string[]
}

/** Any logging actor, with failover. */
export class LoggingPool {
  readonly #context: ActorContext
  readonly #peers: Peers
  readonly #balancer: Balancer
  /** Actors of which no call has been answered since one was not. */
  readonly #silent = new Set<string>()
  #isProbing = false

  constructor(context: ActorContext, peers: Peers) {
    this.#context = context
    this.#peers = peers
    this.#balancer = new Balancer(context.clock, context.random)
  }

  /** @throws {MailroomError} outcome `none` only when no attempt can have stored the batch, now or later. */
  append(batch: LaneBatch): Promise<Receipt[]> {
    const only = batch.key === undefined ? undefined : KEY_ACTOR
    const extraMs = Math.floor(textBytesOf(batch.messages) / MiB) * APPEND_MIB_MS
    const append = (logging: Logging, leftMs: number | null) => logging.append(batch, leftMs)
    return this.#call('append', batch.deadlineAt, append, { only, extraMs })
  }

  /** From the directory, and from what became of this process's calls. */
  ability(): LoggingAbility {
    const ability: LoggingAbility = { isAble: false, mayCome: false, troubles: [] }
    for (const { name, role, state, missing } of this.#context.directory.actors()) {
      if (role !== 'logging') continue
      if (state !== 'ready') {
        ability.mayCome ||= state !== 'failed'
        const what = state === 'failed' ? 'it keeps crashing' : state
        ability.troubles.push(`${name}: ${[what, ...missing].join(', ')}`)
      } else if (missing.length > 0) {
        ability.troubles.push(`${name}: ${missing.join(', ')}`)
      } else if (this.#silent.has(name)) {
        ability.mayCome = true
        ability.troubles.push(`${name}: it did not answer its last call`)
      } else {
        ability.isAble = true
      }
    }
    return ability
  }

  page(range: Range): Promise<Logged[]> {
    return this.#read('page', (logging) => logging.page(range))
  }

  get(id: string): Promise<Logged | undefined> {
    return this.#read('get', (logging) => logging.get(id))
  }

  search(range: Range, search: LogSearch): Promise<LogFound> {
    return this.#read('search', (logging) => logging.search(range, search))
  }

  /** As `Logging.follow`. */
  follow(position: LogPosition, limit: number): Promise<LoggedPart> {
    return this.#read('follow', (logging) => logging.follow(position, limit))
  }

  /** As `Log.restore`. */
  restore(lane: number, messages: readonly Stored[]): Promise<string[]> {
    return this.#read('restore', (logging) => logging.restore(lane, messages))
  }

  cluster(): Promise<ClusterState | null> {
    return this.#read('cluster', (logging) => logging.cluster())
  }

  /** As `Logging.confirmLosses`. */
  confirmLosses(losses: readonly Loss[]): Promise<void> {
    return this.#read('confirmLosses', (logging) => logging.confirmLosses(losses))
  }

  #read<T>(what: string, call: (logging: Logging) => Promise<T>): Promise<T> {
    return this.#call(what, this.#context.clock.monotonic() + LOG_READ_DEADLINE_MS, call)
  }

  async #call<T>(
    what: string,
    deadlineAt: number,
    call: (logging: Logging, leftMs: number | null) => Promise<T>,
    { only, extraMs = 0 }: { only?: string | undefined; extraMs?: number } = {},
  ): Promise<T> {
    const { clock, directory } = this.#context
    const beganAt = clock.monotonic()
    const refusedBy = new Set<string>()
    let mayBeStored = false
    let unreachableCount = 0
    let lastError: MailroomError | undefined
    for (;;) {
      const leftMs = deadlineAt - clock.monotonic()
      if (leftMs <= 0) {
        if (lastError !== undefined && !mayBeStored) throw lastError
        const facts = { what, deadlineMs: deadlineAt - beganAt }
        throw new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: mayBeStored ? 'unknown' : 'none' })
      }
      const actors = directory
        .actors()
        .filter(({ role, name }) => role === 'logging' && (only === undefined || name === only))
      const ready = readyLogging(actors)
      const entry = this.#pick(ready.filter(({ name }) => !refusedBy.has(name)))
      if (entry === undefined) {
        if (lastError !== undefined && ready.length > 0)
          throw mayBeStored ? withUnknownOutcome(lastError) : lastError
        if (!actors.some(({ state }) => state !== 'failed')) throw noLoggingActor(mayBeStored)
        await clock.sleep(Math.min(leftMs, APPEND_RETRY_MS))
        continue
      }
      try {
        const names = ready.map(({ name }) => name)
        const isProbe = this.#balancer.isProbe(entry.name, names)
        const attemptMs = extraMs + (isProbe ? APPEND_PROBE_MS : APPEND_ATTEMPT_MS)
        // Another node's monotonic clock has another fixed point.
        const isElsewhere = entry.node !== this.#context.node
        const logging = this.#peers.logging(entry.address!, Math.min(leftMs, attemptMs))
        const value = await this.#balancer.track(
          entry.name,
          () => call(logging, isElsewhere ? leftMs : null),
          isUnreachable,
        )
        this.#silent.delete(entry.name)
        return value
      } catch (error) {
        if (!isMailroomError(error)) throw error
        if (!error.retryable) throw mayBeStored ? withUnknownOutcome(error) : error
        lastError = error
        if (isUnreachable(error)) {
          this.#silent.add(entry.name)
          void this.#probe(ready)
        }
        mayBeStored ||= error.outcome === 'unknown'
        // An actor that refused would refuse again. One that was unreachable may be back after a pause.
        if (!isUnreachable(error)) refusedBy.add(entry.name)
        else if (++unreachableCount % ready.length === 0) await clock.sleep(APPEND_RETRY_MS)
      }
    }
  }

  /** After a call without answer: reads from all ready actors at once, then from the silent ones until they answer. */
  async #probe(ready: readonly ActorEntry[]): Promise<void> {
    if (this.#isProbing) return
    this.#isProbing = true
    const { clock, directory } = this.#context
    for (let asked = ready; asked.length > 0; ) {
      const probes = asked.map(async ({ name, address }) => {
        try {
          await this.#peers.logging(address!, LOGGING_PROBE_MS).page({ limit: 1 })
          this.#silent.delete(name)
        } catch (error) {
          if (!isMailroomError(error)) throw error
          if (isUnreachable(error) || error.code === 'MR_STORE_UNAVAILABLE') this.#silent.add(name)
          else this.#silent.delete(name)
        }
      })
      await Promise.all([...probes, clock.sleep(LOGGING_PROBE_MS)])
      asked = readyLogging(directory.actors()).filter(({ name }) => this.#silent.has(name))
    }
    this.#silent.clear()
    this.#isProbing = false
  }

  #pick(entries: readonly ActorEntry[]): ActorEntry | undefined {
    const name = this.#balancer.pick(entries.map((entry) => entry.name))
    return entries.find((entry) => entry.name === name)
  }
}

function readyLogging(actors: readonly ActorEntry[]): ActorEntry[] {
  return actors.filter(
    ({ role, state, address }) => role === 'logging' && state === 'ready' && address !== null,
  )
}

function isUnreachable(error: unknown): boolean {
  return isMailroomError(error, 'MR_PEER_LOST', 'MR_DEADLINE_EXPIRED', 'MR_DRAINING')
}

function withUnknownOutcome(error: MailroomError): MailroomError {
  return new MailroomError(error.code, error.details, { outcome: 'unknown', cause: error })
}

function noLoggingActor(mayBeStored: boolean): MailroomError {
  const facts = { store: 'log', reason: 'no logging actor is running' }
  return new MailroomError('MR_STORE_UNAVAILABLE', facts, { outcome: mayBeStored ? 'unknown' : 'none' })
}

/** The calls of this process to one actor. */
interface Health {
  inFlight: number
  /** Failures since the last success; calls that were in flight together and failed together count once. */
  failures: number
  passOverUntil: number
  /** The lower, the more it is preferred. */
  rank: number
  /** What its last calls took; undefined before the first has ended. */
  averageMs: number | undefined
}

/** One of so many picks is of any idle actor, not of the preferred one: so that we know how fast the others are. */
const PICKS_A_TRIAL = 32
/** The share of the last call in the average of an actor. */
const LAST_SHARE = 1 / 8
/** An actor that takes more than this, and so many times as long as the fastest, is slow. */
const SLOW_MS = 5
const SLOW_FACTOR = 3

/**
 * Chooses an actor with the fewest calls of this process under way, of those one that is not slow, and of those the
 * preferred one. Each process draws its order of preference at random. While posts come one after another, they all go to
 * one actor: its code stays in the processor's caches, and the others sleep. An actor that failed is passed over, twice as
 * long with each further failure; after that, one call at a time probes it until one succeeds.
 */
export class Balancer {
  readonly #clock: Clock
  readonly #random: Random
  readonly #healths = new Map<string, Health>()

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  /** One of `names`; one that is passed over only when all are. Undefined when `names` is empty. */
  pick(names: readonly string[]): string | undefined {
    const available = names.filter((name) => this.#isAvailable(name))
    const from = available.length > 0 ? available : names
    if (from.length <= 1) return from[0]
    const fewest = Math.min(...from.map((name) => this.#of(name).inFlight))
    const idle = from.filter((name) => this.#of(name).inFlight === fewest)
    const chance = this.#random() * PICKS_A_TRIAL
    if (chance < 1) return idle[Math.floor(chance * idle.length)]
    const averages = from.map((name) => this.#of(name).averageMs ?? Number.POSITIVE_INFINITY)
    const slowMs = Math.max(SLOW_MS, SLOW_FACTOR * Math.min(...averages))
    const well = idle.filter((name) => (this.#of(name).averageMs ?? 0) <= slowMs)
    const [preferred] = (well.length > 0 ? well : idle).sort((a, b) => this.#of(a).rank - this.#of(b).rank)
    return preferred
  }

  /** Counts a call to an actor. A failure that is the actor's (`isFailure`) makes it passed over. */
  async track<T>(name: string, call: () => Promise<T>, isFailure: (error: unknown) => boolean): Promise<T> {
    const health = this.#of(name)
    const beganAt = this.#clock.monotonic()
    health.inFlight++
    try {
      const value = await call()
      health.failures = 0
      health.passOverUntil = 0
      const ms = this.#clock.monotonic() - beganAt
      health.averageMs = (health.averageMs ?? ms) * (1 - LAST_SHARE) + ms * LAST_SHARE
      return value
    } catch (error) {
      const now = this.#clock.monotonic()
      if (isFailure(error) && now >= health.passOverUntil) {
        health.passOverUntil = now + Math.min(PASS_OVER_MAX_MS, PASS_OVER_MS * 2 ** health.failures++)
      }
      throw error
    } finally {
      health.inFlight--
    }
  }

  /** True when a call to `name` would probe it after a failure, while one of the `others` has not failed. */
  isProbe(name: string, others: readonly string[]): boolean {
    return this.#of(name).failures > 0 && others.some((other) => this.#of(other).failures === 0)
  }

  #isAvailable(name: string): boolean {
    const { failures, passOverUntil, inFlight } = this.#of(name)
    if (failures === 0) return true
    return this.#clock.monotonic() >= passOverUntil && inFlight === 0
  }

  #of(name: string): Health {
    let health = this.#healths.get(name)
    if (health === undefined) {
      health = { inFlight: 0, failures: 0, passOverUntil: 0, rank: this.#random(), averageMs: undefined }
      this.#healths.set(name, health)
    }
    return health
  }
}
