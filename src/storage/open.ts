/** Opens the backend of `--backend` for one process. Only that one's modules are loaded. */
import { join } from 'node:path'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Logger } from '../runtime/logger.ts'
import {
  type ClusterReport,
  epochsMetFirst,
  type JournalReport,
  type KnownCluster,
  type KnownClusters,
} from '../runtime/losses.ts'
import type { JournaledBackend } from './journal.ts'
import type { LaneReport } from './lane-choice.ts'
import type { LaneBatch, StoreMeter } from './ports.ts'

/** What a process asks of the backend. */
export interface BackendOptions {
  backend: 'embedded' | 'hazelcast'
  /** Path of the data directory (embedded), and as `EmbeddedOptions.dataIdentity`. */
  data: string
  dataIdentity?: string | undefined
  /** The two clusters: their names, and members to connect to as `host:port` (hazelcast). */
  hazelcastLogging: { clusterName: string; members: string[] }
  hazelcastQueue: { clusterName: string; members: string[] }
  laneCount: number
  retentionMs: number
  /** Null: that of the backend. */
  keyRetentionMs: number | null
  /** As `EmbeddedOptions.retryMaxMs`. */
  retryMaxMs: number
  maxMessageBytes: number
  /** The store this process works on: a logging actor writes the log, the others use the queue. */
  store: 'log' | 'queue'
  /** Name of the actor, unique in the system: its next process takes over what it holds. */
  owner: string
  /** The actor's number: the embedded log has one writer for each. */
  number: number
  clock: Clock
  random: Random
  logger: Logger
  /** What the node knows of the clusters, what learns more of them, and what other actors report of them. */
  known: KnownClusters
  remember: (known: KnownCluster) => void
  reports: () => readonly ClusterReport[]
  /** On Hazelcast: this process keeps a journal in `data`. */
  journal: boolean
  /** The embedded log, or the journal, cannot be written any more by this process, which must end. */
  onBroken: (error: unknown) => void
  meter: StoreMeter
  /** Actors of this one's role in the system. */
  writerCount: () => number
  /** True while the directory says that another actor holds a lane. */
  isElsewhere: (lane: number) => boolean
  /** Of a facade: the backlog of each lane, and how to tell a lane's holder that a message is pending. */
  depths?: LaneReport
  wakeRemote?: (lane: number) => void
  /** Of a facade: the journals that all nodes report. */
  journals?: () => readonly JournalReport[]
  /** Of a messages actor: appends a batch to the log once more. */
  repair?: (batch: LaneBatch) => Promise<unknown>
}

/**
 * @throws {MailroomError} `MR_DATA_LOCKED` when another process writes this logging actor's files; `MR_CONFIG_INVALID` when
 * there can be no journal in `data`.
 */
export async function openBackend(options: BackendOptions): Promise<JournaledBackend> {
  const { backend, store, number, owner, clock, logger, onBroken, ...rest } = options
  if (backend === 'embedded') {
    const { openEmbedded } = await import('./embedded/open.ts')
    return openEmbedded({ ...rest, clock, logger, ...(store === 'log' && { writer: number, onBroken }) })
  }
  let opened: JournaledBackend | undefined
  // What this process has met itself, it may not have reported yet.
  const reports = () => [...(opened?.reports() ?? []), ...options.reports()]
  const journal = options.journal ? await openJournalOf(options, reports) : undefined
  const { HazelcastCluster } = await import('./hazelcast/client.ts')
  const { openHazelcast } = await import('./hazelcast/open.ts')
  const address = store === 'log' ? options.hazelcastLogging : options.hazelcastQueue
  const cluster = new HazelcastCluster({ ...address, store, instanceName: owner, clock, logger })
  opened = openHazelcast({
    ...rest,
    clock,
    logger,
    owner,
    clusterName: address.clusterName,
    address,
    journal,
    [store]: cluster,
  })
  return opened
}

/** Batches of a logging actor and outcomes of a messages actor are journals of their own. */
async function openJournalOf(options: BackendOptions, reports: BackendOptions['reports']) {
  const { data, store, laneCount, retentionMs, maxMessageBytes, clock, logger, onBroken } = options
  const epochs = epochsMetFirst(options.known, reports)
  const { openJournal } = await import('./journal/open.ts')
  return openJournal({
    data: join(data, 'journal', store === 'log' ? 'log' : 'lanes'),
    ...{ laneCount, retentionMs, maxMessageBytes, epochs, clock, logger, onBroken },
  })
}
