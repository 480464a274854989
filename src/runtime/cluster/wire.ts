/**
 * The IPC messages between the primary and its workers (JSON; errors in wire form). Users' messages never pass here.
 * A `connection` comes with its handle: a facade passes an idle one on, and the primary sends it to another facade.
 *
 *   worker:  hello ──▶                 prepared ──▶          ready ──▶ status… ──▶          (exit)
 *   primary:          ◀── directory, boot           ◀── begin           ◀── directory…, drain
 *
 * `prepared` and `begin` are for actors that must not run beside their predecessor: not for facades.
 */

import type { WireError } from '../errors.ts'
import type { Snapshot } from '../figures.ts'
import type { Point } from '../history.ts'
import type { KnownCluster, KnownClusters } from '../losses.ts'
import type { MetricsFormat } from '../metrics.ts'
import type { NodeTime } from '../node-time.ts'
import type { Stats } from '../stats.ts'
import type { RuntimeConfig } from './actor-context.ts'
import type { ActorEntry, ActorStatus, Role } from './directory.ts'

/** What a worker needs to boot its actor. */
export interface BootFacts<C extends RuntimeConfig = RuntimeConfig> {
  name: string
  role: Role
  node: string
  config: C
  secret: string
  time: NodeTime
  /** What the node knows of the Hazelcast clusters. */
  known: KnownClusters
}

/** From the primary to a worker. */
export type ToWorker =
  | { kind: 'boot'; facts: BootFacts }
  /** The actor's former process has ended. */
  | { kind: 'begin' }
  /** What has changed in the directory since the last such message; at first, all of it. `warnings` are always all. */
  | { kind: 'directory'; changed: ActorEntry[]; removed: string[]; warnings: string[] }
  /** The node's time, after each change. */
  | { kind: 'time'; time: NodeTime }
  | { kind: 'ping' }
  /** `replaced`: another facade of this node can take the connections of this one. */
  | { kind: 'drain'; replaced: boolean }
  | { kind: 'connection' }
  /** Whether the primary can receive a connection now. */
  | { kind: 'room'; hasRoom: boolean }
  | { kind: 'answer'; id: number; value?: Answers[keyof Answers]; error?: WireError }

/** What a worker may ask for -> what it is answered. */
export interface Answers {
  scale: ActorEntry[]
  restart: ActorEntry[]
  metrics: string
  stats: Stats
  history: Point[]
}

/** From a worker to the primary. */
export type ToPrimary =
  | { kind: 'hello' }
  /** Everything is loaded that can be loaded while the actor's former process still runs. */
  | { kind: 'prepared' }
  | { kind: 'ready'; address: string | null; status: ActorStatus }
  /** The heartbeat, the answer to a ping, or a change of status. */
  | { kind: 'status'; status: ActorStatus }
  /** What the worker knows of the cluster it uses, after each change. */
  | { kind: 'known'; known: KnownCluster }
  | { kind: 'ask'; id: number; what: 'scale'; role: Role; count: number }
  | { kind: 'ask'; id: number; what: 'restart'; role: Role }
  | { kind: 'ask'; id: number; what: 'metrics'; format: MetricsFormat }
  | { kind: 'ask'; id: number; what: 'stats' }
  | { kind: 'ask'; id: number; what: 'history' }
  /** What has changed of the worker's figures, once a second. */
  | { kind: 'figures'; changes: Snapshot }
  /** Asks for `room`, before a connection is sent: a process that may open no more files would lose it. */
  | { kind: 'room' }
  | { kind: 'connection' }
  /** This worker got an end signal. The primary decides what follows. */
  | { kind: 'signalled'; signal: string }
  /** The actor could not boot. */
  | { kind: 'failed'; error: WireError }
