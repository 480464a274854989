/** An actor's place in its node: its directory entry, and the process that fills it for now. */
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
  /** Why its last process could not boot, when trying again cannot help. */
  bootFailure: MailroomError | undefined
  /** False once it is being drained for good. */
  wanted: boolean
}

/** A slot whose process is still to come. */
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

/** Its process is ready: from now on it is the actor. */
export function fill(slot: Slot, process: WorkerProcess): void {
  const { address, status } = process.boot!
  slot.policy.ready()
  slot.bootFailure = undefined
  update(slot, status)
  Object.assign(slot.entry, { pid: process.pid, state: 'ready', address })
}

/** Its process tells how it is. */
export function update({ entry, policy }: Pick<Slot, 'entry' | 'policy'>, status: ActorStatus): void {
  // What an open start of a killed worker proves is known only once its successor holds the lanes.
  if ((status.suspects ?? 0) > 0 && (entry.suspects ?? 0) === 0) policy.forgive()
  Object.assign(entry, status)
}

/**
 * Its process crashed.
 *
 * @param forMessage A message made it end: that does not count against the actor.
 * @returns When to start the next one, and whether that is only a probe.
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
