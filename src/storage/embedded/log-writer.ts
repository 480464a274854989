/**
 * Writes a logging actor's part of the log: the only process that does. Batches that arrive together become one
 * transaction, so one fdatasync; each is acknowledged only after it. When a segment is full or old enough, a
 * new one is begun.
 *
 * After a commit whose fate is unknown (a failed fsync) nothing is tried again: a second fsync would report
 * success for data that is gone. The process ends, and its successor recovers what is there.
 */

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Cancel, Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import { DISK_PROBE_MS, KEY_WINDOW_MS } from '../../runtime/timings.ts'
import { batchKeyOf, idAt, timeOf } from '../ids.ts'
import type { IdempotencyKey, LaneBatch, Receipt } from '../ports.ts'
import { type Lock, takeLock } from './lock-file.ts'
import { listLogs } from './log-files.ts'
import { LOG_SCHEMA } from './log-reader.ts'
import {
  checksumOf,
  closeWritten,
  createFile,
  faultOf,
  openToRead,
  openToWrite,
  setAside,
  transact,
} from './sqlite.ts'

const SEGMENT_BYTES = 256 * 1024 * 1024
const ROW_BYTES = 150

/** What a writer needs. */
export interface LogWriterOptions {
  data: string
  /** Number of the logging actor. */
  writer: number
  clock: Clock
  logger: Logger
  /** A segment is ended when its first row is this old. */
  segmentAgeMs: number
  /** A segment is ended when it is about this large. Default 256 MiB. */
  segmentBytes?: number | undefined
  /** Called when it cannot go on: the process must end. */
  onBroken: (error: unknown) => void
}

interface Waiting extends PromiseWithResolvers<Receipt[]> {
  batch: LaneBatch
}

/** One open segment. */
interface Segment {
  name: string
  database: DatabaseSync
  insert: StatementSync
  findKey: StatementSync
  dropKey: StatementSync
  idsOf: StatementSync
  bytes: number
  firstAt: number | null
}

/** The writer of `log-<n>.<k>.db`. */
export class LogWriter {
  readonly #options: LogWriterOptions
  readonly #lock: Lock
  #segment: Segment
  #waiting: Waiting[] = []
  #full = false
  #broken = false
  #cancelProbe: Cancel = () => {}

  /** @throws {MailroomError} `MR_DATA_LOCKED` while another process writes this actor's files. */
  constructor(options: LogWriterOptions) {
    this.#options = options
    const path = join(options.data, `log-${options.writer}.lock`)
    const lock = takeLock(path)
    if (lock === undefined) throw new MailroomError('MR_DATA_LOCKED', { path, holder: 'another process' })
    this.#lock = lock
    this.#segment = this.#openLast()
  }

  /** The name of the segment being written. */
  get current(): string {
    return this.#segment.name
  }

  /** What keeps it from writing, in words for people. */
  missing(): string[] {
    return this.#full ? ['room on the disk'] : []
  }

  /** Appends a batch, as `Log.append` promises. */
  append(batch: LaneBatch): Promise<Receipt[]> {
    const waiting = { batch, ...Promise.withResolvers<Receipt[]>() }
    this.#waiting.push(waiting)
    if (this.#waiting.length === 1) this.#options.clock.soon(() => this.#commit())
    return waiting.promise
  }

  /** Begins a new segment when the current one has rows and is large or old enough. */
  rotate(): void {
    const { bytes, firstAt } = this.#segment
    const { segmentBytes = SEGMENT_BYTES, segmentAgeMs, clock } = this.#options
    if (firstAt === null || (bytes < segmentBytes && clock.now() - firstAt < segmentAgeMs)) return
    const next = this.#create()
    closeWritten(this.#segment.database)
    this.#segment = next
  }

  close(): void {
    this.#cancelProbe()
    if (this.#broken) this.#segment.database.close()
    else closeWritten(this.#segment.database)
    this.#lock.release()
  }

  /** One transaction for all that wait; a batch that must be refused does not spoil its mates. */
  #commit(): void {
    const batches = this.#waiting
    this.#waiting = []
    const settled: (() => void)[] = []
    try {
      if (this.#broken) throw new Error('an earlier write failed')
      this.rotate()
      transact(this.#segment.database, () => {
        for (const waiting of batches) {
          const settle = this.#write(waiting)
          settled.push(settle)
        }
      })
    } catch (error) {
      this.#failed(error, batches)
      return
    }
    this.#full = false
    for (const settle of settled) settle()
  }

  /** Writes one batch into the open transaction. @returns How to settle it once that is durable. */
  #write({ batch, resolve, reject }: Waiting): () => void {
    const { clock } = this.#options
    const { messages, key, lane, deadlineAt } = batch
    if (clock.now() > deadlineAt) {
      const facts = {
        what: 'Appending to the log',
        deadlineMs: Math.max(0, deadlineAt - timeOf(messages[0]!.id)),
      }
      const error = new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: 'none' })
      return () => reject(error)
    }
    if (key !== undefined) {
      const known = this.#receiptsOf(key, messages[0]!.id)
      if (known instanceof MailroomError) return () => reject(known)
      if (known !== undefined) return () => resolve(known)
      this.#segment.dropKey.run(key.value)
    }
    for (const [index, { id, text }] of messages.entries()) {
      const [keyValue, hash] = index === 0 && key !== undefined ? [key.value, key.hash] : [null, null]
      this.#segment.insert.run(id, keyValue, hash, lane, checksumOf(id, text), text)
      this.#segment.bytes += text.length + ROW_BYTES
    }
    this.#segment.firstAt ??= clock.now()
    return () => resolve(messages.map(({ id }) => ({ id, replayed: false })))
  }

  /** What a key seen in the last 24 hours was answered with; undefined for a new one. */
  #receiptsOf(key: IdempotencyKey, firstId: string): Receipt[] | MailroomError | undefined {
    const found = this.#findKey(key.value)
    if (found === undefined) return undefined
    if (found.hash !== key.hash) return new MailroomError('MR_KEY_REUSED', { key: key.value })
    // The very same batch, tried again by the facade, is no replay.
    return found.ids.map((id) => ({ id, replayed: found.ids[0] !== firstId }))
  }

  #findKey(key: string): { hash: string; ids: string[] } | undefined {
    const oldest = idAt(this.#options.clock.now() - KEY_WINDOW_MS)
    const find = ({ findKey, idsOf }: Pick<Segment, 'findKey' | 'idsOf'>) => {
      const row = findKey.get(key, oldest) as { id: string; hash: string } | undefined
      if (row === undefined) return undefined
      const batchKey = batchKeyOf(row.id)
      const ids = idsOf.all(batchKey, `${batchKey.slice(0, -2)}ZZ`).map((found) => found['id'] as string)
      return { hash: row.hash, ids }
    }
    const here = find(this.#segment)
    if (here !== undefined) return here
    for (const name of this.#segmentNames()) {
      if (name === this.#segment.name) continue
      const there = this.#findIn(name, find)
      if (there !== undefined) return there
    }
    return undefined
  }

  /** Looks into an older segment. One that is damaged is told by its readers, and no reason to refuse. */
  #findIn<T>(name: string, find: (statements: Pick<Segment, 'findKey' | 'idsOf'>) => T): T | undefined {
    try {
      return openToRead(join(this.#options.data, name), ({ database }) => {
        const found = find(keyStatements(database))
        database.close()
        return found
      })
    } catch (error) {
      if (faultOf(error) === 'damaged') return undefined
      throw error
    }
  }

  #failed(error: unknown, batches: readonly Waiting[]): void {
    const fault = faultOf(error)
    const reason = fault === 'full' ? 'the disk is full' : (error as Error).message
    const outcome = fault === 'full' ? 'none' : 'unknown'
    const facts = { store: 'log', reason }
    for (const { reject } of batches) {
      reject(new MailroomError('MR_STORE_UNAVAILABLE', facts, { outcome, cause: error }))
    }
    if (fault === 'full') {
      this.#waitForRoom()
      return
    }
    this.#broken = true
    if (fault === 'damaged') setAside(join(this.#options.data, this.#segment.name), this.#options.clock.now())
    this.#options.onBroken(error)
  }

  /** Finds out by itself that there is room again: nobody may ask while it says that there is none. */
  #waitForRoom(): void {
    if (!this.#full) this.#options.logger.error('the disk is full')
    this.#full = true
    this.#cancelProbe()
    this.#cancelProbe = this.#options.clock.after(
      DISK_PROBE_MS,
      () => {
        try {
          transact(this.#segment.database, () =>
            this.#segment.database.exec('UPDATE meta SET version = version'),
          )
          this.#full = false
          this.#options.logger.info('there is room on the disk again')
        } catch (error) {
          this.#failed(error, [])
        }
      },
      { unref: true },
    )
  }

  #segmentNames(): string[] {
    return listLogs(this.#options.data)
      .filter(({ writer }) => writer === this.#options.writer)
      .map(({ name }) => name)
  }

  #openLast(): Segment {
    const name = this.#segmentNames().at(-1)
    if (name === undefined) return this.#create()
    try {
      return this.#open(name)
    } catch (error) {
      if (faultOf(error) !== 'damaged') throw error
      const aside = setAside(join(this.#options.data, name), this.#options.clock.now())
      this.#options.logger.error({ aside }, 'a damaged log file has been set aside')
      return this.#create()
    }
  }

  /** Begins a segment under a name that was never used: who read the old file of a name would go on doing so. */
  #create(): Segment {
    const own = new RegExp(`^log-${this.#options.writer}\\.(\\d+)\\.db`)
    const used = readdirSync(this.#options.data).map((name) => Number(own.exec(name)?.[1] ?? 0))
    const name = `log-${this.#options.writer}.${Math.max(0, ...used) + 1}.db`
    createFile(join(this.#options.data, name), LOG_SCHEMA)
    return this.#open(name)
  }

  #open(name: string): Segment {
    const path = join(this.#options.data, name)
    return openToWrite(path, ({ database }) => {
      const first = database.prepare('SELECT id FROM log ORDER BY seq LIMIT 1').get()?.['id']
      return {
        name,
        database,
        insert: database.prepare(
          'INSERT INTO log(id, key, hash, lane, crc, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO NOTHING',
        ),
        dropKey: database.prepare('UPDATE log SET key = NULL WHERE key = ?'),
        ...keyStatements(database),
        bytes: statSync(path).size,
        firstAt: typeof first === 'string' ? timeOf(first) : null,
      }
    })
  }
}

function keyStatements(database: DatabaseSync): Pick<Segment, 'findKey' | 'idsOf'> {
  return {
    findKey: database.prepare('SELECT id, hash FROM log WHERE key = ? AND id > ?'),
    idsOf: database.prepare('SELECT id FROM log WHERE id > ? AND id <= ? ORDER BY id'),
  }
}
