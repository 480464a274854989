/**
 * The Hazelcast backend: the log on one cluster, the queue on another. Its composition, for a process that needs
 * one of the two or both.
 */
import type { Clock, Random } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { LaneReport } from '../lane-choice.ts'
import type { Backend, LaneBatch, Log, Queue } from '../ports.ts'
import { Bound } from './bound.ts'
import type { Cluster } from './cluster.ts'
import { NAMES } from './entries.ts'
import { HazelcastLog } from './log.ts'
import { ClusterMark } from './mark.ts'
import { HazelcastQueue } from './queue.ts'

/** What the log, or what waits, may take in its cluster: of one copy of it. */
const MAX_BYTES = 1024 * 1024 * 1024

/** What one process needs of the backend. */
export interface HazelcastOptions {
  /** The cluster of the log; without it there is no log here. */
  log?: Cluster
  /** The cluster of the queue; without it there is no queue here. */
  queue?: Cluster
  /** The actor, unique in the system: a successor of its process takes over the lanes it holds. */
  owner: string
  laneCount: number
  clock: Clock
  random: Random
  logger: Logger
  retentionMs: number
  /** For a messages actor: whether another is known to hold a lane; without it nobody is. */
  isElsewhere?: (lane: number) => boolean
  /** For a facade: how busy the lanes' holders are. */
  depths?: LaneReport
  /** For a messages actor: puts a batch into the log, once more. */
  repair?: (batch: LaneBatch) => Promise<unknown>
}

/** Opens the backend for one process. Asking for a store that it was not given is a bug. */
export function openHazelcast(options: HazelcastOptions): Backend {
  const { log, queue, laneCount, clock, random, logger, retentionMs, owner, depths } = options
  const stores = [
    ...(log === undefined ? [] : [watch('log', log, options)]),
    ...(queue === undefined ? [] : [watch('queue', queue, options)]),
  ]
  const storeOf = (store: string) => stores.find((watched) => watched.store === store)!
  const hazelcastLog: Log | undefined =
    log && new HazelcastLog({ cluster: log, clock, retentionMs, bound: storeOf('log').bound })
  const hazelcastQueue: HazelcastQueue | undefined =
    queue &&
    new HazelcastQueue({
      ...{ cluster: queue, laneCount, clock, logger, retentionMs, owner, depths },
      ...{ bound: storeOf('queue').bound, mark: storeOf('queue').mark },
      isElsewhere: options.isElsewhere ?? (() => false),
      incarnation: Math.floor(random() * 36 ** 10).toString(36),
      repair: options.repair ?? (async () => {}),
    })
  return {
    get log(): Log {
      return hazelcastLog ?? absent('log')
    },
    get queue(): Queue {
      return hazelcastQueue ?? absent('queue')
    },
    missing: () => stores.flatMap(({ mark }) => mark.missing()),
    damaged: () => stores.flatMap(({ mark }) => mark.damaged()),
    async close() {
      await hazelcastQueue?.close()
      await Promise.all(
        stores.map(({ cluster, bound, mark }) => {
          bound.close()
          mark.close()
          return cluster.close()
        }),
      )
    },
  }
}

/** What both have: a bound, and an eye on whether the cluster is the one it was. */
function watch(store: 'log' | 'queue', cluster: Cluster, options: HazelcastOptions) {
  const map = cluster.map(store === 'log' ? NAMES.log : NAMES.pending)
  return {
    store,
    cluster,
    bound: new Bound(store, map, MAX_BYTES, options.clock),
    mark: new ClusterMark({ ...options, store, cluster }),
  }
}

function absent(store: string): never {
  throw new Error(`this process was opened without the ${store}`)
}
