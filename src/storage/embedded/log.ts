/** The embedded backend's log: appended by its one writer here, read from every writer's files. */
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { CURSOR_DELAY_MS } from '../../runtime/timings.ts'
import { batchKeyOf, floorAt, idAt, MAX_ID } from '../ids.ts'
import { PAGE_MAX_BYTES } from '../limits.ts'
import type { LaneBatch, Log, Logged, LogPart, LogPosition, Range, Receipt } from '../ports.ts'
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

  /** File by file, those whose next message is the nearest first: so texts of one file are in memory beside the page. */
  async page({ before = MAX_ID, after, limit }: Range, having?: readonly string[]): Promise<Logged[]> {
    const order = after === undefined ? 'descending' : 'ascending'
    const { files, clock, retentionMs } = this.#options
    const floor = floorAt(clock.ago(retentionMs), after)
    const page: Logged[] = []
    let bytes = 0
    let cursor: string | undefined
    const bounds = () =>
      order === 'ascending' ? ([cursor ?? floor, before] as const) : ([floor, cursor ?? before] as const)
    const firstIn = (name: string) => files.read(name, (reader) => reader.firstOf(...bounds(), order))
    const isBehind = (a: string, b: string) => (order === 'ascending' ? a > b : a < b)
    const heads = new Map(files.names().map((name) => [name, firstIn(name)]))
    while (page.length < limit && bytes < PAGE_MAX_BYTES) {
      const known = [...heads.values()].filter((id) => id !== undefined)
      const [first, next] = [...new Set(known)].sort((a, b) => (isBehind(a, b) ? 1 : -1))
      if (first === undefined) break
      const names = [...heads.keys()].filter((name) => heads.get(name) === first)
      // What follows a batch that stands in several files is each file's own.
      const end = order === 'ascending' ? `${first.slice(0, -2)}~` : batchKeyOf(first)
      const until = names.length === 1 || (next !== undefined && isBehind(end, next)) ? next : end
      const most = { limit: limit - page.length, maxBytes: PAGE_MAX_BYTES - bytes, until, having }
      const found = new Map<string, LoggedMessage>()
      for (const name of names) {
        const copies = files.read(name, (reader) => reader.between(...bounds(), order, most)) ?? []
        // Of a message that stands in two files, one copy may be damaged, and its row passed for that.
        for (const copy of copies) {
          const known = found.get(copy.id)
          if (known === undefined || known.damaged || known.passed !== undefined) found.set(copy.id, copy)
        }
      }
      for (const { id, text, lane, passed } of files.intact([...found.values()])) {
        page.push({ id, text, lane })
        bytes += passed ?? Buffer.byteLength(text)
      }
      cursor = [...found.keys()].at(-1) ?? first
      for (const name of names) heads.set(name, firstIn(name))
    }
    return page
  }

  /** Row by row of each file, as they were written: that is the order in which they became visible. */
  async follow({ after, rows = {} }: LogPosition, limit: number): Promise<LogPart> {
    const { files, clock } = this.#options
    const messages: Logged[] = []
    const position: LogPosition = { after, rows: {} }
    let [bytes, isEnd] = [0, true]
    for (const name of files.names()) {
      files.read(name, (reader) => {
        const isKnown = rows[reader.file] !== undefined
        const from = rows[reader.file] ?? reader.rowBefore(after)
        const part = reader.after(from, { limit: limit - messages.length, maxBytes: PAGE_MAX_BYTES - bytes })
        position.rows![reader.file] = part.last
        isEnd &&= part.isEnd
        bytes += part.bytes
        for (const { id, text, lane } of files.intact(part.messages))
          if (isKnown || id > after) messages.push({ id, text, lane })
      })
    }
    // Of a file that is there from now on, nothing older is missing.
    const youngest = idAt(clock.ago(CURSOR_DELAY_MS))
    if (isEnd && after < youngest) position.after = youngest
    return { messages, position, isEnd }
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
