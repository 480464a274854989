/** The figures as a plain object: what `GET /events` sends once a second, and the dashboard shows. */
import type { ActorEntry, ActorState, Failure, Outage, Role } from './cluster/directory.ts'

/** Durations, cumulative: of all observations so far, how many took at most so long. */
export interface Distribution {
  /** Upper bounds in seconds, ascending, without infinity, and for each how many took at most that long. */
  buckets: [atMostSeconds: number, count: number][]
  count: number
  sumSeconds: number
}

/** What the actors of one node have counted. It never goes down while the node runs. */
export interface Totals {
  /** Messages. */
  accepted: number
  /** Posts, and lines of streams of them. */
  refused: number
  /** Messages that a repeat was answered with. */
  replayed: number
  delivered: number
  /** Calls of the handler, and forwards. */
  attempts: number
  died: number
  accept: Distribution
  delivery: Distribution
}

/** Room of the disk that a node keeps its data on. */
export interface Disk {
  node: string
  dataBytes: number
  freeBytes: number
}

/** Calls of one process, and how long they took in all. */
type Took = Pick<Distribution, 'count' | 'sumSeconds'>

/** One actor of any node. */
export interface ActorStats {
  name: string
  role: Role
  node: string
  state: ActorState
  /** 0 while it has no process. */
  pid: number
  restarts: number
  mailbox: { depth: number; capacity: number; refused: number }
  /** Messages it has handled since its process began. */
  handled: number
  /** How often it has done what it waits for, and how long that took in all: posts, writes to the log, or attempts. Absent before the first. */
  took?: Took
  /** Of a messages actor: as in `Stats`. */
  waiting?: number
  inHand?: number
  dead?: number
  oldestWaitingSeconds?: number
}

/**
 * All nodes at one moment. Counts are cumulative: a reader subtracts two of them for a rate. A count goes down only when
 * a node leaves or begins anew; that is no rate.
 */
export interface Stats extends Totals {
  /** The node's time, ms since 1970. */
  at: number
  /** Messages neither delivered nor dead, those in hand included, and those of them that are in hand. */
  waiting: number
  inHand: number
  /** Age of the oldest message that waits; 0 when none does. */
  oldestWaitingSeconds: number
  /** Of the waiting: those that failed, or met an outage, and wait for another attempt. */
  retrying: number
  /** The last attempt that failed, of those actors that have messages to retry; null when none has. */
  lastFailure: (Failure & { actor: string }) | null
  /** Dead letters that wait for an operator. */
  dead: number
  paused: boolean
  /** Each target once, since when it is away first. */
  outages: Outage[]
  /** What messages are delivered to, as `Outage.target`; none: they are only stored. */
  targets: string[]
  actors: ActorStats[]
  disks: Disk[]
}

/** The figures of a node as another one gets them. */
export interface NodeTotals {
  totals: Totals
  disk: Disk | null
  /** As `Stats.targets`. A node of an older version does not say. */
  target?: string | undefined
  /** By name of actor. */
  took?: Record<string, Took>
}

/**
 * Puts the figures of all nodes together, each node once.
 *
 * @param now The node's time, ms since 1970.
 */
export function statsOf(nodes: readonly NodeTotals[], actors: readonly ActorEntry[], now: number): Stats {
  const took = Object.assign({}, ...nodes.map((node) => node.took)) as Record<string, Took>
  const rows = actors.map((actor) => rowOf(actor, now, took[actor.name]))
  const sum = (pick: (row: ActorStats) => number | undefined) =>
    rows.reduce((all, row) => all + (pick(row) ?? 0), 0)
  return {
    at: now,
    ...nodes.map(({ totals }) => totals).reduce(added),
    waiting: sum(({ waiting }) => waiting),
    inHand: sum(({ inHand }) => inHand),
    oldestWaitingSeconds: Math.max(0, ...rows.map(({ oldestWaitingSeconds = 0 }) => oldestWaitingSeconds)),
    retrying: actors.reduce((all, { retrying = 0 }) => all + retrying, 0),
    lastFailure: lastFailureOf(actors),
    dead: sum(({ dead }) => dead),
    paused: actors.some(({ paused }) => paused),
    outages: outagesOf(actors),
    targets: [...new Set(nodes.flatMap(({ target }) => target ?? []))],
    actors: rows,
    disks: nodes.flatMap(({ disk }) => disk ?? []),
  }
}

/**
 * The duration that a part of the observations did not exceed, linear within a bucket.
 *
 * @param part From 0 to 1: 0.99 for the 99th percentile.
 * @param before Leave out what this has: of two moments, the observations in between.
 * @returns Seconds, at most the highest bound; undefined when there were no observations.
 */
export function quantileOf(part: number, now: Distribution, before?: Distribution): number | undefined {
  const isSince = before !== undefined && before.count <= now.count
  const countAt = (index: number) =>
    (now.buckets[index]?.[1] ?? now.count) - (isSince ? (before.buckets[index]?.[1] ?? before.count) : 0)
  const all = countAt(now.buckets.length)
  if (all === 0) return undefined
  const rank = part * all
  const index = now.buckets.findIndex((_, at) => countAt(at) >= rank)
  if (index === -1) return now.buckets.at(-1)?.[0]
  const low = index === 0 ? 0 : now.buckets[index - 1]![0]
  const below = index === 0 ? 0 : countAt(index - 1)
  const within = countAt(index) - below
  return low + (now.buckets[index]![0] - low) * (within === 0 ? 1 : (rank - below) / within)
}

/** What is away, each target once: of actors that say so, the first. */
export function outagesOf(actors: readonly Pick<ActorEntry, 'outage'>[]): Outage[] {
  const byTarget = new Map<string, Outage>()
  for (const { outage } of actors) {
    if (outage == null) continue
    const known = byTarget.get(outage.target) ?? outage
    const probes = [known, outage].flatMap(({ nextProbeAt }) => nextProbeAt ?? [])
    const nextProbeAt = probes.length === 0 ? null : Math.min(...probes)
    byTarget.set(outage.target, { ...(outage.since < known.since ? outage : known), nextProbeAt })
  }
  return [...byTarget.values()]
}

/** Messages of an actor that wait, those in hand included. */
export function waitingOf({ lanes = {} }: Pick<ActorEntry, 'lanes'>): number {
  return Object.values(lanes).reduce((sum, count) => sum + count, 0)
}

/** Age in seconds of an actor's oldest message that waits; 0 when none does. */
export function oldestAgeOf({ oldestAt }: Pick<ActorEntry, 'oldestAt'>, now: number): number {
  return oldestAt == null ? 0 : Math.max(0, now - oldestAt) / 1000
}

function lastFailureOf(actors: readonly ActorEntry[]): Stats['lastFailure'] {
  const all = actors.flatMap(({ name, retrying, lastFailure }) =>
    retrying && lastFailure ? { actor: name, ...lastFailure } : [],
  )
  return all.reduce<Stats['lastFailure']>((last, one) => (last && last.at >= one.at ? last : one), null)
}

function rowOf(actor: ActorEntry, now: number, took: Took | undefined): ActorStats {
  const { name, role, node, state, pid, restarts, handled, inHand = 0, dead = 0 } = actor
  const { depth, capacity, refused } = actor.mailbox
  const row = {
    ...{ name, role, node, state, pid, restarts, mailbox: { depth, capacity, refused }, handled },
    ...(took && { took }),
  }
  if (role !== 'messages') return row
  return { ...row, waiting: waitingOf(actor), inHand, dead, oldestWaitingSeconds: oldestAgeOf(actor, now) }
}

function added(one: Totals, other: Totals): Totals {
  return {
    accepted: one.accepted + other.accepted,
    refused: one.refused + other.refused,
    replayed: one.replayed + other.replayed,
    delivered: one.delivered + other.delivered,
    attempts: one.attempts + other.attempts,
    died: one.died + other.died,
    accept: joined(one.accept, other.accept),
    delivery: joined(one.delivery, other.delivery),
  }
}

function joined(one: Distribution, other: Distribution): Distribution {
  return {
    buckets: one.buckets.map(([atMost, count], index) => [atMost, count + (other.buckets[index]?.[1] ?? 0)]),
    count: one.count + other.count,
    sumSeconds: one.sumSeconds + other.sumSeconds,
  }
}
