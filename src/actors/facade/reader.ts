/** Reads the two lists of `GET /messages`, page by page, in flat memory. */

import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry } from '../../runtime/cluster/directory.ts'
import { livingMessages } from '../../runtime/cluster/directory.ts'
import { ASK_TIMEOUT_MS } from '../../runtime/timings.ts'
import { MIN_ID } from '../../storage/ids.ts'
import type { Message, Range } from '../../storage/ports.ts'
import type { ListHalf, Lists, Messages, Peers } from '../protocol.ts'
import type { LoggingPool } from './logging-pool.ts'

const PAGE_COUNT = 1000

type ReadPage = (range: Range) => Promise<Message[]>

/** What a list is read with. */
interface Reading {
  logging: LoggingPool
  peers: Peers
  context: ActorContext
  limit: number | undefined
}

/** Begins both lists; the delivered one with a random ready messages actor that answers. */
export async function readLists({ logging, peers, context, limit }: Reading): Promise<Lists> {
  const logged = half(
    context,
    (range) => logging.page(range),
    limit,
    () => true,
  )
  for (const entry of shuffled(readyMessages(context), context.random)) {
    const store = new StoreReader(peers.messages(entry.address!, ASK_TIMEOUT_MS))
    try {
      await store.begin()
    } catch {
      continue
    }
    const whole = () => store.whole && isWhole(context)
    return {
      logged,
      delivered: half(context, (range) => store.page(range), limit, whole),
      deliveredTo: entry.name,
    }
  }
  return {
    logged,
    delivered: half(
      context,
      async () => [],
      limit,
      () => false,
    ),
    deliveredTo: null,
  }
}

/** One messages actor's store, and whether what was read of it so far is all of it. */
export class StoreReader {
  readonly #messages: Messages
  #term: number | undefined
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

/** While any messages actor that holds lanes is away, so is a part of what was delivered. */
function isWhole(context: ActorContext): boolean {
  const living = new Set(livingMessages(context.directory.actors()))
  return context.directory.actors().every(({ name, state }) => !living.has(name) || state === 'ready')
}

function half(
  context: ActorContext,
  read: ReadPage,
  limit: number | undefined,
  isComplete: () => boolean,
): ListHalf {
  let ended = false
  async function* pages(): AsyncGenerator<readonly Message[]> {
    try {
      yield* limit === undefined ? everything(read) : newest(read, limit)
      ended = true
    } catch (error) {
      // The half ends early, and `whole` tells: the answer has begun, there is no other way to say it.
      context.logger.warn({ err: error }, 'a list ended early')
    }
  }
  return { pages: pages(), whole: () => ended && isComplete() }
}

/** All there are now, ascending: ends at what is the newest now, however fast more come in. */
async function* everything(read: ReadPage) {
  const [newest] = await read({ limit: 1 })
  if (newest !== undefined) yield* upTo(newest.id, MIN_ID, read)
}

/**
 * The newest `count`, ascending: notes which they are, newest first, then reads them from the oldest on. They
 * are told by their ids, not counted: what comes in meanwhile, in between, must not push out the newest.
 */
async function* newest(read: ReadPage, count: number): AsyncGenerator<Message[]> {
  let page = await read({ limit: Math.min(count, PAGE_COUNT) })
  if (page.length === count) return yield page.reverse()
  const ids = new Set<string>()
  let oldest: Message | undefined
  while (page.length > 0) {
    for (const { id } of page) ids.add(id)
    oldest = page.at(-1)!
    if (ids.size === count) break
    page = await read({ before: oldest.id, limit: Math.min(count - ids.size, PAGE_COUNT) })
  }
  if (oldest === undefined) return
  yield [oldest]
  const [top] = ids
  for await (const part of upTo(top!, oldest.id, read)) yield part.filter(({ id }) => ids.has(id))
}

async function* upTo(top: string, after: string, read: ReadPage) {
  let cursor = after
  while (cursor < top) {
    const page = await read({ after: cursor, limit: PAGE_COUNT })
    if (page.length === 0) return
    cursor = page.at(-1)!.id
    yield page.filter(({ id }) => id <= top)
  }
}

function readyMessages(context: ActorContext): ActorEntry[] {
  return context.directory
    .actors()
    .filter(({ role, state, address }) => role === 'messages' && state === 'ready' && address !== null)
}

function shuffled<T>(items: T[], random: () => number): T[] {
  for (let index = items.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1))
    ;[items[index], items[other]] = [items[other]!, items[index]!]
  }
  return items
}
