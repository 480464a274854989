/** A journal: what a process keeps on its node's disk of what it writes to a Hazelcast cluster (decision 0075). */
import type { LaneBatch, Logged } from './ports.ts'

/** What stands in a directory, written by this process and by others that reach it. */
export interface Journal {
  /** Of the directory: random, the same for all processes and for ever. */
  readonly id: string
  /** When the directory was begun (ms since 1970). */
  readonly beganAt: number
  /**
   * Writes a batch, durably when it resolves. The same batch twice is one.
   *
   * @throws {MailroomError} `MR_DEADLINE_EXPIRED` (none) past `deadlineAt`; `MR_STORE_UNAVAILABLE` with its outcome.
   */
  append(batch: LaneBatch): Promise<void>
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
  /** Why it cannot be written now, as sentences for people. */
  missing(): string[]
  /** Damaged data, as sentences for people. */
  damaged(): string[]
  /** Idempotent. */
  close(): void
}
