/** The Hazelcast backend on two simulated clusters: all of its protocol runs unchanged. */

import type { ActorContext } from '../../src/runtime/cluster/actor-context.ts'
import { isHeldElsewhere, journalsOf, reportsOf } from '../../src/runtime/cluster/directory.ts'
import { epochsMetFirst, openLosses } from '../../src/runtime/losses.ts'
import type { NodeConfig } from '../../src/settings/config.ts'
import type { Cluster } from '../../src/storage/hazelcast/cluster.ts'
import { NAMES } from '../../src/storage/hazelcast/entries.ts'
import { openHazelcast } from '../../src/storage/hazelcast/open.ts'
import type { JournaledBackend, Refill } from '../../src/storage/journal.ts'
import type { BackendHooks, BackendModel } from './backend-model.ts'
import { Losses, loggedIn, purgedIn, queuedIn } from './losses.ts'
import { withMap } from './other-cluster.ts'
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'
import { type ClusterBugs, SimCluster } from './sim-cluster.ts'
import { type JournalBugs, SimJournals } from './sim-journals.ts'

/** What planted bugs there are of this backend. */
export interface HazelcastBugs {
  cluster?: ClusterBugs
  /** What a process sees of a cluster. */
  distort?: (cluster: Cluster, world: ActorContext<NodeConfig>) => Cluster
  /** What a process makes of its backend. */
  wrap?: (backend: JournaledBackend, world: ActorContext<NodeConfig>) => JournaledBackend
  /** What it finds without a wake-up is not put into the log. */
  repairsNothing?: boolean
  journals?: JournalBugs
  /** Facades know of no journal. */
  blindFacades?: boolean
  /** How a messages actor refills its lanes. */
  refill?: (refill: Refill) => Partial<Refill>
}

/** A process and the cluster it uses. */
interface Witness {
  process: SimProcess
  cluster: SimCluster
  backend: JournaledBackend
}

/** What became of one cluster. */
interface Fate {
  /** A process has learned the epoch of the cluster that is there: that is remembered, whatever ends. */
  isKnown: boolean
  /** So many clusters that somebody knew have gone: all processes must report as many. */
  lostCount: number
}

/** Both clusters, as they survive all processes. */
export class HazelcastModel implements BackendModel {
  readonly log: SimCluster
  readonly queue: SimCluster
  readonly losses = new Losses()
  readonly #bugs: HazelcastBugs
  readonly #witnesses: Witness[] = []
  readonly #fates = new Map<SimCluster, Fate>()
  /** On the disks of the nodes. Undefined: they keep none. */
  readonly #journals: SimJournals | undefined

  constructor(
    laneCount: number,
    { scheduler, rng, isJournaled }: { scheduler: Scheduler; rng: Rng; isJournaled: boolean },
    bugs: HazelcastBugs,
  ) {
    this.#bugs = bugs
    this.#journals = isJournaled ? new SimJournals(bugs.journals ?? {}) : undefined
    this.log = new SimCluster('logging', scheduler, rng, bugs.cluster ?? {})
    this.queue = new SimCluster('queue', scheduler, rng, bugs.cluster ?? {})
    // Both have been in use for long.
    const begun = JSON.stringify({ epoch: 'first', lanes: laneCount })
    for (const cluster of [this.log, this.queue]) {
      cluster.partitions.seed(`${NAMES.meta}|begun`, begun)
      this.#fates.set(cluster, { isKnown: false, lostCount: 0 })
    }
  }

  open(
    world: ActorContext<NodeConfig>,
    process: SimProcess,
    { depths, repair }: BackendHooks,
  ): JournaledBackend {
    const {
      distort = (cluster) => cluster,
      wrap = (backend) => backend,
      repairsNothing,
      blindFacades,
    } = this.#bugs
    const { name: owner, role, config, clock, random, logger } = world
    const half = role === 'logging' ? 'log' : 'queue'
    const cluster = this[half]
    const reports = () => reportsOf(world.directory)
    let opened: JournaledBackend | undefined
    const epochs = epochsMetFirst(world.known, () => [...(opened?.reports() ?? []), ...reports()])
    const seen = distort(knowing(cluster.connect(process), this.#fates.get(cluster)!), world)
    const backend = openHazelcast({
      [half]: seen,
      ...{ owner, laneCount: config.lanes, clock, random, logger, retentionMs: config.retentionMs },
      retryMaxMs: config.retryMaxMs,
      ...{ known: world.known, remember: (known) => world.remember(known) },
      reports,
      isElsewhere: isHeldElsewhere(world),
      address: { clusterName: half, members: [] },
      journal: role === 'facade' ? undefined : this.#journals?.open(world.node, role, process, epochs),
      ...(depths && { depths, journals: () => (blindFacades ? [] : journalsOf(world.directory)) }),
      ...(repair && { repair: repairsNothing ? async () => {} : repair }),
    })
    opened = backend
    this.#witnesses.push({ process, cluster, backend })
    const { refill = () => ({}) } = this.#bugs
    if (backend.refill !== undefined)
      Object.assign(backend.refill, refill({ ...backend.refill, journal: backend.refill.journal }))
    return wrap(backend, world)
  }

  /** A cluster stops as a whole. What it held is noted: nobody else has it. */
  empty(cluster: SimCluster): void {
    if (cluster === this.log) this.losses.ofLog(cluster)
    else this.losses.ofQueue(cluster)
    if (this.#journals !== undefined) this.losses.comesBack()
    const fate = this.#fates.get(cluster)!
    if (fate.isKnown) fate.lostCount++
    fate.isKnown = false
    cluster.stop()
  }

  /** Processes that live and report fewer or more losses than there were. */
  untrue(): string[] {
    return this.#witnesses.flatMap(({ process, cluster, backend }) => {
      const told = openLosses(backend.reports()).length
      const { lostCount } = this.#fates.get(cluster)!
      const isWrong = process.alive && told !== lostCount
      return isWrong
        ? [`${process.name} reports ${told} losses of ${cluster.name} instead of ${lostCount}`]
        : []
    })
  }

  /** Ids of messages that are in the log, and neither pending, delivered nor dead. */
  nowhere(): string[] {
    const queued = queuedIn(this.queue)
    return loggedIn(this.log).filter((id) => !queued.has(id))
  }

  /** Ids of messages that are in the queue, with their texts, and not in the log. */
  unlogged(): string[] {
    const without = new Set([...loggedIn(this.log), ...purgedIn(this.queue)])
    return [...queuedIn(this.queue)].filter((id) => !without.has(id))
  }

  pending(): string[] {
    return [...this.queue.partitions.entries(NAMES.pending).keys()]
  }

  quiet(): boolean {
    return this.log.straggling + this.queue.straggling === 0
  }

  heal(): void {
    this.log.calm()
    this.queue.calm()
  }
}

/** Notes when a process has learned a cluster's epoch. */
function knowing(cluster: Cluster, fate: Fate): Cluster {
  return withMap(cluster, NAMES.meta, (map) => ({
    putIfAbsent: async (key, value, ttlMs) => {
      const found = await map.putIfAbsent(key, value, ttlMs)
      if (key === 'begun') fate.isKnown ||= found === undefined
      return found
    },
    replaceIfSame: async (key, value, next, ttlMs) => {
      const isDone = await map.replaceIfSame(key, value, next, ttlMs)
      if (key === 'begun') fate.isKnown ||= isDone
      return isDone
    },
  }))
}
