/**
 * A journal's directory: the files of the embedded log. A process writes under the first number whose lock is free, and
 * reads the files of all numbers.
 */
import { randomUUID } from 'node:crypto'
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../runtime/clock.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { Epochs } from '../../runtime/losses.ts'
import { DISK_PROBE_MS, HOME_SYNC_MS, HOUSEKEEPING_MS } from '../../runtime/timings.ts'
import { Damage } from '../embedded/damage.ts'
import { DirectoryVersion, isFull, PRIVATE, whyUnwritable } from '../embedded/guard.ts'
import { takeLock } from '../embedded/lock-file.ts'
import { EmbeddedLog } from '../embedded/log.ts'
import { LogFiles } from '../embedded/log-files.ts'
import { LogWriter, type LogWriterOptions } from '../embedded/log-writer.ts'
import { Reserve, spendReserve } from '../embedded/reserve.ts'
import { removeOldSegments } from '../embedded/retention.ts'
import type { Journal } from '../journal.ts'
import { headroomBytes } from '../limits.ts'
import { Neighbours } from './neighbours.ts'

/** The rows of a journal go in whole segments: of this part of the retention each. */
const SEGMENTS_PER_RETENTION = 8
const NAME = 'journal.json'
/** The number of the writer that keeps the reserve. */
const RESERVE_KEEPER = 1

/** What a journal needs. */
export interface JournalOptions {
  /** Path of its directory, which is made when it is not there. */
  data: string
  laneCount: number
  retentionMs: number
  /** `--max-message`: so much more must be free on the disk. */
  maxMessageBytes: number
  clock: Clock
  logger: Logger
  /** As `Journal.beganIn`, if it is begun now. */
  epochs: () => Epochs
  /** Called when it cannot be written any more by this process, which must end. */
  onBroken: (error: unknown) => void
}

/** @throws {MailroomError} `MR_CONFIG_INVALID` when the directory cannot be used. */
export function openJournal(options: JournalOptions): Journal {
  const { data, laneCount, retentionMs, clock, logger } = options
  const description = new Description(data, options.epochs, clock, logger)
  const neighbours = new Neighbours(data, retentionMs, clock, logger)
  const directoryVersion = new DirectoryVersion(data, clock)
  const damage = new Damage(data, directoryVersion, logger)
  const files = new LogFiles({ data, clock, retentionMs, directoryVersion, damage })
  const headroom = headroomBytes(options.maxMessageBytes)
  const segmentAgeMs = retentionMs / SEGMENTS_PER_RETENTION
  const { writer, number } = firstFree({ ...options, segmentAgeMs, headroom, keyRetentionMs: null })
  const log = new EmbeddedLog({ files, writer, clock, retentionMs })
  let lastProblem = ''
  const tryTo = async (step: () => unknown) => {
    try {
      await step()
      lastProblem = ''
    } catch (error) {
      const { message } = error as Error
      if (message !== lastProblem) logger.warn({ err: error }, 'housekeeping of the journal failed')
      lastProblem = message
    }
  }
  const removeOld = () => {
    const current = writer.current
    removeOldSegments({ data, laneCount: 0, retentionMs, clock, logger, writer: number, current })
  }
  const keepHouse = () =>
    tryTo(() => {
      removeOld()
      writer.checkpoint()
      writer.rotate()
    })
  /** On a nearly full disk room is made at once. */
  const makeRoom = () => {
    if (!isFull(data, headroom)) return
    spendReserve(data)
    removeOld()
    writer.checkpoint()
  }
  const reserve = number === RESERVE_KEEPER ? new Reserve(data, headroom, clock) : undefined
  let keeping = Promise.resolve()
  const timers = [
    clock.every(HOUSEKEEPING_MS, () => void keepHouse()),
    clock.every(HOME_SYNC_MS, () => void writer.sync()),
    clock.every(DISK_PROBE_MS, () => {
      void tryTo(() => {
        writer.watch()
        files.watch()
        makeRoom()
      })
      keeping = keeping.then(() => tryTo(() => reserve?.keep()))
    }),
  ]
  let closed = false
  return {
    id: description.id,
    get beganAt() {
      return description.begun().beganAt
    },
    get beganIn() {
      return description.begun().beganIn
    },
    async append(batch, isDurable) {
      description.begin()
      try {
        await writer.append(batch, isDurable)
      } catch (error) {
        if (!isMailroomError(error, 'MR_STORE_UNAVAILABLE')) throw error
        const { details, outcome } = error
        const facts = { ...details, store: 'journal' }
        throw new MailroomError('MR_STORE_UNAVAILABLE', facts, { outcome, cause: error })
      }
    },
    page: (range) => log.page(range),
    count() {
      let count = 0
      for (const name of files.names())
        for (let lane = 0; lane < laneCount; lane++)
          count += files.read(name, (reader) => reader.countOf(lane, 0).count) ?? 0
      return count
    },
    async alone(work) {
      const lock = takeLock(join(data, 'restore.lock'))
      if (lock === undefined) return false
      try {
        await work()
      } finally {
        lock.release()
      }
      return true
    },
    others: () => neighbours.all(),
    seen: (journals) => neighbours.seen(journals),
    missing: () => writer.missing().map((reason) => `the journal cannot be written: ${reason}`),
    damaged: () => damage.all().map((what) => `journal: ${what}`),
    close() {
      if (closed) return
      closed = true
      for (const cancel of timers) cancel()
      writer.close()
      files.close()
    },
  }
}

/** A writer under the first number that no process has. */
function firstFree(options: Omit<LogWriterOptions, 'writer'>): { writer: LogWriter; number: number } {
  for (let number = 1; ; number++) {
    try {
      return { writer: new LogWriter({ ...options, writer: number }), number }
    } catch (error) {
      if (!isMailroomError(error, 'MR_DATA_LOCKED')) throw error
    }
  }
}

/** Which directory it is, and when the first was written into it: `journal.json`, of all its processes. */
class Description {
  readonly id: string
  readonly #path: string
  readonly #epochs: () => Epochs
  readonly #clock: Clock
  #begun: Begun
  #readAt: number

  /** @throws {MailroomError} `MR_CONFIG_INVALID` when the directory cannot be made, or used. */
  constructor(data: string, epochs: () => Epochs, clock: Clock, logger: Logger) {
    this.#path = join(data, NAME)
    this.#epochs = epochs
    this.#clock = clock
    this.#readAt = clock.monotonic()
    try {
      mkdirSync(data, { recursive: true, mode: PRIVATE.directory })
      const own = { id: randomUUID(), ...NOT_BEGUN }
      let found = existsSync(this.#path) ? this.#read() : this.#create(own)
      if (found === undefined) {
        // Which it was does not matter: all of it is put back once more. When it began is not known: all may be of it.
        logger.error({ path: this.#path }, 'the description of a journal is damaged, and is made anew')
        found = { ...own, beganAt: 0 }
        this.#replace(found)
      }
      this.id = found.id
      const { id: _, ...begun } = found
      this.#begun = begun
    } catch (error) {
      const { message } = error as Error
      const problem = `Expected \`--data\` to be a directory that can be written, or \`--journal off\`, got ${message}`
      throw new MailroomError('MR_CONFIG_INVALID', { problems: [problem] }, { cause: error })
    }
  }

  /** `beganAt` null: nothing was written, as far as is known; another process may have begun a second ago. */
  begun(): Begun {
    const isNone = this.#begun.beganAt === null
    if (isNone) this.#epochs() // Whom it knows early, it has met first.
    if (isNone && this.#clock.monotonic() >= this.#readAt + DISK_PROBE_MS) this.#look()
    return this.#begun
  }

  /** Something is about to be written. @throws {MailroomError} `MR_STORE_UNAVAILABLE` (none) */
  begin(): void {
    if (this.#begun.beganAt !== null) return
    try {
      this.#look()
      if (this.#begun.beganAt !== null) return
      this.#begun = { beganAt: this.#clock.now(), beganIn: this.#epochs() }
      this.#replace({ id: this.id, ...this.#begun })
    } catch (error) {
      this.#begun = NOT_BEGUN
      const facts = { store: 'journal', reason: whyUnwritable(this.#path, error) }
      throw new MailroomError('MR_STORE_UNAVAILABLE', facts, { cause: error })
    }
  }

  #look(): void {
    this.#readAt = this.#clock.monotonic()
    const { beganAt, beganIn } = this.#read() ?? NOT_BEGUN
    this.#begun = { beganAt, beganIn }
  }

  /** Undefined when it is damaged. */
  #read(): Described | undefined {
    try {
      const found = JSON.parse(readFileSync(this.#path, 'utf8')) as Partial<Described>
      const { id, beganAt, beganIn = {} } = found
      const isWhole = typeof id === 'string' && (beganAt === null || typeof beganAt === 'number')
      return isWhole ? { id, beganAt, beganIn } : undefined
    } catch {
      return undefined
    }
  }

  /** Unless another process did. @returns What stands there. */
  #create(described: Described): Described | undefined {
    const unfinished = this.#write(described)
    try {
      linkSync(unfinished, this.#path)
      return described
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      return this.#read()
    } finally {
      rmSync(unfinished)
    }
  }

  #replace(described: Described): void {
    renameSync(this.#write(described), this.#path)
  }

  /** Durably. @returns The path, which is its own. */
  #write(described: Described): string {
    const path = `${this.#path}.${randomUUID()}.new`
    writeFileSync(path, `${JSON.stringify(described)}\n`, { flush: true, mode: PRIVATE.file })
    return path
  }
}

type Begun = Pick<Journal, 'beganAt' | 'beganIn'>
type Described = Pick<Journal, 'id'> & Begun

const NOT_BEGUN: Begun = { beganAt: null, beganIn: {} }
