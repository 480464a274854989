/**
 * What a worker hands to the actor it boots, and what it gets back. The runtime knows no actor: it is given a
 * catalog of boot functions.
 */
import type { Socket } from 'node:net'
import type { Random } from '../clock.ts'
import type { Figures } from '../figures.ts'
import type { Point } from '../history.ts'
import type { Logger } from '../logger.ts'
import type { KnownCluster, KnownClusters } from '../losses.ts'
import type { MetricsFormat } from '../metrics.ts'
import type { NodeClock } from '../node-time.ts'
import type { Stats } from '../stats.ts'
import type { ActorEntry, ActorStatus, Directory, Role } from './directory.ts'

/** The settings that the runtime, or every actor, reads. A node's whole configuration has more; it crosses IPC as JSON. */
export interface RuntimeConfig {
  /** Actors of each role on this node; 0: other nodes have them. */
  counts: Record<Role, number>
  /** Messages that one mailbox admits. */
  mailboxCapacity: number
  /** The most bytes of a message's text. */
  maxMessageBytes: number
  logLevel: string
}

/** Everything an actor gets from outside itself. */
export interface ActorContext<C extends RuntimeConfig = RuntimeConfig> {
  name: string
  role: Role
  node: string
  config: C
  /** Proves to another actor's server that the caller belongs to this system. */
  secret: string
  clock: NodeClock
  random: Random
  logger: Logger
  directory: Directory
  /** Counts what this process does. */
  figures: Figures
  /** What the node knew of the Hazelcast clusters when this process began. */
  known: KnownClusters
  /** Has the primary remember what this process knows of a cluster, over restarts. */
  remember(known: KnownCluster): void
  /** Asks the primary to run `count` actors of a role; resolves with the new list when they run. */
  scale(role: Role, count: number): Promise<readonly ActorEntry[]>
  /** Asks the primary to restart a role's actors one by one. */
  restart(role: Role): Promise<readonly ActorEntry[]>
  /** The figures of this node, as `GET /metrics` answers. A round trip to the primary, which asks no worker. */
  metrics(format: MetricsFormat): Promise<string>
  /** The figures of all nodes. As `metrics`; ask once a second at most. */
  stats(): Promise<Stats>
  /** The figures of the last `HISTORY_MS`, a point a second, oldest first. As `metrics`. */
  history(): Promise<Point[]>
  /** Sends this actor's status to the primary now instead of with the next heartbeat. */
  changed(): void
  /**
   * Passes an idle connection on: to another facade of this node, or back to `adopt` when there is none. Resolves to
   * false when it stays here, because the primary can open no more files.
   */
  passOn(connection: Socket): Promise<boolean>
  /** Ends this process because of a bug or a lost resource; its supervisor starts it anew. Never returns. */
  fail(error: unknown): never
}

/** A booted actor, as the worker process sees it. */
export interface BootedActor {
  /** `host:port` of its internal server; null when it has none. */
  address: string | null
  status(): ActorStatus
  /**
   * Finishes what was admitted, releases what it holds, closes its servers. Idempotent.
   *
   * @param replaced Another facade of this node can take the connections.
   */
  drain(replaced: boolean): Promise<void>
  /** Takes over a connection that another facade passed on. */
  adopt?(connection: Socket): void
}

/**
 * How to boot an actor of each role. What fails before `predecessorEnded` is called costs nothing: the former process
 * of the actor still runs. Every role but the facade awaits it before it touches what both would hold.
 */
export type Catalog<C extends RuntimeConfig> = Record<
  Role,
  (context: ActorContext<C>, predecessorEnded: () => Promise<void>) => Promise<BootedActor>
>
