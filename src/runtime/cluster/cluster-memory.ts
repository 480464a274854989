/** What a node knows of the Hazelcast clusters: its workers report it, its data directory keeps it. */
import type { Logger } from '../logger.ts'
import {
  type KnownCluster,
  type KnownClusters,
  type Loss,
  mergedLosses,
  type Restored,
  sentenceOf,
} from '../losses.ts'

/** Where a node stores what it knows. */
export interface ClusterStore {
  /** Called after each change. */
  store(known: KnownClusters): unknown
  /** Why it cannot be stored now, as sentences for people. */
  warnings(): string[]
}

/** Stores nothing: the embedded backend has no clusters. */
export const NOWHERE: ClusterStore = { store() {}, warnings: () => [] }

/** The primary's knowledge. It is handed to each new worker, and reports each loss once in the log. */
export class ClusterMemory {
  #known: KnownClusters
  readonly #store: ClusterStore
  readonly #logger: Logger
  readonly #restored: Restored | undefined

  /**
   * @param known What an earlier start of this node has stored.
   * @param isJournaled What clusters held is on disks, too.
   */
  constructor(known: KnownClusters, store: ClusterStore, logger: Logger, isJournaled = false) {
    this.#restored = isJournaled ? { messages: null, absentNodes: [] } : undefined
    this.#known = known
    this.#store = store
    this.#logger = logger
    for (const { losses } of Object.values(known)) this.#report([], losses)
  }

  get known(): KnownClusters {
    return this.#known
  }

  /** What is wrong around it, as sentences for people. */
  warnings(): string[] {
    return this.#store.warnings()
  }

  /** Takes what a worker reports, unless others have met a later cluster already. */
  learn(report: KnownCluster): void {
    const { store } = report
    const before = this.#known[store]
    const next = before === undefined ? report : laterOf(before, report)
    this.#report(before?.losses ?? [], next.losses)
    this.#known = { ...this.#known, [store]: next }
    this.#store.store(this.#known)
  }

  #report(before: readonly Loss[], now: readonly Loss[]): void {
    const wasOpen = new Set(before.filter(({ isConfirmed }) => !isConfirmed).map(({ epoch }) => epoch))
    const wasKnown = new Set(before.map(({ epoch }) => epoch))
    for (const loss of now) {
      const { store, epoch, isConfirmed } = loss
      if (!isConfirmed && !wasKnown.has(epoch))
        this.#logger.error({ store, epoch }, sentenceOf(loss, this.#restored))
      if (isConfirmed && wasOpen.has(epoch))
        this.#logger.info({ store, epoch }, `the loss of the ${store}'s cluster is confirmed`)
    }
  }
}

/** Of two reports the one of the later cluster; of one cluster, all that both know. */
function laterOf(before: KnownCluster, report: KnownCluster): KnownCluster {
  if (before.epoch !== report.epoch) {
    const isOld = before.losses.some(({ epoch }) => epoch === report.epoch)
    return isOld && !report.losses.some(({ epoch }) => epoch === before.epoch) ? before : report
  }
  const { count, perEntry, countedAt } = report.countedAt < before.countedAt ? before : report
  return {
    ...{ ...report, count, perEntry, countedAt },
    firstSeenAt: Math.min(before.firstSeenAt, report.firstSeenAt),
    lastSeenAt: Math.max(before.lastSeenAt, report.lastSeenAt),
    losses: mergedLosses(before.losses, report.losses, report.epoch),
  }
}
