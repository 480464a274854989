/** The directory of one node as JSON for other nodes, and the entries they make of it. */
import { type ActorEntry, actorName, actorNumber, addressOf } from '../runtime/cluster/directory.ts'
import type { NodeTotals } from '../runtime/stats.ts'

/** An actor as its node reports it. Its internal server has the node's address and this port. */
type ReportedActor = Omit<ActorEntry, 'address'> & { port: number | null }

/** The answer of `GET /directory`. */
export interface NodeDirectory {
  node: string
  /** Random, new at every start of the node. It tells two nodes of one name apart. */
  startId: string
  /** The node's clock when it answered, ms since 1970. */
  now: number
  actors: ReportedActor[]
  /** What its actors have counted. A node of an older version does not say. */
  figures?: NodeTotals | undefined
}

/** Makes the directory that a node reports. */
export function nodeDirectory(
  self: Omit<NodeDirectory, 'actors'>,
  actors: readonly ActorEntry[],
): NodeDirectory {
  return { ...self, actors: actors.map(({ address, ...entry }) => ({ ...entry, port: portOf(address) })) }
}

/**
 * Directory entries of the actors of another node.
 *
 * @param host The node's address.
 * @param options.isUnreachable Then its `ready` actors count as `restarting`.
 */
export function entriesAt(
  { actors }: NodeDirectory,
  host: string,
  { isUnreachable }: { isUnreachable: boolean },
): ActorEntry[] {
  return actors.map(({ port, state, ...actor }) => ({
    ...actor,
    state: isUnreachable && state === 'ready' ? 'restarting' : state,
    address: port === null ? null : addressOf({ host, port }),
  }))
}

/** True when the names of a node's actors contain the node's name, as they must with several nodes. */
export function hasNodeInNames({ node, actors }: NodeDirectory): boolean {
  return actors.every(({ role, name }) => name === actorName(role, actorNumber(name), node))
}

/**
 * The actors of a node that do not run, human-readable; empty when the node is healthy. An actor that drains does what
 * it was told to. An actor that does not answer is killed and counts as `restarting` (`worker-process.ts`).
 */
export function notRunning(actors: readonly ActorEntry[]): string[] {
  if (actors.length === 0) return ['this node is starting']
  return actors.flatMap(({ name, state, missing }) =>
    state === 'ready' || state === 'draining' ? [] : [`${name}: ${[state, ...missing].join(', ')}`],
  )
}

/** What a node lacks to work, human-readable; empty when it lacks nothing. */
export function missingOf(actors: readonly ActorEntry[]): string[] {
  if (actors.length === 0) return ['this node is starting']
  const missingHere = actors.flatMap(({ name, role, state, missing }) => {
    if (state !== 'ready') return [`${name}: ${state}`]
    // What a facade reports concerns the whole system and names the actor already.
    return role === 'facade' ? missing : missing.map((what) => `${name}: ${what}`)
  })
  return [...new Set(missingHere)]
}

function portOf(address: string | null): number | null {
  return address === null ? null : Number(address.slice(address.lastIndexOf(':') + 1))
}
