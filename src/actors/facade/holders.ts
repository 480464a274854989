/** The messages actors, as the facade calls them: the holder of a lane, a named one, or all of them. */
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry } from '../../runtime/cluster/directory.ts'
import { livingMessages } from '../../runtime/cluster/directory.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { ASK_TIMEOUT_MS } from '../../runtime/timings.ts'
import { assignLanes } from '../../storage/lanes.ts'
import type { Messages, Peers } from '../protocol.ts'

/** Finds messages actors in the directory. Each method throws `MR_STORE_UNAVAILABLE` when there is none to call. */
export class Holders {
  readonly #context: ActorContext
  readonly #peers: Peers
  readonly #laneCount: number

  constructor(context: ActorContext, peers: Peers, laneCount: number) {
    this.#context = context
    this.#peers = peers
    this.#laneCount = laneCount
  }

  /** The directory entry of a lane's holder. */
  entryOf(lane: number): ActorEntry {
    const actors = this.#context.directory.actors()
    const name = assignLanes(this.#laneCount, livingMessages(actors))[lane]
    const holder = actors.find((actor) => actor.name === name && actor.state === 'ready')
    if (holder === undefined) throw unavailable('no ready messages actor')
    return holder
  }

  at({ name, address }: ActorEntry): Messages {
    if (address === null) throw unavailable(`no ready ${name}`)
    return this.#peers.messages(address, ASK_TIMEOUT_MS)
  }

  /** All messages actors that hold lanes. Throws when one cannot be called: its lanes would be missing from the answer. */
  all(): Messages[] {
    const actors = this.#context.directory.actors()
    const living = new Set(livingMessages(actors))
    if (living.size === 0) throw unavailable('no ready messages actor')
    return actors.filter(({ name }) => living.has(name)).map((entry) => this.at(entry))
  }
}

/** The error of a read that needs a messages actor which cannot answer now. */
export function unavailable(reason: string): MailroomError<'MR_STORE_UNAVAILABLE'> {
  return new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason })
}
