/** What a reader of events has missed: pages from its cursor on, then all up to the end. */
import type { Clock } from '../../runtime/clock.ts'
import { CLOCK_SKEW_MS, CURSOR_DELAY_MS, FOLLOW_MS } from '../../runtime/timings.ts'
import { idAt, timeOf } from '../../storage/ids.ts'
import { PAGE_MAX_COUNT } from '../../storage/limits.ts'
import type { LogPosition, SettledPlace } from '../../storage/ports.ts'
import { previewOf } from '../../storage/preview.ts'
import type { Happened } from '../protocol.ts'
import { type Lanes, loggedItem, type SettledTopic } from './follow-items.ts'
import { unavailable } from './holders.ts'
import type { LoggingPool } from './logging-pool.ts'
import type { ReadTurns } from './turns.ts'

/** A reader that resumes reads up to here by pages; what is younger it reads as the feed does. */
const NEAR_MS = CURSOR_DELAY_MS + FOLLOW_MS * 10

/** Where it reads. */
export interface PastOptions {
  clock: Clock
  logging: LoggingPool
  readTurns: ReadTurns
  lanes: Lanes
}

/** What a reader has missed, from its cursor on. */
export interface Past {
  /** As one part of an `EventCursor`. */
  readonly cursor: number
  /** What is older than `NEAR_MS`. It moves the cursor. */
  far(): AsyncGenerator<Happened>
  /** The rest, up to the end. May be read again. */
  near(): AsyncGenerator<Happened>
}

/** Of the log: by id. */
export class PastOfLog implements Past {
  readonly #clock: Clock
  readonly #logging: LoggingPool
  readonly #readTurns: ReadTurns
  #after: string

  constructor({ clock, logging, readTurns }: PastOptions, from: number) {
    this.#clock = clock
    this.#logging = logging
    this.#readTurns = readTurns
    this.#after = idAt(from)
  }

  get cursor(): number {
    return timeOf(this.#after)
  }

  async *far(): AsyncGenerator<Happened> {
    for (;;) {
      const near = idAt(this.#clock.now() - NEAR_MS)
      if (this.#after >= near) return
      const range = { after: this.#after, limit: PAGE_MAX_COUNT }
      const page = await this.#readTurns.take('log', range.limit, () => this.#logging.page(range))
      const last = page.at(-1)
      if (last === undefined) return
      const items = page.map(({ id, text }) => loggedItem({ id, preview: previewOf(text) }))
      yield { topic: 'logged', items }
      if (last.id >= near) {
        this.#after = near
        return
      }
      this.#after = last.id
    }
  }

  async *near(): AsyncGenerator<Happened> {
    let position: LogPosition = { after: this.#after }
    for (let isEnd = false; !isEnd; ) {
      const part = await this.#logging.follow(position, PAGE_MAX_COUNT)
      if (part.messages.length > 0) yield { topic: 'logged', items: part.messages.map(loggedItem) }
      position = part.position
      isEnd = part.isEnd
    }
  }
}

/** Where a reader is in one list of one lane. */
interface ListPlace {
  topic: SettledTopic
  lane: number
  place: SettledPlace
}

/** Of the lanes: list by list, by the time at which messages were settled. */
export class PastOfLanes implements Past {
  readonly #clock: Clock
  readonly #lanes: Lanes
  readonly #lists: ListPlace[]

  constructor({ clock, lanes }: PastOptions, from: number, topics: readonly SettledTopic[]) {
    this.#clock = clock
    this.#lanes = lanes
    this.#lists = topics.flatMap((topic) =>
      Array.from({ length: lanes.count }, (_, lane) => ({ topic, lane, place: { at: from, id: '' } })),
    )
  }

  get cursor(): number {
    return Math.min(...this.#lists.map(({ place }) => place.at))
  }

  /** That list first that is the furthest back. */
  async *far(): AsyncGenerator<Happened> {
    let open = [...this.#lists]
    for (;;) {
      const near = this.#clock.now() - NEAR_MS
      open = open.filter(({ place }) => place.at < near)
      const [first] = open.sort((a, b) => a.place.at - b.place.at)
      if (first === undefined) return
      const { items, last } = await this.#page(first)
      if (items.length > 0) yield { topic: first.topic, items }
      const isFar = last !== null && last.at < near
      if (!isFar) open = open.filter((list) => list !== first)
      first.place = isFar ? last : { at: near, id: '' }
    }
  }

  /** What is settled after it has begun is given by the feed. */
  async *near(): AsyncGenerator<Happened> {
    const end = this.#clock.now() + CLOCK_SKEW_MS
    for (const list of this.#lists) {
      for (let place: SettledPlace | null = list.place; place !== null; ) {
        const page: Awaited<ReturnType<Lanes['page']>> = await this.#page({ ...list, place })
        if (page.items.length > 0) yield { topic: list.topic, items: page.items }
        place = page.last !== null && page.last.at < end ? page.last : null
      }
    }
  }

  async #page(list: ListPlace): ReturnType<Lanes['page']> {
    const holder = this.#lanes.holderOf(list.lane)
    if (holder === undefined) throw unavailable(`lane ${list.lane} has no holder`)
    return this.#lanes.page(holder, list)
  }
}
