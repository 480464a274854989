/**
 * Refills the lanes of a messages actor whose cluster came back empty (decision 0075): reads the records of all journals,
 * then the log, and puts each message where it belongs. Whatever ends it, the next round begins anew; what is there stays.
 */
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import { type ActorEntry, journalsOf } from '../../runtime/cluster/directory.ts'
import { isMailroomError } from '../../runtime/errors.ts'
import type { JournalReport, KnownJournal } from '../../runtime/losses.ts'
import {
  ASK_TIMEOUT_MS,
  CLOCK_SKEW_MS,
  REDRIVE_AGE_MS,
  REFILL_CHECK_MS,
  REFILL_WAIT_MS,
} from '../../runtime/timings.ts'
import { batchKeyOf, idAt, MIN_ID } from '../../storage/ids.ts'
import type { Refill } from '../../storage/journal.ts'
import { PAGE_MAX_COUNT } from '../../storage/limits.ts'
import { readAhead, wholeBatches } from '../../storage/paging.ts'
import type { Logged } from '../../storage/ports.ts'
import { Outcomes } from '../../storage/records.ts'
import type { Logging, Peers } from '../protocol.ts'

/** What it needs of its actor. */
export interface RefillingOptions {
  context: ActorContext
  refill: Refill
  peers: Pick<Peers, 'messages' | 'logging'>
  logging: Pick<Logging, 'page'>
  /** The lanes it holds. */
  lanes: () => number[]
  /** A lane has what it lacked. */
  onRefilled: (lane: number) => Promise<void>
}

/** A journal as the directory has it, and the ready actors that reach it. */
interface Reached extends JournalReport {
  actors: ActorEntry[]
}

/** Watches the lanes of one messages actor. */
export class Refilling {
  readonly #options: RefillingOptions
  readonly #stop: (() => void)[]
  #round: Promise<void> | undefined
  #closed = false
  #progress = { done: 0, total: 0 }
  /** Since when lanes lack something (monotonic, ms; and ms since 1970). */
  #lackingSince: number | undefined
  #since: number | null = null

  constructor(options: RefillingOptions) {
    this.#options = options
    const { clock, directory } = options.context
    this.#stop = [
      clock.every(REFILL_CHECK_MS, () => this.check()),
      directory.onChange(() => this.#remember()),
    ]
    this.#remember()
  }

  /** True when the lane lacks nothing, as far as is known. */
  isWhole(lane: number): boolean {
    return !this.#options.refill.isLacking(lane)
  }

  /** For all actors. */
  report(): JournalReport {
    const { refill, lanes } = this.#options
    const { id, beganAt, beganIn } = refill.journal
    const isWhole = lanes().every((lane) => this.isWhole(lane))
    const absent = this.#absent()
    const wholeIn = isWhole ? '' : null
    const since = isWhole ? null : this.#since
    return { id, beganAt, beganIn, wholeIn, putBackIn: null, since, ...this.#progress, absent }
  }

  /** Learns whether a lane that was just taken lacks something. @throws {MailroomError} As the cluster does. */
  async learn(lane: number): Promise<void> {
    const journals = [...this.#journals('logging'), ...this.#journals('messages')]
    const own = { ...this.report(), wholeIn: null }
    await this.#options.refill.lacking([lane], [own, ...journals])
  }

  /** Refills what lacks something, unless it does so now. */
  check(): void {
    if (this.#closed) return
    this.#round ??= this.#refill()
      .catch((error: unknown) => {
        const { context } = this.#options
        // A lane has moved, or somebody is away: the next round tries again.
        if (!isMailroomError(error)) context.fail(error)
        context.logger.debug({ err: error }, 'lanes not refilled')
      })
      .finally(() => {
        this.#round = undefined
      })
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const stop of this.#stop) stop()
    await this.#round
  }

  async #refill(): Promise<void> {
    const { context, refill, lanes, onRefilled } = this.#options
    const held = lanes()
    const [logs, others] = [this.#journals('logging'), this.#journals('messages')]
    const journals = [...logs, ...others]
    if (held.length === 0) return
    const lacking = await refill.lacking(held, journals)
    if (lacking.size === 0) {
      this.#lackingSince = undefined
      this.#since = null
      return
    }
    const beganAt = context.clock.monotonic()
    this.#lackingSince ??= beganAt
    this.#since ??= context.clock.now()
    const epoch = epochOf(logs)
    if (epoch === undefined) return // The log is not whole yet.
    const isWaiting = beganAt < this.#lackingSince + REFILL_WAIT_MS
    const isAbsent = this.#absent().length > 0 || others.some(({ absent }) => absent.length > 0)
    if (isWaiting && isAbsent) return
    const outcomes = await this.#outcomesOf(others, lacking.keys())
    this.#progress = { done: 0, total: logs.reduce((sum, { total }) => sum + total, 0) }
    const first = await this.#putKeys(logs, lacking)
    if (first !== undefined) await this.#readLog(first, lacking, outcomes)
    for (const lane of lacking.keys()) await refill.put(lane, outcomes.lettersOf(lane), outcomes)
    // Pages that were read from a log that came back empty meanwhile were too short.
    if (this.#closed || epochOf(this.#journals('logging')) !== epoch) return
    for (const [lane, stands] of lacking) {
      if (!(await refill.finish(lane, stands, journals))) continue
      const tookMs = Math.round(context.clock.monotonic() - beganAt)
      context.logger.info({ lane, checked: this.#progress.done, tookMs }, 'a lane was put back from journals')
      await onRefilled(lane)
    }
    context.changed()
  }

  /** All that the journals have recorded of these lanes. */
  async #outcomesOf(journals: readonly Reached[], lanes: Iterable<number>): Promise<Outcomes> {
    const { peers } = this.#options
    const outcomes = new Outcomes(lanes)
    for (const { actors } of journals) {
      const messages = peers.messages(actors[0]!.address!, ASK_TIMEOUT_MS)
      for (let after = MIN_ID; ; ) {
        const page = await messages.records({ after, limit: PAGE_MAX_COUNT })
        for (const row of page) outcomes.add(row)
        if (page.length === 0) break
        after = page.at(-1)!.id
      }
    }
    return outcomes
  }

  /** Keys first: until the lane is whole, posts with one are refused. @returns The lowest id in a journal of the log. */
  async #putKeys(
    logs: readonly Reached[],
    lacking: ReadonlyMap<number, unknown>,
  ): Promise<string | undefined> {
    const { peers, refill } = this.#options
    let lowest: string | undefined
    for (const { actors } of logs) {
      const logging = peers.logging(actors[0]!.address!, ASK_TIMEOUT_MS)
      for (let after: string | null = MIN_ID; after !== null; ) {
        const { keys, first, last } = await logging.keys({ after, limit: PAGE_MAX_COUNT })
        if (first !== null && (lowest === undefined || first < lowest)) lowest = first
        await refill.putKeys(keys.filter(({ lane }) => lacking.has(lane)))
        after = last
      }
    }
    return lowest
  }

  /**
   * Puts what was posted before now where it belongs, once no post of it can be under way: what is old by its id; then what
   * the log had already, whatever the clock that made the id said, and what was posted before now by its id.
   */
  async #readLog(first: string, lacking: ReadonlyMap<number, unknown>, outcomes: Outcomes): Promise<void> {
    const { context, logging, refill } = this.#options
    const { clock } = context
    const startedAt = clock.monotonic()
    const [old, now] = [idAt(clock.now() - REDRIVE_AGE_MS), idAt(clock.now() + CLOCK_SKEW_MS)]
    const [newest] = await logging.page({ limit: 1 })
    const end = newest !== undefined && newest.id >= now ? `${newest.id}~` : now
    const put = async (from: string, isDue: (id: string) => boolean) => {
      const read = async (after: string): Promise<Logged[]> => {
        const page = await logging.page({ after, before: end, limit: PAGE_MAX_COUNT })
        return this.#closed ? [] : page
      }
      for await (const messages of readAhead(wholeBatches(read, from))) {
        const due = messages.filter(({ id }) => isDue(id))
        const byLane = [...Map.groupBy(due, ({ lane }) => lane)].filter(([lane]) => lacking.has(lane))
        await Promise.all(byLane.map(async ([lane, mates]) => refill.put(lane, mates, outcomes)))
        this.#progress = { ...this.#progress, done: this.#progress.done + due.length }
      }
    }
    const found = new Set<string>()
    await put(batchKeyOf(first), (id) => {
      if (id < old) return true
      found.add(batchKeyOf(id))
      return false
    })
    await clock.sleep(Math.max(0, startedAt + REDRIVE_AGE_MS - clock.monotonic()))
    await put(old, (id) => id < now || found.has(batchKeyOf(id)))
  }

  /** All that are there, before anything of theirs can matter: after a loss those that are not there are waited for. */
  #remember(): void {
    const journals = [...this.#journals('logging'), ...this.#journals('messages')]
    this.#options.refill.journal.seen(journals.map(({ id, actors }) => ({ id, node: actors[0]!.node })))
  }

  /** Those that no ready actor reaches, as this process knows it; others may know of more. */
  #absent(): KnownJournal[] {
    const { refill, context } = this.#options
    const reached = new Set(journalsOf(context.directory).map(({ id }) => id))
    reached.add(refill.journal.id)
    return refill.journal.others().filter(({ id }) => !reached.has(id))
  }

  #journals(role: 'logging' | 'messages'): Reached[] {
    const byId = new Map<string, Reached>()
    for (const actor of this.#options.context.directory.actors()) {
      const { journal, state, address } = actor
      if (actor.role !== role || journal === undefined || state !== 'ready' || address === null) continue
      const known = byId.get(journal.id)
      byId.set(journal.id, {
        ...(known ?? journal),
        ...joined(known, journal),
        actors: [...(known?.actors ?? []), actor],
      })
    }
    return [...byId.values()]
  }
}

/** What two actors of one directory report of it: one may have looked later, or know more. */
function joined(a: JournalReport | undefined, b: JournalReport): Omit<JournalReport, 'id' | 'done'> {
  const { beganAt, beganIn } = a?.beganAt == null ? b : a
  return {
    beganAt,
    beganIn,
    wholeIn: a?.wholeIn ?? b.wholeIn,
    putBackIn: a?.putBackIn ?? b.putBackIn,
    since: a?.since ?? b.since,
    total: Math.max(a?.total ?? 0, b.total),
    absent: [...(a?.absent ?? []), ...b.absent],
  }
}

/** The epoch of the cluster that has all of these journals of the log; undefined while there is none. */
function epochOf(logs: readonly JournalReport[]): string | undefined {
  const epochs = new Set(logs.map(({ wholeIn }) => wholeIn))
  const [epoch] = epochs
  return epochs.size === 1 && epoch !== null ? epoch : undefined
}
