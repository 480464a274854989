/** The files of the log, all writers': listed on every read, opened once. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isMailroomError } from '../../runtime/errors.ts'
import type { Damage } from './damage.ts'
import { LogReader } from './log-reader.ts'
import { faultOf } from './sqlite.ts'

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

/** Open readers of all files of the log. */
export class LogFiles {
  readonly #directory: string
  readonly #damage: Damage
  readonly #readers = new Map<string, LogReader>()

  constructor(directory: string, damage: Damage) {
    this.#directory = directory
    this.#damage = damage
  }

  /** Names of the files there are now. */
  names(): string[] {
    const names = listLogs(this.#directory).map(({ name }) => name)
    const known = new Set(names)
    for (const [name, reader] of this.#readers) {
      if (known.has(name)) continue
      this.#readers.delete(name)
      reader.close()
    }
    return names
  }

  /** What `read` makes of a file; undefined when it cannot be read; damage is reported. */
  read<T>(name: string, read: (reader: LogReader) => T): T | undefined {
    try {
      let reader = this.#readers.get(name)
      if (reader === undefined) {
        reader = LogReader.open(join(this.#directory, name))
        this.#readers.set(name, reader)
      }
      return read(reader)
    } catch (error) {
      const fault = faultOf(error)
      if (fault === 'gone' && !existsSync(join(this.#directory, name))) return undefined // Removed since.
      if (fault !== 'damaged' && !isMailroomError(error, 'MR_DATA_VERSION')) throw error
      this.#damage.report(name, (error as Error).message)
      return undefined
    }
  }

  /** Leaves out rows that are not what was written, and reports them. */
  intact<R extends { id: string; damaged: boolean }>(rows: readonly R[]): R[] {
    return rows.filter(({ id, damaged }) => {
      if (damaged) this.#damage.reportText(id)
      return !damaged
    })
  }

  close(): void {
    for (const reader of this.#readers.values()) reader.close()
    this.#readers.clear()
  }
}
