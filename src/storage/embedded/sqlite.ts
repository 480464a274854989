/**
 * How the embedded backend uses SQLite. Each file has one writer and any number of readers (WAL); a commit is
 * on the disk when it returns (synchronous FULL). Nothing here waits for a lock: that would hold the event loop.
 */

import { randomUUID } from 'node:crypto'
import { closeSync, existsSync, fdatasync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { MailroomError } from '../../runtime/errors.ts'
import { READER_TIMEOUT_MS } from '../../runtime/timings.ts'
import { WAL_MAX_BYTES } from '../limits.ts'
import { freeBytes, Gone, Guard, PRIVATE, PROBE_BYTES, REMEDY } from './guard.ts'

/** The version of the files' layout. A file of another version is refused. */
export const FORMAT_VERSION = 2

/** What went wrong, of the kinds that matter. */
export type Fault = 'busy' | 'unwritable' | 'damaged' | 'gone' | 'io' | 'other'

/** SQLite's primary result codes (errcode & 0xff). */
const FAULTS: Record<number, Fault> = {
  5: 'busy',
  8: 'unwritable',
  10: 'io',
  11: 'damaged',
  13: 'unwritable',
  14: 'gone',
  26: 'damaged',
}
/**
 * I/O errors that leave everything as it was: SQLITE_IOERR_WRITE (a limit, a quota, a read-only file system; a commit
 * is not one before its last write), and no room for the index of the write-ahead log (SHMOPEN, SHMSIZE).
 */
const REFUSED_WRITES = new Set([778, 4618, 4874])
const UNWRITABLE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS', 'EACCES', 'EPERM'])
const SQL_ERROR = 1
/** SQLITE_IOERR_SHORT_READ. The index that other processes hold open knows more than the write-ahead log has. */
const SHORT_READ = 522
/** SQLite's default. */
export const PAGE_BYTES = 4096
const PIECE_PAGES = 1000

/** A file that SQLite can open and that is not one of ours: empty, or without its tables. */
class NotOurs extends Error {}

/** Tells what kind of error of SQLite's or of the file system this is; undefined for any other. */
export function faultOf(error: unknown): Fault | undefined {
  const { code, errcode } = error as { code?: string; errcode?: number }
  if (error instanceof NotOurs) return 'damaged'
  if (error instanceof Gone || code === 'ENOENT' || code === 'ENOTDIR') return 'gone'
  if (code !== undefined && UNWRITABLE.has(code)) return 'unwritable'
  if (code !== 'ERR_SQLITE_ERROR' || errcode === undefined) return undefined
  if (REFUSED_WRITES.has(errcode)) return 'unwritable'
  return FAULTS[errcode & 0xff] ?? 'other'
}

/** True for an error after which nothing was written, and a later try may succeed. */
export function isUnavailable(error: unknown): boolean {
  const fault = faultOf(error)
  return fault === 'unwritable' || fault === 'gone'
}

/**
 * Creates a file with its tables, complete or not at all: under another name first, then renamed.
 *
 * @param schema Its tables beside `meta(file, version)`, where `file` is the file's own random id.
 * @param options.shrinks Its free pages can be given back (`giveBack`). That costs each new page a write elsewhere.
 */
export function createFile(path: string, schema: string, { shrinks = false } = {}): void {
  const unfinished = `${path}.new`
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(unfinished + suffix, { force: true })
  const database = openPrivate(unfinished)
  try {
    database.exec(`PRAGMA auto_vacuum = ${shrinks ? 'INCREMENTAL' : 'NONE'}; PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL; BEGIN IMMEDIATE;
      CREATE TABLE meta(file TEXT NOT NULL, version INTEGER NOT NULL); ${schema}`)
    database.prepare('INSERT INTO meta VALUES (?, ?)').run(randomUUID(), FORMAT_VERSION)
    database.exec('COMMIT')
  } finally {
    database.close()
  }
  renameSync(unfinished, path)
  syncDirectory(dirname(path))
}

/** Opens a file to write, and begins it when there is none. SQLite gives the files that it puts beside it the same mode. */
export function openPrivate(path: string): DatabaseSync {
  // Only when there is none: to close a file that SQLite has open would release its locks.
  if (!existsSync(path)) closeSync(openSync(path, 'a', PRIVATE.file))
  return new DatabaseSync(path)
}

/** An open file, and its own random id. */
export interface OpenFile {
  database: DatabaseSync
  file: string
  /** Opened as a file that nobody writes. */
  isImmutable: boolean
}

/**
 * Opens a file as its only writer, and prepares what is needed of it.
 *
 * @throws {MailroomError} `MR_DATA_VERSION`, else as SQLite does: a file without our tables counts as damaged.
 */
export function openToWrite<T>(path: string, prepare: (open: OpenFile) => T): T {
  const database = new DatabaseSync(path)
  // `secure_delete`: what is deleted is overwritten.
  const pragmas = `PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
    PRAGMA wal_autocheckpoint = ${WAL_MAX_BYTES / PAGE_BYTES};`
  return checked(path, database, pragmas, prepare)
}

/** Opens a file that another process may be writing. @throws As `openToWrite`. */
export function openToRead<T>(path: string, prepare: (open: OpenFile) => T): T {
  const options = { readOnly: true, timeout: READER_TIMEOUT_MS }
  try {
    return checked(path, new DatabaseSync(path, options), '', prepare)
  } catch (error) {
    const fault = faultOf(error)
    const isRefused = fault === 'unwritable' || (fault === 'gone' && !(error instanceof Gone))
    if (!isRefused || isBeingWritten(path) || !existsSync(path)) throw error
    // Nobody writes it, and there is no room or no right for the index that SQLite puts beside it.
    const url = pathToFileURL(path)
    url.searchParams.set('immutable', '1')
    return checked(path, new DatabaseSync(url, options), '', (open) =>
      prepare({ ...open, isImmutable: true }),
    )
  }
}

/** True when something is in a file's write-ahead log: a writer has written, or died. */
export function isBeingWritten(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0
}

/**
 * Moves what a file's transactions have written so far to the disk, off the event loop.
 *
 * @returns When it is there. Rejects when it may be lost.
 * @throws As `openSync`: then nothing was tried.
 */
export function syncLater(path: string): Promise<void> {
  const file = openSync(`${path}-wal`, 'r')
  return new Promise((resolve, reject) => {
    fdatasync(file, (error) => {
      closeSync(file)
      if (error === null) resolve()
      else reject(new Error(`fdatasync of ${basename(path)} failed`, { cause: error }))
    })
  })
}

/** What a connection's transactions need, kept: SQLite would parse each statement anew. */
interface Transactions {
  begin: StatementSync
  commit: StatementSync
  /** As `PRAGMA synchronous` is set. */
  isDurable: boolean
}

const transactions = new WeakMap<DatabaseSync, Transactions>()

/**
 * Runs `work` in a transaction: all of it is written when this returns, or nothing when it throws.
 *
 * @param isDurable True: it is on the disk then. False: a power cut may undo it until the next `syncLater` or durable
 * transaction.
 */
export function transact<T>(database: DatabaseSync, work: () => T, isDurable = true): T {
  let own = transactions.get(database)
  if (own === undefined) {
    const [begin, commit] = [database.prepare('BEGIN IMMEDIATE'), database.prepare('COMMIT')]
    own = { begin, commit, isDurable: true }
    transactions.set(database, own)
  }
  if (own.isDurable !== isDurable) {
    database.exec(`PRAGMA synchronous = ${isDurable ? 'FULL' : 'NORMAL'}`)
    own.isDurable = isDurable
  }
  own.begin.run()
  try {
    const result = work()
    own.commit.run()
    return result
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/**
 * Moves what is in the write-ahead log into the file, whose damage is noticed where the log's is not: SQLite takes a
 * damaged log to end there. Gives the log's room back. Where that cannot be done (a full disk, a reader) all stays
 * in the log.
 */
export function checkpoint(database: DatabaseSync): void {
  try {
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch {}
}

/**
 * The same on a disk that is nearly full: only where the file has room for all that it grows by. Else it would take the
 * room that is left and then fail.
 */
export function checkpointWithin(path: string, database: DatabaseSync, guard: Guard): void {
  const size = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0
  if (size === 0) return
  const { page_count: pages } = database.prepare('PRAGMA page_count').get() as { page_count: number }
  const growsBy = pages * PAGE_BYTES - statSync(path).size
  const free = freeBytes(dirname(path))
  if (free < growsBy && free > PROBE_BYTES) return
  checkpoint(database)
  guard.forgetSizes()
}

/**
 * Makes a file smaller by up to `PIECE_PAGES` of its free pages, so that it does not hold the event loop for long.
 *
 * @returns True when there are more.
 */
export function giveBack(database: DatabaseSync, guard: Guard): boolean {
  const freeCount = () => database.prepare('PRAGMA freelist_count').get()!['freelist_count'] as number
  if (freeCount() === 0) return false
  guard.check()
  transact(database, () => database.exec(`PRAGMA incremental_vacuum(${PIECE_PAGES})`))
  checkpoint(database)
  guard.forgetSizes()
  return freeCount() > 0
}

/** Guards a file that is open, and its write-ahead log with it. `closeGuarded` closes the guard, too. */
export function guardOf(path: string): Guard {
  const log = `${path}-wal`
  return new Guard(
    [path, log, `${path}-shm`].filter((name) => existsSync(name)),
    log,
  )
}

/** Connections to files that were removed or replaced. */
const abandoned: DatabaseSync[] = []

/** Closes a file, unless it is gone: SQLite would remove the write-ahead log of that which has its name now. */
export function closeGuarded(database: DatabaseSync, guard: Guard): void {
  try {
    guard.check()
  } catch {
    abandoned.push(database)
    return
  } finally {
    guard.close()
  }
  database.close()
}

/** Renames a damaged file; nothing is deleted. @returns The new name. */
export function setAside(path: string, now: number): string {
  const aside = `${path}.damaged-${new Date(now).toISOString().replaceAll(':', '')}`
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix)
  }
  syncDirectory(dirname(path))
  return basename(aside)
}

/** Removes a file for good. */
export function removeFile(path: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
}

function checked<T>(
  path: string,
  database: DatabaseSync,
  pragmas: string,
  prepare: (open: OpenFile) => T,
): T {
  try {
    syncLeftover(path)
    database.exec(pragmas)
    const { file, version } = database.prepare('SELECT file, version FROM meta').get() as {
      file: string
      version: number
    }
    if (version !== FORMAT_VERSION) {
      const facts = { path, expected: `of format version ${FORMAT_VERSION}`, got: `version ${version}` }
      throw new MailroomError('MR_DATA_VERSION', facts)
    }
    return prepare({ database, file, isImmutable: false })
  } catch (error) {
    database.close()
    const { errcode, message } = error as Error & { errcode?: number }
    if (errcode === SHORT_READ)
      throw new Gone(`${basename(path)}-wal was removed or cut ${REMEDY}`, { cause: error })
    throw errcode === SQL_ERROR ? new NotOurs(message, { cause: error }) : error
  }
}

/**
 * What a writer that was killed has left in its write-ahead log may be whole, and on no disk yet. Who opens the file
 * then sees it, and is to be sure of it: a power loss must not take what was read.
 */
function syncLeftover(path: string): void {
  try {
    sync(`${path}-wal`)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // A read-only file system takes no sync; what was acknowledged was synced before.
    if (code !== 'ENOENT' && code !== 'EROFS') throw error
  }
}

/** A new name is durable only when its directory is. */
export function syncDirectory(path: string): void {
  sync(path)
}

function sync(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
