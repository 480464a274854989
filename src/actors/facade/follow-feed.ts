/** What happens now: feeds, each read once for all readers of a facade, and only while there are any. */
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry } from '../../runtime/cluster/directory.ts'
import { isMailroomError } from '../../runtime/errors.ts'
import { CURSOR_DELAY_MS, FOLLOW_MS, FOLLOW_ON_MS, FOLLOW_READY_MS } from '../../runtime/timings.ts'
import { batchKeyOf, idAt, placeOf } from '../../storage/ids.ts'
import { PAGE_MAX_COUNT } from '../../storage/limits.ts'
import type { LogPosition, SettledPlace } from '../../storage/ports.ts'
import type { Happened, Topic } from '../protocol.ts'
import { deadItem, deliveredItem, type Lanes, loggedItem } from './follow-items.ts'
import type { LoggingPool } from './logging-pool.ts'

type Emit = (topic: Topic, items: readonly object[]) => void

/** What a feed reads, from when it begins. */
export interface Source {
  /** As one part of an `EventCursor`. */
  readonly cursor: number
  /** It has reached the end once: what was stored before that is not given. */
  readonly isReady: boolean
  /** Reads what is new. @returns True at the end. */
  step(emit: Emit): Promise<boolean>
}

/** A time in which a feed reads. */
interface Run {
  source: Source
  stop: AbortController
  ready: PromiseWithResolvers<void>
}

/** One source, read for all who are attached, and only while there are any. */
export class Feed {
  readonly #context: ActorContext
  readonly #begin: () => Source
  readonly #periodMs: number
  readonly #listeners = new Set<(happened: Happened) => void>()
  #uses = 0
  #run: Run | undefined

  /** @param periodMs How often it looks. */
  constructor(context: ActorContext, begin: () => Source, periodMs = FOLLOW_MS) {
    this.#context = context
    this.#begin = begin
    this.#periodMs = periodMs
  }

  get cursor(): number {
    return this.#run?.source.cursor ?? this.#context.clock.now() - CURSOR_DELAY_MS
  }

  /** Begins to read, unless it reads. @returns Ends it, once nobody needs it. */
  use(): () => void {
    this.#uses++
    this.#start()
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      if (--this.#uses > 0) return
      this.#run?.stop.abort()
      this.#run = undefined
    }
  }

  /** Calls `listener` with what is given from now on. @returns A function that ends it. */
  listen(listener: (happened: Happened) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Resolves when it has reached the end once. Only while it is in use. */
  ready(): Promise<void> {
    return this.#run?.ready.promise ?? Promise.resolve()
  }

  #start(): void {
    if (this.#run !== undefined) return
    const run: Run = {
      source: this.#begin(),
      stop: new AbortController(),
      ready: Promise.withResolvers<void>(),
    }
    this.#run = run
    void this.#read(run).catch((error: unknown) => this.#context.fail(error))
  }

  async #read({ source, stop, ready }: Run): Promise<void> {
    const { clock, logger } = this.#context
    const emit: Emit = (topic, items) => {
      if (items.length === 0 || stop.signal.aborted) return
      const happened: Happened = { topic, items }
      for (const listener of this.#listeners) listener(happened)
    }
    while (!stop.signal.aborted) {
      let isEnd = true
      try {
        isEnd = await source.step(emit)
      } catch (error) {
        if (!isMailroomError(error)) throw error
        logger.debug({ err: error }, 'events: nothing can be read now')
      }
      if (source.isReady) ready.resolve()
      await clock.sleep(isEnd ? this.#periodMs : FOLLOW_ON_MS, stop.signal)
    }
    ready.resolve()
  }
}

/** The ids of the last seconds: a batch may stand in two files of the log, and pages overlap. */
class SeenIds {
  /** By batch, a bit for each place: a set of all ids would keep the garbage collector busy. */
  #young = new Map<string, number[]>()
  #old = new Map<string, number[]>()
  #turnAt = 0

  /** @returns False when it was seen. */
  add(id: string, now: number): boolean {
    if (now >= this.#turnAt) {
      this.#old = this.#young
      this.#young = new Map()
      this.#turnAt = now + CURSOR_DELAY_MS
    }
    const [batch, place] = [batchKeyOf(id), placeOf(id)]
    const [word, bit] = [Math.floor(place / 32), 1 << (place % 32)]
    const isIn = (places: readonly number[] | undefined) => ((places?.[word] ?? 0) & bit) !== 0
    const places = this.#young.get(batch)
    if (isIn(places) || isIn(this.#old.get(batch))) return false
    if (places === undefined) this.#young.set(batch, [...Array(word).fill(0), bit])
    else places[word] = (places[word] ?? 0) | bit
    return true
  }
}

/** What is logged. */
export class LogSource implements Source {
  readonly #context: ActorContext
  readonly #logging: LoggingPool
  readonly #seen = new SeenIds()
  /** Messages with smaller ids were logged before, as far as they are there when it begins. */
  readonly #first: string
  #position: LogPosition
  cursor: number
  isReady = false

  constructor(context: ActorContext, logging: LoggingPool) {
    this.#context = context
    this.#logging = logging
    const now = context.clock.now()
    this.#first = idAt(now)
    this.cursor = now - CURSOR_DELAY_MS
    this.#position = { after: idAt(this.cursor) }
  }

  async step(emit: Emit): Promise<boolean> {
    const { clock } = this.#context
    const [askedAt, now] = [clock.now(), clock.monotonic()]
    const { messages, position, isEnd } = await this.#logging.follow(this.#position, PAGE_MAX_COUNT)
    this.#position = position
    const fresh = messages.filter(({ id }) => this.#seen.add(id, now) && (this.isReady || id >= this.#first))
    emit('logged', fresh.map(loggedItem))
    if (isEnd) {
      this.cursor = Math.max(this.cursor, askedAt - CURSOR_DELAY_MS)
      this.isReady = true
    }
    return isEnd
  }
}

/** The figures of all nodes, as they are now. */
export class StatsSource implements Source {
  readonly #context: ActorContext
  readonly isReady = true
  /** The same for all who are given the same figures: their frame is made once. */
  cursor: number

  constructor(context: ActorContext) {
    this.#context = context
    this.cursor = context.clock.now() - CURSOR_DELAY_MS
  }

  async step(emit: Emit): Promise<boolean> {
    const figures = await this.#context.stats()
    this.cursor = this.#context.clock.now() - CURSOR_DELAY_MS
    emit('stats', [figures])
    return true
  }
}

/** A lane, as it is followed. */
interface FollowedLane {
  /** As in `Messages.recent`. */
  position: string | null
  /** All that was settled before was given. */
  since: number
  /** Where to go on in its lists, while they have to be read. */
  delivered: SettledPlace | null
  dead: SettledPlace | null
}

/** What lanes settle: their holders have it in memory. What a lane has settled around a move is read from its lists. */
export class SettledSource implements Source {
  readonly #context: ActorContext
  readonly #lanes: Lanes
  readonly #followed: FollowedLane[]
  readonly #beganAt: number
  isReady = false

  constructor(context: ActorContext, lanes: Lanes) {
    this.#context = context
    this.#lanes = lanes
    this.#beganAt = context.clock.monotonic()
    const since = context.clock.now() - CURSOR_DELAY_MS
    this.#followed = Array.from({ length: lanes.count }, () => ({
      ...{ position: null, since, delivered: null, dead: null },
    }))
  }

  get cursor(): number {
    return Math.min(...this.#followed.map(({ since }) => since))
  }

  async step(emit: Emit): Promise<boolean> {
    const delivered: object[] = []
    const dead: object[] = []
    const results = await Promise.allSettled(
      [...this.#lanes.byHolder()].map(([holder, lanes]) => this.#ask(holder, lanes, { delivered, dead })),
    )
    emit('delivered', delivered)
    emit('dead', dead)
    this.isReady ||= this.#followed.every(({ position }) => position !== null)
    for (const result of results) if (result.status === 'rejected') throw result.reason
    return results.every((result) => result.status === 'fulfilled' && result.value)
  }

  /** @returns True when there was no more. */
  async #ask(
    holder: ActorEntry,
    numbers: readonly number[],
    found: { delivered: object[]; dead: object[] },
  ): Promise<boolean> {
    const { clock } = this.#context
    const askedAt = clock.now()
    const asked = numbers.map((lane) => ({ lane, position: this.#followed[lane]!.position }))
    const parts = await this.#lanes.at(holder).recent(asked)
    // At first nothing is looked up: readers wait so long before they are told that they are given what happens now.
    const isFirst = clock.monotonic() - this.#beganAt < FOLLOW_READY_MS
    let isEnd = true
    for (const [index, part] of parts.entries()) {
      if (part === null) continue // It is on its way to another holder.
      const number = numbers[index]!
      const lane = this.#followed[number]!
      if (part.isNew && !(isFirst && lane.position === null)) {
        lane.delivered = lane.dead = { at: lane.since, id: '' }
      }
      lane.position = part.position
      found.delivered.push(...part.delivered.map((head) => deliveredItem(head, holder.name)))
      found.dead.push(...part.dead.map(deadItem))
      for (const topic of ['delivered', 'dead'] as const) {
        const place = lane[topic]
        if (place === null) continue
        const page = await this.#lanes.page(holder, { topic, lane: number, place })
        found[topic].push(...page.items)
        lane[topic] = page.last
      }
      if (part.isEnd && lane.delivered === null && lane.dead === null) lane.since = askedAt - CURSOR_DELAY_MS
      else isEnd = false
    }
    return isEnd
  }
}
