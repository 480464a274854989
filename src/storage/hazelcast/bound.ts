/**
 * Bounds what a cluster may hold: a member whose heap is full loses everything, and evicting would be losing too. The
 * members report their heaps and what they hold: pending messages, lists, dead letters, keys, the log. Half of a heap,
 * less what an idle member takes, is for what is held; the other half is for garbage and for what comes from a member
 * that dies. What this process adds counts until it is in a report, once for each actor of its role.
 */
import type { Clock } from '../../runtime/clock.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { BOUND_CHECK_MS } from '../../runtime/timings.ts'
import { IDLE_MEMBER_BYTES } from '../limits.ts'
import type { Cluster, MemberMemory } from './cluster.ts'

/** What an entry takes beside its value, with its key and its indexes. */
const ENTRY_BYTES = 500
/** Until all facades know that the log is full, what they admit is stored up to this part of the limit. */
const ADMITTED_SHARE = 1.25
const MiB = 1024 * 1024

/** What a bound needs. */
export interface BoundOptions {
  /** In words for people: `log` or `queue`. */
  store: string
  cluster: Pick<Cluster, 'memory'>
  /** Actors that add to the cluster as this one does. */
  writerCount: () => number
  clock: Clock
}

/** Knows about how full a cluster is. Until its members have reported, it is taken to be empty. */
export class Bound {
  readonly #options: BoundOptions
  readonly #cancel: () => void
  #reportedBytes: number | null = null
  #limitBytes: number | null = null
  /** Added since the last check, and between the two before it: reports are up to a second old. */
  #addedBytes = 0
  #addedBeforeBytes = 0

  constructor(options: BoundOptions) {
    this.#options = options
    this.#cancel = options.clock.every(BOUND_CHECK_MS, () => void this.refresh())
  }

  /** One copy of all that the cluster holds, about; null while it is not known. */
  get heldBytes(): number | null {
    if (this.#reportedBytes === null) return null
    const added = this.#addedBytes + this.#addedBeforeBytes
    return this.#reportedBytes + added * Math.max(1, this.#options.writerCount())
  }

  /** The most it may be; null while it is not known. */
  get limitBytes(): number | null {
    return this.#limitBytes
  }

  /** That the cluster is full, human-readable; empty while it is not. */
  missing(): string[] {
    return this.#fullFrom(1)
  }

  #refuseFrom(share: number): void {
    const { store } = this.#options
    for (const reason of this.#fullFrom(share))
      throw new MailroomError('MR_STORE_UNAVAILABLE', { store, reason })
  }

  #fullFrom(share: number): string[] {
    const [held, limit] = [this.heldBytes, this.#limitBytes]
    if (held === null || limit === null || held < limit * share) return []
    const figures = `about ${inMiB(held)} MiB of the ${inMiB(limit)} MiB that its members' heaps have room for`
    return [`the ${this.#options.store}'s Hazelcast cluster is full: it holds ${figures}`]
  }

  /** @throws {MailroomError} `MR_STORE_UNAVAILABLE` (none) when the cluster is full. */
  check(): void {
    this.#refuseFrom(1)
  }

  /** As `check`, for what a facade admitted while the cluster was not full: it is in the queue already. */
  checkAdmitted(): void {
    this.#refuseFrom(ADMITTED_SHARE)
  }

  /** Counts an entry of this value. */
  added(value: string): void {
    this.#addedBytes += Buffer.byteLength(value) + ENTRY_BYTES
  }

  close(): void {
    this.#cancel()
  }

  /** Asks the members. */
  async refresh(): Promise<void> {
    let reports: (MemberMemory | null)[]
    try {
      reports = await this.#options.cluster.memory()
    } catch (error) {
      if (!isMailroomError(error)) throw error // Else the cluster is away, and nothing is accepted anyway.
      return
    }
    const known = reports.filter((report) => report !== null)
    this.#addedBeforeBytes = this.#addedBytes
    this.#addedBytes = 0
    if (known.length === 0) return
    const owned = known.reduce((sum, { ownedBytes }) => sum + ownedBytes, 0)
    // A member that does not answer holds what it held.
    const isPart = known.length < reports.length && owned < (this.#reportedBytes ?? 0)
    if (!isPart) this.#reportedBytes = owned
    this.#limitBytes = limitOf(known)
  }
}

/** What one copy of everything may take: when one member is lost, the others have room for all copies. */
export function limitOf(members: readonly MemberMemory[]): number {
  const smallest = Math.min(...members.map(({ heapBytes }) => heapBytes))
  const room = Math.max(0, smallest - IDLE_MEMBER_BYTES) / 2
  const others = Math.max(1, members.length - 1)
  const copies = Math.max(...members.map((member) => member.copies))
  return (room * others) / Math.min(copies, others)
}

function inMiB(bytes: number): number {
  return Math.round(bytes / MiB)
}
