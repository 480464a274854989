/**
 * The other nodes of the system. Once a second this node resolves the names of `--peers`, asks every address for its
 * node's directory, and keeps the answers:
 *
 *   found ──answers──▶ reachable ──3 polls without answer──▶ unreachable ──5──▶ (forgotten; found again by its name)
 *                          ◀──────────────answers────────────────┘
 *
 * The actors of an unreachable node are `restarting`: they are not called, and they keep their lanes. Silence is
 * counted in polls, not in seconds, so that a freeze of this process does not make the others look silent.
 *
 * A node that cannot prove with the secret that it belongs to the system is no peer: it is named, and nothing else.
 */

import type { Cancel, Clock } from '../runtime/clock.ts'
import type { ActorEntry } from '../runtime/cluster/directory.ts'
import { addressOf, type HostPort } from '../runtime/cluster/directory.ts'
import { inWords, isMailroomError } from '../runtime/errors.ts'
import type { Logger } from '../runtime/logger.ts'
import type { NodeTotals } from '../runtime/stats.ts'
import { CLOCK_SKEW_MS, NODE_POLL_MS, NODE_TIMEOUT_MS } from '../runtime/timings.ts'
import { entriesAt, type NodeDirectory } from './node-directory.ts'

/** After this many unanswered polls in a row the node is unreachable. */
const UNREACHABLE_POLLS = 3
/** After this many its actors are forgotten. The address is polled for as long as a name resolves to it. */
const FORGET_POLLS = 5
/** Two processes with one node name that both answer this many polls in a row are two nodes, not a restart of one. */
const CLASH_ANSWERS = 4
/** So many addresses that call with another secret are named. */
const STRANGERS_MAX = 16

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
interface PolledAddress {
  readonly address: HostPort
  /** The name or address in `--peers` that it belongs to. */
  readonly peer: string
  /** Polls since a name last resolved to it. */
  unnamedPolls: number
  isAsking: boolean
  answer: NodeDirectory | undefined
  /** Answers in a row from the same process of the node. */
  answerCount: number
  /** Polls since its last answer. */
  unansweredPolls: number
  /** Why the last poll failed; undefined when it was answered. */
  failure: unknown
  /** Ms that its clock is ahead of ours, when that is over `CLOCK_SKEW_MS`. */
  skewMs: number | undefined
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
  readonly #addresses = new Map<string, PolledAddress>()
  readonly #resolving = new Set<string>()
  /** The last line logged about each name or address. A repeat of it is not logged. */
  readonly #lastLogged = new Map<string, string>()
  /** Names of `--peers` without an address -> why. */
  readonly #unresolved = new Map<string, string>()
  /** Addresses that called with another secret -> polls since then. */
  readonly #strangers = new Map<string, number>()
  #cancel: Cancel = () => {}

  constructor(options: NodesOptions) {
    this.#options = options
  }

  /** Polls now, then once a second. */
  start(): void {
    if (this.#options.peers.length === 0) return
    this.#cancel = this.#options.clock.every(NODE_POLL_MS, () => this.#poll())
    this.#poll()
  }

  /** Stops polling. */
  stop(): void {
    this.#cancel()
  }

  /** The actors of the other nodes. */
  actors(): ActorEntry[] {
    return this.#each().flatMap(({ answer, address, unansweredPolls }) =>
      entriesAt(answer!, address.host, { isUnreachable: unansweredPolls >= UNREACHABLE_POLLS }),
    )
  }

  /** What the actors of each other node have counted, as of its last answer. */
  totals(): NodeTotals[] {
    return this.#each().flatMap(({ answer }) => answer!.figures ?? [])
  }

  /** The other nodes, each once. */
  #each(): PolledAddress[] {
    const byName = new Map<string, PolledAddress>()
    for (const polled of this.#others()) {
      const { node } = polled.answer!
      const other = byName.get(node)
      if (node !== this.#options.self.node && (other === undefined || isPreferred(polled, other)))
        byName.set(node, polled)
    }
    return [...byName.values()]
  }

  /** What is wrong with other nodes and with `--peers`, as sentences for people. This node works with it. */
  warnings(): string[] {
    const polled = [...this.#addresses.values()]
    return [
      ...this.#clashes(),
      ...this.#unresolved.values(),
      ...polled.flatMap((one) => problemOf(one) ?? []),
      ...[...this.#strangers.keys()].map(strangerAt),
      ...new Set(this.#others().flatMap((other) => skewIn(other) ?? [])),
    ]
  }

  /** A caller at this address does not know the secret. The address is named, unless it is polled and named by that. */
  refused(host: string): void {
    const isPolled = [...this.#addresses.values()].some(({ address }) => address.host === host)
    if (isPolled || (this.#strangers.size >= STRANGERS_MAX && !this.#strangers.has(host))) return
    this.#strangers.set(host, 0)
    this.#logOnce('warn', `caller ${host}`, strangerAt(host))
    this.#options.onChange()
  }

  #poll(): void {
    for (const [key, polled] of this.#addresses) {
      if (++polled.unansweredPolls === FORGET_POLLS) this.#forget(key, polled)
      if (++polled.unnamedPolls > FORGET_POLLS && polled.unansweredPolls >= FORGET_POLLS) {
        this.#addresses.delete(key)
        this.#lastLogged.delete(key)
      } else void this.#ask(polled)
    }
    for (const [host, polls] of this.#strangers) {
      this.#strangers.set(host, polls + 1)
      if (polls < FORGET_POLLS) continue
      this.#strangers.delete(host)
      this.#lastLogged.delete(`caller ${host}`)
    }
    for (const peer of this.#options.peers) void this.#resolve(peer)
    for (const clash of this.#clashes()) this.#logOnce('error', clash, clash)
  }

  async #resolve(peer: HostPort): Promise<void> {
    const key = addressOf(peer)
    if (this.#resolving.has(key)) return
    this.#resolving.add(key)
    try {
      for (const host of await this.#options.network.addressesOf(peer.host)) {
        this.#add({ host, port: peer.port }, key)
      }
      this.#unresolved.delete(key)
      this.#lastLogged.delete(peer.host)
    } catch (error) {
      const line = `${peer.host} (--peers) has no address: ${reasonOf(error)}`
      this.#unresolved.set(key, line)
      this.#logOnce('warn', peer.host, line)
    } finally {
      this.#resolving.delete(key)
    }
    this.#options.onChange()
  }

  #add(address: HostPort, peer: string): void {
    const key = addressOf(address)
    const known = this.#addresses.get(key)
    if (known !== undefined) {
      known.unnamedPolls = 0
      return
    }
    const polled: PolledAddress = {
      ...{ address, peer, unnamedPolls: 0, isAsking: false, answer: undefined, failure: undefined },
      ...{ answerCount: 0, unansweredPolls: 0, skewMs: undefined },
    }
    this.#addresses.set(key, polled)
    void this.#ask(polled)
  }

  async #ask(polled: PolledAddress): Promise<void> {
    if (polled.isAsking) return
    polled.isAsking = true
    const { network, clock, logger, onChange } = this.#options
    const key = addressOf(polled.address)
    const askedAt = clock.now()
    try {
      const answer = await network.directoryAt(polled.address, NODE_TIMEOUT_MS)
      if (answer.startId !== polled.answer?.startId) {
        polled.answerCount = 0
        if (!this.#isSelf(answer)) logger.info({ peer: key, peerNode: answer.node }, 'node found')
      }
      polled.answerCount++
      polled.unansweredPolls = 0
      polled.answer = answer
      polled.skewMs = skewOf(answer.now, askedAt, clock.now())
      polled.failure = undefined
      this.#lastLogged.delete(key)
    } catch (error) {
      polled.failure = error
      polled.answerCount = 0
      const problem = problemOf(polled)
      if (problem !== undefined) this.#logOnce('warn', key, problem)
    } finally {
      polled.isAsking = false
    }
    onChange()
  }

  #forget(key: string, polled: PolledAddress): void {
    const { answer } = polled
    polled.answer = undefined
    if (answer === undefined || this.#isSelf(answer)) return
    this.#options.logger.warn(
      { peer: key, peerNode: answer.node },
      'node does not answer; its actors leave the directory',
    )
    this.#options.onChange()
  }

  /** The addresses of other nodes that have answered. */
  #others(): PolledAddress[] {
    return [...this.#addresses.values()].filter(({ answer }) => answer !== undefined && !this.#isSelf(answer))
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

  #logOnce(level: 'info' | 'warn' | 'error', about: string, line: string): void {
    if (this.#lastLogged.get(about) === line) return
    this.#lastLogged.set(about, line)
    this.#options.logger[level](line)
  }
}

/** Of two processes with one node name, prefers the one that answers. When both do, all nodes prefer the same one. */
function isPreferred(one: PolledAddress, other: PolledAddress): boolean {
  const answers = Number(one.failure === undefined) - Number(other.failure === undefined)
  return answers !== 0 ? answers > 0 : one.answer!.startId < other.answer!.startId
}

/**
 * How far another clock is ahead: it said `theirs` at some time between two readings of ours. Undefined when that may
 * be `CLOCK_SKEW_MS` or less. In steps of 100 ms, so that it does not change with every poll.
 */
function skewOf(theirs: number, before: number, after: number): number | undefined {
  const isSurely = theirs - after > CLOCK_SKEW_MS || before - theirs > CLOCK_SKEW_MS
  return isSurely ? Math.round((theirs - (before + after) / 2) / 100) * 100 : undefined
}

/** What is wrong at an address, as a sentence for people. */
function problemOf({ address, peer, failure, unansweredPolls }: PolledAddress): string | undefined {
  const key = addressOf(address)
  const where = `node at ${key}${key === peer ? '' : ` (${peer})`}`
  if (isRefusal(failure)) return `${where} is no peer: ${reasonOf(failure)}`
  if (failure === undefined || unansweredPolls < UNREACHABLE_POLLS) return undefined
  return `${where} does not answer: ${reasonOf(failure)}`
}

function strangerAt(host: string): string {
  return `the node at ${host} is no peer: it calls with another secret (--secret) than this node's`
}

/** Names a node whose clock differs from this node's by over `CLOCK_SKEW_MS`. */
function skewIn({ answer, skewMs }: PolledAddress): string | undefined {
  if (skewMs === undefined) return undefined
  const seconds = (Math.abs(skewMs) / 1000).toFixed(1)
  return `the clock of node ${answer!.node} is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} this node's`
}

/** True when the address answered but belongs to no node of this system, so a retry cannot help. */
function isRefusal(failure: unknown): boolean {
  return failure !== undefined && !(isMailroomError(failure) && failure.retryable)
}

function reasonOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : inWords(failure)
}
