/** The Hazelcast backend on two simulated clusters: all of its protocol runs unchanged. */
import type { Cluster } from '../../src/runtime/backends/hazelcast/cluster.ts'
import { NAMES } from '../../src/runtime/backends/hazelcast/entries.ts'
import { openHazelcast } from '../../src/runtime/backends/hazelcast/open.ts'
import type { Backend } from '../../src/runtime/ports.ts'
import type { World } from '../../src/runtime/world.ts'
import type { BackendHooks, BackendModel } from './backend-model.ts'
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'
import { type ClusterBugs, SimCluster } from './sim-cluster.ts'

/** What planted bugs there are of this backend. */
export interface HazelcastBugs {
  cluster?: ClusterBugs
  /** What a process sees of a cluster. */
  distort?: (cluster: Cluster, world: World) => Cluster
  /** What a process makes of its backend. */
  wrap?: (backend: Backend, world: World) => Backend
  /** What it finds without a wake-up is not put into the log. */
  repairsNothing?: boolean
}

/** Both clusters, as they survive all processes. */
export class HazelcastModel implements BackendModel {
  readonly log: SimCluster
  readonly queue: SimCluster
  readonly #bugs: HazelcastBugs

  constructor(scheduler: Scheduler, rng: Rng, bugs: HazelcastBugs) {
    this.#bugs = bugs
    this.log = new SimCluster('logging', scheduler, rng, bugs.cluster ?? {})
    this.queue = new SimCluster('queue', scheduler, rng, bugs.cluster ?? {})
  }

  open(world: World, process: SimProcess, { depths, repair }: BackendHooks): Backend {
    const { distort = (cluster) => cluster, wrap = (backend) => backend, repairsNothing } = this.#bugs
    const { name: owner, role, config, clock, random, logger } = world
    const cluster =
      role === 'logging' ? { log: this.log.connect(process) } : { queue: this.queue.connect(process) }
    const seen = Object.fromEntries(
      Object.entries(cluster).map(([half, each]) => [half, distort(each, world)]),
    )
    const backend = openHazelcast({
      ...seen,
      ...{ owner, laneCount: config.lanes, clock, random, logger, retentionMs: config.retentionMs },
      ...(depths && { depths }),
      ...(repair && { repair: repairsNothing ? async () => {} : repair }),
    })
    return wrap(backend, world)
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
