/** Two simulated clusters, and processes of several nodes that watch them, in virtual time. */
import type { Clock } from '../../src/runtime/clock.ts'
import { ClusterMemory, NOWHERE } from '../../src/runtime/cluster/cluster-memory.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import { type ClusterReport, type KnownClusters, type Loss, openLosses } from '../../src/runtime/losses.ts'
import { EPOCH_CHECK_MS, KNOWN_PERIOD_MS } from '../../src/runtime/timings.ts'
import { NAMES } from '../../src/storage/hazelcast/entries.ts'
import { openHazelcast } from '../../src/storage/hazelcast/open.ts'
import type { Journal, JournaledBackend } from '../../src/storage/journal.ts'
import { SimProcess } from '../simulation/process.ts'
import { Rng } from '../simulation/rng.ts'
import { Scheduler } from '../simulation/scheduler.ts'
import { MEMBER_START_MS, SimCluster } from '../simulation/sim-cluster.ts'

const DAY_MS = 24 * 3_600_000
const MACHINE = { name: 'a', clockOffsetMs: 0, boot: 1 }

/** A process that uses one of the clusters. */
export interface Watcher {
  backend: JournaledBackend
  kill(): void
}

/** The clusters. */
export class ClusterBench {
  readonly #scheduler = new Scheduler()
  readonly #rng = new Rng(1)
  readonly log = new SimCluster('logging', this.#scheduler, new Rng(2), {})
  readonly queue = new SimCluster('queue', this.#scheduler, new Rng(3), {})
  readonly #watchers = new Set<Watcher>()
  readonly #clock = new SimProcess(this.#scheduler, 'a client', MACHINE, this.#rng)

  /** A node's memory; `known`: what its data directory has. */
  node(known: KnownClusters = {}): ClusterMemory {
    return new ClusterMemory(structuredClone(known), NOWHERE, createLogger('silent', {}))
  }

  /** Starts a process of a node. */
  watch(
    store: 'log' | 'queue',
    node = this.node(),
    {
      clusterName = store as string,
      cluster = this[store],
      journal,
    }: { clusterName?: string; cluster?: SimCluster; journal?: Journal } = {},
  ): Watcher {
    const process = new SimProcess(
      this.#scheduler,
      `${store}-${this.#watchers.size}`,
      MACHINE,
      this.#rng.fork(),
    )
    const backend = openHazelcast({
      ...{ [store]: cluster.connect(process), clusterName, owner: process.name, laneCount: 1, journal },
      ...{
        clock: process.clock,
        random: process.rng.next,
        logger: createLogger('silent', {}),
        retentionMs: DAY_MS,
      },
      ...{ known: node.known, remember: (known) => node.learn(known), reports: () => this.#reports() },
    })
    const watcher: Watcher = {
      backend,
      kill: () => {
        process.die()
        this.#watchers.delete(watcher)
      },
    }
    this.#watchers.add(watcher)
    return watcher
  }

  /** A new cluster beside the two. */
  another(name: string): SimCluster {
    return new SimCluster(name, this.#scheduler, new Rng(4), {})
  }

  /** So many messages in the log. */
  fill(count: number): void {
    for (let index = 0; index < count; index++) this.log.partitions.seed(`${NAMES.log}|${index}`, '{}')
  }

  /** All members of a cluster stop and start. */
  async empty(...clusters: SimCluster[]): Promise<void> {
    for (const cluster of clusters) cluster.stop()
    await this.#scheduler.pass(MEMBER_START_MS)
    for (const cluster of clusters) cluster.comeBack()
  }

  /** Until all have checked all, and heard of it. */
  async settle(): Promise<void> {
    await this.#scheduler.pass(KNOWN_PERIOD_MS + 4 * EPOCH_CHECK_MS)
  }

  /** Ids are made by it. */
  get clock(): Clock {
    return this.#clock.clock
  }

  /** What comes of it in virtual time. */
  async run<T>(work: Promise<T>): Promise<T> {
    let settled = false
    const end = () => {
      settled = true
    }
    work.then(end, end)
    while (!settled) await this.#scheduler.pass(1)
    return work
  }

  pass(ms: number): Promise<void> {
    return this.#scheduler.pass(ms)
  }

  /** What a process reports as lost: `store kind`, and how many messages. */
  losses({ backend }: Watcher): string[] {
    return openLosses(backend.reports()).map(({ store, kind, count }) => `${store} ${kind} ${count}`)
  }

  /** Confirms what this process reports. */
  async confirm(
    { backend }: Watcher,
    losses: readonly Loss[] = openLosses(backend.reports()),
  ): Promise<void> {
    await this.run(backend.confirmLosses(losses))
  }

  #reports(): ClusterReport[] {
    return [...this.#watchers].flatMap(({ backend }) => structuredClone(backend.reports()))
  }
}
