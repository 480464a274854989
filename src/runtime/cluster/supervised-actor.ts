/** One actor as its supervisor keeps it: its directory entry and the process that runs it now. */
import type { Cancel } from '../clock.ts'
import { isMailroomError, type MailroomError } from '../errors.ts'
import type { ActorEntry, ActorStatus } from './directory.ts'
import type { RestartPolicy } from './restart-policy.ts'
import type { WorkerEnd, WorkerProcess } from './worker-process.ts'

export class SupervisedActor {
  readonly entry: ActorEntry
  readonly policy: RestartPolicy
  process: WorkerProcess | undefined
  cancelRestart: Cancel | undefined
  /** Why its last process could not boot, when a retry cannot help. */
  bootFailure: MailroomError | undefined
  /** How its last process ended; undefined before the first has. */
  lastEnd: string | undefined
  /** False once the actor is to be removed. */
  wanted = true

  constructor(
    names: Pick<ActorEntry, 'name' | 'role' | 'node'>,
    mailboxCapacity: number,
    policy: RestartPolicy,
  ) {
    this.policy = policy
    this.entry = {
      ...{ ...names, pid: 0, state: 'starting', restarts: 0, address: null, handled: 0, missing: [] },
      mailbox: { depth: 0, capacity: mailboxCapacity, refused: 0 },
    }
  }

  /** `process` is ready and runs the actor from now on. */
  ready(process: WorkerProcess): void {
    const { address, status } = process.boot!
    this.policy.ready()
    applyStatus(this, status)
    Object.assign(this.entry, { pid: process.pid, state: 'ready', address })
  }

  /**
   * The process has crashed, or could not be started.
   *
   * @returns When to restart, and whether the circuit breaker is open.
   */
  crashed({ how, failure, neverStarted }: WorkerEnd): { delayMs: number; failed: boolean } {
    const { entry } = this
    this.process = undefined
    this.lastEnd = how
    if (failure !== undefined && !failure.retryable && !isMailroomError(failure, 'MR_INTERNAL')) {
      this.bootFailure = failure
    }
    const { delayMs, failed } = neverStarted ? this.policy.forkFailed() : this.policy.crashed()
    Object.assign(entry, {
      ...{ state: failed ? 'failed' : 'restarting', pid: 0, address: null },
      missing: neverStarted ? [`its process ${how}`] : [],
      ...{ damaged: [], restarts: entry.restarts + 1 },
      mailbox: { ...entry.mailbox, depth: 0 },
    })
    delete entry.lanes
    return { delayMs, failed }
  }
}

/** Takes a new status of an actor. @returns False when it changes nothing. */
export function applyStatus({ entry }: Pick<SupervisedActor, 'entry'>, status: ActorStatus): boolean {
  const before = JSON.stringify(entry)
  Object.assign(entry, status)
  return JSON.stringify(entry) !== before
}
