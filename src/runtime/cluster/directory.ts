/**
 * The directory: every actor's name, role, address, state and load. The primary owns it and sends it to its workers.
 * With several nodes, each primary adds the actors that the other nodes report (`nodes/nodes.ts`).
 */

import type { ClusterReport, JournalReport } from '../losses.ts'

/** The role of an actor. */
export type Role = 'facade' | 'logging' | 'messages'

export const ROLES: readonly Role[] = ['facade', 'logging', 'messages']
/** The most actors of one role on a node. */
export const MAX_ACTORS = 64

/** The state of an actor. `failed`: its circuit breaker is open; it is probed every 30 s. */
export type ActorState = 'starting' | 'ready' | 'draining' | 'restarting' | 'failed'

/** What messages are delivered to is away: a URL, or what the handler needs. */
export interface Outage {
  /** For people: the URL without its query, or `the handler`. */
  target: string
  /** ms since 1970 */
  since: number
  /** The last error. */
  why: string
  /** When the target is probed next (ms since 1970); null while delivery is paused: then it is not. */
  nextProbeAt: number | null
}

/** The last attempt to deliver that failed, or met an outage, of one process. */
export interface Failure {
  /** The message. */
  id: string
  /** As `Outage.target`. */
  target: string
  /** ms since 1970 */
  at: number
  error: string
}

/** An actor's status, sent with each heartbeat. */
export interface ActorStatus {
  mailbox: { depth: number; capacity: number; refused: number }
  /** Messages handled since its process started. */
  handled: number
  /** Of a facade: open connections of clients. */
  connections?: number
  /** Of a messages actor: the lanes it holds, with the number of pending messages (also those in hand) of each. */
  lanes?: Record<number, number>
  /** Of a messages actor: how many of these it has in hand. */
  inHand?: number
  /** Of a messages actor: dead letters, and the time (ms since 1970) of its oldest pending message. */
  dead?: number
  oldestAt?: number | null
  /** Of a messages actor: pending messages that wait for another attempt, as of `Depth`; null: none has failed yet. */
  retrying?: number
  lastFailure?: Failure | null
  /** Of a messages actor: null while its target answers. */
  outage?: Outage | null
  /** Of a messages actor: an operator has paused delivery. */
  paused?: boolean
  /** What it lacks to work, human-readable. */
  missing: string[]
  /** Damaged data, human-readable. The actor works without it. */
  damaged?: string[]
  /** Hazelcast backend: what it knows of the cluster it uses. */
  clusters?: ClusterReport[]
  /** Hazelcast backend, of a logging or messages actor: its journal; absent without one. */
  journal?: JournalReport
}

/** One actor in the directory. */
export interface ActorEntry extends ActorStatus {
  /** `<role>-<n>`, n from 1; with several nodes `<role>-<n>@<node>`. */
  name: string
  role: Role
  node: string
  pid: number
  state: ActorState
  restarts: number
  /** `host:port` of its internal server; null while it has none. */
  address: string | null
}

/** Where something listens. */
export interface HostPort {
  /** A name or an address; an IPv6 address without brackets. */
  host: string
  port: number
}

/** `host:port` as it stands in a URL. */
export function addressOf({ host, port }: HostPort): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** A server that listens on one of these is reached by any address of this machine. */
export const EVERY_ADDRESS: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

/** A read-only view of the directory in one process, always current. */
export interface Directory {
  /** All actors of all nodes, by role, node and number. */
  actors(): readonly ActorEntry[]
  /** What is wrong with other nodes, as sentences for people. This node works with it. */
  warnings(): readonly string[]
  /** Calls `listener` after each change. @returns A function that removes the listener. */
  onChange(listener: () => void): () => void
}

/** The name of the n-th actor of a role; with several nodes, give its node's name. */
export function actorName(role: Role, number: number, node?: string): string {
  return node === undefined ? `${role}-${number}` : `${role}-${number}@${node}`
}

/** The n of `<role>-<n>` and of `<role>-<n>@<node>`. */
export function actorNumber(name: string): number {
  const [own = ''] = name.split('@')
  return Number(own.slice(own.lastIndexOf('-') + 1))
}

/** By role, node and number: for sorting. */
export function inOrder(a: ActorEntry, b: ActorEntry): number {
  return (
    ROLES.indexOf(a.role) - ROLES.indexOf(b.role) ||
    // A comparison by language loads the tables of one: not for the actors of one node.
    (a.node === b.node ? 0 : a.node.localeCompare(b.node, 'en', { numeric: true })) ||
    actorNumber(a.name) - actorNumber(b.name)
  )
}

/**
 * Names of the messages actors that share the lanes: ready ones, and crashed ones that restart at once and keep their
 * lanes. Actors that are starting, draining or failed have none.
 */
export function livingMessages(actors: readonly ActorEntry[]): string[] {
  return actors
    .filter(({ role, state }) => role === 'messages' && (state === 'ready' || state === 'restarting'))
    .map(({ name }) => name)
}

/** What ready actors report of the Hazelcast clusters they use. */
export function reportsOf(directory: Directory): ClusterReport[] {
  const ready = directory.actors().filter(({ state }) => state === 'ready')
  return ready.flatMap(({ clusters = [] }) => clusters)
}

/** The journals that ready actors report; one that several reach is reported by each. */
export function journalsOf(directory: { actors(): readonly ActorEntry[] }): JournalReport[] {
  return directory.actors().flatMap(({ state, journal }) => (state === 'ready' && journal ? [journal] : []))
}

/** Tells whether another actor holds a lane, according to the directory. */
export function isHeldElsewhere(own: { directory: Directory; name: string }): (lane: number) => boolean {
  return (lane) => own.directory.actors().some(({ name, lanes = {} }) => name !== own.name && lane in lanes)
}

/**
 * How many connections a facade passes on.
 *
 * @param own Connections of this facade.
 * @param others Connections of each other facade of this node.
 */
export function surplusOf(own: number, others: readonly number[]): number {
  if (others.length === 0) return 0
  const share = [own, ...others].reduce((sum, count) => sum + count, 0) / (others.length + 1)
  return Math.max(own - Math.ceil(share), own > share && own - Math.min(...others) >= 2 ? 1 : 0)
}
