/** Reads the two lists of `GET /messages`, page by page, in flat memory. */
import type { ActorEntry } from '../runtime/directory.ts'
import { livingMessages } from '../runtime/directory.ts'
import { MIN_ID } from '../runtime/ids.ts'
import type { Message, Range } from '../runtime/ports.ts'
import type { World } from '../runtime/world.ts'
import type { LoggingPool } from './logging-pool.ts'
import type { ListHalf, Lists, Messages, Peers } from './protocol.ts'

const PAGE_COUNT = 1000
const ASK_TIMEOUT_MS = 2000

type ReadPage = (range: Range) => Promise<Message[]>

/** What a list is read with. */
interface Reading {
  logging: LoggingPool
  peers: Peers
  world: World
  limit: number | undefined
}

/** Begins both lists; the delivered one with a random ready messages actor that answers. */
export async function readLists({ logging, peers, world, limit }: Reading): Promise<Lists> {
  const logged = half(
    world,
    (range) => logging.page(range),
    limit,
    () => true,
  )
  for (const entry of shuffled(readyMessages(world), world.random)) {
    const store = new StoreReader(peers.messages(entry.address!, ASK_TIMEOUT_MS))
    try {
      await store.begin()
    } catch {
      continue
    }
    const whole = () => store.whole && isWhole(world)
    return {
      logged,
      delivered: half(world, (range) => store.page(range), limit, whole),
      deliveredTo: entry.name,
    }
  }
  return {
    logged,
    delivered: half(
      world,
      async () => [],
      limit,
      () => false,
    ),
    deliveredTo: null,
  }
}

/** One messages actor's store, and whether what was read of it so far is all of it. */
class StoreReader {
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
function isWhole(world: World): boolean {
  const living = new Set(livingMessages(world.directory.actors()))
  return world.directory.actors().every(({ name, state }) => !living.has(name) || state === 'ready')
}

function half(world: World, read: ReadPage, limit: number | undefined, isComplete: () => boolean): ListHalf {
  let ended = false
  async function* pages(): AsyncGenerator<readonly Message[]> {
    try {
      yield* limit === undefined ? ascending(read, MIN_ID) : newest(read, limit)
      ended = true
    } catch (error) {
      // The half ends early, and `whole` tells: the answer has begun, there is no other way to say it.
      world.logger.warn({ err: error }, 'a list ended early')
    }
  }
  return { pages: pages(), whole: () => ended && isComplete() }
}

async function* ascending(read: ReadPage, after: string, maxCount = Number.POSITIVE_INFINITY) {
  let cursor = after
  let left = maxCount
  while (left > 0) {
    const page = await read({ after: cursor, limit: Math.min(PAGE_COUNT, left) })
    if (page.length === 0) return
    yield page
    cursor = page.at(-1)!.id
    left -= page.length
  }
}

/** The newest `count`, ascending: finds where they begin, then reads on from there. */
async function* newest(read: ReadPage, count: number) {
  let page: Message[] = await read({ limit: Math.min(count + 1, PAGE_COUNT) })
  if (page.length > count) page = page.slice(0, count)
  if (page.length === count || page.length === 0) {
    yield page.reverse()
    return
  }
  let seen = page.length
  let oldest = page.at(-1)!.id
  for (;;) {
    page = await read({ before: oldest, limit: Math.min(PAGE_COUNT, count + 1 - seen) })
    if (page.length === 0) return yield* ascending(read, MIN_ID, seen)
    seen += page.length
    oldest = page.at(-1)!.id
    if (seen > count) return yield* ascending(read, oldest, count)
  }
}

function readyMessages(world: World): ActorEntry[] {
  return world.directory
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
