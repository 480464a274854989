/** The files of the log, all writers': listed on every read, opened once. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { FILES_CHECK_MS } from '../../runtime/timings.ts'
import { idAt } from '../ids.ts'
import type { Damage } from './damage.ts'
import { type DirectoryVersion, Guard, identityOf } from './guard.ts'
import { type LoggedMessage, LogReader } from './log-reader.ts'
import type { EmbeddedOptions } from './options.ts'
import type { RowName } from './row.ts'
import { faultOf, isBeingWritten, isUnavailable } from './sqlite.ts'

const LOG_NAME = /^log-(\d+)\.(\d+)\.db$/
/** The name of a file of the log. */
export interface LogName {
  name: string
  /** Number of the logging actor that writes it. */
  writer: number
  /** Number of the file among its writer's, ascending in time. */
  segment: number
}

/** The log files in a directory, oldest first for each writer. */
export function listLogs(directory: string): LogName[] {
  return readdirSync(directory)
    .flatMap((name) => {
      const match = LOG_NAME.exec(name)
      return match === null ? [] : [{ name, writer: Number(match[1]), segment: Number(match[2]) }]
    })
    .sort((a, b) => a.writer - b.writer || a.segment - b.segment)
}

interface LogFilesOptions extends Pick<EmbeddedOptions, 'data' | 'dataIdentity' | 'clock' | 'retentionMs'> {
  directoryVersion: DirectoryVersion
  damage: Damage
}

/** Open readers of all files of the log. */
export class LogFiles {
  readonly #options: LogFilesOptions
  readonly #directory: Guard
  readonly #readers = new Map<string, LogReader>()
  /** The names as of a version of the directory. */
  #listed: { version: number; names: readonly string[] } = { version: 0, names: [] }
  #version = ''
  #versionEndsAt = 0

  constructor(options: LogFilesOptions) {
    this.#options = options
    this.#directory = new Guard([[options.data, options.dataIdentity ?? identityOf(options.data)]])
  }

  /** Names of the files there are now. @throws {MailroomError} `MR_STORE_UNAVAILABLE` when they cannot be listed. */
  names(): readonly string[] {
    try {
      this.#directory.check()
    } catch (error) {
      throw unreadable((error as Error).message, error)
    }
    const version = this.#options.directoryVersion.read()
    if (version === this.#listed.version) return this.#listed.names
    const names = this.#listNames()
    this.#listed = { version, names }
    const known = new Set(names)
    for (const [name, reader] of this.#readers) if (!known.has(name)) this.#forget(name, reader)
    return names
  }

  /**
   * Another text once a file has changed, for polls: at most `FILES_CHECK_MS` old.
   *
   * @throws As `names` and `read`.
   */
  version(): string {
    const now = this.#options.clock.monotonic()
    if (now >= this.#versionEndsAt) {
      this.#version = this.names()
        .map((name) => `${name} ${this.read(name, (reader) => reader.version())}`)
        .join()
      this.#versionEndsAt = now + FILES_CHECK_MS
    }
    return this.#version
  }

  #listNames(): string[] {
    try {
      return listLogs(this.#options.data).map(({ name }) => name)
    } catch (error) {
      throw unreadable((error as Error).message, error)
    }
  }

  /** Notices files that were removed, or replaced by others of the same name. What cannot be read any more is opened anew. */
  watch(): void {
    this.#directory.check()
    for (const [name, reader] of this.#readers) {
      if (identityOf(this.#pathOf(name)) !== reader.identity) this.#forget(name, reader)
      else if (reader.isOutdated) {
        this.#options.damage.report(
          name,
          'its write-ahead log was removed while Mailroom ran; messages may be lost',
        )
        this.#close(name, reader)
      }
    }
  }

  /** What `read` makes of a file; undefined when it cannot be read; damage is reported. */
  read<T>(name: string, read: (reader: LogReader) => T): T | undefined {
    try {
      const path = this.#pathOf(name)
      let reader = this.#readers.get(name)
      // A file that nobody wrote when it was opened is opened anew once somebody does.
      if (reader?.isImmutable && !reader.isEnded && isBeingWritten(path)) {
        this.#close(name, reader)
        reader = undefined
      }
      if (reader === undefined) {
        reader = LogReader.open(path)
        this.#readers.set(name, reader)
      }
      return read(reader)
    } catch (error) {
      const fault = faultOf(error)
      if (fault === 'gone' && !existsSync(this.#pathOf(name))) return undefined // Removed since.
      if (isUnavailable(error)) throw unreadable(`${name} cannot be read: ${(error as Error).message}`, error)
      if (fault !== 'damaged' && !isMailroomError(error, 'MR_DATA_VERSION')) throw error
      this.#options.damage.report(name, (error as Error).message)
      return undefined
    }
  }

  /**
   * The texts of a row by id, without those that are damaged. When the row is not there, or is another one (a power cut
   * took it), those of the batch's copy in another file, where there is one.
   *
   * @param id Of one of its messages.
   */
  textsAt({ file, seq }: RowName, id: string): Map<string, string> {
    const name = this.#nameOf(file)
    const row = name === undefined ? undefined : this.read(name, (reader) => reader.rowAt(seq))
    const found = this.#textsIn(row ?? [])
    if (found.has(id)) return found
    for (const other of this.names()) {
      if (other === name) continue
      const copy = this.#textsIn(this.read(other, (reader) => reader.rowOf(id)) ?? [])
      if (copy.has(id)) return copy
    }
    return found
  }

  #textsIn(row: readonly LoggedMessage[]): Map<string, string> {
    return new Map(this.intact(row).map(({ id, text }) => [id, text]))
  }

  #nameOf(file: string): string | undefined {
    const find = () => [...this.#readers].find(([, reader]) => reader.file === file)?.[0]
    const name = find()
    if (name !== undefined) return name
    for (const each of this.names()) this.read(each, () => {})
    return find()
  }

  /** Leaves out rows that are not what was written, and reports them. */
  intact<R extends { id: string; damaged: boolean }>(rows: readonly R[]): R[] {
    return rows.filter(({ id, damaged }) => {
      if (damaged) this.#options.damage.reportText(id)
      return !damaged
    })
  }

  close(): void {
    for (const reader of this.#readers.values()) reader.close()
    this.#readers.clear()
  }

  #pathOf(name: string): string {
    return join(this.#options.data, name)
  }

  #close(name: string, reader: LogReader): void {
    this.#readers.delete(name)
    reader.close()
  }

  /** A file is not under its name any more. Only what is older than the retention may be removed. */
  #forget(name: string, reader: LogReader): void {
    const { clock, retentionMs } = this.#options
    const youngest = reader.youngest()
    this.#close(name, reader)
    if (youngest !== undefined && youngest >= idAt(clock.ago(retentionMs)))
      this.#options.damage.report(name, 'was removed while Mailroom ran; its messages are lost')
  }
}

function unreadable(reason: string, cause: unknown): MailroomError {
  return new MailroomError('MR_STORE_UNAVAILABLE', { store: 'log', reason }, { cause })
}
