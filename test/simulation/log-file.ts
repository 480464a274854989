/** A simulated log file of the embedded backend, its writer, and what its readers see of it. */
import { MailroomError } from '../../src/runtime/errors.ts'
import { POST_DEADLINE_MS } from '../../src/runtime/timings.ts'
import type { LaneRow, LoggedMessage, RowHead } from '../../src/storage/embedded/log-reader.ts'
import { byId } from '../../src/storage/ids.ts'
import { type LaneBatch, type Message, type Receipt, textBytesOf } from '../../src/storage/ports.ts'
import { type Disk, type DiskError, FULL, type Journal, Table } from './disk.ts'
import type { SimProcess } from './process.ts'

interface Row extends LaneRow {
  lane: number
}

interface Kept {
  hash: string
  ids: string[]
}

interface Waiting extends PromiseWithResolvers<Receipt[]> {
  batch: LaneBatch
}

/** One file. Readers see what is committed. */
export class SimLogFile {
  /** Its own random id. */
  readonly file: string
  readonly journal: Journal
  readonly keys: Table<string, Kept>
  readonly #rows: Row[] = []
  #version = 0
  readonly #ids: Table<string, Row>
  #committed = 0

  constructor(file: string, journal: Journal) {
    this.file = file
    this.journal = journal
    this.keys = new Table(journal)
    this.#ids = new Table(journal)
  }

  /** Within a transaction: a row. */
  insert(lane: number, messages: readonly Message[]): void {
    if (this.#ids.has(messages[0]!.id)) return
    const own = messages.map(({ id, text }) => ({ id, text, lane, damaged: false }))
    const bytes = textBytesOf(own)
    const row: Row = { seq: this.#rows.length + 1, count: own.length, bytes, messages: own, lane }
    this.#rows.push(row)
    this.journal.note(() => {
      this.#rows.pop()
      this.#version++
      this.#committed = Math.min(this.#committed, this.#rows.length)
    })
    for (const { id } of own) this.#ids.put(id, row)
  }

  /** What has been written is there for readers. */
  commit(): void {
    this.#committed = this.#rows.length
    this.#version++
  }

  messages(): LoggedMessage[] {
    return this.#rows.slice(0, this.#committed).flatMap(({ messages }) => messages)
  }

  between(
    after: string,
    before: string,
    order: 'ascending' | 'descending',
    { limit, until }: { limit: number; until?: string | undefined },
  ): LoggedMessage[] {
    const isAscending = order === 'ascending'
    const inside = this.messages()
      .filter(({ id }) => id > after && id < before)
      .filter(({ id }) => until === undefined || (isAscending ? id < until : id > until))
      .sort(byId)
    return (isAscending ? inside : inside.reverse()).slice(0, limit)
  }

  firstOf(after: string, before: string, order: 'ascending' | 'descending'): string | undefined {
    return this.between(after, before, order, { limit: 1 })[0]?.id
  }

  rowBefore(after: string): number {
    const first = this.#rows.findIndex(({ messages }) => messages.some(({ id }) => id > after))
    return first === -1 || first >= this.#committed ? this.#committed : first
  }

  after(
    row: number,
    { limit }: { limit: number },
  ): { messages: LoggedMessage[]; last: number; bytes: number; isEnd: boolean } {
    const part = { messages: [] as LoggedMessage[], last: row, bytes: 0, isEnd: true }
    for (const { messages } of this.#rows.slice(row, this.#committed)) {
      if (part.messages.length >= limit) return { ...part, isEnd: false }
      part.messages.push(...messages)
      part.last++
    }
    return part
  }

  get(id: string): LoggedMessage | undefined {
    const row = this.#ids.get(id)
    return row !== undefined && row.seq <= this.#committed
      ? row.messages.find((message) => message.id === id)
      : undefined
  }

  textsAt(seq: number): Map<string, string> {
    const { messages = [] } = seq <= this.#committed ? (this.#rows[seq - 1] ?? {}) : {}
    return new Map(messages.map(({ id, text }) => [id, text]))
  }

  textsOf(id: string): Map<string, string> {
    return this.textsAt(this.#ids.get(id)?.seq ?? 0)
  }

  get isEnded(): boolean {
    return false
  }

  /** Grows with each commit. */
  version(): number {
    return this.#version
  }

  ofLane(lane: number, afterSeq: number, limit: number): Row[] {
    const found: Row[] = []
    for (let index = afterSeq; index < this.#committed && found.length < limit; index++) {
      const row = this.#rows[index]!
      if (row.lane === lane) found.push(row)
    }
    return found
  }

  headsOf(lane: number, afterSeq: number, limit: number): RowHead[] {
    return this.ofLane(lane, afterSeq, limit).map(({ seq, count, bytes, messages }) => ({
      ...{ seq, count, bytes },
      id: messages[0]!.id,
    }))
  }

  sizesOf(lane: number, afterSeq: number, limit: number): number[] {
    return this.ofLane(lane, afterSeq, limit).map(({ bytes }) => bytes)
  }

  countOf(lane: number, afterSeq: number): { count: number; last: number } {
    const rows = this.ofLane(lane, afterSeq, Number.POSITIVE_INFINITY)
    return { count: rows.reduce((sum, { count }) => sum + count, 0), last: rows.at(-1)?.seq ?? afterSeq }
  }

  nextOf(lane: number, afterSeq: number): string | undefined {
    return this.ofLane(lane, afterSeq, 1)[0]?.messages[0]?.id
  }
}

/** How a planted bug makes a writer go wrong. */
export interface WriterBugs {
  /** It acknowledges before it has written. */
  acknowledgesFirst?: boolean
  /** It does not know keys. */
  forgetsKeys?: boolean
  /** A full disk is reported as success. */
  swallowsFull?: boolean
}

/** The one writer of a file: by the rules of `embedded/log-writer.ts`, one transaction for all that wait. */
export class SimLogWriter {
  readonly #file: SimLogFile
  readonly #disk: Disk
  readonly #process: SimProcess
  readonly #onBroken: (error: unknown) => void
  readonly #bugs: WriterBugs
  #waiting: Waiting[] = []
  #broken = false

  constructor(
    file: SimLogFile,
    disk: Disk,
    process: SimProcess,
    { onBroken, bugs }: { onBroken: (error: unknown) => void; bugs: WriterBugs },
  ) {
    this.#file = file
    this.#disk = disk
    this.#process = process
    this.#onBroken = onBroken
    this.#bugs = bugs
    // What a predecessor wrote whole is recovered.
    disk.open(file.journal)
    file.commit()
  }

  append(batch: LaneBatch): Promise<Receipt[]> {
    const waiting = { batch, ...Promise.withResolvers<Receipt[]>() }
    this.#waiting.push(waiting)
    if (this.#waiting.length === 1) this.#process.clock.soon(() => this.#commit())
    return waiting.promise
  }

  #commit(): void {
    const batches = this.#waiting
    this.#waiting = []
    const settle: (() => void)[] = []
    const fail = (reason: string, outcome: 'none' | 'unknown') => {
      for (const { reject } of batches)
        reject(new MailroomError('MR_STORE_UNAVAILABLE', { store: 'log', reason }, { outcome }))
    }
    if (this.#broken) {
      fail('an earlier write failed', 'unknown')
      return
    }
    if (this.#bugs.acknowledgesFirst) {
      for (const { batch, resolve } of batches)
        resolve(batch.messages.map(({ id }) => ({ id, replayed: false })))
    }
    this.#disk.commit(
      this.#process,
      this.#file.journal,
      () => {
        for (const waiting of batches) settle.push(this.#write(waiting))
      },
      (error?: DiskError) => {
        if (error === undefined) {
          this.#file.commit()
          for (const each of settle) each()
        } else if (error.errcode === FULL && this.#bugs.swallowsFull) {
          for (const { batch, resolve } of batches)
            resolve(batch.messages.map(({ id }) => ({ id, replayed: false })))
        } else if (error.errcode === FULL) {
          fail('the disk is full', 'none')
        } else {
          this.#broken = true
          fail(error.message, 'unknown')
          this.#onBroken(error)
        }
      },
    )
  }

  #write({ batch, resolve, reject }: Waiting): () => void {
    const { messages, key, lane, deadlineAt } = batch
    if (this.#process.clock.monotonic() > deadlineAt) {
      const facts = { what: 'Appending to the log', deadlineMs: POST_DEADLINE_MS }
      return () => reject(new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: 'none' }))
    }
    const ids = messages.map(({ id }) => id)
    const kept = key && !this.#bugs.forgetsKeys && this.#file.keys.get(key.value)
    if (kept) {
      if (kept.hash !== key.hash) return () => reject(new MailroomError('MR_KEY_REUSED', { key: key.value }))
      return () => resolve(kept.ids.map((id) => ({ id, replayed: kept.ids[0] !== ids[0] })))
    }
    if (key !== undefined) this.#file.keys.put(key.value, { hash: key.hash, ids })
    // Now and then a batch is more than one row holds.
    const middle = messages.length > 2 ? Math.ceil(messages.length / 2) : messages.length
    for (const row of [messages.slice(0, middle), messages.slice(middle)])
      if (row.length > 0) this.#file.insert(lane, row)
    return () => resolve(ids.map((id) => ({ id, replayed: false })))
  }
}
