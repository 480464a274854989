/**
 * The directory: who is where. The primary owns it and sends it to its workers; an actor reads it.
 * Where there are several nodes, each primary adds what the others tell of theirs (`nodes.ts`).
 */

/** What an actor does. */
export type Role = 'facade' | 'logging' | 'messages'

export const ROLES: readonly Role[] = ['facade', 'logging', 'messages']

/** An actor's life. `failed`: it crashed too often; one probe every 30 s. */
export type ActorState = 'starting' | 'ready' | 'draining' | 'restarting' | 'failed'

/** What an actor tells of itself with each heartbeat. */
export interface ActorStatus {
  mailbox: { depth: number; capacity: number; refused: number }
  /** Messages handled since its process began. */
  handled: number
  /** Of a messages actor: the lanes it holds, and messages waiting and in hand in each. */
  lanes?: Record<number, number>
  /** Of a messages actor: dead letters, and the instant (ms) of its oldest unsettled message. */
  dead?: number
  oldestAt?: number | null
  /** Of a messages actor: starts it found left open: their messages, not it, ended its last process. */
  suspects?: number
  /** What it lacks to do its work, in words for people. */
  missing: string[]
  /** What of its data is damaged, in words for people; it works without. */
  damaged?: string[]
}

/** One actor in the directory. */
export interface ActorEntry extends ActorStatus {
  /** `<role>-<n>`, n from 1; `<role>-<n>@<node>` where there are several nodes. */
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

/** A read-only, always current view of the directory within one process. */
export interface Directory {
  /** All actors of all nodes, by role, node and number. */
  actors(): readonly ActorEntry[]
  /** Calls `listener` after each change; returns the way to stop it. */
  onChange(listener: () => void): () => void
}

/** The name of the n-th actor of a role; of one node among several, when that is named. */
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
    a.node.localeCompare(b.node, 'en', { numeric: true }) ||
    actorNumber(a.name) - actorNumber(b.name)
  )
}

/**
 * The messages actors among which the lanes are dealt: all but those that are leaving, have not begun yet, or
 * have failed for good. One that crashed and comes back at once keeps its lanes.
 */
export function livingMessages(actors: readonly ActorEntry[]): string[] {
  return actors
    .filter(({ role, state }) => role === 'messages' && (state === 'ready' || state === 'restarting'))
    .map(({ name }) => name)
}

/** Says of a lane whether another than the actor of this name holds it, as far as the directory knows. */
export function isHeldElsewhere(own: { directory: Directory; name: string }): (lane: number) => boolean {
  return (lane) => own.directory.actors().some(({ name, lanes = {} }) => name !== own.name && lane in lanes)
}
