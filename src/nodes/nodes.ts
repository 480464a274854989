/**
 * The other nodes of the system. Once a second this node resolves the names of `--peers`, asks every address for its
 * node's directory, and keeps the answers:
 *
 *   found ──answers──▶ here ──silent 3 s──▶ away ──silent 5 s──▶ (gone; found again by its name)
 *                        ◀──────answers──────┘
 *
 * While a node is unreachable its actors are `restarting`: they are not called, and they keep their lanes. Silence is
 * counted in polls, not by the clock, so that a freeze of this process does not make the others look silent.
 */

import type { Cancel, Clock } from '../runtime/clock.ts'
import type { ActorEntry } from '../runtime/cluster/directory.ts'
import { addressOf, type HostPort } from '../runtime/cluster/directory.ts'
import { inWords, isMailroomError } from '../runtime/errors.ts'
import type { Logger } from '../runtime/logger.ts'
import { NODE_POLL_MS, NODE_TIMEOUT_MS } from '../runtime/timings.ts'
import { entriesAt, type NodeDirectory } from './node-directory.ts'

/** So many polls in a row without an answer: the node is unreachable. */
const AWAY_LOOKS = 3
/** So many: the node is forgotten and no longer polled. */
const GONE_LOOKS = 5
/** Two processes of one name that both answer so many polls in a row are two nodes, not a restart of one. */
const CLASH_ANSWERS = 4

/** How other nodes are reached. */
export interface Network {
  /** All addresses of a name or address. Rejects when there are none. */
  addressesOf(host: string): Promise<string[]>
  /**
   * A node's directory. Settles within `timeoutMs`.
   *
   * @throws {MailroomError} Retryable when the node is unreachable; not retryable when it is no node of this system.
   */
  directoryAt(address: HostPort, timeoutMs: number): Promise<NodeDirectory>
}

/** What is known about one address. */
interface Found {
  readonly address: HostPort
  asking: boolean
  answer: NodeDirectory | undefined
  /** Answers in a row from the same process of the node. */
  answerCount: number
  /** Polls since its last answer. */
  silentLooks: number
  /** Why the last poll failed; undefined when it was answered. */
  failure: unknown
}

/** Options of `Nodes`. */
export interface NodesOptions {
  peers: readonly HostPort[]
  /** This node, to recognise its own address. */
  self: { node: string; startId: string }
  network: Network
  clock: Clock
  logger: Logger
  /** Called after each answer, failure or loss of a node. */
  onChange: () => void
}

/** Polls the other nodes and keeps their directories. */
export class Nodes {
  readonly #options: NodesOptions
  readonly #found = new Map<string, Found>()
  readonly #lookingUp = new Set<string>()
  /** The last line logged about a name or an address, so that it is logged once. */
  readonly #said = new Map<string, string>()
  #cancel: Cancel = () => {}

  constructor(options: NodesOptions) {
    this.#options = options
  }

  /** Polls now, then once a second. */
  start(): void {
    if (this.#options.peers.length === 0) return
    this.#cancel = this.#options.clock.every(NODE_POLL_MS, () => this.#look())
    this.#look()
  }

  /** Stops polling. */
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
    return [...byName.values()].flatMap(({ answer, address, silentLooks }) =>
      entriesAt(answer!, address.host, { away: silentLooks >= AWAY_LOOKS }),
    )
  }

  /** Problems of the other nodes, as sentences for people. */
  problems(): string[] {
    const refusals = [...this.#found.values()]
      .filter(({ failure }) => isRefusal(failure))
      .map(({ address, failure }) => `node at ${addressOf(address)}: ${reasonOf(failure)}`)
    return [...this.#clashes(), ...refusals]
  }

  #look(): void {
    for (const [key, found] of this.#found) {
      if (++found.silentLooks >= GONE_LOOKS) this.#forget(key, found)
      else void this.#ask(found)
    }
    for (const peer of this.#options.peers) void this.#lookUp(peer)
    for (const clash of this.#clashes()) this.#say('error', clash, clash)
  }

  async #lookUp(peer: HostPort): Promise<void> {
    const key = addressOf(peer)
    if (this.#lookingUp.has(key)) return
    this.#lookingUp.add(key)
    try {
      for (const host of await this.#options.network.addressesOf(peer.host)) {
        this.#meet({ host, port: peer.port })
      }
      this.#said.delete(peer.host)
    } catch (error) {
      this.#say('info', peer.host, `${peer.host} has no address: ${reasonOf(error)}`)
    } finally {
      this.#lookingUp.delete(key)
    }
  }

  #meet(address: HostPort): void {
    const key = addressOf(address)
    if (this.#found.has(key)) return
    const found: Found = {
      ...{ address, asking: false, answer: undefined, failure: undefined },
      ...{ answerCount: 0, silentLooks: 0 },
    }
    this.#found.set(key, found)
    void this.#ask(found)
  }

  async #ask(found: Found): Promise<void> {
    if (found.asking) return
    found.asking = true
    const { network, logger, onChange } = this.#options
    const key = addressOf(found.address)
    try {
      const answer = await network.directoryAt(found.address, NODE_TIMEOUT_MS)
      if (answer.startId !== found.answer?.startId) {
        found.answerCount = 0
        if (!this.#isSelf(answer)) logger.info({ peer: key, peerNode: answer.node }, 'node found')
      }
      found.answerCount++
      found.silentLooks = 0
      found.answer = answer
      found.failure = undefined
      this.#said.delete(key)
    } catch (error) {
      found.failure = error
      found.answerCount = 0
      if (isRefusal(error)) this.#say('warn', key, `node at ${key}: ${reasonOf(error)}`)
    } finally {
      found.asking = false
    }
    onChange()
  }

  #forget(key: string, { answer }: Found): void {
    this.#found.delete(key)
    if (answer === undefined || this.#isSelf(answer)) return
    this.#options.logger.warn({ peer: key, peerNode: answer.node }, 'node silent, left out')
    this.#options.onChange()
  }

  /** The addresses of other nodes that have answered. */
  #others(): Found[] {
    return [...this.#found.values()].filter(({ answer }) => answer !== undefined && !this.#isSelf(answer))
  }

  #isSelf({ startId }: NodeDirectory): boolean {
    return startId === this.#options.self.startId
  }

  /** Names that several live nodes share. */
  #clashes(): string[] {
    const starts = new Map([[this.#options.self.node, new Set([this.#options.self.startId])]])
    for (const { answer, answerCount } of this.#others()) {
      if (answerCount < CLASH_ANSWERS) continue
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
}

/** Of two processes with one name, prefers the one that answers; when both do, every node prefers the same one. */
function isRather(one: Found, other: Found): boolean {
  const answers = Number(one.failure === undefined) - Number(other.failure === undefined)
  return answers !== 0 ? answers > 0 : one.answer!.startId < other.answer!.startId
}

/** True when the address answered, but is no node of this system: a retry cannot help. */
function isRefusal(failure: unknown): boolean {
  return failure !== undefined && !(isMailroomError(failure) && failure.retryable)
}

function reasonOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : inWords(failure)
}
