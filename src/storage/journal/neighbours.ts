/** Which journals were ever seen beside one: `known.json` in its directory. After a loss, those that are not there are waited for. */
import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { KnownJournal } from '../../runtime/losses.ts'
import { PRIVATE } from '../embedded/guard.ts'

/** One is written down anew after this part of the retention. */
const AGAIN = 1 / 8

/** Id -> which node had it, and when it was seen last (ms since 1970). */
type Known = Record<string, { node: string; seenAt: number }>

/** The journals beside one. Processes of a directory share the file: what one overwrites, the other sees again. */
export class Neighbours {
  readonly #path: string
  readonly #retentionMs: number
  readonly #clock: Clock
  readonly #logger: Logger
  #known: Known
  #lastProblem = ''

  constructor(data: string, retentionMs: number, clock: Clock, logger: Logger) {
    this.#path = join(data, 'known.json')
    this.#retentionMs = retentionMs
    this.#clock = clock
    this.#logger = logger
    this.#known = this.#read()
  }

  /** Without those that have nothing any more that is younger than the retention. */
  all(): KnownJournal[] {
    const oldest = this.#clock.ago(this.#retentionMs)
    return Object.entries(this.#known).flatMap(([id, { node, seenAt }]) =>
      seenAt < oldest ? [] : [{ id, node }],
    )
  }

  /** Writes them down, if that is new. Never throws. */
  seen(journals: readonly KnownJournal[]): void {
    const again = this.#clock.ago(this.#retentionMs * AGAIN)
    const isNew = ({ id }: KnownJournal) => (this.#known[id]?.seenAt ?? 0) < again
    if (!journals.some(isNew)) return
    const seenAt = this.#clock.now()
    const oldest = this.#clock.ago(this.#retentionMs)
    const before = Object.entries({ ...this.#read(), ...this.#known })
    this.#known = {
      ...Object.fromEntries(before.filter(([, known]) => known.seenAt >= oldest)),
      ...Object.fromEntries(journals.map(({ id, node }) => [id, { node, seenAt }])),
    }
    try {
      const unfinished = `${this.#path}.${randomUUID()}.new`
      writeFileSync(unfinished, `${JSON.stringify(this.#known)}\n`, { flush: true, mode: PRIVATE.file })
      renameSync(unfinished, this.#path)
      this.#lastProblem = ''
    } catch (error) {
      const { message } = error as Error
      if (message !== this.#lastProblem)
        this.#logger.warn({ err: error }, 'the known journals cannot be written down')
      this.#lastProblem = message
    }
  }

  /** A file that is damaged is none: what is there is seen again. */
  #read(): Known {
    try {
      const known = JSON.parse(readFileSync(this.#path, 'utf8')) as Known
      const isWhole = Object.values(known).every(
        ({ node, seenAt }) => typeof node === 'string' && typeof seenAt === 'number',
      )
      return isWhole ? known : {}
    } catch {
      return {}
    }
  }
}
