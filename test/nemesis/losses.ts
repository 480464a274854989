/** Files of the data that a fault removed: what was in them, and what that excuses. */
import { copyFileSync, existsSync, linkSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Excused } from '../support/checker.ts'
import type { History } from '../support/history.ts'

/** What one removal took. Instants are on the clock of the acknowledgements. */
export interface Loss {
  /** When the first file was removed, and when the last one. */
  beganAt: number
  endedAt: number
  /** Ids that are in no log file any more. */
  logged: ReadonlySet<string>
  /** Ids that are in no delivered list any more. */
  delivered: ReadonlySet<string>
  /** Ids of `logged` that are still in a delivered list, ascending. */
  kept: readonly string[]
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
    const idsOf = (directory: string, bases: readonly string[], table: string) =>
      new Set(bases.flatMap((base) => this.#idsIn(join(directory, base), table)))
    const [left, home] = [LOG, HOME].map((pattern) => inData.filter((name) => pattern.test(name)))
    const [logged, delivered] = [LOG, HOME].map((pattern) => this.#bases.filter((name) => pattern.test(name)))
    const stillLogged = idsOf(this.#data, left!, 'log')
    const stillDelivered = idsOf(this.#data, home!, 'message')
    const lost = [...idsOf(this.#aside, logged!, 'log')].filter((id) => !stillLogged.has(id))
    const undelivered = [...idsOf(this.#aside, delivered!, 'message')].filter((id) => !stillDelivered.has(id))
    const loss = {
      beganAt: this.#beganAt,
      endedAt: this.#endedAt,
      logged: new Set(lost),
      delivered: new Set(undelivered),
      kept: lost.filter((id) => stillDelivered.has(id)).sort(),
    }
    rmSync(this.#aside, { recursive: true })
    return loss
  }

  /** Reads a copy, so that the file and its write-ahead log stay as they are. */
  #idsIn(path: string, table: string): string[] {
    if (!existsSync(path)) return [] // Only its write-ahead log was left, by an earlier removal.
    const copies = join(this.#aside, 'copies')
    rmSync(copies, { recursive: true, force: true })
    mkdirSync(copies)
    for (const suffix of ['', '-wal']) {
      if (existsSync(path + suffix)) copyFileSync(path + suffix, join(copies, basename(path) + suffix))
    }
    const database = new DatabaseSync(join(copies, basename(path)))
    try {
      return database
        .prepare(`SELECT id FROM ${table}`)
        .all()
        .map(({ id }) => id as string)
    } finally {
      database.close()
    }
  }
}
