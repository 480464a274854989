/** Reads one file of the log, which its logging actor may be writing. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { CURSOR_DELAY_MS } from '../../runtime/timings.ts'
import { batchKeyOf, byId, idAt, idAtPlace, MAX_ID, placeOf, timeOf } from '../ids.ts'
import { Page } from '../paging.ts'
import type { Message } from '../ports.ts'
import { identityOf } from './guard.ts'
import { decodeRow, type Row } from './row.ts'
import { type OpenFile, openToRead } from './sqlite.ts'

/**
 * The tables of a log file. A row is at once messages of a batch in the log and their place in their lane's line. `key`
 * has the idempotency keys, each with the id of its batch's first message and how many they are. `ended` has a row once
 * nothing more is written to the file.
 */
export const LOG_SCHEMA = `
  CREATE TABLE batch(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, lane INTEGER NOT NULL, count INTEGER NOT NULL,
    bytes INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE INDEX batch_lane ON batch(lane, seq, count, bytes);
  CREATE TABLE key(value TEXT PRIMARY KEY, hash TEXT NOT NULL, id TEXT NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE ended(at INTEGER NOT NULL);`

/** A message of the log. `damaged`: its text is not what was written, and is empty here. */
export interface LoggedMessage extends Message {
  lane: number
  damaged: boolean
  /** It stands, without its text, for a row of so many bytes that has nothing of what is wanted. */
  passed?: number
}

/** A row of a lane. */
export interface LaneRow {
  seq: number
  /** Messages that were written into it. */
  count: number
  /** Of their texts. */
  bytes: number
  /** Ascending, the damaged ones among them. */
  messages: LoggedMessage[]
}

/** What a row is, without its texts. */
export interface RowHead {
  seq: number
  /** Of its first message. */
  id: string
  /** Messages that were written into it. */
  count: number
  /** Of their texts. */
  bytes: number
}

interface StoredRow extends Row {
  seq: number
  lane: number
}

interface ReadOptions {
  limit: number
  maxBytes: number
  until?: string | undefined
  having?: readonly string[] | undefined
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
  #isEnded = false
  /** Of an ended file: the ids of its first and its last message; null when it has none. */
  #ends: { first: string; last: string } | null | undefined
  readonly #statements: Record<
    | 'descending'
    | 'ascending'
    | 'highest'
    | 'lowest'
    | 'before'
    | 'at'
    | 'lane'
    | 'heads'
    | 'sizes'
    | 'count'
    | 'next'
    | 'ended'
    | 'version'
    | 'above'
    | 'lowestIn'
    | 'written',
    StatementSync
  >

  private constructor(path: string, { database, file, isImmutable }: OpenFile) {
    this.file = file
    this.identity = identityOf(path)
    this.#path = path
    this.#indexIdentity = identityOf(`${path}-shm`)
    this.isImmutable = isImmutable
    this.#database = database
    const row = 'SELECT seq, id, lane, count, bytes, crc, body FROM batch'
    // The row of the first message may begin with an earlier one.
    const upward = 'id >= ifnull((SELECT max(id) FROM batch WHERE id <= ?1), ?1) AND id < ?2 ORDER BY id'
    this.#statements = {
      descending: database.prepare(`${row} WHERE id < ? ORDER BY id DESC`),
      ascending: database.prepare(`${row} WHERE ${upward}`),
      highest: database.prepare('SELECT id, count FROM batch WHERE id < ? ORDER BY id DESC LIMIT 1'),
      lowest: database.prepare(`SELECT id, count FROM batch WHERE ${upward} LIMIT 2`),
      before: database.prepare(`${row} WHERE id <= ? ORDER BY id DESC LIMIT 1`),
      at: database.prepare(`${row} WHERE seq = ?`),
      heads: database.prepare(
        'SELECT seq, id, count, bytes FROM batch WHERE lane = ? AND seq > ? ORDER BY seq LIMIT ?',
      ),
      // The index of lanes has it all.
      sizes: database.prepare('SELECT bytes FROM batch WHERE lane = ? AND seq > ? ORDER BY seq LIMIT ?'),
      lane: database.prepare(`${row} WHERE lane = ? AND seq > ? ORDER BY seq LIMIT ?`),
      count: database.prepare(
        'SELECT sum(count) AS count, max(seq) AS last FROM batch WHERE lane = ? AND seq > ?',
      ),
      above: database.prepare('SELECT id FROM batch WHERE id > ? ORDER BY id LIMIT 1'),
      lowestIn: database.prepare('SELECT min(seq) AS seq FROM batch WHERE id > ? AND id < ?'),
      written: database.prepare(`${row} WHERE seq > ? ORDER BY seq LIMIT ?`),
      ended: database.prepare('SELECT 1 FROM ended'),
      version: database.prepare('PRAGMA data_version'),
      next: database.prepare('SELECT id FROM batch WHERE lane = ? AND seq > ? ORDER BY seq LIMIT 1'),
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

  /** True once nothing more is written to it: what was read of it then is all there is. */
  get isEnded(): boolean {
    this.#isEnded ||= this.#statements.ended.get() !== undefined
    return this.#isEnded
  }

  /** Another text after each commit, and of each reader. */
  version(): string {
    if (this.#isEnded) return `${this.#number}`
    return `${this.#number}:${this.#statements.version.get()!['data_version']}`
  }

  /** The id of the first message between two ids (exclusive), in an order, or of one that is damaged. Reads no text. */
  firstOf(after: string, before: string, order: 'ascending' | 'descending'): string | undefined {
    const ends = this.#endsIfKnown()
    if (ends === null || (ends !== undefined && (ends.last <= after || ends.first >= before)))
      return undefined
    if (ends !== undefined && order === 'ascending' && ends.first > after) return ends.first
    if (ends !== undefined && order === 'descending' && ends.last < before) return ends.last
    const { lowest, highest } = this.#statements
    const rows = order === 'ascending' ? lowest.all(after, before) : highest.all(before)
    for (const { id, count } of rows as unknown as Pick<RowHead, 'id' | 'count'>[]) {
      const last = lastOf({ id, count })
      const first =
        order === 'ascending' ? ahead(id > after, id, after, 1) : ahead(last < before, last, before, -1)
      if (first <= last && first > after && first < before) return first
    }
    return undefined
  }

  /**
   * Messages between two ids (exclusive), in an order, until they are `limit` or their texts have `maxBytes`; of those at
   * and behind `until` none.
   *
   * @param having As in `Log.page`.
   */
  between(
    after: string,
    before: string,
    order: 'ascending' | 'descending',
    { limit, maxBytes, until, having = [] }: ReadOptions,
  ): LoggedMessage[] {
    const isBehind = (id: string) =>
      until !== undefined && (order === 'ascending' ? id >= until : id <= until)
    const page = new Page<LoggedMessage>(limit, maxBytes)
    const rows =
      order === 'ascending'
        ? this.#statements.ascending.iterate(after, before)
        : this.#statements.descending.iterate(before)
    for (const row of rows) {
      const passed = passedOf(row as unknown as StoredRow, order, having)
      const messages = passed === undefined || isBehind(passed.id) ? this.#messagesIn(row) : [passed]
      if (order === 'descending') messages.reverse()
      for (const message of messages) {
        if (order === 'descending' && message.id <= after) return page.items
        if (message.id <= after || message.id >= before) continue
        if (isBehind(message.id)) return page.items
        if (page.add(message, message.passed)) return page.items
      }
    }
    return page.items
  }

  /** A row before all that have messages with ids above `after`, and behind most others. */
  rowBefore(after: string): number {
    const { above, lowestIn } = this.#statements
    const below = batchKeyOf(after)
    const first = above.get(below)?.['id'] as string | undefined
    if (first === undefined) return this.#last()
    // A row is written a few seconds after its id was made at most: those made later still stand behind it.
    const end = idAt(timeOf(first) + 2 * CURSOR_DELAY_MS)
    return (lowestIn.get(below, end)!['seq'] as number) - 1
  }

  /**
   * The messages of the rows behind a row, in the order they were written, damaged ones among them: whole rows, until they
   * are `limit` or their texts have `maxBytes`.
   *
   * @returns `last`: the last row that was read.
   */
  after(
    row: number,
    { limit, maxBytes }: { limit: number; maxBytes: number },
  ): { messages: LoggedMessage[]; last: number; bytes: number; isEnd: boolean } {
    const part = { messages: [] as LoggedMessage[], last: row, bytes: 0, isEnd: true }
    for (const next of this.#statements.written.iterate(row, Math.max(0, limit) + 1)) {
      if (part.messages.length >= limit || part.bytes >= maxBytes) return { ...part, isEnd: false }
      const { seq, bytes } = next as unknown as StoredRow
      for (const message of this.#messagesIn(next)) part.messages.push(message)
      part.last = seq
      part.bytes += bytes
    }
    return part
  }

  get(id: string): LoggedMessage | undefined {
    return this.rowOf(id).find((message) => message.id === id)
  }

  /** All messages of the row that a message is in; none when it is in no row. */
  rowOf(id: string): LoggedMessage[] {
    if (!this.#mayHave(id)) return []
    const row = this.#statements.before.get(id)
    if (row === undefined || batchKeyOf(row['id'] as string) !== batchKeyOf(id)) return []
    return this.#messagesIn(row)
  }

  /** All messages of the row with a number. */
  rowAt(seq: number): LoggedMessage[] {
    const row = this.#statements.at.get(seq)
    return row === undefined ? [] : this.#messagesIn(row)
  }

  /** Rows of a lane after a row, in the order they were written. */
  ofLane(lane: number, afterSeq: number, limit: number): LaneRow[] {
    const rows: LaneRow[] = []
    for (const row of this.#statements.lane.iterate(lane, afterSeq, limit)) {
      const { seq, count, bytes } = row as unknown as StoredRow
      rows.push({ seq, count, bytes, messages: this.#messagesIn(row) })
    }
    return rows
  }

  /** The same rows without their texts. */
  headsOf(lane: number, afterSeq: number, limit: number): RowHead[] {
    return this.#statements.heads.all(lane, afterSeq, limit) as unknown as RowHead[]
  }

  /** The bytes of their texts. */
  sizesOf(lane: number, afterSeq: number, limit: number): number[] {
    return this.#statements.sizes.all(lane, afterSeq, limit).map(({ bytes }) => bytes as number)
  }

  /** How many messages of a lane stand after a row, and the last row of them (or the row itself). */
  countOf(lane: number, afterSeq: number): { count: number; last: number } {
    const { count, last } = this.#statements.count.get(lane, afterSeq) as {
      count: number | null
      last: number | null
    }
    return { count: count ?? 0, last: last ?? afterSeq }
  }

  /** The id of a lane's first message after a row. */
  nextOf(lane: number, afterSeq: number): string | undefined {
    return this.#statements.next.get(lane, afterSeq)?.['id'] as string | undefined
  }

  /** The id of the youngest row's first message. */
  youngest(): string | undefined {
    return (
      (this.#database.prepare('SELECT max(id) AS id FROM batch').get()?.['id'] as string | null) ?? undefined
    )
  }

  #last(): number {
    const row = this.#database.prepare('SELECT max(seq) AS seq FROM batch').get()
    return (row?.['seq'] as number | null) ?? 0
  }

  /** False only for an ended file: then it costs nothing to know. */
  #mayHave(id: string): boolean {
    const ends = this.#endsIfKnown()
    return ends === undefined || (ends !== null && id >= ends.first && id <= ends.last)
  }

  /** As `#ends`; undefined for a file that may be written. */
  #endsIfKnown(): { first: string; last: string } | null | undefined {
    if (this.#ends !== undefined || !this.isEnded) return this.#ends
    const first = this.#database.prepare('SELECT min(id) AS id FROM batch').get()?.['id'] as string | null
    const last = this.#statements.highest.get(MAX_ID) as Pick<RowHead, 'id' | 'count'> | undefined
    this.#ends = first === null || last === undefined ? null : { first, last: lastOf(last) }
    return this.#ends
  }

  #messagesIn(row: object): LoggedMessage[] {
    const { seq, lane, ...stored } = row as StoredRow
    const { messages, damaged } = decodeRow({ file: this.file, seq, lane }, stored)
    const whole = messages.map((message) => ({ ...message, lane, damaged: false }))
    if (damaged.length === 0) return whole
    const lost = damaged.map((id) => ({ id, text: '', lane, damaged: true }))
    return [...whole, ...lost].sort(byId)
  }

  close(): void {
    this.#database.close()
  }
}

/** The id of a row's last message. */
export function lastOf({ id, count }: Pick<RowHead, 'id' | 'count'>): string {
  return idAtPlace(batchKeyOf(id), placeOf(id) + count - 1)
}

/** Of a row that lacks one of these texts: the message where reading it ends. No text is taken apart for it. */
function passedOf(
  { id, count, lane, bytes, body }: StoredRow,
  order: 'ascending' | 'descending',
  having: readonly string[],
): LoggedMessage | undefined {
  const stored = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  if (having.every((text) => stored.includes(text))) return undefined
  const end = order === 'ascending' ? lastOf({ id, count }) : id
  return { id: end, text: '', lane, damaged: false, passed: bytes }
}

/** A row's end, if it is inside; else the place beside a bound that is in the row. */
function ahead(isInside: boolean, end: string, bound: string, step: 1 | -1): string {
  return isInside ? end : idAtPlace(batchKeyOf(bound), placeOf(bound) + step)
}
