/** The embedded backend's log: appended by its one writer here, read from every writer's files. */
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { floorAt, idAt, MAX_ID } from '../ids.ts'
import { mergeById } from '../paging.ts'
import type { LaneBatch, Log, Logged, Range, Receipt } from '../ports.ts'
import type { LogFiles } from './log-files.ts'
import type { LoggedMessage } from './log-reader.ts'
import type { LogWriter } from './log-writer.ts'

interface EmbeddedLogOptions {
  files: LogFiles
  writer: LogWriter | undefined
  clock: Clock
  retentionMs: number
}

/** Answers `Log`. Without a writer it can only be read. */
export class EmbeddedLog implements Log {
  readonly #options: EmbeddedLogOptions

  constructor(options: EmbeddedLogOptions) {
    this.#options = options
  }

  async append(batch: LaneBatch): Promise<Receipt[]> {
    const { writer } = this.#options
    if (writer !== undefined) return writer.append(batch)
    throw new MailroomError('MR_STORE_UNAVAILABLE', { store: 'log', reason: 'this process only reads it' })
  }

  async page({ before = MAX_ID, after, limit }: Range): Promise<Logged[]> {
    const order = after === undefined ? 'descending' : 'ascending'
    const { files, clock, retentionMs } = this.#options
    const floor = floorAt(clock.ago(retentionMs), after)
    const page: Logged[] = []
    let cursor: string | undefined
    // A damaged row leaves a gap: read on, so that a page is short at the end only.
    while (page.length < limit) {
      const sources = files.names().map((name) => (at = cursor, count: number): LoggedMessage[] => {
        const [from, to] = order === 'ascending' ? [at ?? floor, before] : [floor, at ?? before]
        return files.read(name, (reader) => reader.between(from, to, count, order)) ?? []
      })
      const rows = await mergeById(sources, limit - page.length, order)
      for (const { id, text, lane } of files.intact(rows)) page.push({ id, text, lane })
      if (rows.length === 0) break
      cursor = rows.at(-1)!.id
    }
    return page
  }

  async restore(): Promise<string[]> {
    return []
  }

  async get(id: string): Promise<Logged | undefined> {
    const { files, clock, retentionMs } = this.#options
    if (id < idAt(clock.ago(retentionMs))) return undefined
    const copies = files.names().flatMap((name) => files.read(name, (reader) => reader.get(id)) ?? [])
    const [row] = files.intact(copies)
    return row === undefined ? undefined : { id: row.id, text: row.text, lane: row.lane }
  }
}
