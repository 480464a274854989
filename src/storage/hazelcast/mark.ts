/**
 * What a cluster was begun with: a random epoch and the number of lanes, in one entry. An open-source cluster has
 * no disk: one that comes back without the epoch we knew came back empty. That is told, not hidden; nothing is
 * done again on its own, as handlers would run twice.
 *
 * A second entry, put before the first, ends by itself: as long as it is there, leases that are gone may be in mind
 * (`leases.ts`).
 */

import type { Clock, Random } from '../../runtime/clock.ts'
import { isMailroomError } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import { EPOCH_CHECK_MS, NEW_CLUSTER_MS } from '../../runtime/timings.ts'
import { type Cluster, type ClusterMap, FOR_EVER_MS, putOnce } from './cluster.ts'
import { NAMES } from './entries.ts'

const KEY = 'begun'
const YOUNG = 'young'

interface Begun {
  epoch: string
  lanes: number
}

/** What a mark needs. */
export interface ClusterMarkOptions {
  cluster: Cluster
  /** In words for people: `log` or `queue`. */
  store: string
  laneCount: number
  clock: Clock
  random: Random
  logger: Logger
}

/** Watches one cluster. */
export class ClusterMark {
  readonly #options: ClusterMarkOptions
  readonly #map: ClusterMap
  readonly #cancel: () => void
  #known: Begun | undefined
  #lossAt: string | undefined
  #isYoung = false

  constructor(options: ClusterMarkOptions) {
    this.#options = options
    this.#map = options.cluster.map(NAMES.meta)
    options.cluster.onConnect(() => void this.#check())
    this.#cancel = options.clock.every(EPOCH_CHECK_MS, () => void this.#check())
  }

  /** What keeps us from using the cluster, human-readable. */
  missing(): string[] {
    const { cluster, laneCount } = this.#options
    const missing = cluster.missing()
    if (missing !== undefined) return [missing]
    if (this.#known === undefined || this.#known.lanes === laneCount) return []
    return [`--lanes ${this.#known.lanes}, which the cluster was begun with, instead of ${laneCount}`]
  }

  /** What was lost, human-readable. */
  damaged(): string[] {
    const { store } = this.#options
    return this.#lossAt === undefined
      ? []
      : [`the ${store}'s Hazelcast cluster came back empty at ${this.#lossAt}: what it held is lost`]
  }

  /** True when the cluster had been begun less than 5 s before it was confirmed last. */
  get isYoung(): boolean {
    return this.#isYoung
  }

  /** True when this process knows that there was another before it. */
  get cameBack(): boolean {
    return this.#lossAt !== undefined
  }

  /** Learns which cluster it is, now. @throws {MailroomError} `MR_STORE_UNAVAILABLE` */
  async confirm(): Promise<void> {
    const found = await this.#map.getAll([KEY, YOUNG])
    this.#isYoung = found.has(YOUNG)
    const begun = found.get(KEY)
    if (begun !== undefined && (JSON.parse(begun) as Begun).epoch === this.#known?.epoch) return
    if (begun === undefined) await putYoung(this.#map)
    await this.#learn()
    this.#isYoung = (await this.#map.get(YOUNG)) !== undefined
  }

  close(): void {
    this.#cancel()
  }

  async #check(): Promise<void> {
    if (this.#options.cluster.missing() !== undefined) return
    try {
      await this.confirm()
    } catch (error) {
      if (!isMailroomError(error)) throw error // Else it went away, and is looked at when it is back.
    }
  }

  async #learn(): Promise<void> {
    const { laneCount, random, clock, logger, store } = this.#options
    const own: Begun = { epoch: Math.floor(random() * 36 ** 10).toString(36), lanes: laneCount }
    const stands = await putOnce(this.#map, KEY, JSON.stringify(own), FOR_EVER_MS)
    const found = JSON.parse(stands) as Begun
    if (this.#known !== undefined && this.#known.epoch !== found.epoch) {
      // To the minute: all who notice say the same.
      this.#lossAt = `${new Date(clock.now()).toISOString().slice(0, 16)}Z`
      logger.error(`the ${store}'s cluster came back empty: what it held is lost`)
    }
    this.#known = found
  }
}

/** Durably, and never without an end: `putOnce` would leave it one when its second call is lost. */
async function putYoung(map: ClusterMap): Promise<void> {
  while ((await map.putIfAbsent(YOUNG, '', NEW_CLUSTER_MS)) !== undefined) {
    if (await map.setTtl(YOUNG, NEW_CLUSTER_MS)) return
  }
}
