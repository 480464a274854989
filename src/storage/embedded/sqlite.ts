/**
 * How the embedded backend uses SQLite. Each file has one writer and any number of readers (WAL); a commit is
 * on the disk when it returns (synchronous FULL). Nothing here waits for a lock: that would hold the event loop.
 */

import { randomUUID } from 'node:crypto'
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { MailroomError } from '../../runtime/errors.ts'
import { READER_TIMEOUT_MS } from '../../runtime/timings.ts'

/** The version of the files' layout. A file of another version is refused. */
export const FORMAT_VERSION = 1

/** What went wrong, of the kinds that matter. */
export type Fault = 'busy' | 'full' | 'damaged' | 'gone' | 'io' | 'other'

/** SQLite's primary result codes (errcode & 0xff). */
const FAULTS: Record<number, Fault> = {
  5: 'busy',
  10: 'io',
  11: 'damaged',
  13: 'full',
  14: 'gone',
  26: 'damaged',
}
/** SQLITE_IOERR_SHMSIZE: the disk is full, met while the index of the write-ahead log grows. */
const NO_ROOM_FOR_INDEX = 4874
const SQL_ERROR = 1

/** A file that SQLite can open and that is not one of ours: empty, or without its tables. */
class NotOurs extends Error {}

/** Tells what kind of error of SQLite's this is, or of a full file system; undefined for any other. */
export function faultOf(error: unknown): Fault | undefined {
  const { code, errcode } = error as { code?: string; errcode?: number }
  if (error instanceof NotOurs) return 'damaged'
  if (code === 'ENOSPC') return 'full'
  if (code !== 'ERR_SQLITE_ERROR' || errcode === undefined) return undefined
  if (errcode === NO_ROOM_FOR_INDEX) return 'full'
  return FAULTS[errcode & 0xff] ?? 'other'
}

/** A row's checksum: SQLite has none. Over what must come back unchanged. */
export function checksumOf(id: string, text: string): number {
  return crc32(text, crc32(id))
}

/**
 * Creates a file with its tables, complete or not at all: under another name first, then renamed.
 *
 * @param schema Its tables beside `meta(file, version)`, where `file` is the file's own random id.
 */
export function createFile(path: string, schema: string): void {
  const unfinished = `${path}.new`
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(unfinished + suffix, { force: true })
  const database = new DatabaseSync(unfinished)
  try {
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE;
      CREATE TABLE meta(file TEXT NOT NULL, version INTEGER NOT NULL); ${schema}`)
    database.prepare('INSERT INTO meta VALUES (?, ?)').run(randomUUID(), FORMAT_VERSION)
    database.exec('COMMIT')
  } finally {
    database.close()
  }
  renameSync(unfinished, path)
  syncDirectory(dirname(path))
}

/** An open file, and its own random id. */
export interface OpenFile {
  database: DatabaseSync
  file: string
}

/**
 * Opens a file as its only writer, and prepares what is needed of it.
 *
 * @throws {MailroomError} `MR_DATA_VERSION`, else as SQLite does: a file without our tables counts as damaged.
 */
export function openToWrite<T>(path: string, prepare: (open: OpenFile) => T): T {
  const database = new DatabaseSync(path)
  const pragmas = 'PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;'
  return checked(path, database, pragmas, prepare)
}

/** Opens a file that another process may be writing. @throws As `openToWrite`. */
export function openToRead<T>(path: string, prepare: (open: OpenFile) => T): T {
  return checked(path, new DatabaseSync(path, { readOnly: true, timeout: READER_TIMEOUT_MS }), '', prepare)
}

/** Runs `work` in a transaction: all of it is on the disk when this returns, or nothing when it throws. */
export function transact<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/**
 * Closes a file for its writer. What is in its write-ahead log goes into the file first, whose damage is
 * noticed where the log's is not: SQLite takes a damaged log to end there. Where that cannot be done (a full
 * disk, a reader) all stays in the log.
 */
export function closeWritten(database: DatabaseSync): void {
  try {
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch {}
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
    return prepare({ database, file })
  } catch (error) {
    database.close()
    const { errcode, message } = error as Error & { errcode?: number }
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
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** A new name is durable only when its directory is. */
function syncDirectory(path: string): void {
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
