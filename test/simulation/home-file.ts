/**
 * A simulated home of a lane, as `embedded/home.ts` is one in SQLite: the same tables, each write in a
 * transaction of the simulated disk.
 */

import { isMeant } from '../../src/storage/dead-filter.ts'
import { groupsOf } from '../../src/storage/dead-groups.ts'
import type { Due, InHand, Run } from '../../src/storage/embedded/home.ts'
import { batchKeyOf, byId, idAtPlace, MAX_ID, MIN_ID, placeOf } from '../../src/storage/ids.ts'
import {
  type Attempts,
  adopted,
  deadAfter,
  deliveredAt,
  killerLetter,
  queuedAt,
  settledAs,
  startedOnce,
  UNSTARTED,
} from '../../src/storage/lane.ts'
import type {
  Dead,
  DeadFilter,
  DeadGroups,
  DeadHead,
  Range,
  SettledPlace,
  Settlement,
  Sifted,
  Whereabouts,
} from '../../src/storage/ports.ts'
import { previewOf } from '../../src/storage/preview.ts'
import { firstSince, pageOf } from '../support/memory-backend.ts'
import { type Disk, DiskError, FULL, type Journal, Table } from './disk.ts'
import type { SimProcess } from './process.ts'

/** As its row in the table `start`, the attempts in the names of the rules. */
interface Start extends Attempts {
  text: string
  file: string
  seq: number
}

/** How a planted bug makes a home go wrong. */
export interface HomeBugs {
  /** A retry is not written. */
  losesRetries?: boolean
  /** What an outage gave back is due so much later. */
  delaysBackMs?: number
  /** What its last holder had started is not taken up. */
  forgetsOpenStarts?: boolean
  /** The cursor passes what is only in hand. */
  cursorRunsAhead?: boolean
  /** The cursor outlives a power loss that takes what was delivered. */
  cursorFirst?: boolean
  /** Nothing waits for its fdatasync. */
  answersUnsynced?: boolean
}

/** The tables, as they survive their holder. */
export class HomeFile {
  readonly journal: Journal
  readonly message: Table<string, Run>
  readonly cursor: Table<string, number>
  readonly start: Table<string, Start>
  readonly dead: Table<string, Dead & { file: string; seq: number; purged: boolean }>

  constructor(journal: Journal) {
    this.journal = journal
    this.message = new Table(journal)
    this.cursor = new Table(journal)
    this.start = new Table(journal)
    this.dead = new Table(journal)
  }
}

/** An open home: what `HeldLane` uses of `Home`. */
export class SimHome {
  readonly leftOpenCount: number
  readonly #file: HomeFile
  readonly #disk: Disk
  readonly #process: SimProcess
  readonly #bugs: HomeBugs
  #waiting: {
    write: () => void
    isDurable: boolean
    resolve: () => void
    reject: (error: unknown) => void
  }[] = []
  #closed = false

  constructor(file: HomeFile, disk: Disk, process: SimProcess, bugs: HomeBugs) {
    this.#file = file
    this.#disk = disk
    this.#process = process
    this.#bugs = bugs
    disk.open(file.journal)
    this.leftOpenCount = this.#adoptStarts()
  }

  cursors(): Map<string, number> {
    return new Map(this.#file.cursor)
  }

  commit(write: () => void, isDurable = true): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ write, isDurable, resolve, reject })
      if (this.#waiting.length === 1) this.#process.clock.soon(() => this.#flush())
    })
  }

  sync(): Promise<void> {
    const { journal } = this.#file
    if (journal.length === journal.durable) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#disk.sync(this.#process, journal, (error) => (error === undefined ? resolve() : reject(error)))
    })
  }

  moveCursor(file: string, seq: number): void {
    if (this.#bugs.cursorFirst) return void this.#file.cursor.set(file, seq)
    this.#file.cursor.put(file, this.#bugs.cursorRunsAhead ? seq + 3 : seq)
  }

  mayCopy(): boolean {
    return true
  }

  start({ id, text, file, seq }: InHand): void {
    this.#file.start.put(id, { text, file, seq, ...startedOnce(this.#file.start.get(id)) })
  }

  deliver({ id, count, file, seq }: Omit<Run, 'deliveredAt' | 'attempts'>): Run | undefined {
    const { message } = this.#file
    const run = { id, count, file, seq, deliveredAt: this.#process.clock.now(), attempts: 1 }
    for (let index = 0; index < count; index++) {
      const each = idAtPlace(batchKeyOf(id), placeOf(id) + index)
      if (message.has(each)) throw new Error(`${each} is delivered twice`)
      message.put(each, { ...run, id: each, count: 1 })
    }
    return run
  }

  settle({ id, text, file, seq }: InHand, settlement: Settlement): Run | undefined {
    const { message, start, dead } = this.#file
    const now = this.#process.clock.now()
    if (settlement.as === 'retry' && this.#bugs.losesRetries) return void start.remove(id)
    const fate = settledAs(settlement, this.dueNow(), start.get(id))
    if (fate.is === 'waiting') {
      if (settlement.as === 'back' && settlement.delayMs !== undefined)
        fate.attempts.dueAt += this.#bugs.delaysBackMs ?? 0
      start.put(id, { text, file, seq, ...fate.attempts })
      return undefined
    }
    start.remove(id)
    if (fate.is === 'dead') {
      if (!dead.has(id)) dead.put(id, { id, text, file, seq, ...fate.letter, deadAt: now, purged: false })
      return undefined
    }
    if (message.has(id)) return undefined
    const delivered = { id, count: 1, file, seq, deliveredAt: now, attempts: fate.attempts }
    message.put(id, delivered)
    return delivered
  }

  known(): (id: string) => boolean {
    const { message, start, dead } = this.#file
    return (id) => message.has(id) || start.has(id) || dead.has(id)
  }

  due(limit: number): Due[] {
    const now = this.dueNow()
    return [...this.#file.start]
      .filter(([, { open, dueAt }]) => !open && dueAt <= now)
      .sort(([, a], [, b]) => a.dueAt - b.dueAt)
      .slice(0, limit)
      .map(([id, { text, ...start }]) => ({ id, bytes: Buffer.byteLength(text), ...start }))
  }

  textOf(id: string): string {
    return this.#file.start.get(id)!.text
  }

  dueNow(): number {
    return this.#process.clock.monotonic()
  }

  nextDueAfter(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const { open, dueAt } of this.#file.start.values())
      if (!open && dueAt > now) next = Math.min(next, dueAt)
    return next
  }

  starts(): { count: number; oldest: string | null } {
    return { count: this.#file.start.size, oldest: [...this.#file.start.keys()].sort()[0] ?? null }
  }

  whyUnwritable(): string {
    return 'the disk is full'
  }

  retryingCount(): number {
    return [...this.#file.start.values()].filter(({ open, dueAt }) => !open && dueAt > 0).length
  }

  deadCount(): number {
    return [...this.#file.dead.values()].filter(({ purged }) => !purged).length
  }

  find(id: string): Whereabouts | undefined {
    const { message, dead, start } = this.#file
    const delivered = message.get(id)
    if (delivered !== undefined) return deliveredAt(delivered)
    const letter = dead.get(id)
    if (letter !== undefined) return deadAfter(letter)
    const started = start.get(id)
    return started && queuedAt(this.dueNow(), this.#process.clock.now(), started)
  }

  delivered({ before = MAX_ID, after, limit }: Range): Run[] {
    const range = { before, ...(after !== undefined && { after }), limit }
    return pageOf(this.#file.message.values(), range)
  }

  deliveredSince({ at, id }: SettledPlace, limit: number): Run[] {
    return [...this.#file.message.values()]
      .filter((run) => run.deliveredAt > at || (run.deliveredAt === at && run.id >= id))
      .sort((a, b) => a.deliveredAt - b.deliveredAt || byId(a, b))
      .slice(0, limit)
  }

  deadSince(from: SettledPlace, limit: number): DeadHead[] {
    const letters = [...this.#file.dead.values()].filter(({ purged }) => !purged)
    return firstSince(
      letters.map(({ text, purged: _, file: _file, seq: _seq, ...letter }) => ({
        ...{ ...letter, at: letter.deadAt, preview: previewOf(text) },
      })),
      from,
      limit,
    )
  }

  dead({ after = MIN_ID, limit }: { after?: string; limit: number }): Dead[] {
    const letters = [...this.#file.dead.values()].filter(({ purged }) => !purged)
    return pageOf(letters, { after, limit }).map(({ purged: _, file: _file, seq: _seq, ...letter }) => letter)
  }

  sift(range: { after: string; limit: number }, filter: DeadFilter): Sifted[] {
    return this.dead(range).map((letter) => ({ id: letter.id, isMeant: isMeant(filter, letter) }))
  }

  groupDead(range: { after: string; limit: number }): DeadGroups {
    const letters = this.dead(range)
    const last = letters.length < range.limit ? null : letters.at(-1)!.id
    return { groups: groupsOf(letters), counted: letters.length, last }
  }

  replay(id: string): number | null {
    const letter = this.#file.dead.get(id)
    if (letter === undefined || letter.purged) return null
    this.#file.dead.remove(id)
    const { text, file, seq } = letter
    this.#file.start.put(id, { text, file, seq, ...UNSTARTED })
    return text.length
  }

  purge(id: string): number | null {
    const letter = this.#file.dead.get(id)
    if (letter === undefined || letter.purged) return null
    this.#file.dead.put(id, { ...letter, text: '', purged: true })
    return letter.text.length
  }

  removeOld(): boolean {
    return false
  }

  close(): void {
    this.#closed = true
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the home was closed'))
  }

  /** At once and durable: it opens the file in one blocking transaction. */
  #adoptStarts(): number {
    const { start, dead, journal } = this.#file
    const open = [...start].filter((entry) => entry[1].open)
    if (open.length === 0 || this.#bugs.forgetsOpenStarts) return 0
    if (this.#disk.full) throw new DiskError('database or disk is full', FULL)
    const deadAt = this.#process.clock.now()
    for (const [id, { text, file, seq, ...attempts }] of open) {
      const known = adopted(attempts, Number.POSITIVE_INFINITY)
      const letter = killerLetter(known)
      if (letter === undefined) start.put(id, { text, file, seq, ...known })
      else {
        dead.put(id, { id, text, file, seq, ...letter, deadAt, purged: false })
        start.remove(id)
      }
    }
    journal.synced()
    return open.length
  }

  #flush(): void {
    const waiting = this.#waiting.splice(0)
    if (waiting.length === 0 || this.#closed) return
    this.#disk.commit(
      this.#process,
      this.#file.journal,
      () => {
        for (const { write } of waiting) write()
      },
      (error) => {
        for (const { resolve, reject } of waiting) error === undefined ? resolve() : reject(error)
      },
      !this.#bugs.answersUnsynced && waiting.some(({ isDurable }) => isDurable),
    )
  }
}
