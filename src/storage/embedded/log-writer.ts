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
import { KeyIndex, type KeyRow } from './key-index.ts'
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
  syncLater,
  transact,
} from './sqlite.ts'

const SEGMENT_BYTES = 256 * 1024 * 1024
const ROW_BYTES = 150
const FIND_KEY = 'SELECT id, hash, count FROM key WHERE value = ? AND id > ?'
const KEYS_AFTER = 'SELECT value, hash, id, count FROM key WHERE value > ? ORDER BY value LIMIT ?'
const ENDS = 'SELECT (SELECT min(id) FROM batch) AS oldest, (SELECT max(id) FROM batch) AS newest'
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

/** One that was ended. */
interface OlderSegment {
  database: DatabaseSync
  file: string
  findKey: StatementSync
}

/** The writer of `log-<n>.<k>.db`. While its files cannot be written, it refuses batches and tries again by itself. */
export class LogWriter {
  readonly #options: LogWriterOptions
  readonly #keyRetentionMs: number
  readonly #commits: GroupCommit
  #lock: Lock | undefined
  /** Undefined until its file could be opened. */
  #segment: Segment | undefined
  /** Segments before it whose keys are not in the index, those open that were looked into; undefined until a key is looked for. */
  #older: Map<string, OlderSegment | undefined> | undefined
  readonly #keys: KeyIndex
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
  /** The last transaction was not durable. */
  #isUnsynced = false

  /** @throws {MailroomError} `MR_DATA_LOCKED` while another process writes this actor's files. */
  constructor(options: LogWriterOptions) {
    const { clock } = options
    this.#options = options
    this.#keyRetentionMs = options.keyRetentionMs ?? KEY_RETENTION_EMBEDDED_MS
    this.#keys = new KeyIndex({ ...options, keyRetentionMs: this.#keyRetentionMs })
    const transact = (work: () => void, isDurable: boolean) => this.#transact(work, isDurable)
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

  /**
   * Appends a batch, as `Log.append` promises.
   *
   * @param isDurable False: a power cut may undo it until the next `sync`, or the next durable one.
   */
  append(batch: LaneBatch, isDurable = true): Promise<Receipt[]> {
    return this.#commits.run(() => this.#write(batch), isDurable)
  }

  /** Makes all that was appended durable. When that fails, the process must end. */
  async sync(): Promise<void> {
    if (!this.#isUnsynced) return
    this.#isUnsynced = false
    try {
      await syncLater(this.#path)
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Begins a new segment when the current one has rows and is large or old enough. One that cannot be ended goes on. */
  rotate(): void {
    const { segmentAgeMs, clock, logger } = this.#options
    const { bytes = 0, firstAt = null } = this.#segment ?? {}
    if (firstAt === null || (bytes < SEGMENT_BYTES && firstAt > clock.ago(segmentAgeMs))) return
    if (clock.monotonic() < this.#rotateAt) return
    try {
      this.#segment!.guard.check()
      const [next, ended] = [this.#create(), this.#segment!.name]
      this.#endSegment()
      this.#closeSegment()
      this.#older?.set(ended, undefined)
      this.#segment = next
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

  /** Moves the keys of ended segments into the index, once keys are asked for, and removes those that have expired. */
  async indexKeys(): Promise<void> {
    if (this.#older === undefined) return
    this.#keys.removeOld()
    for (const name of this.#olderNames().reverse()) {
      const { database, file } = this.#openOlder(name)
      // It may be removed meanwhile.
      const keysAfter = (value: string, limit: number) =>
        this.#older?.has(name) ? (database.prepare(KEYS_AFTER).all(value, limit) as unknown as KeyRow[]) : []
      const { oldest, newest } = database.prepare(ENDS).get() as { oldest: string; newest: string }
      if (!(await this.#keys.take({ file, oldest, newest, keysAfter }))) return
      this.#forget(name)
    }
  }

  close(): void {
    this.#forgetOlder()
    this.#keys.close()
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

  #transact(work: () => void, isDurable: boolean): void {
    if (this.#broken) throw new Error('an earlier write failed')
    this.#refuseFull()
    this.#open().guard.check()
    this.rotate()
    const { database, guard } = this.#segment!
    const { clock, meter } = this.#options
    const beganAt = clock.monotonic()
    this.#writtenCount = 0
    transact(database, work, isDurable)
    this.#isUnsynced = !isDurable
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
    const toIds = ({ id, hash, count }: Omit<KeyRow, 'value'>) => {
      const ids = Array.from({ length: count }, (_, index) => idAtPlace(batchKeyOf(id), placeOf(id) + index))
      return { hash, ids }
    }
    const find = (findKey: StatementSync) => {
      const row = findKey.get(key, oldest) as Omit<KeyRow, 'value'> | undefined
      return row && toIds(row)
    }
    const here = find(this.#segment!.findKey)
    if (here !== undefined) return here
    for (const name of this.#olderNames()) {
      const there = this.#unlessDamaged(() => find(this.#openOlder(name).findKey))
      if (there !== undefined) return there
    }
    try {
      const known = this.#keys.find(key, oldest)
      return known && toIds(known)
    } catch (error) {
      if (faultOf(error) !== 'damaged') throw error
      this.#keys.discard()
      this.#forgetOlder()
      return this.#findKey(key)
    }
  }

  /** Closes those that were removed: their room is given back only then. */
  #olderNames(): string[] {
    this.#older ??= this.#listOlder()
    for (const name of this.#older.keys()) if (!existsSync(join(this.#options.data, name))) this.#forget(name)
    return [...this.#older.keys()].reverse()
  }

  /** Those that have keys which are not in the index, oldest first. */
  #listOlder(): Map<string, OlderSegment | undefined> {
    const older = new Map<string, OlderSegment | undefined>()
    this.#older = older
    const oldest = idAt(this.#options.clock.ago(this.#keyRetentionMs))
    for (const name of this.#segmentNames()) {
      if (name === this.current) continue
      this.#unlessDamaged(() => {
        const { database, file } = this.#openOlder(name)
        const { newest } = database.prepare(ENDS).get() as { newest: string | null }
        const isNeeded =
          newest !== null &&
          newest > oldest &&
          !this.#keys.has(file) &&
          database.prepare('SELECT 1 FROM key LIMIT 1').get() !== undefined
        if (!isNeeded) this.#forget(name)
      })
    }
    return older
  }

  #openOlder(name: string): OlderSegment {
    const known = this.#older?.get(name)
    if (known !== undefined) return known
    const open = openToRead(join(this.#options.data, name), ({ database, file }) => ({
      ...{ database, file, findKey: database.prepare(FIND_KEY) },
    }))
    this.#older?.set(name, open)
    return open
  }

  #forget(name: string): void {
    this.#older?.get(name)?.database.close()
    this.#older?.delete(name)
  }

  #forgetOlder(): void {
    for (const name of this.#older?.keys() ?? []) this.#forget(name)
    this.#older = undefined
  }

  /** A segment that is damaged is told by its readers, and no reason to refuse. */
  #unlessDamaged<T>(look: () => T): T | undefined {
    try {
      return look()
    } catch (error) {
      if (faultOf(error) === 'damaged') return undefined
      throw error
    }
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
