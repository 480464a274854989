/**
 * Writes a logging actor's part of the log: the only process that does. Batches that arrive together become one
 * transaction, so one fdatasync; each is acknowledged only after it. When a segment is full or old enough, a
 * new one is begun.
 *
 * After a commit whose fate is unknown (a failed fsync) nothing is tried again: a second fsync would report
 * success for data that is gone. The process ends, and its successor recovers what is there.
 */

import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { MailroomError } from '../../runtime/errors.ts'
import { DISK_PROBE_MS, KEY_RETENTION_EMBEDDED_MS, POST_DEADLINE_MS } from '../../runtime/timings.ts'
import { batchKeyOf, idAt, idAtPlace, placeOf, timeOf } from '../ids.ts'
import type { IdempotencyKey, LaneBatch, Message, Receipt } from '../ports.ts'
import { GroupCommit } from './group-commit.ts'
import { type Guard, isFull, mayWrite, whyUnwritable } from './guard.ts'
import { type Lock, takeLock } from './lock-file.ts'
import { listLogs } from './log-files.ts'
import { LOG_SCHEMA } from './log-reader.ts'
import type { EmbeddedOptions } from './options.ts'
import { encodeRow, rowsOf } from './row.ts'
import {
  checkpoint,
  checkpointWithin,
  closeGuarded,
  createFile,
  faultOf,
  guardOf,
  isUnavailable,
  openToRead,
  openToWrite,
  removeFile,
  setAside,
  transact,
} from './sqlite.ts'

const SEGMENT_BYTES = 256 * 1024 * 1024
const ROW_BYTES = 150
const FIND_KEY = 'SELECT id, hash, count FROM key WHERE value = ? AND id > ?'
/** More than are ever written in a millisecond. */
const ROWS_PER_MS = 1000

/** What a writer needs. */
export interface LogWriterOptions
  extends Pick<EmbeddedOptions, 'data' | 'clock' | 'logger' | 'dataIdentity' | 'keyRetentionMs' | 'meter'>,
    Required<Pick<EmbeddedOptions, 'writer' | 'onBroken'>> {
  /** A segment is ended when its first row is this old. */
  segmentAgeMs: number
  /** Posts are refused when less is free on the disk. */
  headroom: number
}

/** One open segment. */
interface Segment {
  name: string
  database: DatabaseSync
  guard: Guard
  /** The file's own random id. */
  file: string
  insert: StatementSync
  keepKey: StatementSync
  findKey: StatementSync
  /** The number of the last row. */
  seq: number
  bytes: number
  firstAt: number | null
}

/** The writer of `log-<n>.<k>.db`. While its files cannot be written, it refuses batches and tries again by itself. */
export class LogWriter {
  readonly #options: LogWriterOptions
  readonly #keyRetentionMs: number
  readonly #commits: GroupCommit
  #lock: Lock | undefined
  /** Undefined until its file could be opened. */
  #segment: Segment | undefined
  /** Segments before it, those open that were looked into for a key; undefined until their names are needed. */
  #older: Map<string, { database: DatabaseSync; findKey: StatementSync } | undefined> | undefined
  /** The highest number of a segment so far. */
  #number = 0
  #rotateAt = 0
  /** Why it cannot write now, human-readable. */
  #unwritable: string | undefined
  /** The transaction has been committed and not been acknowledged yet. */
  #isCommitted = false
  /** Messages of the open transaction. */
  #writtenCount = 0
  #broken = false

  /** @throws {MailroomError} `MR_DATA_LOCKED` while another process writes this actor's files. */
  constructor(options: LogWriterOptions) {
    const { clock } = options
    this.#options = options
    this.#keyRetentionMs = options.keyRetentionMs ?? KEY_RETENTION_EMBEDDED_MS
    const transact = (work: () => void) => this.#transact(work)
    this.#commits = new GroupCommit({ clock, transact, failed: (error) => this.#failed(error) })
    try {
      this.#open()
      this.#refuseFull()
    } catch (error) {
      if (!isUnavailable(error)) throw error
      this.#failed(error)
    }
  }

  /** The name of the segment being written. */
  get current(): string | undefined {
    return this.#segment?.name
  }

  /** What keeps it from writing, human-readable. */
  missing(): string[] {
    return this.#unwritable === undefined ? [] : [this.#unwritable]
  }

  /** Appends a batch, as `Log.append` promises. */
  append(batch: LaneBatch): Promise<Receipt[]> {
    return this.#commits.run(() => this.#write(batch))
  }

  /** Begins a new segment when the current one has rows and is large or old enough. One that cannot be ended goes on. */
  rotate(): void {
    const { segmentAgeMs, clock, logger } = this.#options
    const { bytes = 0, firstAt = null } = this.#segment ?? {}
    if (firstAt === null || (bytes < SEGMENT_BYTES && firstAt > clock.ago(segmentAgeMs))) return
    if (clock.monotonic() < this.#rotateAt) return
    try {
      this.#segment!.guard.check()
      const next = this.#create()
      this.#endSegment()
      this.#closeSegment()
      this.#segment = next
      this.#forgetOlder()
    } catch (error) {
      this.#rotateAt = clock.monotonic() + DISK_PROBE_MS
      if (!isUnavailable(error)) throw error
      logger.warn({ segment: this.current, error: (error as Error).message }, 'the segment cannot be ended')
    }
  }

  /** Without its mark, an ended segment only costs its readers more. */
  #endSegment(): void {
    const { database } = this.#segment!
    try {
      transact(database, () =>
        database.prepare('INSERT INTO ended VALUES (?)').run(this.#options.clock.now()),
      )
    } catch (error) {
      if (!isUnavailable(error)) throw error
    }
  }

  /** Removes the current segment, which nobody needs any more, and begins a new one. Needs no room for the first step. */
  discard(): void {
    const { name, database, guard } = this.#segment!
    guard.check()
    this.#segment = undefined
    guard.close()
    database.close()
    removeFile(join(this.#options.data, name))
    this.#segment = this.#create()
  }

  /** As `checkpointWithin`. */
  checkpoint(): void {
    const { database, guard } = this.#segment ?? {}
    if (database !== undefined) checkpointWithin(this.#path, database, guard!)
  }

  /** Notices that its files are gone, and whether they can be written again. */
  watch(): void {
    if (this.#broken) return
    try {
      const { database, guard } = this.#open()
      guard.check()
      this.#refuseFull()
      if (this.#unwritable === undefined || !mayWrite(this.#path)) return
      transact(database, () => database.exec('UPDATE meta SET version = version'))
      guard.check()
      this.#unwritable = undefined
      this.#options.logger.info('the log can be written again')
    } catch (error) {
      this.#failed(error)
    }
  }

  close(): void {
    this.#forgetOlder()
    this.#closeSegment()
    this.#lock?.release()
  }

  get #path(): string {
    return join(this.#options.data, this.current ?? `log-${this.#options.writer}`)
  }

  /** Takes the lock and opens the segment, unless that is done. */
  #open(): Segment {
    if (this.#lock === undefined) {
      const path = join(this.#options.data, `log-${this.#options.writer}.lock`)
      this.#lock = takeLock(path, { directory: this.#options.dataIdentity })
      if (this.#lock === undefined)
        throw new MailroomError('MR_DATA_LOCKED', { path, holder: 'another process' })
    }
    this.#lock.keep()
    this.#segment ??= this.#openLast()
    return this.#segment
  }

  #closeSegment(): void {
    if (this.#segment === undefined) return
    const { database, guard } = this.#segment
    if (!this.#broken) checkpoint(database)
    guard.forgetSizes()
    closeGuarded(database, guard)
  }

  #refuseFull(): void {
    if (isFull(this.#options.data, this.#options.headroom))
      throw Object.assign(new Error('too little room is left'), { code: 'ENOSPC' })
  }

  #transact(work: () => void): void {
    if (this.#broken) throw new Error('an earlier write failed')
    this.#refuseFull()
    this.#open().guard.check()
    this.rotate()
    const { database, guard } = this.#segment!
    const { clock, meter } = this.#options
    const beganAt = clock.monotonic()
    this.#writtenCount = 0
    transact(database, work)
    this.#isCommitted = true
    guard.check() // What is in a file that was removed meanwhile must not be acknowledged.
    this.#isCommitted = false
    if (this.#writtenCount > 0) meter?.logged(clock.monotonic() - beganAt, this.#writtenCount)
  }

  /** Writes one batch into the open transaction. A batch that must be refused does not spoil the others. */
  #write({ messages, key, lane, deadlineAt }: LaneBatch): Receipt[] | MailroomError {
    const { clock } = this.#options
    if (clock.monotonic() > deadlineAt) {
      const facts = { what: 'Appending to the log', deadlineMs: POST_DEADLINE_MS }
      return new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: 'none' })
    }
    const segment = this.#segment!
    const [{ id: firstId }] = messages as [Message]
    if (key !== undefined) {
      const known = this.#receiptsOf(key, firstId)
      if (known !== undefined) return known
      segment.keepKey.run(key.value, key.hash, firstId, messages.length)
    }
    for (const { messages: mates, texts } of rowsOf(messages)) {
      const place = { file: segment.file, seq: ++segment.seq, lane }
      const { id, count, bytes, crc, body } = encodeRow(place, mates, texts)
      segment.insert.run(place.seq, id, lane, count, bytes, crc, body)
      segment.bytes += body.length + ROW_BYTES
    }
    segment.firstAt ??= clock.now()
    this.#writtenCount += messages.length
    return messages.map(({ id }) => ({ id, replayed: false }))
  }

  /** What a key that is known was answered with; undefined for a new one. */
  #receiptsOf(key: IdempotencyKey, firstId: string): Receipt[] | MailroomError | undefined {
    const found = this.#findKey(key.value)
    if (found === undefined) return undefined
    if (found.hash !== key.hash) return new MailroomError('MR_KEY_REUSED', { key: key.value })
    // The very same batch, tried again by the facade, is no replay.
    return found.ids.map((id) => ({ id, replayed: found.ids[0] !== firstId }))
  }

  #findKey(key: string): { hash: string; ids: string[] } | undefined {
    const oldest = idAt(this.#options.clock.ago(this.#keyRetentionMs))
    const find = (findKey: StatementSync) => {
      const row = findKey.get(key, oldest) as { id: string; hash: string; count: number } | undefined
      if (row === undefined) return undefined
      const { id, hash, count } = row
      const ids = Array.from({ length: count }, (_, index) => idAtPlace(batchKeyOf(id), placeOf(id) + index))
      return { hash, ids }
    }
    const here = find(this.#segment!.findKey)
    if (here !== undefined) return here
    for (const name of this.#olderNames()) {
      const there = this.#findIn(name, find)
      if (there !== undefined) return there
    }
    return undefined
  }

  /** Closes those that were removed: their room is given back only then. */
  #olderNames(): Iterable<string> {
    this.#older ??= new Map(
      this.#segmentNames().flatMap((name) => (name === this.current ? [] : [[name, undefined]])),
    )
    for (const [name, open] of this.#older) {
      if (existsSync(join(this.#options.data, name))) continue
      open?.database.close()
      this.#older.delete(name)
    }
    return this.#older.keys()
  }

  /** Looks into an older segment. One that is damaged is told by its readers, and no reason to refuse. */
  #findIn<T>(name: string, find: (findKey: StatementSync) => T): T | undefined {
    try {
      let open = this.#older?.get(name)
      if (open === undefined) {
        open = openToRead(join(this.#options.data, name), ({ database }) => ({
          ...{ database, findKey: database.prepare(FIND_KEY) },
        }))
        this.#older?.set(name, open)
      }
      return find(open.findKey)
    } catch (error) {
      if (faultOf(error) === 'damaged') return undefined
      throw error
    }
  }

  #forgetOlder(): void {
    for (const open of this.#older?.values() ?? []) open?.database.close()
    this.#older = undefined
  }

  /** A transaction failed, or could not begin. @returns What its batches are refused with. */
  #failed(error: unknown): MailroomError {
    const { clock, logger, onBroken } = this.#options
    let reason = (error as Error).message
    const outcome = isUnavailable(error) && !this.#isCommitted ? 'none' : 'unknown'
    this.#isCommitted = false
    if (isUnavailable(error)) {
      reason = whyUnwritable(this.#path, error)
      if (this.#unwritable !== reason) logger.error({ err: error }, `the log cannot be written: ${reason}`)
      this.#unwritable = reason
    } else {
      this.#broken = true
      if (faultOf(error) === 'damaged') setAside(this.#path, clock.now())
      onBroken(error)
    }
    return new MailroomError('MR_STORE_UNAVAILABLE', { store: 'log', reason }, { outcome, cause: error })
  }

  #segmentNames(): string[] {
    return listLogs(this.#options.data)
      .filter(({ writer }) => writer === this.#options.writer)
      .map(({ name }) => name)
  }

  #openLast(): Segment {
    const name = this.#segmentNames().at(-1)
    if (name === undefined) return this.#create()
    try {
      return this.#openSegment(name)
    } catch (error) {
      if (faultOf(error) !== 'damaged') throw error
      const aside = setAside(join(this.#options.data, name), this.#options.clock.now())
      this.#options.logger.error({ aside }, 'a damaged log file has been set aside')
      return this.#create()
    }
  }

  /** Begins a segment under a name that was never used: who read the old file of a name would go on doing so. */
  #create(): Segment {
    const own = new RegExp(`^log-${this.#options.writer}\\.(\\d+)\\.db`)
    const used = readdirSync(this.#options.data).map((name) => Number(own.exec(name)?.[1] ?? 0))
    const name = `log-${this.#options.writer}.${Math.max(this.#number, ...used) + 1}.db`
    createFile(join(this.#options.data, name), LOG_SCHEMA)
    return this.#openSegment(name)
  }

  #openSegment(name: string): Segment {
    const path = join(this.#options.data, name)
    this.#number = Math.max(this.#number, Number(name.split('.')[1]))
    return openToWrite(path, ({ database, file }) => {
      const first = database.prepare('SELECT id FROM batch ORDER BY seq LIMIT 1').get()?.['id']
      const last = database.prepare('SELECT max(seq) AS seq FROM batch').get()?.['seq'] as number | null
      return {
        ...{ name, database, file },
        insert: database.prepare('INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO NOTHING'),
        keepKey: database.prepare('INSERT OR REPLACE INTO key VALUES (?, ?, ?, ?)'),
        findKey: database.prepare(FIND_KEY),
        // Higher than that of any row that was lost with a write-ahead log: lanes may have passed it.
        seq: Math.max(last ?? 0, this.#options.clock.now() * ROWS_PER_MS),
        bytes: statSync(path).size,
        guard: guardOf(path),
        firstAt: typeof first === 'string' ? timeOf(first) : null,
      }
    })
  }
}
