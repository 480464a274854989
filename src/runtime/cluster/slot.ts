/** An actor's slot in its node: its directory entry, and the process that runs the actor now. */
import type { Cancel } from '../clock.ts'
import type { MailroomError } from '../errors.ts'
import type { ActorEntry, ActorStatus } from './directory.ts'
import type { RestartPolicy } from './restart-policy.ts'
import type { WorkerProcess } from './worker-process.ts'

/** One actor, its entry and its process. */
export interface Slot {
  readonly entry: ActorEntry
  readonly policy: RestartPolicy
  process: WorkerProcess | undefined
  cancelRestart: Cancel | undefined
  /** Why its last process could not boot, when a retry cannot help. */
  bootFailure: MailroomError | undefined
  /** False once the actor is to be removed. */
  wanted: boolean
}

/** A slot without a process. */
export function emptySlot(
  { name, role, node }: Pick<ActorEntry, 'name' | 'role' | 'node'>,
  capacity: number,
  policy: RestartPolicy,
): Slot {
  const entry: ActorEntry = {
    ...{ name, role, node, pid: 0, state: 'starting', restarts: 0 },
    ...{ address: null, handled: 0, missing: [] },
    mailbox: { depth: 0, capacity, refused: 0 },
  }
  const process = undefined
  return { entry, policy, process, cancelRestart: undefined, bootFailure: undefined, wanted: true }
}

/** The process is ready and runs the actor from now on. */
export function fill(slot: Slot, process: WorkerProcess): void {
  const { address, status } = process.boot!
  slot.policy.ready()
  slot.bootFailure = undefined
  update(slot, status)
  Object.assign(slot.entry, { pid: process.pid, state: 'ready', address })
}

/** Takes a new status of the slot's process. */
export function update({ entry, policy }: Pick<Slot, 'entry' | 'policy'>, status: ActorStatus): void {
  // Whether a message killed the last process is known only once the next process holds the lanes.
  if ((status.suspects ?? 0) > 0 && (entry.suspects ?? 0) === 0) policy.forgive()
  Object.assign(entry, status)
}

/**
 * Empties the slot after a crash.
 *
 * @param forMessage A message caused the crash, so it does not count against the actor.
 * @returns When to restart, and whether the circuit breaker is open.
 */
export function vacate(slot: Slot, forMessage: boolean): { delayMs: number; failed: boolean } {
  const { entry } = slot
  slot.process = undefined
  const { delayMs, failed } = slot.policy.crashed(forMessage)
  Object.assign(entry, {
    ...{ state: failed ? 'failed' : 'restarting', pid: 0, address: null },
    ...{ missing: [], damaged: [], suspects: 0, restarts: entry.restarts + 1 },
    mailbox: { ...entry.mailbox, depth: 0 },
  })
  delete entry.lanes
  return { delayMs, failed }
}
