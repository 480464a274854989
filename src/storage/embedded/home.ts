/**
 * A lane's home: its delivered list, its cursors, its starts and its dead letters, in one file that only the lane's
 * holder opens. A delivered text is in the log only: the list names its place there, one record for all messages that
 * were delivered together.
 */

import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { type Clock, steadyNow } from '../../runtime/clock.ts'
import { isMeant } from '../dead-filter.ts'
import { groupsOf } from '../dead-groups.ts'
import { batchKeyOf, idAt, MAX_ID, MIN_ID, placeOf } from '../ids.ts'
import {
  type Attempts,
  adopted,
  attemptsOf,
  deadAfter,
  deliveredAt,
  killerLetter,
  type Letter,
  queuedAt,
  settledAs,
  startedOnce,
} from '../lane.ts'
import { START_HEADROOM_BYTES } from '../limits.ts'
import { Page } from '../paging.ts'
import type {
  Dead,
  DeadFilter,
  DeadGroups,
  DeadHead,
  Message,
  Range,
  SettledPlace,
  Settlement,
  Sifted,
  Whereabouts,
} from '../ports.ts'
import { previewOf } from '../preview.ts'
import { GroupCommit } from './group-commit.ts'
import { type Guard, isFull, mayWrite, whyUnwritable } from './guard.ts'
import type { RowName } from './row.ts'
import {
  checkpointWithin,
  closeGuarded,
  createFile,
  giveBack,
  guardOf,
  isUnavailable,
  type OpenFile,
  openToRead,
  openToWrite,
  PAGE_BYTES,
  setAside,
  syncLater,
  transact,
} from './sqlite.ts'

/** Homes of earlier versions get these indexes when they are opened to write. */
const BY_TIME = `CREATE INDEX IF NOT EXISTS delivered_at ON delivered(at);
  CREATE INDEX IF NOT EXISTS dead_at ON dead(at, id);`
const SCHEMA = `
  CREATE TABLE file(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, cursor INTEGER NOT NULL);
  CREATE TABLE delivered(id TEXT PRIMARY KEY, count INTEGER NOT NULL, file INTEGER NOT NULL, seq INTEGER NOT NULL,
    at INTEGER NOT NULL, attempts INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE start(id TEXT PRIMARY KEY, body TEXT NOT NULL, file TEXT NOT NULL, seq INTEGER NOT NULL,
    starts INTEGER NOT NULL, due INTEGER NOT NULL, open INTEGER NOT NULL, suspect INTEGER NOT NULL,
    firstError TEXT NOT NULL, lastError TEXT NOT NULL, deaths INTEGER NOT NULL DEFAULT 0,
    replayedAt INTEGER NOT NULL DEFAULT 0);
  CREATE INDEX start_due ON start(open, due);
  CREATE TABLE dead(id TEXT PRIMARY KEY, body TEXT NOT NULL, file TEXT NOT NULL, seq INTEGER NOT NULL,
    starts INTEGER NOT NULL, reason TEXT NOT NULL, firstError TEXT NOT NULL, lastError TEXT NOT NULL,
    at INTEGER NOT NULL, purged INTEGER NOT NULL);
  CREATE INDEX dead_purged ON dead(purged); ${BY_TIME}`
const TABLES = ['file', 'delivered', 'start', 'dead']

/** The columns of `Attempts`, in its names. */
const ATTEMPTS = 'starts, due AS dueAt, open, suspect, firstError, lastError'
/** Homes of earlier versions lack these. They get them, in this order, when they are opened to write. */
const NEWER_COLUMNS = ['deaths', 'replayedAt']
const KEEP = `INSERT INTO start VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  starts = excluded.starts, due = excluded.due, open = excluded.open, suspect = excluded.suspect,
  firstError = excluded.firstError, lastError = excluded.lastError, deaths = excluded.deaths`
const BURY = 'INSERT INTO dead VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING'
/** In the order of the ids: with `purged = 0` alone SQLite reads and sorts all dead letters for each page. */
const LETTERS_AFTER = '+purged = 0 AND id > ? ORDER BY id LIMIT ?'
/** A text up to its first line feed, in bytes: SQLite's functions on texts end at a NUL. */
const HEAD = `CAST(substr(CAST(body AS BLOB), 1, instr(CAST(body AS BLOB), x'0a')) AS TEXT)`

/** How many old records are removed in one transaction. */
const REMOVE_COUNT = 1000

/** A message as the holder has it in hand. */
export interface InHand extends Message, RowName {}

/** Messages of one row of the log at consecutive places of their batch, delivered at the same time. */
export interface Run extends RowName {
  /** Of the first. */
  id: string
  count: number
  deliveredAt: number
  attempts: number
}

/** True when a message is one of a run. */
function isInRun({ id: firstId, count }: Pick<Run, 'id' | 'count'>, id: string): boolean {
  return id >= firstId && batchKeyOf(id) === batchKeyOf(firstId) && placeOf(id) < placeOf(firstId) + count
}

/** A message that was started before, to be in hand again. */
export interface Due
  extends Omit<InHand, 'text'>,
    Pick<Attempts, 'starts' | 'deaths' | 'suspect' | 'replayedAt'> {
  /** Of its text. */
  bytes: number
}

type AttemptsRow = Omit<Attempts, 'open' | 'suspect'> & { open: number; suspect: number }

/** An open home. All errors are SQLite's own. */
export class Home {
  /** Starts that the last holder left open. */
  leftOpenCount = 0
  /** Messages that became dead letters then. */
  buriedCount = 0
  readonly #clock: Clock
  /** The present instant (ms) as the column `due` counts it: it never steps. */
  readonly dueNow: () => number
  readonly #retentionMs: number
  readonly #retryMaxMs: number
  readonly #path: string
  #open: OpenFile
  #guard: Guard
  /** Why the file could be opened to read only. Every commit tries to open it to write. */
  #unwritable: unknown
  /** Texts of purged letters have left room since it was last given back. */
  #hasRoom = false
  /** `start` and `dead` have no row, so need not be asked: as without a handler. */
  #isBare = false
  /** Log files that `file` has a row of. */
  readonly #listedFiles = new Set<string>()
  /** The last transaction was not durable. */
  #isUnsynced = false
  readonly #statements = new Map<string, StatementSync>()
  readonly #commits: GroupCommit

  /**
   * Opens a lane's home, or begins it. While it cannot be written it can be read.
   *
   * @param retryMaxMs A start that is due later was written by a clock that was ahead: it is due then.
   */
  constructor(path: string, clock: Clock, retentionMs: number, retryMaxMs = Number.POSITIVE_INFINITY) {
    this.#path = path
    this.#clock = clock
    this.dueNow = steadyNow(clock)
    this.#retentionMs = retentionMs
    this.#retryMaxMs = retryMaxMs
    this.#commits = new GroupCommit({
      clock,
      transact: (work, isDurable) => this.#transact(work, isDurable),
    })
    try {
      if (!existsSync(path)) {
        // SQLite would take the write-ahead log of a home that was removed for that of the new one.
        if (existsSync(`${path}-wal`)) setAside(path, clock.now())
        createFile(path, SCHEMA, { shrinks: true })
      }
      this.#open = this.#openToWrite()
    } catch (error) {
      if (!isUnavailable(error) || !existsSync(path)) throw error
      this.#unwritable = error
      this.#open = openToRead(path, checkTables)
      this.#statements.clear()
      this.#listedFiles.clear()
    }
    this.#guard = guardOf(path)
  }

  /** By log file: the row up to which (inclusive) everything of this lane is settled or in `start`. */
  cursors(): Map<string, number> {
    const rows = this.#sql('SELECT id, cursor FROM file').all() as { id: string; cursor: number }[]
    return new Map(rows.map(({ id, cursor }) => [id, cursor]))
  }

  /**
   * Runs `write` in the next transaction; resolves when that is durable.
   *
   * @param isDurable False: a power cut may undo it until the next `sync`, or the next durable transaction.
   */
  commit(write: () => void, isDurable = true): Promise<void> {
    return this.#commits.run(write, isDurable)
  }

  /** Makes all transactions so far durable. @throws {Gone} As `check`; else the home cannot be trusted any more. */
  async sync(): Promise<void> {
    if (!this.#isUnsynced) return
    this.check()
    const synced = syncLater(this.#path)
    this.#isUnsynced = false
    await synced
  }

  /** Within `commit`. */
  moveCursor(file: string, seq: number): void {
    this.#sql(
      'INSERT INTO file VALUES (NULL, ?, ?) ON CONFLICT(id) DO UPDATE SET cursor = excluded.cursor',
    ).run(file, seq)
  }

  /** Within `commit`: counts one more start, open. */
  start(hand: InHand): void {
    this.#keep(hand, startedOnce(this.#attempts(hand.id)))
  }

  /**
   * Within `commit`: messages without a start are delivered.
   *
   * @returns The run that is in the delivered list by this call.
   */
  deliver(run: Omit<Run, 'deliveredAt' | 'attempts'>): Run | undefined {
    return this.#list({ ...run, deliveredAt: this.#clock.now(), attempts: attemptsOf() })
  }

  /** Within `commit`. @returns A run of one message when that is in the delivered list by this call. */
  settle(hand: InHand, settlement: Settlement): Run | undefined {
    const { id, file, seq } = hand
    const now = this.#clock.now()
    const fate = settledAs(settlement, this.dueNow(), this.#attempts(id))
    if (fate.is === 'waiting') {
      this.#keep(hand, fate.attempts)
      return undefined
    }
    this.#sql('DELETE FROM start WHERE id = ?').run(id)
    if (fate.is === 'dead') {
      this.#isBare = false
      bury(this.#sql(BURY), hand, fate.letter, now)
      return undefined
    }
    return this.#list({ id, count: 1, file, seq, deliveredAt: now, attempts: fate.attempts })
  }

  #list(run: Run): Run | undefined {
    const { id, count, file, seq, deliveredAt, attempts } = run
    if (!this.#listedFiles.has(file))
      this.#sql('INSERT INTO file VALUES (NULL, ?, 0) ON CONFLICT(id) DO NOTHING').run(file)
    this.#listedFiles.add(file)
    const sql = `INSERT INTO delivered VALUES (?, ?, (SELECT number FROM file WHERE id = ?), ?, ?, ?)
      ON CONFLICT DO NOTHING`
    return this.#sql(sql).run(id, count, file, seq, deliveredAt, attempts).changes === 1 ? run : undefined
  }

  #attempts(id: string): Attempts | undefined {
    const row = this.#one(`SELECT ${ATTEMPTS}, ${this.#newer()} FROM start WHERE id = ?`, id)
    return row && attemptsIn(row)
  }

  /** The newer columns, as a file has them that can only be read and was written by an earlier version. */
  #newer(): string {
    const lacking = this.#unwritable === undefined ? [] : lackingColumns(this.#open.database)
    return NEWER_COLUMNS.map((name) => (lacking.includes(name) ? `0 AS ${name}` : name)).join(', ')
  }

  #keep(hand: InHand, attempts: Attempts): void {
    this.#isBare = false
    keep(this.#sql(KEEP), hand, attempts)
  }

  /**
   * Of messages of some rows, each from one id to another (inclusive): a test for those that were taken out of the log's
   * line.
   */
  known(rows: readonly (readonly [firstId: string, lastId: string])[]): (id: string) => boolean {
    if (rows.length > 1 && !this.#hasBetween(rows)) return () => false
    const runs = new Map<string, Pick<Run, 'id' | 'count'>[]>()
    const ids = new Set<string>()
    for (const [firstId, lastId] of rows) {
      const batchKey = batchKeyOf(firstId)
      const found = this.#sql('SELECT id, count FROM delivered WHERE id BETWEEN ? AND ?').all(
        batchKey,
        lastId,
      )
      if (found.length > 0) runs.set(batchKey, found as unknown as Pick<Run, 'id' | 'count'>[])
      if (this.#isBare) continue
      const others = this.#sql(
        'SELECT id FROM start WHERE id BETWEEN ?1 AND ?2 UNION ALL SELECT id FROM dead WHERE id BETWEEN ?1 AND ?2',
      ).all(firstId, lastId)
      for (const { id } of others) ids.add(id as string)
    }
    return (id) => ids.has(id) || (runs.get(batchKeyOf(id))?.some((run) => isInRun(run, id)) ?? false)
  }

  /** True when the home has something between the first and the last message of some rows, be it of other rows. */
  #hasBetween(rows: readonly (readonly [firstId: string, lastId: string])[]): boolean {
    let [first, last] = rows[0]!
    for (const [firstId, lastId] of rows) {
      if (firstId < first) first = firstId
      if (lastId > last) last = lastId
    }
    const delivered = 'SELECT 1 FROM delivered WHERE id BETWEEN ?1 AND ?2'
    const others = `UNION ALL SELECT 1 FROM start WHERE id BETWEEN ?1 AND ?2
      UNION ALL SELECT 1 FROM dead WHERE id BETWEEN ?1 AND ?2`
    const sql = `${delivered} ${this.#isBare ? '' : others} LIMIT 1`
    return this.#one(sql, batchKeyOf(first), last) !== undefined
  }

  /** Messages whose next start is due, the longest due first. */
  due(limit: number): Due[] {
    if (this.#isBare) return []
    const sql = `SELECT id, octet_length(body) AS bytes, file, seq, starts, suspect, ${this.#newer()} FROM start
      WHERE open = 0 AND due <= ? ORDER BY due LIMIT ?`
    const rows = this.#sql(sql).all(this.dueNow(), limit) as unknown as (Omit<Due, 'suspect'> & {
      suspect: number
    })[]
    return rows.map((row) => ({ ...row, suspect: row.suspect === 1 }))
  }

  /** The text of a message in `start`. */
  textOf(id: string): string {
    return this.#one('SELECT body FROM start WHERE id = ?', id)!['body'] as string
  }

  /** The first due instant after `now`, in `dueNow`'s time; infinite when there is none. */
  nextDueAfter(now: number): number {
    if (this.#isBare) return Number.POSITIVE_INFINITY
    const sql = 'SELECT min(due) AS due FROM start WHERE open = 0 AND due > ?'
    return (this.#one(sql, now)?.['due'] as number | null) ?? Number.POSITIVE_INFINITY
  }

  /** Messages in `start`, and the oldest of them. */
  starts(): { count: number; oldest: string | null } {
    this.#isBare ||= isBare(this.#open.database)
    if (this.#isBare) return { count: 0, oldest: null }
    const count = this.#one('SELECT count(*) AS count FROM start')!['count'] as number
    // Asked for apart: together with the count, every row would be looked at.
    return { count, oldest: this.#one('SELECT min(id) AS oldest FROM start')!['oldest'] as string | null }
  }

  /** Those of them that a failure or an outage has put off. */
  retryingCount(): number {
    const sql = 'SELECT count(*) AS count FROM start WHERE open = 0 AND due > 0'
    return this.#one(sql)!['count'] as number
  }

  deadCount(): number {
    return this.#one('SELECT count(*) AS count FROM dead WHERE purged = 0')!['count'] as number
  }

  find(id: string): Whereabouts | undefined {
    const [run] = this.#runs('id <= ? ORDER BY id DESC LIMIT 1', id)
    if (run !== undefined && isInRun(run, id)) return deliveredAt(run)
    const dead = this.#one('SELECT starts AS attempts, firstError, lastError FROM dead WHERE id = ?', id)
    if (dead !== undefined) return deadAfter(dead as unknown as Dead)
    const known = this.#attempts(id)
    return known && queuedAt(this.dueNow(), this.#clock.now(), known)
  }

  /**
   * Runs of the delivered list in the order of a range, at most its `limit`. The first may begin before the range, and
   * the last may end behind it.
   */
  delivered({ before = MAX_ID, after, limit }: Range): Run[] {
    const order = after === undefined ? 'DESC' : 'ASC'
    // The run that `after` is in may reach beyond it.
    const within = 'id >= max(?1, ifnull((SELECT max(id) FROM delivered WHERE id <= ?2), ?2)) AND id < ?3'
    const oldest = idAt(this.#clock.ago(this.#retentionMs))
    return this.#runs(`${within} ORDER BY id ${order} LIMIT ?4`, oldest, after ?? MIN_ID, before, limit)
  }

  /** Runs of the delivered list from a place on, by time; that of the place's own message is the first. */
  deliveredSince({ at, id }: SettledPlace, limit: number): Run[] {
    const first = id === '' ? '' : batchKeyOf(id)
    return this.#runs('(at, id) >= (?1, ?2) ORDER BY at, id LIMIT ?3', at, first, limit)
  }

  #runs(where: string, ...values: SQLInputValue[]): Run[] {
    const sql = `SELECT id, count, (SELECT file.id FROM file WHERE number = delivered.file) AS file, seq,
      at AS deliveredAt, attempts FROM delivered WHERE ${where}`
    return this.#sql(sql).all(...values) as unknown as Run[]
  }

  /** A page: it ends with the text that reaches `PAGE_MAX_BYTES`. */
  dead({ after = MIN_ID, limit }: { after?: string; limit: number }): Dead[] {
    // With the plus, not by the index of `purged`: all letters would be sorted, with their texts.
    const sql = `SELECT id, body AS text, reason, starts AS attempts, firstError, lastError, at AS deadAt FROM dead
      WHERE ${LETTERS_AFTER}`
    const page = new Page<Dead>(limit)
    for (const row of this.#sql(sql).iterate(after, limit)) if (page.add({ ...row } as unknown as Dead)) break
    return page.items
  }

  /** As `Queue.deadSince`. */
  deadSince({ at, id }: SettledPlace, limit: number): DeadHead[] {
    const sql = `SELECT id, body AS text, reason, starts AS attempts, firstError, lastError, at AS deadAt FROM dead
      WHERE +purged = 0 AND (at, id) > (?, ?) ORDER BY at, id LIMIT ?`
    const page = new Page<DeadHead>(limit)
    for (const row of this.#sql(sql).iterate(at, id, limit)) {
      const { text, ...letter } = row as unknown as Dead
      if (page.add({ ...letter, preview: previewOf(text) }, Buffer.byteLength(text))) break
    }
    return page.items
  }

  /** As `Queue.sift`. */
  sift({ after, limit }: { after: string; limit: number }, filter: DeadFilter): Sifted[] {
    const sql = `SELECT id, ${filter.source === undefined ? "''" : HEAD} AS text, reason, lastError, at AS deadAt
      FROM dead
      WHERE ${LETTERS_AFTER}`
    const letters = this.#sql(sql).all(after, limit) as unknown as Dead[]
    return letters.map((letter) => ({ id: letter.id, isMeant: isMeant(filter, letter) }))
  }

  /** As `Queue.groupDead`. */
  groupDead({ after, limit }: { after: string; limit: number }): DeadGroups {
    const sql = `SELECT id, reason, lastError, at AS deadAt FROM dead WHERE ${LETTERS_AFTER}`
    const letters = this.#sql(sql).all(after, limit) as unknown as Dead[]
    const last = letters.length < limit ? null : letters.at(-1)!.id
    return { groups: groupsOf(letters), counted: letters.length, last }
  }

  /** Within `commit`. @returns The bytes of its text; null when there is no such dead letter. */
  replay(id: string): number | null {
    const bytes = this.#bytesOfLetter(id)
    if (bytes === null) return null
    this.#isBare = false
    this.#sql(
      `INSERT INTO start SELECT id, body, file, seq, 0, 0, 0, 0, '', '', 0, ? FROM dead WHERE id = ? AND purged = 0`,
    ).run(this.#clock.now(), id)
    this.#sql('DELETE FROM dead WHERE id = ? AND purged = 0').run(id)
    return bytes
  }

  /** Within `commit`. Leaves a mark, so that it is not delivered again. @returns As `replay`. */
  purge(id: string): number | null {
    const bytes = this.#bytesOfLetter(id)
    if (bytes === null) return null
    const sql = `UPDATE dead SET purged = 1, body = '', firstError = '', lastError = '' WHERE id = ? AND purged = 0`
    this.#sql(sql).run(id)
    this.#hasRoom = true
    return bytes
  }

  #bytesOfLetter(id: string): number | null {
    const sql = 'SELECT octet_length(body) AS bytes FROM dead WHERE id = ? AND purged = 0'
    return (this.#one(sql, id)?.['bytes'] as number | undefined) ?? null
  }

  /** True when `removeOld` would remove something, or `giveBack` give back what purged letters have left. */
  hasOld(): boolean {
    if (this.#hasRoom) return true
    const sql = `SELECT 1 FROM delivered WHERE id < ?1
      UNION ALL SELECT 1 FROM dead WHERE purged = 1 AND id < ?1 LIMIT 1`
    return this.#one(sql, idAt(this.#clock.ago(this.#retentionMs))) !== undefined
  }

  /** Within `commit`: removes some of what is older than the retention. @returns True when there may be more. */
  removeOld(): boolean {
    const oldest = idAt(this.#clock.ago(this.#retentionMs))
    this.#sql('DELETE FROM dead WHERE purged = 1 AND id < ?').run(oldest)
    const sql =
      'DELETE FROM delivered WHERE id IN (SELECT id FROM delivered WHERE id < ? ORDER BY id LIMIT ?)'
    return this.#sql(sql).run(oldest, REMOVE_COUNT).changes === REMOVE_COUNT
  }

  /** Why a commit was refused, human-readable. */
  whyUnwritable(error: unknown): string {
    return whyUnwritable(this.#path, error)
  }

  /** False when texts of so many bytes, copied into homes, would take the room that outcomes need. */
  mayCopy(bytes: number): boolean {
    const wanted = START_HEADROOM_BYTES + bytes
    if (!isFull(dirname(this.#path), wanted)) return true
    // What delivered texts have left in the file is room, too; half of the rest is for the write-ahead logs.
    const own = (this.#one('PRAGMA freelist_count')!['freelist_count'] as number) * PAGE_BYTES
    return !isFull(dirname(this.#path), Math.max(START_HEADROOM_BYTES / 2, wanted - own))
  }

  /** False when a commit would be refused. */
  mayWrite(): boolean {
    return mayWrite(this.#path)
  }

  /** @throws {Gone} When the file was removed or replaced. */
  check(): void {
    this.#guard.check()
  }

  /** Within `commit`: writes, and changes nothing. */
  touch(): void {
    this.#sql('UPDATE meta SET version = version').run()
  }

  /** As `giveBack`. */
  giveBack(): boolean {
    if (this.#unwritable !== undefined) return false
    this.#hasRoom = giveBack(this.#open.database, this.#guard)
    return this.#hasRoom
  }

  /** As `checkpointWithin`. */
  checkpoint(): void {
    if (this.#unwritable === undefined) checkpointWithin(this.#path, this.#open.database, this.#guard)
  }

  /** Refuses the writes that have not begun. */
  close(): void {
    this.#commits.close(new Error('the home was closed'))
    closeGuarded(this.#open.database, this.#guard)
  }

  #transact(work: () => void, isDurable: boolean): void {
    this.#guard.check()
    if (this.#unwritable !== undefined) {
      const open = this.#openToWrite()
      this.#open.database.close()
      this.#open = open
      this.#statements.clear()
      this.#listedFiles.clear()
      this.#guard.close()
      this.#guard = guardOf(this.#path)
      this.#unwritable = undefined
    }
    try {
      transact(this.#open.database, work, isDurable)
    } catch (error) {
      this.#listedFiles.clear() // Their rows may be undone.
      throw error
    }
    this.#isUnsynced = !isDurable
  }

  #openToWrite(): OpenFile {
    return openToWrite(this.#path, (open) => {
      const { database } = checkTables(open)
      const lacking = lackingColumns(database)
      if (lacking.length > 0) {
        const add = (name: string) => `ALTER TABLE start ADD COLUMN ${name} INTEGER NOT NULL DEFAULT 0;`
        transact(database, () => database.exec(lacking.map(add).join('')))
      }
      if (!isByTime(database)) transact(database, () => database.exec(BY_TIME))
      ;({ openCount: this.leftOpenCount, buriedCount: this.buriedCount } = adoptStarts(
        database,
        this.#clock.now(),
        this.dueNow() + this.#retryMaxMs,
      ))
      this.#isBare = isBare(database)
      return open
    })
  }

  #one(sql: string, ...values: SQLInputValue[]): Record<string, unknown> | undefined {
    return this.#sql(sql).get(...values)
  }

  /** A statement, prepared once. The SQL texts are a fixed few. */
  #sql(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#open.database.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }
}

/** Tables are read when they are first used. A file without ours is to be recognised now. */
function checkTables(open: OpenFile): OpenFile {
  for (const table of TABLES) open.database.prepare(`SELECT 1 FROM ${table}`)
  return open
}

function lackingColumns(database: DatabaseSync): string[] {
  const names = database.prepare(`SELECT name FROM pragma_table_info('start')`).all()
  return NEWER_COLUMNS.filter((name) => !names.some((row) => row['name'] === name))
}

function isByTime(database: DatabaseSync): boolean {
  return database.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'dead_at'`).get() !== undefined
}

/** True when nothing is in `start` or `dead`. */
function isBare(database: DatabaseSync): boolean {
  return database.prepare('SELECT 1 FROM start UNION ALL SELECT 1 FROM dead LIMIT 1').get() === undefined
}

/** The last holder died with these started: they run alone from now on, or never again. */
function adoptStarts(
  database: DatabaseSync,
  now: number,
  latestDue: number,
): { openCount: number; buriedCount: number } {
  return transact(database, () => {
    let buriedCount = 0
    const rows = database
      .prepare(`SELECT id, file, seq, ${ATTEMPTS}, ${NEWER_COLUMNS} FROM start WHERE open = 1 OR due > ?`)
      .all(latestDue)
    const textOf = database.prepare('SELECT body AS text FROM start WHERE id = ?')
    const [keepOne, buryOne] = [database.prepare(KEEP), database.prepare(BURY)]
    const forget = database.prepare('DELETE FROM start WHERE id = ?')
    for (const row of rows) {
      const known = row as unknown as Omit<InHand, 'text'>
      const attempts = adopted(attemptsIn(row), latestDue)
      const letter = killerLetter(attempts)
      // What it keeps has its text already.
      if (letter === undefined) keep(keepOne, { ...known, text: '' }, attempts)
      else {
        bury(buryOne, { ...known, ...(textOf.get(known.id) as { text: string }) }, letter, now)
        forget.run(known.id)
        buriedCount++
      }
    }
    return { openCount: rows.filter((row) => row['open'] === 1).length, buriedCount }
  })
}

function attemptsIn(row: Record<string, unknown>): Attempts {
  const { open, suspect, ...rest } = row as unknown as AttemptsRow
  const { starts, deaths, dueAt, replayedAt, firstError, lastError } = rest
  const flags = { open: open === 1, suspect: suspect === 1 }
  return { starts, deaths, dueAt, ...flags, replayedAt, firstError, lastError }
}

function keep(statement: StatementSync, { id, text, file, seq }: InHand, attempts: Attempts): void {
  const { starts, deaths, dueAt, open, suspect, replayedAt, firstError, lastError } = attempts
  const ends = [firstError, lastError, deaths, replayedAt]
  statement.run(id, text, file, seq, starts, dueAt, Number(open), Number(suspect), ...ends)
}

function bury(statement: StatementSync, { id, text, file, seq }: InHand, letter: Letter, now: number): void {
  const { attempts, reason, firstError, lastError } = letter
  statement.run(id, text, file, seq, attempts, reason, firstError, lastError, now)
}
