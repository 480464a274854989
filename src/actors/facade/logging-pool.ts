/**
 * The logging actors, as one: a call goes to any of them. When it fails there, it fails over to another, within its
 * deadline. While none is ready but one is starting, the call waits.
 */
import type { Clock, Random } from '../../runtime/clock.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry } from '../../runtime/cluster/directory.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import {
  APPEND_ATTEMPT_MS,
  APPEND_PROBE_MS,
  APPEND_RETRY_MS,
  LOG_READ_DEADLINE_MS,
  PASS_OVER_MAX_MS,
  PASS_OVER_MS,
} from '../../runtime/timings.ts'
import type { LaneBatch, Logged, Range, Receipt } from '../../storage/ports.ts'
import type { Logging, Peers } from '../protocol.ts'

/** Embedded backend: the unique index over idempotency keys is in the file of this one actor. */
const KEY_ACTOR = 'logging-1'

/** Any logging actor, with failover. */
export class LoggingPool {
  readonly #context: ActorContext
  readonly #peers: Peers
  readonly #balancer: Balancer

  constructor(context: ActorContext, peers: Peers) {
    this.#context = context
    this.#peers = peers
    this.#balancer = new Balancer(context.clock, context.random)
  }

  /** @throws {MailroomError} outcome `none` only when no attempt can have stored the batch, now or later. */
  append(batch: LaneBatch): Promise<Receipt[]> {
    const only = batch.key === undefined ? undefined : KEY_ACTOR
    return this.#call('append', batch.deadlineAt, (logging, leftMs) => logging.append(batch, leftMs), only)
  }

  page(range: Range): Promise<Logged[]> {
    return this.#read('page', (logging) => logging.page(range))
  }

  get(id: string): Promise<Logged | undefined> {
    return this.#read('get', (logging) => logging.get(id))
  }

  #read<T>(what: string, call: (logging: Logging) => Promise<T>): Promise<T> {
    return this.#call(what, this.#context.clock.monotonic() + LOG_READ_DEADLINE_MS, call)
  }

  async #call<T>(
    what: string,
    deadlineAt: number,
    call: (logging: Logging, leftMs: number | null) => Promise<T>,
    only?: string,
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
      const ready = actors.filter(({ state, address }) => state === 'ready' && address !== null)
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
        const attemptMs = this.#balancer.isProbe(entry.name, names) ? APPEND_PROBE_MS : APPEND_ATTEMPT_MS
        // Another node's monotonic clock has another fixed point.
        const isElsewhere = entry.node !== this.#context.node
        const logging = this.#peers.logging(entry.address!, Math.min(leftMs, attemptMs))
        return await this.#balancer.track(
          entry.name,
          () => call(logging, isElsewhere ? leftMs : null),
          isUnreachable,
        )
      } catch (error) {
        if (!isMailroomError(error)) throw error
        if (!error.retryable) throw mayBeStored ? withUnknownOutcome(error) : error
        lastError = error
        mayBeStored ||= error.outcome === 'unknown'
        // An actor that refused would refuse again. One that was unreachable may be back after a pause.
        if (!isUnreachable(error)) refusedBy.add(entry.name)
        else if (++unreachableCount % ready.length === 0) await clock.sleep(APPEND_RETRY_MS)
      }
    }
  }

  #pick(entries: readonly ActorEntry[]): ActorEntry | undefined {
    const name = this.#balancer.pick(entries.map((entry) => entry.name))
    return entries.find((entry) => entry.name === name)
  }
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
}

/**
 * Chooses the less busy of two random actors. An actor that failed is passed over, twice as long with each further
 * failure; after that, one call at a time probes it until one succeeds.
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
    const first = Math.floor(this.#random() * from.length)
    const second = (first + 1 + Math.floor(this.#random() * (from.length - 1))) % from.length
    const [a, b] = [from[first]!, from[second]!]
    return this.#of(a).inFlight <= this.#of(b).inFlight ? a : b
  }

  /** Counts a call to an actor. A failure that is the actor's (`isFailure`) makes it passed over. */
  async track<T>(name: string, call: () => Promise<T>, isFailure: (error: unknown) => boolean): Promise<T> {
    const health = this.#of(name)
    health.inFlight++
    try {
      const value = await call()
      health.failures = 0
      health.passOverUntil = 0
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
      health = { inFlight: 0, failures: 0, passOverUntil: 0 }
      this.#healths.set(name, health)
    }
    return health
  }
}
