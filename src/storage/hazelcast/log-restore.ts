/**
 * Puts a journal of the log back into a cluster that lacks it. The cluster's map `restored` has an entry for each journal:
 * up to which id it was put back. A cluster that came back empty has lost it, so all begins anew there. Each step changes
 * the entry by compare-and-set: a cluster that was lost meanwhile is not taken for whole.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { JournalReport } from '../../runtime/losses.ts'
import { EPOCH_CHECK_MS } from '../../runtime/timings.ts'
import { batchKeyOf, MIN_ID } from '../ids.ts'
import type { Journal } from '../journal.ts'
import type { Log, Logged } from '../ports.ts'
import { type Cluster, type ClusterMap, FOR_EVER_MS, onlyAway, putOnce } from './cluster.ts'
import { NAMES } from './entries.ts'
import type { ClusterMark } from './mark.ts'

/** Messages read in one step, and about how many writes are in flight at most. */
const STEP_COUNT = 200

/** How far a journal was put back. */
interface Progress {
  /** All messages up to this id; null: all that it had. */
  after: string | null
  /** So many messages. */
  done: number
}

/** What it needs. */
export interface LogRestoreOptions {
  cluster: Cluster
  mark: Pick<ClusterMark, 'missing' | 'confirm' | 'epoch' | 'isOther'>
  journal: Journal
  log: Pick<Log, 'restore'>
  clock: Clock
  logger: Logger
}

/** Watches one cluster for one journal. */
export class LogRestore {
  readonly #options: LogRestoreOptions
  readonly #map: ClusterMap
  readonly #cancel: () => void
  #wholeIn: string | null = null
  #progress = { done: 0, total: 0 }
  #checking = false
  #closed = false

  constructor(options: LogRestoreOptions) {
    this.#options = options
    this.#map = options.cluster.map(NAMES.restored)
    options.cluster.onConnect(() => void this.#check())
    this.#cancel = options.clock.every(EPOCH_CHECK_MS, () => void this.#check())
  }

  /** For all actors. */
  report(): JournalReport {
    const { id, beganAt } = this.#options.journal
    return { id, beganAt, wholeIn: this.#wholeIn, ...this.#progress }
  }

  close(): void {
    this.#closed = true
    this.#cancel()
  }

  /** One at a time. */
  async #check(): Promise<void> {
    const { mark, journal } = this.#options
    if (this.#checking || this.#closed || mark.missing().length > 0) return
    this.#checking = true
    try {
      await mark.confirm()
      const epoch = mark.epoch!
      if (epoch !== this.#wholeIn) {
        this.#wholeIn = null
        if (mark.isOther || mark.missing().length > 0) return
      }
      const found = await this.#map.get(journal.id)
      if (found !== undefined && (JSON.parse(found) as Progress).after === null) {
        this.#wholeIn = epoch
        return
      }
      this.#wholeIn = null
      // Another process that reaches the directory may be doing it: then it is asked again what the cluster says.
      await journal.alone(() => this.#restore(epoch))
    } catch (error) {
      onlyAway(error) // It is tried again, from where it was.
    } finally {
      this.#checking = false
    }
  }

  async #restore(epoch: string): Promise<void> {
    const { journal, log, clock, logger } = this.#options
    const beganAt = clock.monotonic()
    const fresh: Progress = { after: MIN_ID, done: 0 }
    let stands = await putOnce(this.#map, journal.id, JSON.stringify(fresh), FOR_EVER_MS)
    let { after, done } = JSON.parse(stands) as Progress
    let lackedCount = 0
    this.#progress = { done, total: journal.count() }
    /** Of a batch that the next page may go on with: in two steps it would become many entries. */
    let rest: Logged[] = []
    while (after !== null && !this.#closed) {
      const page = await journal.page({ after: rest.at(-1)?.id ?? after, limit: STEP_COUNT })
      const read = [...rest, ...page]
      const last = page.length === 0 ? undefined : batchKeyOf(page.at(-1)!.id)
      const whole = read.filter(({ id }) => batchKeyOf(id) !== last)
      rest = read.slice(whole.length)
      if (whole.length === 0 && page.length > 0) continue
      for (const [lane, messages] of Map.groupBy(whole, (message) => message.lane))
        lackedCount += (await log.restore(lane, messages)).length
      done += whole.length
      after = page.length === 0 ? null : whole.at(-1)!.id
      const next = JSON.stringify({ after, done } satisfies Progress)
      if (!(await this.#map.replaceIfSame(journal.id, stands, next, FOR_EVER_MS))) return
      stands = next
      this.#progress = { ...this.#progress, done }
    }
    if (after === null) this.#wholeIn = epoch
    if (lackedCount === 0) return
    const tookMs = Math.round(clock.monotonic() - beganAt)
    logger.warn({ restored: lackedCount, checked: done, tookMs }, 'the log was put back from the journal')
  }
}
