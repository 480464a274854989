/** Files of the data that a fault removed: what was in them, and what that excuses. */
import { copyFileSync, existsSync, linkSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { batchKeyOf, idAtPlace, placeOf } from '../../src/storage/ids.ts'
import type { Excused } from '../support/checker.ts'
import type { History } from '../support/history.ts'

/** What one removal took. Instants are on the clock of the acknowledgements. */
export interface Loss {
  /** When the first file was removed, and when the last one. */
  beganAt: number
  endedAt: number
  /** Ids that are in no log file any more. */
  logged: ReadonlySet<string>
  /** Ids that no delivered list shows any more: its record was lost, or its text with the log. */
  delivered: ReadonlySet<string>
}

/**
 * What the promise does not cover. Excused is a message that was in a removed file and was posted before the
 * removal: a writer compares its files between commit and acknowledgement, so it acknowledges nothing that was posted
 * afterwards. A message that nobody was promised may be in one list only.
 */
export function excusedOf({ acknowledged, postedAt }: History, losses: readonly Loss[]): Excused {
  const [loggedSince, delivered] = [new Map<string, number>(), new Set<string>()]
  for (const { beganAt, endedAt, logged, delivered: undelivered } of losses) {
    for (const id of logged) {
      const text = acknowledged.get(id)
      if (text === undefined || (postedAt.get(text) ?? 0) <= endedAt) loggedSince.set(id, beganAt)
    }
    for (const id of undelivered) delivered.add(id)
  }
  const logged = new Set(loggedSince.keys())
  return { logged, loggedSince, delivered, repeated: new Set(), purged: new Set() }
}

const LOG = /^log-\d+\.\d+\.db$/
const HOME = /^home-\d+\.db$/
const SQLITE_CORRUPT = 11

/** Removes files under a running node, and remembers what was in them. */
export class Removal {
  readonly #data: string
  /** Beside the data, on the same file system. */
  readonly #aside: string
  readonly #beganAt = Date.now()
  readonly #endedAt: number
  readonly #bases: readonly string[]

  /** @param names Files of the data directory. */
  constructor(data: string, names: readonly string[]) {
    this.#data = data
    this.#aside = `${data}-removed`
    mkdirSync(this.#aside)
    this.#bases = [...new Set(names.map((name) => name.replace(/-(wal|shm)$/, '')))]
    const removed = new Set(names)
    // A hard link: for the node the file is as gone as without it.
    for (const base of this.#bases.filter((name) => LOG.test(name) || HOME.test(name))) {
      for (const name of [base, `${base}-wal`]) {
        const path = join(data, name)
        if (!existsSync(path)) continue
        if (name === base && !removed.has(base)) copyFileSync(path, join(this.#aside, name))
        else linkSync(path, join(this.#aside, name))
      }
    }
    for (const name of names) rmSync(join(data, name), { force: true })
    this.#endedAt = Date.now()
  }

  /** What was lost. To be called once, while no process of the node runs. */
  loss(): Loss {
    const inData = readdirSync(this.#data)
    const idsOf = (bases: readonly string[], table: string) =>
      new Set(bases.flatMap((base) => this.#idsLeftIn(base, table)))
    const removedIdsOf = (bases: readonly string[], table: string) =>
      new Set(bases.flatMap((base) => this.#removedIdsIn(base, table)))
    const [left, home] = [LOG, HOME].map((pattern) => inData.filter((name) => pattern.test(name)))
    const [logged, delivered] = [LOG, HOME].map((pattern) => this.#bases.filter((name) => pattern.test(name)))
    const stillLogged = idsOf(left!, 'batch')
    const stillDelivered = idsOf(home!, 'delivered')
    const lost = [...removedIdsOf(logged!, 'batch')].filter((id) => !stillLogged.has(id))
    const undelivered = [...removedIdsOf(delivered!, 'delivered')].filter((id) => !stillDelivered.has(id))
    const loss = {
      beganAt: this.#beganAt,
      endedAt: this.#endedAt,
      logged: new Set(lost),
      delivered: new Set([...undelivered, ...lost]),
    }
    rmSync(this.#aside, { recursive: true })
    return loss
  }

  #removedIdsIn(base: string, table: string): string[] {
    const wal = join(this.#aside, `${base}-wal`)
    try {
      return this.#idsIn(join(this.#aside, base), wal, table)
    } catch (error) {
      // Where only the write-ahead log was removed, its writer may have moved pages to the file since, and begun it anew.
      if (!isMalformed(error)) throw error
      return this.#idsIn(join(this.#data, base), wal, table)
    }
  }

  /** None of a file whose log was removed half way through a checkpoint: SQLite finds it damaged, as Mailroom will. */
  #idsLeftIn(base: string, table: string): string[] {
    const path = join(this.#data, base)
    try {
      return this.#idsIn(path, `${path}-wal`, table)
    } catch (error) {
      if (!isMalformed(error)) throw error
      return []
    }
  }

  /** Reads a copy, so that the file and its write-ahead log stay as they are. */
  #idsIn(path: string, wal: string, table: string): string[] {
    if (!existsSync(path)) return [] // Only its write-ahead log was left, by an earlier removal.
    const copies = join(this.#aside, 'copies')
    rmSync(copies, { recursive: true, force: true })
    mkdirSync(copies)
    const copy = join(copies, basename(path))
    copyFileSync(path, copy)
    if (existsSync(wal)) copyFileSync(wal, `${copy}-wal`)
    const database = new DatabaseSync(copy)
    try {
      return database
        .prepare(`SELECT id, count FROM ${table}`)
        .all()
        .flatMap((row) => idsFrom(row as unknown as { id: string; count: number }))
    } finally {
      database.close()
    }
  }
}

/** Of a message and those after it in its batch. */
function idsFrom({ id, count }: { id: string; count: number }): string[] {
  const others = Array.from({ length: count - 1 }, (_, index) =>
    idAtPlace(batchKeyOf(id), placeOf(id) + 1 + index),
  )
  return [id, ...others]
}

function isMalformed(error: unknown): boolean {
  return (error as { errcode?: number }).errcode === SQLITE_CORRUPT
}
