/**
 * Which lanes of a queue's cluster lack what journals have. A lane begins with its cluster, empty: it lacks what was begun
 * before that. The cluster's map `restored` has an entry for each lane that was refilled since: the journals whose content
 * it has, and when that was so. A cluster that came back empty has lost it.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { JournalReport } from '../../runtime/losses.ts'
import type { Journal, Refill } from '../journal.ts'
import type { Message } from '../ports.ts'
import type { Outcomes } from '../records.ts'
import { type Cluster, type ClusterMap, FOR_EVER_MS, putOnce } from './cluster.ts'
import { laneName, NAMES } from './entries.ts'
import { type ClusterMark, wasBegunBefore } from './mark.ts'

/** A lane as it was refilled last. */
interface Refilled {
  journals: string[]
  /** Ms since 1970. */
  at: number
}

/** What it needs. */
export interface QueueRefillOptions {
  cluster: Cluster
  mark: Pick<ClusterMark, 'confirm' | 'isOther' | 'begunAt'>
  clock: Clock
  journal: Journal
  /** @throws {MailroomError} `MR_LANE_ELSEWHERE` */
  put: (lane: number, messages: readonly Message[], outcomes: Outcomes) => Promise<void>
}

/** Answers `Refill`. */
export class QueueRefill implements Refill {
  readonly journal: Journal
  readonly put: Refill['put']
  readonly #options: QueueRefillOptions
  readonly #map: ClusterMap
  readonly #lacking = new Set<number>()

  constructor(options: QueueRefillOptions) {
    this.journal = options.journal
    this.put = options.put
    this.#options = options
    this.#map = options.cluster.map(NAMES.restored)
  }

  async lacking(lanes: readonly number[], journals: readonly JournalReport[]): Promise<Map<number, string>> {
    const { mark } = this.#options
    await mark.confirm()
    const found = await this.#map.getAll(lanes.map(laneName))
    const fresh: Refilled = { journals: [], at: mark.begunAt }
    const lacking = new Map<number, string>()
    for (const lane of lanes) {
      const stands = found.get(laneName(lane)) ?? JSON.stringify(fresh)
      const { journals: known, at } = JSON.parse(stands) as Refilled
      const isLacking = journals.some((journal) => !known.includes(journal.id) && wasBegunBefore(journal, at))
      if (isLacking) this.#lacking.add(lane)
      else this.#lacking.delete(lane)
      if (isLacking && !mark.isOther) lacking.set(lane, await this.#sure(lane, stands))
    }
    return lacking
  }

  async finish(lane: number, lacking: string, journals: readonly JournalReport[]): Promise<boolean> {
    const known = (JSON.parse(lacking) as Refilled).journals
    const all = [...new Set([...known, ...journals.map(({ id }) => id)])].sort()
    const next: Refilled = { journals: all, at: this.#options.clock.now() }
    const isDone = await this.#map.replaceIfSame(laneName(lane), lacking, JSON.stringify(next), FOR_EVER_MS)
    if (isDone) this.#lacking.delete(lane)
    return isDone
  }

  isLacking(lane: number): boolean {
    return this.#lacking.has(lane)
  }

  #sure(lane: number, stands: string): Promise<string> {
    return putOnce(this.#map, laneName(lane), stands, FOR_EVER_MS)
  }
}
