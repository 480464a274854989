/**
 * What a worker hands to the actor it boots, and what it wants back: the seam between the runtime, which
 * knows no actor, and the catalog of actors it is given.
 */

import type { Config } from '../../settings/config.ts'
import type { Clock, Random } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { ActorEntry, ActorStatus, Directory, Role } from './directory.ts'

/** The config of a running system: its lane count is known. JSON-safe: it crosses IPC. */
export type Settled = Config & { lanes: number }

/** Everything an actor gets from outside itself. */
export interface World {
  name: string
  role: Role
  node: string
  /** With the lane count settled by the data directory. */
  config: Settled
  /** Proves to another actor's server that the caller is of this system; new at every start. */
  secret: string
  clock: Clock
  random: Random
  logger: Logger
  directory: Directory
  /** Asks the primary to run `count` actors of a role; the new list when that is so. */
  scale(role: Role, count: number): Promise<readonly ActorEntry[]>
  /** Asks the primary to restart a role's actors one by one. */
  restart(role: Role): Promise<readonly ActorEntry[]>
  /** Tells the primary this actor's status now, not only with the next heartbeat. */
  changed(): void
  /** Ends this process because of a bug or a lost resource; its supervisor starts it anew. Never returns. */
  fail(error: unknown): never
  /** As `fail`, because of what a message's handler does: it does not count against this actor. Never returns. */
  failForMessage(error: unknown): never
}

/** A booted actor, as the worker sees it. */
export interface Hosted {
  /** `host:port` of its internal server; null when it has none. */
  address: string | null
  status(): ActorStatus
  /** Finishes what was admitted, gives back what it holds, closes its servers. Idempotent. */
  drain(): Promise<void>
}

/** How to boot an actor of each role. */
export type Catalog = Record<Role, (world: World) => Promise<Hosted>>
