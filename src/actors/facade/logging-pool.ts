/**
 * The logging actors, as the facade sees them: one call, whichever of them does it. A call that fails goes to
 * the next one, inside the deadline; none ready but one on its way is waited for.
 */

import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry } from '../../runtime/cluster/directory.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import {
  APPEND_ATTEMPT_MS,
  APPEND_PROBE_MS,
  APPEND_RETRY_MS,
  LOG_READ_DEADLINE_MS,
} from '../../runtime/timings.ts'
import type { LaneBatch, Logged, Range, Receipt } from '../../storage/ports.ts'
import type { Logging, Peers } from '../protocol.ts'
import { Balancer } from './balancer.ts'

/** A key that is the log's affair is decided in one place: the unique index of this actor. */
const KEEPER_OF_KEYS = 'logging-1'

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
    const only = batch.key === undefined ? undefined : KEEPER_OF_KEYS
    return this.#call('append', batch.deadlineAt, (logging) => logging.append(batch), only)
  }

  page(range: Range): Promise<Logged[]> {
    return this.#read('page', (logging) => logging.page(range))
  }

  get(id: string): Promise<Logged | undefined> {
    return this.#read('get', (logging) => logging.get(id))
  }

  #read<T>(what: string, call: (logging: Logging) => Promise<T>): Promise<T> {
    return this.#call(what, this.#context.clock.now() + LOG_READ_DEADLINE_MS, call)
  }

  async #call<T>(
    what: string,
    deadlineAt: number,
    call: (logging: Logging) => Promise<T>,
    only?: string,
  ): Promise<T> {
    const { clock, directory } = this.#context
    const beganAt = clock.now()
    const refused = new Set<string>()
    let doubt = false
    let lostCount = 0
    let lastError: MailroomError | undefined
    for (;;) {
      const leftMs = deadlineAt - clock.now()
      if (leftMs <= 0) {
        if (lastError !== undefined && !doubt) throw lastError
        const facts = { what, deadlineMs: deadlineAt - beganAt }
        throw new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: doubt ? 'unknown' : 'none' })
      }
      const actors = directory
        .actors()
        .filter(({ role, name }) => role === 'logging' && (only === undefined || name === only))
      const ready = actors.filter(({ state, address }) => state === 'ready' && address !== null)
      const entry = this.#pick(ready.filter(({ name }) => !refused.has(name)))
      if (entry === undefined) {
        if (lastError !== undefined && ready.length > 0) throw doubt ? inDoubt(lastError) : lastError
        if (!actors.some(({ state }) => state !== 'failed')) throw noneLeft(doubt)
        await clock.sleep(Math.min(leftMs, APPEND_RETRY_MS))
        continue
      }
      try {
        const names = ready.map(({ name }) => name)
        const attemptMs = this.#balancer.isTrial(entry.name, names) ? APPEND_PROBE_MS : APPEND_ATTEMPT_MS
        const logging = this.#peers.logging(entry.address!, Math.min(leftMs, attemptMs))
        return await this.#balancer.track(entry.name, () => call(logging), isTheirFault)
      } catch (error) {
        if (!isMailroomError(error)) throw error
        if (!error.retryable) throw doubt ? inDoubt(error) : error
        lastError = error
        doubt ||= error.outcome === 'unknown'
        // Whoever answered and refused would refuse again; whoever was lost may be back in a moment.
        if (!isTheirFault(error)) refused.add(entry.name)
        else if (++lostCount % ready.length === 0) await clock.sleep(APPEND_RETRY_MS)
      }
    }
  }

  #pick(entries: readonly ActorEntry[]): ActorEntry | undefined {
    const name = this.#balancer.pick(entries.map((entry) => entry.name))
    return entries.find((entry) => entry.name === name)
  }
}

function isTheirFault(error: unknown): boolean {
  return isMailroomError(error, 'MR_PEER_LOST', 'MR_DEADLINE_EXPIRED', 'MR_DRAINING')
}

function inDoubt(error: MailroomError): MailroomError {
  return new MailroomError(error.code, error.details, { outcome: 'unknown', cause: error })
}

function noneLeft(doubt: boolean): MailroomError {
  const facts = { store: 'log', reason: 'no logging actor is running' }
  return new MailroomError('MR_STORE_UNAVAILABLE', facts, { outcome: doubt ? 'unknown' : 'none' })
}
