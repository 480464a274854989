/** The embedded backend's log: appended by its one writer here, read from every writer's files. */
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { idAt, MAX_ID } from '../ids.ts'
import { mergeById } from '../paging.ts'
import type { LaneBatch, Log, Logged, Range, Receipt } from '../ports.ts'
import type { LogFiles } from './log-files.ts'
import type { LogRow } from './log-reader.ts'
import type { LogWriter } from './log-writer.ts'

/** Answers `Log`. Without a writer it can only be read. */
export class EmbeddedLog implements Log {
  readonly #files: LogFiles
  readonly #writer: LogWriter | undefined
  readonly #clock: Clock
  readonly #retentionMs: number

  constructor(options: {
    files: LogFiles
    writer: LogWriter | undefined
    clock: Clock
    retentionMs: number
  }) {
    this.#files = options.files
    this.#writer = options.writer
    this.#clock = options.clock
    this.#retentionMs = options.retentionMs
  }

  async append(batch: LaneBatch): Promise<Receipt[]> {
    if (this.#writer === undefined) {
      throw new MailroomError('MR_STORE_UNAVAILABLE', { store: 'log', reason: 'this process only reads it' })
    }
    return this.#writer.append(batch)
  }

  async page({ before = MAX_ID, after, limit }: Range): Promise<Logged[]> {
    const order = after === undefined ? 'descending' : 'ascending'
    const oldest = idAt(this.#clock.now() - this.#retentionMs)
    const floor = after === undefined || after < oldest ? oldest : after
    const page: Logged[] = []
    let cursor: string | undefined
    // A damaged row leaves a gap: read on, so that a page is short at the end only.
    while (page.length < limit) {
      const sources = this.#files.names().map((name) => (at = cursor, count: number): LogRow[] => {
        const [from, to] = order === 'ascending' ? [at ?? floor, before] : [floor, at ?? before]
        return this.#files.read(name, (reader) => reader.between(from, to, count, order)) ?? []
      })
      const rows = await mergeById(sources, limit - page.length, order)
      for (const { id, text, lane } of this.#files.intact(rows)) page.push({ id, text, lane })
      if (rows.length === 0) break
      cursor = rows.at(-1)!.id
    }
    return page
  }

  async get(id: string): Promise<Logged | undefined> {
    if (id < idAt(this.#clock.now() - this.#retentionMs)) return undefined
    const copies = this.#files
      .names()
      .flatMap((name) => this.#files.read(name, (reader) => reader.get(id)) ?? [])
    const [row] = this.#files.intact(copies)
    return row === undefined ? undefined : { id: row.id, text: row.text, lane: row.lane }
  }
}
