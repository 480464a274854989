/** A network of nodes in memory: names, and who answers where. */

import { type NodeDirectory, nodeDirectory } from '../../src/nodes/node-directory.ts'
import type { Network } from '../../src/nodes/nodes.ts'
import type { ActorEntry } from '../../src/runtime/cluster/directory.ts'
import { addressOf, type HostPort } from '../../src/runtime/cluster/directory.ts'
import { MailroomError } from '../../src/runtime/errors.ts'
import { entryOf } from './actor-context.ts'
import type { FakeClock } from './fake-clock.ts'

/** What listens at an address: a node, `frozen` (takes the call and never answers), or an error. */
type Listener = NodeDirectory | 'frozen' | MailroomError

/** Answers at once, in virtual time; an address where nobody is refuses. */
export class FakeNetwork implements Network {
  readonly names = new Map<string, string[]>()
  readonly listeners = new Map<string, Listener>()
  /** Addresses in the order they were asked. */
  readonly asked: string[] = []
  /** How far the clock at an address is ahead. */
  readonly skewsMs = new Map<string, number>()
  readonly #clock: FakeClock

  constructor(clock: FakeClock) {
    this.#clock = clock
  }

  async addressesOf(host: string): Promise<string[]> {
    const addresses = this.names.get(host)
    if (addresses === undefined) throw new Error(`ENOTFOUND ${host}`)
    return addresses
  }

  async directoryAt(address: HostPort, timeoutMs: number): Promise<NodeDirectory> {
    const where = addressOf(address)
    this.asked.push(where)
    const listener = this.listeners.get(where)
    if (listener === 'frozen') {
      await this.#clock.sleep(timeoutMs)
      throw new MailroomError('MR_DEADLINE_EXPIRED', { what: where, deadlineMs: timeoutMs })
    }
    if (listener instanceof MailroomError) throw listener
    if (listener === undefined) throw new MailroomError('MR_PEER_LOST', { peer: where, reason: 'refused' })
    return { ...listener, now: this.#clock.now() + (this.skewsMs.get(where) ?? 0) }
  }
}

/** A node that tells of these actors, by role and number; each at the port 9000 + its number. */
export function nodeOf(
  node: string,
  actors: readonly string[],
  { startId = `start of ${node}`, more = {} }: { startId?: string; more?: Partial<ActorEntry> } = {},
): NodeDirectory {
  const entries = actors.map((name) =>
    entryOf(`${name}@${node}`, { node, address: `127.0.0.1:900${name.at(-1)}`, ...more }),
  )
  return nodeDirectory({ node, startId, now: 0 }, entries)
}
