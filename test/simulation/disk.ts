/**
 * A simulated disk with the files of the embedded backend: a log file a logging actor, a home a lane. What a
 * transaction wrote is durable only after its fdatasync, or a later one of the same file; a power loss takes the rest,
 * always the last transactions of a file. A process that dies in a transaction leaves it whole or not at all.
 */
import { SimulatedFault } from './node.ts'
import type { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'

const SYNC_MS = 2
/** What SQLite says when there is no room. */
export const FULL = 13
const IO_ERROR = 10

/** An error as SQLite throws it. */
export class DiskError extends SimulatedFault {
  readonly code = 'ERR_SQLITE_ERROR'
  readonly errcode: number

  constructor(message: string, errcode: number) {
    super(message)
    this.errcode = errcode
  }
}

/** What a file's changes since its last fdatasync were, so that they can be undone. */
export class Journal {
  readonly #undo: (() => void)[] = []
  #durable = 0

  note(undo: () => void): void {
    this.#undo.push(undo)
  }

  /** All changes so far, of which the first `durable` outlive a power loss. */
  get length(): number {
    return this.#durable + this.#undo.length
  }

  get durable(): number {
    return this.#durable
  }

  /** The first `length` changes are durable. */
  synced(length = this.length): void {
    this.#durable += this.#undo.splice(0, Math.max(0, length - this.#durable)).length
  }

  /** Undoes all changes after the first `length`. */
  revert(length = this.#durable): void {
    for (const undo of this.#undo.splice(Math.max(0, length - this.#durable)).reverse()) undo()
  }
}

/** A map whose changes can be undone. */
export class Table<K, V> extends Map<K, V> {
  readonly #journal: Journal

  constructor(journal: Journal) {
    super()
    this.#journal = journal
  }

  put(key: K, value: V): void {
    this.#remember(key)
    this.set(key, value)
  }

  remove(key: K): boolean {
    this.#remember(key)
    return this.delete(key)
  }

  #remember(key: K): void {
    const [had, before] = [this.has(key), this.get(key)]
    this.#journal.note(() => {
      if (had) this.set(key, before!)
      else this.delete(key)
    })
  }
}

/** How a planted bug makes the disk lie. */
export interface DiskBugs {
  /** The log is not synced. */
  logWithoutSync?: boolean
  /** After a failed fdatasync it is tried again, and reported as done. */
  retriesFailedSync?: boolean
  /** What a killed writer left is taken for durable. */
  opensWithoutSync?: boolean
}

/** One disk, of one machine. */
export class Disk {
  full = false
  /** So many of the next calls of fdatasync fail. */
  failingSyncs = 0
  /** Told of each that did. */
  onFailedSync: () => void = () => {}
  /** Transactions that found no room. */
  refusedCount = 0
  /** Transactions under way. */
  writing = 0
  readonly #rng: Rng
  readonly #bugs: DiskBugs
  readonly #journals = new Map<Journal, 'log' | 'home'>()
  readonly #locks = new Map<string, SimProcess>()

  constructor(rng: Rng, bugs: DiskBugs) {
    this.#rng = rng
    this.#bugs = bugs
  }

  journal(kind: 'log' | 'home'): Journal {
    const journal = new Journal()
    this.#journals.set(journal, kind)
    return journal
  }

  /** Takes a lock for the life of a process. @returns How to release it; undefined when another has it. */
  lock(path: string, process: SimProcess): (() => void) | undefined {
    const holder = this.#locks.get(path)
    if (holder?.alive) return undefined
    this.#locks.set(path, process)
    return () => {
      if (this.#locks.get(path) === process) this.#locks.delete(path)
    }
  }

  /**
   * One transaction, during which the process stands still. `end` hears of its error.
   *
   * @param isDurable False: without fdatasync.
   */
  commit(
    process: SimProcess,
    journal: Journal,
    write: () => void,
    end: (error?: DiskError) => void,
    isDurable = true,
  ): void {
    if (!process.leaves()) return
    if (this.full) {
      this.refusedCount++
      end(new DiskError('database or disk is full', FULL))
      return
    }
    const before = journal.length
    write()
    // Killed, its transaction is not there, or there and durable, or there and not durable: until it is opened again.
    const cut = () => {
      const fate = this.#rng.below(3)
      if (fate === 0) journal.revert(before)
      else if (fate === 1) this.#sync(journal)
    }
    if (!process.alive) {
      cut()
      return
    }
    this.writing++
    process.inFlight++
    const forget = process.onDeath(() => {
      this.writing--
      cut()
    })
    process.block(this.#rng.between(0.1, SYNC_MS), () => {
      forget()
      this.writing--
      process.inFlight--
      if (isDurable) this.#syncOrFail(process, journal, journal.length, before, end)
      else end()
    })
  }

  /** An fdatasync while the process goes on: what was written by now is durable when it ends. */
  sync(process: SimProcess, journal: Journal, end: (error?: DiskError) => void): void {
    if (!process.leaves()) return
    const { length, durable } = journal
    process.clock.after(this.#rng.between(0.1, SYNC_MS), () =>
      this.#syncOrFail(process, journal, length, durable, end),
    )
  }

  /** @param from What may be lost when it fails: the changes after these. */
  #syncOrFail(
    process: SimProcess,
    journal: Journal,
    length: number,
    from: number,
    end: (error?: DiskError) => void,
  ): void {
    if (this.failingSyncs === 0) {
      this.#sync(journal, length)
      end()
      return
    }
    this.failingSyncs--
    process.scheduler.note(`${process.name}: fdatasync fails`)
    this.onFailedSync()
    // A second one reports success, and the data stays where it was: nowhere but in memory.
    if (this.#bugs.retriesFailedSync) {
      end()
      return
    }
    if (this.#rng.chance(0.5)) journal.synced()
    else journal.revert(from)
    end(new DiskError('disk I/O error', IO_ERROR))
  }

  /** A file is opened: what a killed writer left in it becomes durable before anybody sees it. */
  open(journal: Journal): void {
    if (!this.#bugs.opensWithoutSync) this.#sync(journal)
  }

  /** To be called when all processes of the machine are dead. */
  losePower(): void {
    for (const journal of this.#journals.keys()) journal.revert()
  }

  #sync(journal: Journal, length = journal.length): void {
    if (this.#journals.get(journal) !== 'log' || !this.#bugs.logWithoutSync) journal.synced(length)
  }
}
