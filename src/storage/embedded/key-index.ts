/**
 * The idempotency keys of a writer's ended segments in a few files, `keys-<n>.<k>.db`: a key is looked for in these, however
 * many segments there are. They are derived. A segment whose keys are not in them yet, or not any more, is looked into
 * itself. A file takes the keys of half a key retention and is removed when the last of them has expired.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { idAt, timeOf } from '../ids.ts'
import type { EmbeddedOptions } from './options.ts'
import {
  checkpoint,
  createFile,
  faultOf,
  isUnavailable,
  openToWrite,
  removeFile,
  transact,
} from './sqlite.ts'

const SCHEMA = `
  CREATE TABLE key(value TEXT PRIMARY KEY, hash TEXT NOT NULL, id TEXT NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE taken(file TEXT PRIMARY KEY, oldest TEXT NOT NULL, newest TEXT NOT NULL);`

/** A key as a segment has it: with the id of its batch's first message, and how many they are. */
export interface KeyRow {
  value: string
  hash: string
  id: string
  count: number
}

/** A segment, ended: its own random id, the ids of its first and last row, and its keys in the order of their values. */
export interface KeyedSegment {
  file: string
  oldest: string
  newest: string
  keysAfter: (value: string, limit: number) => KeyRow[]
}

/** Keys that are taken in one transaction: so long it holds the event loop. */
const STEP_COUNT = 500
/** Files begun in one key retention. */
const FILES_PER_RETENTION = 2

interface IndexFile {
  name: string
  number: number
  database: DatabaseSync
  find: StatementSync
  /** The oldest id of all segments in it, and the newest; undefined while it has none. */
  span: { oldest: string; newest: string } | undefined
}

/** The files of one writer. */
export class KeyIndex {
  readonly #options: Pick<EmbeddedOptions, 'data' | 'clock'> & { writer: number; keyRetentionMs: number }
  /** Newest first. */
  #files: IndexFile[] | undefined
  readonly #taken = new Set<string>()

  constructor(options: Pick<EmbeddedOptions, 'data' | 'clock'> & { writer: number; keyRetentionMs: number }) {
    this.#options = options
  }

  /** True when it has all keys of a segment. @param file The segment's own random id. */
  has(file: string): boolean {
    this.#open()
    return this.#taken.has(file)
  }

  /** The newest use of a key above an id; undefined when it is in none of the segments that were taken. */
  find(value: string, oldest: string): KeyRow | undefined {
    for (const { find } of this.#open()) {
      const row = find.get(value, oldest)
      if (row !== undefined) return row as unknown as KeyRow
    }
    return undefined
  }

  /**
   * Takes a segment's keys in, durably, and lets other work be done in between. Repeating it changes nothing.
   *
   * @returns False when it was closed meanwhile.
   * @throws As SQLite does: then the segment was not taken.
   */
  async take({ file, oldest, newest, keysAfter }: KeyedSegment): Promise<boolean> {
    const { clock } = this.#options
    const own = this.#fileFor(newest)
    const keep = own.database.prepare(`INSERT INTO key VALUES (?, ?, ?, ?) ON CONFLICT(value) DO UPDATE
      SET hash = excluded.hash, id = excluded.id, count = excluded.count WHERE excluded.id > id`)
    for (
      let rows = keysAfter('', STEP_COUNT);
      rows.length > 0;
      rows = keysAfter(rows.at(-1)!.value, STEP_COUNT)
    ) {
      transact(own.database, () => {
        for (const { value, hash, id, count } of rows) keep.run(value, hash, id, count)
      })
      await new Promise<void>((resolve) => clock.soon(resolve))
      if (!this.#files?.includes(own)) return false
    }
    transact(own.database, () =>
      own.database.prepare('INSERT OR REPLACE INTO taken VALUES (?, ?, ?)').run(file, oldest, newest),
    )
    own.span = spanOf(own.database)
    this.#taken.add(file)
    return true
  }

  /** Removes files all of whose keys have expired, and empties the write-ahead logs. */
  removeOld(): void {
    const { data, clock, keyRetentionMs } = this.#options
    const oldest = idAt(clock.ago(keyRetentionMs))
    this.#files = this.#files?.filter(({ name, database, span }) => {
      if (span === undefined || span.newest >= oldest) {
        checkpoint(database)
        return true
      }
      database.close()
      removeFile(join(data, name))
      return false
    })
  }

  /** Removes all of it: it is damaged. */
  discard(): void {
    const names = this.#open().map(({ name }) => name)
    this.close()
    for (const name of names) removeFile(join(this.#options.data, name))
  }

  close(): void {
    for (const { database } of this.#files ?? []) database.close()
    this.#files = undefined
    this.#taken.clear()
  }

  #open(): IndexFile[] {
    if (this.#files !== undefined) return this.#files
    const { data, writer } = this.#options
    const own = new RegExp(`^keys-${writer}\\.(\\d+)\\.db$`)
    const numbers = readdirSync(data).flatMap((name) => own.exec(name)?.[1] ?? [])
    const sorted = numbers.map(Number).sort((a, b) => b - a)
    try {
      this.#files = sorted.flatMap((number) => this.#openFile(number) ?? [])
      return this.#files
    } catch (error) {
      // A full disk. Until it can be opened, all segments are looked into.
      if (isUnavailable(error)) return []
      throw error
    }
  }

  /** Opens a file. One that is damaged is removed: the segments that it had are looked into again. */
  #openFile(number: number): IndexFile | undefined {
    const { data, writer } = this.#options
    const name = `keys-${writer}.${number}.db`
    try {
      return openToWrite(join(data, name), ({ database }) => {
        const taken = database.prepare('SELECT file FROM taken').all()
        for (const { file } of taken) this.#taken.add(file as string)
        return {
          ...{ name, number, database, span: spanOf(database) },
          find: database.prepare('SELECT value, hash, id, count FROM key WHERE value = ? AND id > ?'),
        }
      })
    } catch (error) {
      if (faultOf(error) !== 'damaged') throw error
      removeFile(join(data, name))
      return undefined
    }
  }

  /** The newest file, or a new one when that would have too much with a segment that ends with `newest`. */
  #fileFor(newest: string): IndexFile {
    const { data, writer, keyRetentionMs } = this.#options
    const files = this.#open()
    const [last] = files
    const spanMs = last?.span === undefined ? 0 : timeOf(newest) - timeOf(last.span.oldest)
    if (last !== undefined && spanMs <= keyRetentionMs / FILES_PER_RETENTION) return last
    const number = (last?.number ?? 0) + 1
    createFile(join(data, `keys-${writer}.${number}.db`), SCHEMA)
    const created = this.#openFile(number)!
    files.unshift(created)
    return created
  }
}

function spanOf(database: DatabaseSync): IndexFile['span'] {
  const { oldest, newest } = database
    .prepare('SELECT min(oldest) AS oldest, max(newest) AS newest FROM taken')
    .get()!
  return oldest === null ? undefined : { oldest: oldest as string, newest: newest as string }
}
