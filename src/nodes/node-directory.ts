/** The directory of one node, as it crosses to other nodes (JSON), and the entries they make of it. */
import { type ActorEntry, actorName, actorNumber, addressOf } from '../runtime/cluster/directory.ts'

/** An actor as its node reports it. It is reached at the node's address and this port. */
type ToldActor = Omit<ActorEntry, 'address'> & { port: number | null }

/** The answer of `GET /directory`. */
export interface NodeDirectory {
  node: string
  /** Random, new at every start of the node. It tells two nodes of one name apart. */
  startId: string
  actors: ToldActor[]
}

/** The directory that a node reports. */
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
 * @param options.away The node is unreachable: none of its actors is `ready`.
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

/** True when the names of a node's actors carry its name, as they must with several nodes. */
export function areNamedAfterIt({ node, actors }: NodeDirectory): boolean {
  return actors.every(({ role, name }) => name === actorName(role, actorNumber(name), node))
}

/** What a node lacks to work, as sentences for people; empty when it lacks nothing. */
export function lackedBy(actors: readonly ActorEntry[]): string[] {
  if (actors.length === 0) return ['this node is starting']
  const lacked = actors.flatMap(({ name, role, state, missing }) => {
    if (state !== 'ready') return [`${name}: ${state}`]
    // A facade reports for the whole system and names the actor.
    return role === 'facade' ? missing : missing.map((what) => `${name}: ${what}`)
  })
  return [...new Set(lacked)]
}

function portOf(address: string | null): number | null {
  return address === null ? null : Number(address.slice(address.lastIndexOf(':') + 1))
}
