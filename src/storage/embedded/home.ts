/**
 * A lane's home: its delivered list, its cursors, its starts and its dead letters, in one file that only the
 * lane's holder opens.
 */

import { existsSync } from 'node:fs'
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import { type Clock, steadyNow } from '../../runtime/clock.ts'
import { RETRY_MAX_MS } from '../../runtime/timings.ts'
import { floorAt, idAt, MAX_ID, MIN_ID } from '../ids.ts'
import { MAX_STARTS } from '../limits.ts'
import type { Claimed, Dead, Delivered, Range, Settlement, Whereabouts } from '../ports.ts'
import { GroupCommit } from './group-commit.ts'
import { type Guard, mayWrite, whyUnwritable } from './guard.ts'
import {
  checkpointWithin,
  checksumOf,
  closeGuarded,
  createFile,
  guardOf,
  isUnavailable,
  type OpenFile,
  openToRead,
  openToWrite,
  setAside,
  transact,
} from './sqlite.ts'

const SCHEMA = `
  CREATE TABLE message(id TEXT PRIMARY KEY, crc INTEGER NOT NULL, body TEXT NOT NULL,
    deliveredAt INTEGER NOT NULL, attempts INTEGER NOT NULL);
  CREATE TABLE cursor(file TEXT PRIMARY KEY, seq INTEGER NOT NULL);
  CREATE TABLE start(id TEXT PRIMARY KEY, body TEXT NOT NULL, starts INTEGER NOT NULL, due INTEGER NOT NULL,
    open INTEGER NOT NULL, suspect INTEGER NOT NULL, firstError TEXT NOT NULL, lastError TEXT NOT NULL);
  CREATE INDEX start_due ON start(open, due);
  CREATE TABLE dead(id TEXT PRIMARY KEY, body TEXT NOT NULL, starts INTEGER NOT NULL, reason TEXT NOT NULL,
    firstError TEXT NOT NULL, lastError TEXT NOT NULL, at INTEGER NOT NULL, purged INTEGER NOT NULL);
  CREATE INDEX dead_purged ON dead(purged);`
const TABLES = ['message', 'cursor', 'start', 'dead']

/** How many old messages are removed in one transaction. */
const REMOVE_COUNT = 1000

/** A message as the holder has it in hand. */
export interface InHand {
  id: string
  text: string
}

interface HomeRow extends Omit<Delivered, 'text'> {
  crc: number
  body: string
}

/** An open home. All errors are SQLite's own. */
export class Home {
  /** Starts that the last holder left open. */
  leftOpenCount = 0
  readonly #clock: Clock
  /** The present instant (ms) as the column `due` counts it: it never steps. */
  readonly dueNow: () => number
  readonly #retentionMs: number
  readonly #path: string
  #open: OpenFile
  #guard: Guard
  /** Why the file could be opened to read only. Every commit tries to open it to write. */
  #unwritable: unknown
  readonly #statements = new Map<string, StatementSync>()
  readonly #commits: GroupCommit

  /** Opens a lane's home, or begins it. While it cannot be written it can be read. */
  constructor(path: string, clock: Clock, retentionMs: number) {
    this.#path = path
    this.#clock = clock
    this.dueNow = steadyNow(clock)
    this.#retentionMs = retentionMs
    this.#commits = new GroupCommit({ clock, transact: (work) => this.#transact(work) })
    try {
      if (!existsSync(path)) {
        // SQLite would take the write-ahead log of a home that was removed for that of the new one.
        if (existsSync(`${path}-wal`)) setAside(path, clock.now())
        createFile(path, SCHEMA)
      }
      this.#open = this.#openToWrite()
    } catch (error) {
      if (!isUnavailable(error) || !existsSync(path)) throw error
      this.#unwritable = error
      this.#open = openToRead(path, checkTables)
      this.#statements.clear()
    }
    this.#guard = guardOf(path)
  }

  /** By log file: the row up to which (inclusive) everything of this lane is settled or in `start`. */
  cursors(): Map<string, number> {
    const rows = this.#sql('SELECT file, seq FROM cursor').all() as { file: string; seq: number }[]
    return new Map(rows.map(({ file, seq }) => [file, seq]))
  }

  /** Runs `write` in the next transaction; resolves when that is durable. */
  commit(write: () => void): Promise<void> {
    return this.#commits.run(write)
  }

  /** Within `commit`. */
  moveCursor(file: string, seq: number): void {
    this.#sql('INSERT INTO cursor VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq').run(file, seq)
  }

  /** Within `commit`: counts one more start, open. */
  start({ id, text }: InHand): void {
    this.#sql(
      `INSERT INTO start VALUES (?, ?, 1, 0, 1, 0, '', '')
       ON CONFLICT DO UPDATE SET starts = starts + 1, open = 1`,
    ).run(id, text)
  }

  /** Within `commit`. @returns The message when it is in the delivered list by this call. */
  settle({ id, text }: InHand, settlement: Settlement): Delivered | undefined {
    const now = this.#clock.now()
    const row = this.#one('SELECT starts, open, firstError FROM start WHERE id = ?', id)
    const [starts, firstError] = [(row?.['starts'] as number) ?? 0, (row?.['firstError'] as string) ?? '']
    switch (settlement.as) {
      case 'done': {
        const attempts = Math.max(1, starts)
        this.#sql('DELETE FROM start WHERE id = ?').run(id)
        const { changes } = this.#sql(
          'INSERT INTO message VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
        ).run(...[id, checksumOf(id, text), text, now, attempts])
        return changes === 1 ? { id, text, deliveredAt: now, attempts } : undefined
      }
      case 'retry': {
        const { delayMs, error } = settlement
        this.#sql(
          `INSERT INTO start VALUES (?, ?, 0, ?, 0, 0, ?, ?) ON CONFLICT DO UPDATE
           SET open = 0, suspect = 0, due = excluded.due, lastError = excluded.lastError, firstError = ?`,
        ).run(id, text, this.dueNow() + delayMs, error, error, firstError || error)
        return undefined
      }
      case 'back':
        this.#sql(
          `INSERT INTO start VALUES (?, ?, 0, 0, 0, 0, '', '')
           ON CONFLICT DO UPDATE SET starts = starts - open, open = 0, due = 0`,
        ).run(id, text)
        return undefined
      case 'dead': {
        const { reason, error } = settlement
        this.#sql('DELETE FROM start WHERE id = ?').run(id)
        this.#sql('INSERT INTO dead VALUES (?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING').run(
          ...[id, text, starts, reason, firstError || error, error, now],
        )
        return undefined
      }
    }
  }

  /** True when a message has been taken out of the log's line already. */
  knows(id: string): boolean {
    const sql = `SELECT 1 FROM message WHERE id = ?1 UNION ALL SELECT 1 FROM start WHERE id = ?1
      UNION ALL SELECT 1 FROM dead WHERE id = ?1 LIMIT 1`
    return this.#one(sql, id) !== undefined
  }

  /** Messages whose next start is due, the longest due first. */
  due(limit: number): Claimed[] {
    const sql =
      'SELECT id, body AS text, starts, suspect FROM start WHERE open = 0 AND due <= ? ORDER BY due LIMIT ?'
    const rows = this.#sql(sql).all(this.dueNow(), limit) as unknown as (Omit<Claimed, 'suspect'> & {
      suspect: number
    })[]
    return rows.map(({ id, text, starts, suspect }) => ({ id, text, starts, suspect: suspect === 1 }))
  }

  /** The first due instant after `now`, in `dueNow`'s time; infinite when there is none. */
  nextDueAfter(now: number): number {
    const sql = 'SELECT min(due) AS due FROM start WHERE open = 0 AND due > ?'
    return (this.#one(sql, now)?.['due'] as number | null) ?? Number.POSITIVE_INFINITY
  }

  /** Messages in `start`, and the oldest of them. */
  starts(): { count: number; oldest: string | null } {
    const count = this.#one('SELECT count(*) AS count FROM start')!['count'] as number
    // Asked for apart: together with the count, every row would be looked at.
    return { count, oldest: this.#one('SELECT min(id) AS oldest FROM start')!['oldest'] as string | null }
  }

  deadCount(): number {
    return this.#one('SELECT count(*) AS count FROM dead WHERE purged = 0')!['count'] as number
  }

  find(id: string): Whereabouts | undefined {
    const message = this.#one('SELECT deliveredAt, attempts FROM message WHERE id = ?', id)
    if (message !== undefined) return { state: 'delivered', ...(message as Omit<Whereabouts, 'state'>) }
    const dead = this.#one('SELECT starts FROM dead WHERE id = ?', id)
    if (dead !== undefined) return { state: 'dead', attempts: dead['starts'] as number, deliveredAt: null }
    const start = this.#one('SELECT starts FROM start WHERE id = ?', id)
    if (start !== undefined)
      return { state: 'queued', attempts: start['starts'] as number, deliveredAt: null }
    return undefined
  }

  /** A page of the delivered list, and the ids in it whose text is not what was written. */
  delivered({ before = MAX_ID, after, limit }: Range): (Delivered & { damaged: boolean })[] {
    const floor = floorAt(this.#clock.ago(this.#retentionMs), after)
    const order = after === undefined ? 'DESC' : 'ASC'
    const sql = `SELECT id, crc, body, deliveredAt, attempts FROM message
      WHERE id > ? AND id < ? ORDER BY id ${order} LIMIT ?`
    return this.#sql(sql)
      .all(floor, before, limit)
      .map((row) => {
        const { id, crc, body, deliveredAt, attempts } = row as unknown as HomeRow
        return { id, text: body, deliveredAt, attempts, damaged: checksumOf(id, body) !== crc }
      })
  }

  dead({ after = MIN_ID, limit }: { after?: string; limit: number }): Dead[] {
    const sql = `SELECT id, body AS text, reason, starts AS attempts, firstError, lastError, at AS deadAt FROM dead
      WHERE purged = 0 AND id > ? ORDER BY id LIMIT ?`
    return this.#sql(sql)
      .all(after, limit)
      .map((row) => ({ ...row })) as unknown as Dead[]
  }

  /** Within `commit`. @returns False when there is no such dead letter. */
  replay(id: string): boolean {
    const { changes } = this.#sql(
      `INSERT INTO start SELECT id, body, 0, 0, 0, 0, '', '' FROM dead WHERE id = ? AND purged = 0`,
    ).run(id)
    this.#sql('DELETE FROM dead WHERE id = ? AND purged = 0').run(id)
    return changes === 1
  }

  /** Within `commit`. Leaves a mark, so that it is not delivered again. @returns As `replay`. */
  purge(id: string): boolean {
    const sql = `UPDATE dead SET purged = 1, body = '', firstError = '', lastError = '' WHERE id = ? AND purged = 0`
    return this.#sql(sql).run(id).changes === 1
  }

  /** True when `removeOld` would remove something. */
  hasOld(): boolean {
    const sql = `SELECT 1 FROM message WHERE id < ?1
      UNION ALL SELECT 1 FROM dead WHERE purged = 1 AND id < ?1 LIMIT 1`
    return this.#one(sql, idAt(this.#clock.ago(this.#retentionMs))) !== undefined
  }

  /** Within `commit`: removes some of what is older than the retention. @returns True when there may be more. */
  removeOld(): boolean {
    const oldest = idAt(this.#clock.ago(this.#retentionMs))
    this.#sql('DELETE FROM dead WHERE purged = 1 AND id < ?').run(oldest)
    const sql = 'DELETE FROM message WHERE id IN (SELECT id FROM message WHERE id < ? ORDER BY id LIMIT ?)'
    return this.#sql(sql).run(oldest, REMOVE_COUNT).changes === REMOVE_COUNT
  }

  /** Why a commit was refused, human-readable. */
  whyUnwritable(error: unknown): string {
    return whyUnwritable(this.#path, error)
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

  /** As `checkpointWithin`. */
  checkpoint(): void {
    if (this.#unwritable === undefined) checkpointWithin(this.#path, this.#open.database, this.#guard)
  }

  /** Refuses the writes that have not begun. */
  close(): void {
    this.#commits.close(new Error('the home was closed'))
    closeGuarded(this.#open.database, this.#guard)
  }

  #transact(work: () => void): void {
    this.#guard.check()
    if (this.#unwritable !== undefined) {
      const open = this.#openToWrite()
      this.#open.database.close()
      this.#open = open
      this.#statements.clear()
      this.#guard = guardOf(this.#path)
      this.#unwritable = undefined
    }
    transact(this.#open.database, work)
  }

  #openToWrite(): OpenFile {
    return openToWrite(this.#path, (open) => {
      this.leftOpenCount = adoptStarts(
        checkTables(open).database,
        this.#clock.now(),
        this.dueNow() + RETRY_MAX_MS,
      )
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

/** The last holder died with these started: they run alone from now on, or never again. @returns Their count. */
function adoptStarts(database: DatabaseSync, now: number, latestDue: number): number {
  return transact(database, () => {
    database
      .prepare(
        `INSERT INTO dead SELECT id, body, starts, 'Its worker died ' || starts || ' times while the handler ran',
           CASE firstError WHEN '' THEN 'the worker died' ELSE firstError END, 'the worker died', ?, 0
         FROM start WHERE open = 1 AND starts >= ? ON CONFLICT DO NOTHING`,
      )
      .run(now, MAX_STARTS)
    const buried = database.prepare('DELETE FROM start WHERE open = 1 AND starts >= ?').run(MAX_STARTS)
    // The last holder's clock may have been ahead.
    database.prepare('UPDATE start SET due = ?1 WHERE due > ?1').run(latestDue)
    const adopted = database.prepare('UPDATE start SET open = 0, suspect = 1, due = 0 WHERE open = 1').run()
    return Number(buried.changes) + Number(adopted.changes)
  })
}
