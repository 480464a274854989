/** Reads: both lists of `GET /messages` page by page in flat memory, pages of the log and of a store, one message. */
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry } from '../../runtime/cluster/directory.ts'
import { livingMessages } from '../../runtime/cluster/directory.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { ASK_RETRY_MS, ASK_TIMEOUT_MS, REDELIVER_MAX_MS } from '../../runtime/timings.ts'
import { MAX_ID, MIN_ID } from '../../storage/ids.ts'
import { ascending, descending, walk } from '../../storage/paging.ts'
import type { Message, Range } from '../../storage/ports.ts'
import type { Found, Lists, LogFound, LogSearch, Look, Messages, PagedList, Wait } from '../protocol.ts'
import { type Holders, unavailable } from './holders.ts'
import type { LoggingPool } from './logging-pool.ts'
import { restoringLogs } from './readiness.ts'
import type { ReadTurns } from './turns.ts'

type ReadPage = (range: Range) => Promise<Message[]>

/** The reading methods of `Facade`. */
export class Reader {
  readonly #context: ActorContext
  readonly #logging: LoggingPool
  readonly #holders: Holders
  readonly #turns: ReadTurns
  readonly #drain: AbortSignal

  /** @param drain Aborted when the facade drains. */
  constructor(
    context: ActorContext,
    {
      logging,
      holders,
      turns,
      drain,
    }: { logging: LoggingPool; holders: Holders; turns: ReadTurns; drain: AbortSignal },
  ) {
    this.#context = context
    this.#logging = logging
    this.#holders = holders
    this.#turns = turns
    this.#drain = drain
  }

  /** Begins both lists. The delivered list is that of a random ready messages actor that answers. */
  async lists(limit?: number): Promise<Lists> {
    const list = (read: ReadPage, isComplete = () => true) => this.#list(read, limit, isComplete)
    const isIncomplete = () => false
    const isLogWhole = () => restoringLogs(this.#context.directory.actors()).length === 0
    const logged = list((range) => this.logPage(range), isLogWhole)
    for (const entry of shuffled(this.#readyMessages(), this.#context.random)) {
      const store = new StoreReader(this.#holders.at(entry))
      try {
        await store.begin()
      } catch {
        continue
      }
      const isComplete = () => store.whole && this.#areAllReady()
      const page = (range: Range) => this.#turns.take(entry.name, range.limit, () => store.page(range))
      return { logged, delivered: list(page, isComplete), deliveredTo: entry.name }
    }
    return { logged, delivered: list(async () => [], isIncomplete), deliveredTo: null }
  }

  async logPage(range: Range): Promise<Message[]> {
    return this.#turns.take('log', range.limit, () => this.#logging.page(range))
  }

  /** Apart from the turns of `logPage`: a search takes longer than a page. */
  async searchLog(range: Range, search: LogSearch): Promise<LogFound> {
    return this.#turns.take('search', range.limit, () => this.#logging.search(range, search))
  }

  async storePage(name: string, range: Range): Promise<Message[]> {
    const { clock, directory } = this.#context
    const entry = directory.actors().find((actor) => actor.name === name && actor.role === 'messages')
    if (entry === undefined)
      throw new MailroomError('MR_NOT_FOUND', { what: `messages actor ${name.slice(0, 64)}` })
    const deadlineAt = clock.monotonic() + ASK_TIMEOUT_MS
    for (;;) {
      const store = new StoreReader(this.#holders.at(entry))
      const page = await this.#turns.take(name, range.limit, () => store.page(range))
      if (store.whole) return page
      // A lane moves to or from this actor. Usually that ends soon; if not, an error is better than a short page.
      if (clock.monotonic() >= deadlineAt) throw unavailable(`${name} lacks some of its lanes`)
      await clock.sleep(ASK_RETRY_MS)
    }
  }

  async find(id: string, wait?: Wait): Promise<Found | undefined> {
    const waitMs = wait?.waitMs ?? 0
    const look = wait?.look ?? atOnce
    const known = await look(async () => {
      const message = await this.#logging.get(id)
      // While it waits, a reader has no text in memory: there may be a thousand.
      return message && { lane: message.lane, text: waitMs === 0 ? message.text : undefined }
    })
    if (known === undefined) return undefined
    const { lane } = known
    let { text } = known
    const { clock } = this.#context
    const ends = wait === undefined ? [] : [this.#drain, wait.gone]
    const deadlineAt = clock.monotonic() + waitMs
    for (;;) {
      const isOver = ends.some(({ aborted }) => aborted)
      const leftMs = isOver ? 0 : Math.max(0, deadlineAt - clock.monotonic())
      try {
        const holder = this.#holders.entryOf(lane)
        const found = await unlessAborted(this.#holders.at(holder).find(lane, id, leftMs), ends)
        if (found === undefined) continue
        // A holder that is about to release the lane answers before `leftMs` is over: ask the next holder.
        if (found.state !== 'queued' || leftMs === 0) {
          await wait?.beforeText?.()
          text ??= (await this.#logging.get(id))?.text
          if (text === undefined) return undefined
          const deliveredTo = found.state === 'delivered' ? holder.name : null
          return { id, text, ...found, deliveredTo, heldBy: holder.name }
        }
      } catch (error) {
        // The lane may be moving to another holder: retry, within the caller's wait or a short one.
        if (!isMailroomError(error) || !error.retryable || (leftMs === 0 && waitMs > 0)) throw error
        if (waitMs === 0 && clock.monotonic() - deadlineAt > ASK_TIMEOUT_MS) throw error
      }
      await clock.sleep(ASK_RETRY_MS)
    }
  }

  /** As `Facade.redeliver`. */
  async redeliver(id: string, look: Look = atOnce): Promise<boolean> {
    const lane = await look(async () => (await this.#logging.get(id))?.lane)
    if (lane === undefined) return false
    await this.#holders.at(this.#holders.entryOf(lane)).redeliver(lane, id, REDELIVER_MAX_MS)
    return true
  }

  #list(read: ReadPage, limit: number | undefined, isComplete: () => boolean): PagedList {
    const { logger } = this.#context
    let ended = false
    async function* pages(): AsyncGenerator<readonly Message[]> {
      try {
        yield* limit === undefined ? everything(read) : newest(read, limit)
        ended = true
      } catch (error) {
        // The answer's head has been sent, so the list ends early and `whole` reports it.
        logger.warn({ err: error }, 'a list ended early')
      }
    }
    return { pages: pages(), whole: () => ended && isComplete() }
  }

  #readyMessages(): ActorEntry[] {
    return this.#context.directory
      .actors()
      .filter(({ role, state, address }) => role === 'messages' && state === 'ready' && address !== null)
  }

  /** False while a messages actor that holds lanes is not ready: what it delivered cannot be read. */
  #areAllReady(): boolean {
    const actors = this.#context.directory.actors()
    const living = new Set(livingMessages(actors))
    return actors.every(({ name, state }) => !living.has(name) || state === 'ready')
  }
}

function atOnce<T>(read: () => Promise<T>): Promise<T> {
  return read()
}

/** Reads one messages actor's store. */
class StoreReader {
  readonly #messages: Messages
  #term: number | undefined
  /** False once a page was incomplete or a lane came or went between two pages. */
  whole = true

  constructor(messages: Messages) {
    this.#messages = messages
  }

  async begin(): Promise<void> {
    await this.page({ limit: 1 })
  }

  async page(range: Range): Promise<Message[]> {
    const { messages, term, complete } = await this.#messages.page(range)
    this.#term ??= term
    if (!complete || term !== this.#term) this.whole = false
    return messages
  }
}

/** The whole list, ascending, up to the id that is the newest when the read begins: so it ends under any load. */
async function* everything(read: ReadPage) {
  const newest = (await read({ limit: 1 }))[0]?.id
  if (newest !== undefined) yield* upTo(newest, MIN_ID, read)
}

/**
 * The newest `count`, ascending. Reads once newest first to note their ids, then once from the oldest on. It
 * selects by id and does not count, as messages that arrive in between must not push out the newest.
 */
async function* newest(read: ReadPage, count: number): AsyncGenerator<Message[]> {
  const ids = new Set<string>()
  let oldest: Message | undefined
  for await (const { items } of walk(descending(read), MAX_ID, { count })) {
    if (items.length === count) return yield items.toReversed()
    for (const { id } of items) ids.add(id)
    oldest = items.at(-1) ?? oldest
  }
  if (oldest === undefined) return
  yield [oldest]
  const [top] = ids
  for await (const part of upTo(top!, oldest.id, read)) yield part.filter(({ id }) => ids.has(id))
}

/** Ascending pages after an id, up to and including `top`. */
async function* upTo(top: string, after: string, read: ReadPage) {
  if (after >= top) return
  for await (const { items, next } of walk(ascending(read), after)) {
    yield items.filter(({ id }) => id <= top)
    if (next !== null && next >= top) return
  }
}

/** What a call gives or throws; undefined as soon as one of the signals is aborted that was not when it began. */
async function unlessAborted<T>(call: Promise<T>, signals: readonly AbortSignal[]): Promise<T | undefined> {
  const { promise: aborted, resolve: end } = Promise.withResolvers<undefined>()
  const onAbort = () => end(undefined)
  for (const signal of signals) signal.addEventListener('abort', onAbort)
  try {
    return await Promise.race([call, aborted])
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', onAbort)
  }
}

function shuffled<T>(items: T[], random: () => number): T[] {
  for (let index = items.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1))
    ;[items[index], items[other]] = [items[other]!, items[index]!]
  }
  return items
}
