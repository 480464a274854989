/**
 * Puts a journal of the log back into a cluster that lacks it. The cluster's map `restored` has an entry for each journal:
 * up to which id it was put back. A cluster that came back empty has lost it, so all begins anew there. Each step changes
 * the entry by compare-and-set: a cluster that was lost meanwhile is not taken for whole.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { JournalReport } from '../../runtime/losses.ts'
import { EPOCH_CHECK_MS } from '../../runtime/timings.ts'
import { MIN_ID } from '../ids.ts'
import type { Journal } from '../journal.ts'
import { wholeBatches } from '../paging.ts'
import type { Log } from '../ports.ts'
import { type KeyPage, keyIn } from '../records.ts'
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
  mark: Pick<ClusterMark, 'missing' | 'confirm' | 'epoch' | 'lacks' | 'isOther'>
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
  #putBackIn: string | null = null
  #since: number | null = null
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
    const { id, beganAt, beganIn } = this.#options.journal
    const [wholeIn, putBackIn, since] = [this.#wholeIn, this.#putBackIn, this.#since]
    return { id, beganAt, beganIn, wholeIn, putBackIn, since, ...this.#progress, absent: [] }
  }

  /** One page of the keys in the journal. */
  async keys(range: { after: string; limit: number }): Promise<KeyPage> {
    const page = await this.#options.journal.page(range)
    const keys = page.flatMap((row) => keyIn(row) ?? [])
    return { keys, first: page[0]?.id ?? null, last: page.at(-1)?.id ?? null }
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
      const known = found === undefined ? undefined : (JSON.parse(found) as Progress)
      const isDone = known?.after === null
      if (isDone || !mark.lacks(journal)) {
        this.#putBackIn = isDone ? epoch : null
        this.#progress = { done: known?.done ?? 0, total: known?.done ?? 0 }
        this.#since = null
        this.#wholeIn = epoch
        return
      }
      this.#wholeIn = null
      this.#since ??= this.#options.clock.now()
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
    const { after, ...known } = JSON.parse(stands) as Progress
    let { done } = known
    let lackedCount = 0
    this.#progress = { done, total: journal.count() }
    if (after === null) return
    const advance = async (to: string | null) => {
      const next = JSON.stringify({ after: to, done } satisfies Progress)
      if (!(await this.#map.replaceIfSame(journal.id, stands, next, FOR_EVER_MS))) return false
      stands = next
      this.#progress = { ...this.#progress, done }
      return true
    }
    // In two steps a batch would become many entries.
    for await (const messages of wholeBatches(
      (from) => journal.page({ after: from, limit: STEP_COUNT }),
      after,
    )) {
      const logged = messages.filter((row) => keyIn(row) === undefined)
      for (const [lane, mates] of Map.groupBy(logged, (message) => message.lane))
        lackedCount += (await log.restore(lane, mates)).length
      done += logged.length
      if (this.#closed || !(await advance(messages.at(-1)!.id))) return
    }
    if (!(await advance(null))) return
    this.#putBackIn = epoch
    this.#since = null
    this.#wholeIn = epoch
    if (lackedCount === 0) return
    const tookMs = Math.round(clock.monotonic() - beganAt)
    logger.warn({ restored: lackedCount, checked: done, tookMs }, 'the log was put back from the journal')
  }
}
