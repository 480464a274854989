/**
 * The Hazelcast backend: the log on one cluster, the queue on another. Its composition, for a process that needs
 * one of the two or both.
 */
import type { Clock, Random } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import type {
  ClusterReport,
  JournalReport,
  KnownCluster,
  KnownClusters,
  Store,
} from '../../runtime/losses.ts'
import { KEY_RETENTION_HAZELCAST_MS } from '../../runtime/timings.ts'
import type { Journal, JournaledBackend } from '../journal.ts'
import type { LaneReport } from '../lane-choice.ts'
import { MESSAGE_DEFAULT_BYTES } from '../limits.ts'
import type { ClusterState, LaneBatch, Log, Queue, StoreMeter } from '../ports.ts'
import { Bound } from './bound.ts'
import { Census } from './census.ts'
import { type Cluster, onlyAway } from './cluster.ts'
import { clusterStateOf } from './cluster-state.ts'
import { NAMES } from './entries.ts'
import { HazelcastLog } from './log.ts'
import { LogRestore } from './log-restore.ts'
import { ClusterMark } from './mark.ts'
import { HazelcastQueue } from './queue.ts'

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
  meter?: StoreMeter
  retentionMs: number
  /** How long an idempotency key is known; null or absent: the default of this backend. */
  keyRetentionMs?: number | null
  /** For a messages actor: no start is due later than this, whatever the clock of the last holder said. */
  retryMaxMs?: number
  /** `--max-message`; 1 MiB by default. */
  maxMessageBytes?: number
  /** Where the one cluster of this process is; without it `Backend.cluster` is absent. */
  address?: { clusterName: string; members: readonly string[] }
  /** Actors of this one's role; 1 by default. */
  writerCount?: () => number
  /** The name of the cluster in the settings. */
  clusterName?: string
  /** What the node knows of the clusters, and what learns it. */
  known?: KnownClusters
  remember?: (known: KnownCluster) => void
  /** What the ready actors of all nodes report of the clusters they use. */
  reports?: () => readonly ClusterReport[]
  /** For a messages actor: whether another is known to hold a lane; without it nobody is. */
  isElsewhere?: (lane: number) => boolean
  /** For a facade: how busy the lanes' holders are. */
  depths?: LaneReport
  /** For a messages actor: puts a batch into the log, once more. */
  repair?: (batch: LaneBatch) => Promise<unknown>
  /** For a facade: the journals that all nodes report. */
  journals?: () => readonly JournalReport[]
  /** The journal of this process; closed with the backend. */
  journal?: Journal | undefined
}

/** Opens the backend for one process. Asking for a store that it was not given is a bug. */
export function openHazelcast(options: HazelcastOptions): JournaledBackend {
  const { log, queue, laneCount, clock, random, logger, owner, depths, journal } = options
  const { retentionMs, retryMaxMs = Number.POSITIVE_INFINITY, meter } = options
  const keyRetentionMs = options.keyRetentionMs ?? KEY_RETENTION_HAZELCAST_MS
  const stores = [
    ...(log === undefined ? [] : [watch('log', log, options)]),
    ...(queue === undefined ? [] : [watch('queue', queue, options)]),
  ]
  const limitsOf = (store: Store) => stores.find((watched) => watched.store === store)!
  const hazelcastLog: Log | undefined =
    log && new HazelcastLog({ ...{ cluster: log, clock, retentionMs, meter, journal }, ...limitsOf('log') })
  const hazelcastQueue: HazelcastQueue | undefined =
    queue &&
    new HazelcastQueue({
      ...{ cluster: queue, laneCount, clock, logger, retentionMs, keyRetentionMs, retryMaxMs, owner, depths },
      ...limitsOf('queue'),
      meter,
      isElsewhere: options.isElsewhere ?? (() => false),
      ...{ random, journal, journals: options.journals },
      incarnation: Math.floor(random() * 36 ** 10).toString(36),
      repair: options.repair ?? (async () => {}),
      maxMessageBytes: options.maxMessageBytes ?? MESSAGE_DEFAULT_BYTES,
    })
  const logRestore =
    hazelcastLog && journal && log
      ? new LogRestore({
          cluster: log,
          mark: limitsOf('log').mark,
          journal,
          log: hazelcastLog,
          clock,
          logger,
        })
      : undefined
  const { address } = options
  const [own] = stores
  return {
    ...(own !== undefined && address !== undefined && { cluster: () => stateOf(own, address) }),
    get log(): Log {
      return hazelcastLog ?? absent('log')
    },
    get queue(): Queue {
      return hazelcastQueue ?? absent('queue')
    },
    missing: () => [
      ...stores.flatMap(({ mark, bound }) => [...mark.missing(), ...bound.missing()]),
      ...(journal?.missing() ?? []),
    ],
    damaged: () => journal?.damaged() ?? [],
    ...(hazelcastQueue?.refill && { refill: hazelcastQueue.refill }),
    ...(logRestore && {
      journal: () => logRestore.report(),
      keys: (range: { after: string; limit: number }) => logRestore.keys(range),
    }),
    reports: () => stores.flatMap(({ mark }) => mark.report() ?? []),
    async confirmLosses(losses) {
      await Promise.all(stores.map(({ mark }) => mark.confirmLosses(losses)))
    },
    async close() {
      logRestore?.close()
      await hazelcastQueue?.close()
      await Promise.all(
        stores.map(({ cluster, bound, mark }) => {
          bound.close()
          mark.close()
          return cluster.close()
        }),
      )
      journal?.close()
    },
  }
}

type Watched = ReturnType<typeof watch>

/** What both have: a bound, and an eye on whether the cluster is the one it was. */
function watch(store: Store, cluster: Cluster, options: HazelcastOptions) {
  const names = store === 'log' ? [NAMES.log] : [NAMES.pending, NAMES.delivered, NAMES.dead]
  const maps = names.map((name) => cluster.map(name))
  const { clock, writerCount = () => 1, clusterName: name = '' } = options
  const { known = {}, remember = () => {}, reports = () => [] } = options
  const census = new Census(maps)
  // A facade does not know how many messages the entries of the delivered lists have: messages actors count.
  const isCounting = options.depths === undefined
  const mark = new ClusterMark({
    ...{ ...options, store, cluster, name, known: known[store], remember, reports },
    census: isCounting ? census : null,
  })
  return { store, cluster, bound: new Bound({ store, cluster, writerCount, clock }), census, mark }
}

async function stateOf(
  { store, cluster, bound }: Watched,
  { clusterName, members }: { clusterName: string; members: readonly string[] },
): Promise<ClusterState> {
  let missing = cluster.missing()
  const reports = await cluster.members().catch((error: unknown) => {
    onlyAway(error)
    missing ??= (error as Error).message
    return []
  })
  const { heldBytes, limitBytes } = bound
  const facts = { store, name: clusterName, givenCount: members.length, missing, heldBytes, limitBytes }
  return clusterStateOf({ ...facts, warnings: bound.missing() }, reports)
}

function absent(store: string): never {
  throw new Error(`this process was opened without the ${store}`)
}
