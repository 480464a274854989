/** What a node tells other nodes of itself, and what they make of it. JSON-safe. */
import { type ActorEntry, actorName, actorNumber, addressOf } from '../runtime/cluster/directory.ts'

/** An actor as its node tells it: it is wherever the node was reached, at this port. */
type ToldActor = Omit<ActorEntry, 'address'> & { port: number | null }

/** The answer of `GET /directory`. */
export interface NodeDirectory {
  node: string
  /** New at every start of the node; two nodes of one name are told apart by it. */
  startId: string
  actors: ToldActor[]
}

/** What a node tells of its actors. */
export function toldBy(
  { node, startId }: { node: string; startId: string },
  actors: readonly ActorEntry[],
): NodeDirectory {
  const told = actors.map(({ address, ...entry }) => ({ ...entry, port: portOf(address) }))
  return { node, startId, actors: told }
}

/**
 * Directory entries of the actors of another node.
 *
 * @param host The address the node was reached at.
 * @param options.away It has been silent for a while: none of its actors is `ready`.
 */
export function entriesAt(
  { actors }: NodeDirectory,
  host: string,
  { away }: { away: boolean },
): ActorEntry[] {
  return actors.map(({ port, state, ...actor }) => ({
    ...actor,
    state: away && state === 'ready' ? 'restarting' : state,
    address: port === null ? null : addressOf({ host, port }),
  }))
}

/** True when a node's actors carry its name, as those of one node among several do. */
export function areNamedAfterIt({ node, actors }: NodeDirectory): boolean {
  return actors.every(({ role, name }) => name === actorName(role, actorNumber(name), node))
}

/** What a node lacks to do its part, in words for people; empty when it lacks nothing. */
export function lackedBy(actors: readonly ActorEntry[]): string[] {
  if (actors.length === 0) return ['this node is starting']
  const lacked = actors.flatMap(({ name, role, state, missing }) => {
    if (state !== 'ready') return [`${name}: ${state}`]
    // A facade speaks for the whole system, and names whom it means.
    return role === 'facade' ? missing : missing.map((what) => `${name}: ${what}`)
  })
  return [...new Set(lacked)]
}

function portOf(address: string | null): number | null {
  return address === null ? null : Number(address.slice(address.lastIndexOf(':') + 1))
}
