/** What of the data is not what was written: told to people, never passed off as whole. */
import { readdirSync } from 'node:fs'
import type { Logger } from '../../runtime/logger.ts'
import type { DirectoryVersion } from './guard.ts'

/** More is not told one by one. */
const MAX_REPORTS = 100
const SET_ASIDE = /\.db\.damaged-.*Z$/

/** Gathers reports of damage in one data directory. */
export class Damage {
  readonly #directory: string
  readonly #logger: Logger
  readonly #version: DirectoryVersion
  readonly #reports = new Map<string, string>()
  /** Files that were set aside, as of a version of the directory. */
  #aside: { version: number; names: string[] } = { version: 0, names: [] }

  constructor(directory: string, version: DirectoryVersion, logger: Logger) {
    this.#directory = directory
    this.#version = version
    this.#logger = logger
  }

  /** Reports a file, or a message, once. */
  report(what: string, words: string): void {
    if (this.#reports.has(what) || this.#reports.size === MAX_REPORTS) return
    this.#reports.set(what, `${what}: ${words}`)
    this.#logger.error({ damaged: what }, words)
  }

  /** Reports a text that fails its checksum. */
  reportText(id: string): void {
    this.report(`message ${id}`, 'its text is not what was written')
  }

  /** All that is known, human-readable; files that were set aside until somebody moves them away. */
  all(): string[] {
    const version = this.#version.read()
    if (version !== this.#aside.version) {
      this.#aside = { version, names: this.#names().filter((name) => SET_ASIDE.test(name)) }
    }
    const aside = this.#aside.names.map((name) => `${name}: was damaged and has been set aside`)
    return [...aside, ...this.#reports.values()]
  }

  /** None when the directory is gone, which others report. */
  #names(): string[] {
    try {
      return readdirSync(this.#directory)
    } catch {
      return []
    }
  }
}
