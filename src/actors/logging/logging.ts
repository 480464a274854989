/** The logging actor: writes batches to the log, reads pages of it. */
import { Actor } from '../../runtime/actor.ts'
import type { World } from '../../runtime/cluster/world.ts'
import type { LaneBatch, Log, Logged, Message, Range, Receipt } from '../../storage/ports.ts'
import type { Logging } from '../protocol.ts'
import { textBytesOf } from '../text.ts'

/** Appends admitted together become one group commit of the log. */
const CONCURRENCY = 64
const CHUNK_COUNT = 100
const PAGE_BYTES = 512 * 1024
/** The first look at texts whose size is not known yet: even the largest of them fit a page. */
const FIRST_COUNT = 8

/** Answers `Logging` from its log. */
export class LoggingActor extends Actor implements Logging {
  readonly #log: Log

  constructor(world: World, log: Log) {
    super(world, { concurrency: CONCURRENCY })
    this.#log = log
  }

  async append(batch: LaneBatch): Promise<Receipt[]> {
    const cost = { count: batch.messages.length, bytes: textBytesOf(batch.messages) }
    return this.mailbox.run(() => this.#log.append(batch), cost)
  }

  /** One page of the log; shorter than asked when its texts would pass about 512 KiB, empty at the end only. */
  async page(range: Range): Promise<Logged[]> {
    return this.mailbox.run(() =>
      boundedPage(range, PAGE_BYTES, CHUNK_COUNT, (chunk) => this.#log.page(chunk)),
    )
  }

  async get(id: string): Promise<Logged | undefined> {
    return this.mailbox.run(() => this.#log.get(id))
  }
}

/** Reads a page chunk by chunk, each as large as still fits, until it holds `range.limit` messages or `maxBytes`. */
export async function boundedPage<T extends Message>(
  range: Range,
  maxBytes: number,
  chunkCount: number,
  read: (range: Range) => Promise<T[]>,
): Promise<T[]> {
  const page: T[] = []
  let bytes = 0
  let next = range
  while (page.length < range.limit && bytes < maxBytes) {
    const fitting = page.length === 0 ? FIRST_COUNT : Math.ceil(((maxBytes - bytes) * page.length) / bytes)
    const limit = Math.min(chunkCount, range.limit - page.length, fitting)
    const chunk = await read({ ...next, limit })
    page.push(...chunk)
    bytes += textBytesOf(chunk)
    if (chunk.length < limit) break
    const last = chunk[chunk.length - 1]!.id
    next = range.after === undefined ? { ...next, before: last } : { ...next, after: last }
  }
  return page
}
