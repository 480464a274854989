/** Reads one file of the log, which its logging actor may be writing. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Message } from '../ports.ts'
import { identityOf } from './guard.ts'
import { checksumOf, type OpenFile, openToRead } from './sqlite.ts'

/** The tables of a log file. A row is at once the entry in the log and the one in its lane's line. */
export const LOG_SCHEMA = `
  CREATE TABLE log(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, key TEXT, hash TEXT,
    lane INTEGER NOT NULL, crc INTEGER NOT NULL, body TEXT NOT NULL);
  CREATE UNIQUE INDEX log_key ON log(key) WHERE key IS NOT NULL;
  CREATE INDEX log_lane ON log(lane, seq);`

/** A row of the log. `damaged`: its text is not what was written. */
export interface LogRow extends Message {
  seq: number
  lane: number
  damaged: boolean
}

let lastNumber = 0

/** A log file, open to read. */
export class LogReader {
  /** The file's own random id. */
  readonly file: string
  /** As `identityOf`. */
  readonly identity: string | undefined
  /** Opened as a file that nobody writes. */
  readonly isImmutable: boolean
  readonly #path: string
  readonly #indexIdentity: string | undefined
  readonly #database: DatabaseSync
  readonly #number = ++lastNumber
  readonly #statements: Record<
    'descending' | 'ascending' | 'one' | 'lane' | 'count' | 'next' | 'version',
    StatementSync
  >

  private constructor(path: string, { database, file, isImmutable }: OpenFile) {
    this.file = file
    this.identity = identityOf(path)
    this.#path = path
    this.#indexIdentity = identityOf(`${path}-shm`)
    this.isImmutable = isImmutable
    this.#database = database
    const row = 'SELECT seq, id, lane, crc, body FROM log'
    this.#statements = {
      descending: database.prepare(`${row} WHERE id > ? AND id < ? ORDER BY id DESC LIMIT ?`),
      ascending: database.prepare(`${row} WHERE id > ? AND id < ? ORDER BY id LIMIT ?`),
      one: database.prepare(`${row} WHERE id = ?`),
      lane: database.prepare(`${row} WHERE lane = ? AND seq > ? ORDER BY seq LIMIT ?`),
      count: database.prepare(
        'SELECT count(*) AS count, max(seq) AS last FROM log WHERE lane = ? AND seq > ?',
      ),
      version: database.prepare('PRAGMA data_version'),
      next: database.prepare('SELECT id FROM log WHERE lane = ? AND seq > ? ORDER BY seq LIMIT 1'),
    }
  }

  /** @throws As `openToRead`. */
  static open(path: string): LogReader {
    return openToRead(path, (open) => new LogReader(path, open))
  }

  /**
   * True when the index of the write-ahead log was removed, and the file's writer has begun another one: what is
   * committed now is not seen here.
   */
  get isOutdated(): boolean {
    const identity = identityOf(`${this.#path}-shm`)
    return identity !== undefined && identity !== this.#indexIdentity
  }

  /** Another text after each commit, and of each reader. */
  version(): string {
    return `${this.#number}:${this.#statements.version.get()!['data_version']}`
  }

  /** Rows between two ids (exclusive). */
  between(after: string, before: string, limit: number, order: 'ascending' | 'descending'): LogRow[] {
    return this.#statements[order].all(after, before, limit).map(toRow)
  }

  get(id: string): LogRow | undefined {
    const row = this.#statements.one.get(id)
    return row === undefined ? undefined : toRow(row)
  }

  /** Rows of a lane after a row, in the order they were written. */
  ofLane(lane: number, afterSeq: number, limit: number): LogRow[] {
    return this.#statements.lane.all(lane, afterSeq, limit).map(toRow)
  }

  /** How many rows of a lane stand after a row, and the last of them (or the row itself). */
  countOf(lane: number, afterSeq: number): { count: number; last: number } {
    const { count, last } = this.#statements.count.get(lane, afterSeq) as {
      count: number
      last: number | null
    }
    return { count, last: last ?? afterSeq }
  }

  /** The id of a lane's first row after a row. */
  nextOf(lane: number, afterSeq: number): string | undefined {
    return this.#statements.next.get(lane, afterSeq)?.['id'] as string | undefined
  }

  /** The youngest id of the file. */
  youngest(): string | undefined {
    return (
      (this.#database.prepare('SELECT max(id) AS id FROM log').get()?.['id'] as string | null) ?? undefined
    )
  }

  close(): void {
    this.#database.close()
  }
}

function toRow(row: object): LogRow {
  const { body, crc, ...rest } = row as { seq: number; id: string; lane: number; crc: number; body: string }
  return { ...rest, text: body, damaged: checksumOf(rest.id, body) !== crc }
}
