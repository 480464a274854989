/**
 * The other nodes of the system. Once a second this node looks up the names it was given, asks every address
 * for its directory, and keeps what was told:
 *
 *   found ──answers──▶ here ──silent 3 s──▶ away ──silent 5 s──▶ (gone; found again by its name)
 *                        ◀──────answers──────┘
 *
 * While a node is away its actors are `restarting`: nobody is sent to them, and their lanes stay theirs. Only
 * silence in time that this process lived through counts: after it was frozen nobody has been silent.
 */
import type { Cancel, Clock } from './clock.ts'
import type { ActorEntry } from './directory.ts'
import { inWords, isMailroomError } from './errors.ts'
import type { Logger } from './logger.ts'
import { entriesAt, type NodeDirectory } from './node-directory.ts'
import { type HostPort, inUrl } from './setting-values.ts'

/** How often nodes are asked. */
export const LOOK_MS = 1000
const ASK_TIMEOUT_MS = 1000
const LATE_MS = 250
const AWAY_MS = 3000
const GONE_MS = 5000
/** Two nodes of one name that both answer for so long are no restart of one. */
const CLASH_MS = 3000

/** How other nodes are reached. */
export interface Network {
  /** All addresses of a name; an address is its own. Rejects when there are none. */
  addressesOf(host: string): Promise<string[]>
  /**
   * What a node tells. Settles within `timeoutMs`.
   *
   * @throws {MailroomError} A retryable one when it is not there; another when it is not one of us.
   */
  directoryAt(address: HostPort, timeoutMs: number): Promise<NodeDirectory>
}

/** What is known of an address. Instants are of the clock that never steps. */
interface Found {
  readonly address: HostPort
  asking: boolean
  answer: NodeDirectory | undefined
  /** When the start that last answered did so first. */
  firstHeardAt: number
  /** When it last answered; while it has not, when it was found. */
  heardAt: number
  /** Why it did not answer when last asked; undefined when it did. */
  failure: unknown
}

/** What `Nodes` is given. */
export interface NodesOptions {
  peers: readonly HostPort[]
  /** Who this node is: an address that turns out to be its own is passed over. */
  self: { node: string; startId: string }
  network: Network
  clock: Clock
  logger: Logger
  /** Called when there is news. */
  onChange: () => void
}

/** Keeps what the other nodes tell. */
export class Nodes {
  readonly #options: NodesOptions
  readonly #found = new Map<string, Found>()
  readonly #lookingUp = new Set<string>()
  /** What was logged last about a name or an address, so that it is said once. */
  readonly #said = new Map<string, string>()
  #cancel: Cancel = () => {}
  #lookedAt = 0

  constructor(options: NodesOptions) {
    this.#options = options
  }

  /** Looks now, and then once a second. */
  start(): void {
    if (this.#options.peers.length === 0) return
    this.#lookedAt = this.#options.clock.monotonic() - LOOK_MS
    this.#cancel = this.#options.clock.every(LOOK_MS, () => this.#look())
    this.#look()
  }

  /** Looks no more. */
  stop(): void {
    this.#cancel()
  }

  /** The actors of the other nodes. */
  actors(): ActorEntry[] {
    const byName = new Map<string, Found>()
    for (const found of this.#others()) {
      const { node } = found.answer!
      const rival = byName.get(node)
      if (node !== this.#options.self.node && (rival === undefined || isRather(found, rival)))
        byName.set(node, found)
    }
    return [...byName.values()].flatMap(({ answer, address, heardAt }) =>
      entriesAt(answer!, address.host, { away: this.#silentMs(heardAt) >= AWAY_MS }),
    )
  }

  /** What is wrong among the nodes, in words for people. */
  problems(): string[] {
    const refusals = [...this.#found.values()]
      .filter(({ failure }) => isRefusal(failure))
      .map(({ address, failure }) => `node at ${inUrl(address)}: ${reasonOf(failure)}`)
    return [...this.#clashes(), ...refusals]
  }

  #look(): void {
    const { clock, peers } = this.#options
    const now = clock.monotonic()
    const lateMs = now - this.#lookedAt - LOOK_MS
    this.#lookedAt = now
    for (const [key, found] of this.#found) {
      if (lateMs > LATE_MS) {
        found.heardAt += lateMs
        found.firstHeardAt += lateMs
      }
      if (this.#silentMs(found.heardAt) >= GONE_MS) this.#forget(key, found)
      else void this.#ask(found)
    }
    for (const peer of peers) void this.#lookUp(peer)
    for (const clash of this.#clashes()) this.#say('error', clash, clash)
  }

  async #lookUp(peer: HostPort): Promise<void> {
    const key = inUrl(peer)
    if (this.#lookingUp.has(key)) return
    this.#lookingUp.add(key)
    try {
      for (const host of await this.#options.network.addressesOf(peer.host)) {
        this.#meet({ host, port: peer.port })
      }
      this.#said.delete(key)
    } catch (error) {
      this.#say('info', key, `${peer.host} has no address: ${reasonOf(error)}`)
    } finally {
      this.#lookingUp.delete(key)
    }
  }

  #meet(address: HostPort): void {
    const key = inUrl(address)
    if (this.#found.has(key)) return
    const now = this.#options.clock.monotonic()
    const found: Found = {
      ...{ address, asking: false, answer: undefined, failure: undefined },
      ...{ firstHeardAt: now, heardAt: now },
    }
    this.#found.set(key, found)
    void this.#ask(found)
  }

  async #ask(found: Found): Promise<void> {
    if (found.asking) return
    found.asking = true
    const { network, clock, logger, onChange } = this.#options
    const key = inUrl(found.address)
    try {
      const answer = await network.directoryAt(found.address, ASK_TIMEOUT_MS)
      found.heardAt = clock.monotonic()
      if (answer.startId !== found.answer?.startId) {
        found.firstHeardAt = found.heardAt
        logger.info({ peer: key, peerNode: answer.node }, 'node found')
      }
      found.answer = answer
      found.failure = undefined
      this.#said.delete(key)
    } catch (error) {
      found.failure = error
      if (isRefusal(error)) this.#say('warn', key, `node at ${key}: ${reasonOf(error)}`)
    } finally {
      found.asking = false
    }
    onChange()
  }

  #forget(key: string, { answer }: Found): void {
    this.#found.delete(key)
    if (answer === undefined) return
    this.#options.logger.warn({ peer: key, peerNode: answer.node }, 'node silent, left out')
    this.#options.onChange()
  }

  /** Those that have answered and are not this one. */
  #others(): Found[] {
    const { startId } = this.#options.self
    return [...this.#found.values()].filter(
      ({ answer }) => answer !== undefined && answer.startId !== startId,
    )
  }

  /** Names that several nodes go by, all of them alive. */
  #clashes(): string[] {
    const starts = new Map([[this.#options.self.node, new Set([this.#options.self.startId])]])
    for (const { answer, failure, firstHeardAt, heardAt } of this.#others()) {
      if (failure !== undefined || heardAt - firstHeardAt < CLASH_MS) continue
      const { node, startId } = answer!
      starts.set(node, (starts.get(node) ?? new Set()).add(startId))
    }
    return [...starts]
      .filter(([, ids]) => ids.size > 1)
      .map(([node, { size }]) => `${size} nodes are named ${node}: give each its own name with --node`)
  }

  #say(level: 'info' | 'warn' | 'error', about: string, words: string): void {
    if (this.#said.get(about) === words) return
    this.#said.set(about, words)
    this.#options.logger[level](words)
  }

  #silentMs(heardAt: number): number {
    return this.#options.clock.monotonic() - heardAt
  }
}

/** Of two under one name: the one that answers (the other was its last start), else the same one everywhere. */
function isRather(one: Found, other: Found): boolean {
  const answers = Number(one.failure === undefined) - Number(other.failure === undefined)
  return answers !== 0 ? answers > 0 : one.answer!.startId < other.answer!.startId
}

/** Whether somebody answered who will not be a node of ours by asking again. */
function isRefusal(failure: unknown): boolean {
  return failure !== undefined && !(isMailroomError(failure) && failure.retryable)
}

function reasonOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : inWords(failure)
}
