/**
 * What a cluster was begun with: a random epoch and the number of lanes, in one entry. An open-source cluster has
 * no disk: one that comes back without the epoch we knew came back empty. That is told, not hidden; nothing is
 * done again on its own, as handlers would run twice.
 */
import type { Clock, Random } from '../../clock.ts'
import { isMailroomError } from '../../errors.ts'
import type { Logger } from '../../logger.ts'
import { type Cluster, FOR_EVER_MS, putOnce } from './cluster.ts'
import { NAMES } from './entries.ts'

const KEY = 'begun'
const LOOK_MS = 2000

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
  readonly #cancel: () => void
  #known: Begun | undefined
  #lossAt: string | undefined

  constructor(options: ClusterMarkOptions) {
    this.#options = options
    options.cluster.onConnect(() => void this.#look())
    this.#cancel = options.clock.every(LOOK_MS, () => void this.#look())
  }

  /** What keeps us from using the cluster, in words for people. */
  missing(): string[] {
    const { cluster, laneCount } = this.#options
    const missing = cluster.missing()
    if (missing !== undefined) return [missing]
    if (this.#known === undefined || this.#known.lanes === laneCount) return []
    return [`--lanes ${this.#known.lanes}, which the cluster was begun with, instead of ${laneCount}`]
  }

  /** What was lost, in words for people. */
  damaged(): string[] {
    const { store } = this.#options
    return this.#lossAt === undefined
      ? []
      : [`the ${store}'s Hazelcast cluster came back empty at ${this.#lossAt}: what it held is lost`]
  }

  close(): void {
    this.#cancel()
  }

  async #look(): Promise<void> {
    const { cluster, laneCount, random, clock, logger, store } = this.#options
    if (cluster.missing() !== undefined) return
    const own: Begun = { epoch: Math.floor(random() * 36 ** 10).toString(36), lanes: laneCount }
    try {
      const found = JSON.parse(
        await putOnce(cluster.map(NAMES.meta), KEY, JSON.stringify(own), FOR_EVER_MS),
      ) as Begun
      if (this.#known !== undefined && this.#known.epoch !== found.epoch) {
        // To the minute: all who notice say the same.
        this.#lossAt = `${new Date(clock.now()).toISOString().slice(0, 16)}Z`
        logger.error(`the ${store}'s cluster came back empty: what it held is lost`)
      }
      this.#known = found
    } catch (error) {
      if (!isMailroomError(error)) throw error // Else it went away, and is looked at when it is back.
    }
  }
}
