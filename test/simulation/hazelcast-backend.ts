/** The Hazelcast backend on two simulated clusters: all of its protocol runs unchanged. */

import type { ActorContext } from '../../src/runtime/cluster/actor-context.ts'
import { isHeldElsewhere } from '../../src/runtime/cluster/directory.ts'
import type { NodeConfig } from '../../src/settings/config.ts'
import type { Cluster } from '../../src/storage/hazelcast/cluster.ts'
import { NAMES } from '../../src/storage/hazelcast/entries.ts'
import { openHazelcast } from '../../src/storage/hazelcast/open.ts'
import type { Backend } from '../../src/storage/ports.ts'
import type { BackendHooks, BackendModel } from './backend-model.ts'
import { Losses, loggedIn, queuedIn } from './losses.ts'
import { withMap } from './other-cluster.ts'
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'
import { type ClusterBugs, SimCluster } from './sim-cluster.ts'

/** What planted bugs there are of this backend. */
export interface HazelcastBugs {
  cluster?: ClusterBugs
  /** What a process sees of a cluster. */
  distort?: (cluster: Cluster, world: ActorContext<NodeConfig>) => Cluster
  /** What a process makes of its backend. */
  wrap?: (backend: Backend, world: ActorContext<NodeConfig>) => Backend
  /** What it finds without a wake-up is not put into the log. */
  repairsNothing?: boolean
}

/** A process that knows a cluster by its mark, and so has to tell when it comes back empty. */
interface Witness {
  process: SimProcess
  cluster: SimCluster
  backend: Backend
  knows: boolean
  hasToTell: boolean
}

/** Both clusters, as they survive all processes. */
export class HazelcastModel implements BackendModel {
  readonly log: SimCluster
  readonly queue: SimCluster
  readonly losses = new Losses()
  readonly #bugs: HazelcastBugs
  readonly #witnesses: Witness[] = []

  constructor(laneCount: number, scheduler: Scheduler, rng: Rng, bugs: HazelcastBugs) {
    this.#bugs = bugs
    this.log = new SimCluster('logging', scheduler, rng, bugs.cluster ?? {})
    this.queue = new SimCluster('queue', scheduler, rng, bugs.cluster ?? {})
    // Both have been in use for long.
    const begun = JSON.stringify({ epoch: 'first', lanes: laneCount })
    for (const { partitions } of [this.log, this.queue]) partitions.seed(`${NAMES.meta}|begun`, begun)
  }

  open(world: ActorContext<NodeConfig>, process: SimProcess, { depths, repair }: BackendHooks): Backend {
    const { distort = (cluster) => cluster, wrap = (backend) => backend, repairsNothing } = this.#bugs
    const { name: owner, role, config, clock, random, logger } = world
    const half = role === 'logging' ? 'log' : 'queue'
    const cluster = this[half]
    const witness = { process, cluster, knows: false, hasToTell: false }
    const seen = distort(knowing(cluster.connect(process), witness), world)
    const backend = openHazelcast({
      [half]: seen,
      ...{ owner, laneCount: config.lanes, clock, random, logger, retentionMs: config.retentionMs },
      isElsewhere: isHeldElsewhere(world),
      ...(depths && { depths }),
      ...(repair && { repair: repairsNothing ? async () => {} : repair }),
    })
    this.#witnesses.push(Object.assign(witness, { backend }))
    return wrap(backend, world)
  }

  /** A cluster stops as a whole. What it held is noted: nobody else has it. */
  empty(cluster: SimCluster): void {
    if (cluster === this.log) this.losses.ofLog(cluster)
    else this.losses.ofQueue(cluster)
    for (const witness of this.#witnesses) witness.hasToTell ||= witness.knows && witness.cluster === cluster
    cluster.stop()
  }

  /** Processes that live and do not tell of a loss that they lived through, or tell of one that was not. */
  untrue(): string[] {
    return this.#witnesses
      .filter(
        ({ process, backend, hasToTell }) => process.alive && backend.damaged().length > 0 !== hasToTell,
      )
      .map(
        ({ process: { name }, hasToTell }) => `${name} ${hasToTell ? 'does not tell of' : 'tells of'} a loss`,
      )
  }

  /** Ids of messages that are in the log, and neither pending, delivered nor dead. */
  nowhere(): string[] {
    const queued = queuedIn(this.queue)
    return loggedIn(this.log).filter((id) => !queued.has(id))
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

/** Notes when a process has learned a cluster's mark. */
function knowing(cluster: Cluster, witness: { knows: boolean }): Cluster {
  const learn = <T>(isLearned: boolean, answer: T): T => {
    witness.knows ||= isLearned
    return answer
  }
  return withMap(cluster, NAMES.meta, (map) => ({
    putIfAbsent: async (key, value, ttlMs) => {
      const found = await map.putIfAbsent(key, value, ttlMs)
      return learn(found === undefined, found)
    },
    replaceIfSame: async (key, value, next, ttlMs) => {
      const done = await map.replaceIfSame(key, value, next, ttlMs)
      return learn(done, done)
    },
  }))
}
