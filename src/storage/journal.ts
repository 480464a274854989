/** A journal: what a process keeps on its node's disk of what it writes to a Hazelcast cluster (decision 0075). */
import type { Epochs, JournalReport, KnownJournal } from '../runtime/losses.ts'
import type { Backend, LaneBatch, Logged, Message } from './ports.ts'
import type { JournaledKey, KeyPage, Outcomes } from './records.ts'

/** What stands in a directory, written by this process and by others that reach it. */
export interface Journal {
  /** Of the directory: random, the same for all processes and for ever. */
  readonly id: string
  /** When the first was written into the directory (ms since 1970); null: nothing was. */
  readonly beganAt: number | null
  /** The clusters that who began it had met first. */
  readonly beganIn: Epochs
  /**
   * Writes a batch, durably when it resolves. The same batch twice is one.
   *
   * @param isDurable False: durable within `HOME_SYNC_MS`. The end of all processes does not undo it, a power cut may.
   * @throws {MailroomError} `MR_DEADLINE_EXPIRED` (none) past `deadlineAt`; `MR_STORE_UNAVAILABLE` with its outcome.
   */
  append(batch: LaneBatch, isDurable?: boolean): Promise<void>
  /** As `Log.page`, ascending. */
  page(range: { after: string; limit: number }): Promise<Logged[]>
  /** About how many messages there are, those older than the retention among them. */
  count(): number
  /**
   * Runs `work` unless another process runs some for this directory now.
   *
   * @returns False when one does.
   */
  alone(work: () => Promise<void>): Promise<boolean>
  /** Those that were ever seen beside it, by any process, up to the retention ago. */
  others(): KnownJournal[]
  /** Remembers that these were seen, over restarts. A failure is logged: they are seen again. */
  seen(journals: readonly KnownJournal[]): void
  /** Why it cannot be written now, as sentences for people. */
  missing(): string[]
  /** Damaged data, as sentences for people. */
  damaged(): string[]
  /** Idempotent. */
  close(): void
}

/** Refilling the held lanes of a queue's cluster that came back empty, from journals (decision 0075). */
export interface Refill {
  /** The records of this process, and of all that reach the same directory. */
  readonly journal: Journal
  /**
   * Which of these lanes lack what is in some of these journals; to be given to `finish`. A lane that was begun, or refilled,
   * before a journal was begun has all of it, unless its log was put back since. None while the cluster may be the wrong
   * one (`ClusterMark.isOther`).
   *
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE`
   */
  lacking(lanes: readonly number[], journals: readonly JournalReport[]): Promise<Map<number, string>>
  /**
   * Puts messages of the log where their outcomes say they belong, durably when it resolves. Idempotent. `redrive` refuses
   * the lane until it was finished.
   *
   * @param messages Of one lane that is held, ascending, batches whole.
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE`, `MR_LANE_ELSEWHERE`.
   */
  put(lane: number, messages: readonly Message[], outcomes: Outcomes): Promise<void>
  /** Makes keys of a lane known again, for the rest of their time. Idempotent. */
  putKeys(keys: readonly JournaledKey[]): Promise<void>
  /** The lane has all that these journals have. @returns False: the cluster came back empty meanwhile, or another did it. */
  finish(lane: number, lacking: string, journals: readonly JournalReport[]): Promise<boolean>
  /** True for a lane that lacked something when that was asked last, and was not finished since. */
  isLacking(lane: number): boolean
}

/** A backend of a process that may keep a journal. */
export interface JournaledBackend extends Backend {
  /** Of a logging actor with a journal. */
  journal?(): JournalReport
  /** With it: one page of the keys in it. */
  keys?(range: { after: string; limit: number }): Promise<KeyPage>
  /** Of a messages actor with a journal. */
  refill?: Refill
}
