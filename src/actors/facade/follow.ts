/**
 * What happens, for readers who follow it. Two feeds, the log and what lanes settle, are read once for all readers, and only
 * while there are any. A reader that resumes reads by itself what it has missed, then joins the feed:
 *
 *   cursor ──pages──▶ 5 s ago ──▶ the end ──▶ what the feed has given since that read began ──▶ live
 *
 * A cursor is an instant: all that was logged before it, or settled before it, was given. It stays `CURSOR_DELAY_MS` behind
 * the last read that reached the end, as what is stored becomes visible up to that much after the time it carries.
 */
import { Semaphore } from 'async-mutex'
import type { Clock } from '../../runtime/clock.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry, Directory } from '../../runtime/cluster/directory.ts'
import { isMailroomError } from '../../runtime/errors.ts'
import {
  CLOCK_SKEW_MS,
  CURSOR_DELAY_MS,
  EMITTED_KEPT_MS,
  FOLLOW_MS,
  FOLLOW_ON_MS,
  FOLLOW_READY_MS,
  FOLLOW_RETRY_MS,
  STATS_MS,
} from '../../runtime/timings.ts'
import { atOf, idAt, timeOf } from '../../storage/ids.ts'
import { PAGE_MAX_COUNT } from '../../storage/limits.ts'
import type { DeadHead, DeliveredHead, LogPosition, SettledPlace } from '../../storage/ports.ts'
import { previewOf } from '../../storage/preview.ts'
import type { EventCursor, EventSink, Following, Happened, LoggedHead, Messages, Topic } from '../protocol.ts'
import { type Holders, unavailable } from './holders.ts'
import type { LoggingPool } from './logging-pool.ts'
import type { ReadTurns } from './turns.ts'

/** Items that a feed keeps for readers that resume. */
const EMITTED_MAX_COUNT = 20_000
/** Reads for readers that resume, at once. */
const RESUMES_AT_ONCE = 2
/** A reader that resumes reads up to here by pages; what is younger it reads as the feed does. */
const NEAR_MS = CURSOR_DELAY_MS + FOLLOW_MS * 10
/** Errors of dead letters are shown so far. */
const ERROR_CHARACTERS = 200

type SettledTopic = 'delivered' | 'dead'
type Emit = (topic: Topic, items: readonly object[]) => void

/** What a follower needs of its facade. */
export interface FollowerOptions {
  logging: LoggingPool
  holders: Holders
  readTurns: ReadTurns
  laneCount: number
}

interface PastOptions {
  clock: Clock
  logging: LoggingPool
  readTurns: ReadTurns
  lanes: Lanes
}

interface ReadingOptions {
  feed: Feed
  topics: ReadonlySet<Topic>
  sink: EventSink
  clock: Clock
  /** Of all reads for readers that resume. */
  turns: Semaphore
  /** Undefined: the reader has missed nothing. */
  past: Past | undefined
}

/** What a feed reads, from when it begins. */
interface Source {
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
class Feed {
  readonly #context: ActorContext
  readonly #begin: () => Source
  readonly #periodMs: number
  readonly #listeners = new Set<(happened: Happened) => void>()
  #emitted: { number: number; at: number; happened: Happened }[] = []
  #number = 0
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

  /** The number of the last thing it gave. */
  get number(): number {
    return this.#number
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
      this.#emitted = []
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

  /** What it has given after a number; undefined when it is not kept any more. */
  since(number: number): Happened[] | undefined {
    const kept = this.#emitted.filter((each) => each.number > number)
    return kept.length === this.#number - number ? kept.map(({ happened }) => happened) : undefined
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
      if (items.length > 0 && !stop.signal.aborted) this.#emit({ topic, items })
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

  #emit(happened: Happened): void {
    const at = this.#context.clock.monotonic()
    this.#emitted.push({ number: ++this.#number, at, happened })
    for (const listener of this.#listeners) listener(happened)
    let count = this.#emitted.reduce((sum, each) => sum + each.happened.items.length, 0)
    while (this.#emitted.length > 1) {
      const [oldest] = this.#emitted
      if (oldest!.at > at - EMITTED_KEPT_MS && count <= EMITTED_MAX_COUNT) return
      count -= oldest!.happened.items.length
      this.#emitted.shift()
    }
  }
}

/** The ids of the last seconds: a batch may stand in two files of the log, and pages overlap. */
class SeenIds {
  #young = new Set<string>()
  #old = new Set<string>()
  #turnAt = 0

  /** @returns False when it was seen. */
  add(id: string, now: number): boolean {
    if (now >= this.#turnAt) {
      this.#old = this.#young
      this.#young = new Set()
      this.#turnAt = now + CURSOR_DELAY_MS
    }
    if (this.#young.has(id) || this.#old.has(id)) return false
    this.#young.add(id)
    return true
  }
}

/** What is logged. */
class LogSource implements Source {
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
class StatsSource implements Source {
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
class SettledSource implements Source {
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

/** The lanes, at their holders. */
class Lanes {
  readonly #holders: Holders
  readonly count: number

  constructor(holders: Holders, count: number) {
    this.#holders = holders
    this.count = count
  }

  /** Those that have a ready holder. */
  byHolder(): Map<ActorEntry, number[]> {
    const byHolder = new Map<ActorEntry, number[]>()
    for (let lane = 0; lane < this.count; lane++) {
      const holder = this.holderOf(lane)
      if (holder !== undefined) byHolder.set(holder, [...(byHolder.get(holder) ?? []), lane])
    }
    return byHolder
  }

  holderOf(lane: number): ActorEntry | undefined {
    try {
      return this.#holders.entryOf(lane)
    } catch (error) {
      if (!isMailroomError(error)) throw error
      return undefined
    }
  }

  at(holder: ActorEntry): Messages {
    return this.#holders.at(holder)
  }

  /** @returns `last`: where to go on; null at the end. */
  async page(
    holder: ActorEntry,
    { topic, lane, place }: { topic: SettledTopic; lane: number; place: SettledPlace },
  ): Promise<{ items: object[]; last: SettledPlace | null }> {
    const messages = this.at(holder)
    if (topic === 'delivered') {
      const page = await messages.deliveredSince(lane, place, PAGE_MAX_COUNT)
      const last = page.at(-1)
      return {
        items: page.map((head) => deliveredItem(head, holder.name)),
        last: last === undefined ? null : { at: last.deliveredAt, id: last.id },
      }
    }
    const page = await messages.deadSince(lane, place, PAGE_MAX_COUNT)
    const last = page.at(-1)
    return { items: page.map(deadItem), last: last === undefined ? null : { at: last.deadAt, id: last.id } }
  }
}

/** What a reader has missed, from its cursor on. */
interface Past {
  /** As one part of an `EventCursor`. */
  readonly cursor: number
  /** What is older than `NEAR_MS`. It moves the cursor. */
  far(): AsyncGenerator<Happened>
  /** The rest, up to the end. May be read again. */
  near(): AsyncGenerator<Happened>
}

class PastOfLog implements Past {
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

class PastOfLanes implements Past {
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

/** How one reader reads one feed: first what it has missed, then what the feed gives. */
class Reading {
  readonly #options: ReadingOptions
  readonly #gone = new AbortController()
  readonly #leave: () => void
  #isLive = false

  constructor(options: ReadingOptions) {
    this.#options = options
    const { feed, topics, sink, past } = options
    this.#isLive = past === undefined
    const unuse = feed.use()
    const unlisten = feed.listen((happened) => {
      if (this.#isLive && topics.has(happened.topic)) sink.live(happened)
    })
    this.#leave = () => {
      unuse()
      unlisten()
    }
  }

  get cursor(): number {
    const { past, feed } = this.#options
    return this.#isLive || past === undefined ? feed.cursor : past.cursor
  }

  ready(): Promise<void> {
    return this.#options.feed.ready()
  }

  end(): void {
    this.#gone.abort()
    this.#leave()
  }

  /** Catches up, whatever fails meanwhile. */
  async run(): Promise<void> {
    const { past, feed, clock } = this.#options
    if (past === undefined) return
    await feed.ready()
    while (!this.#gone.signal.aborted) {
      try {
        if (await this.#catchUp(past, feed)) return
      } catch (error) {
        if (!isMailroomError(error)) throw error // Else what it reads is away: it goes on from where it is.
        await clock.sleep(FOLLOW_RETRY_MS, this.#gone.signal)
      }
    }
  }

  /** @returns False when what the feed has given meanwhile is not kept. */
  async #catchUp(past: Past, feed: Feed): Promise<boolean> {
    if (!(await this.#give(past.far()))) return false
    let number = feed.number
    if (!(await this.#give(past.near()))) return false
    for (;;) {
      const missed = feed.since(number)
      if (missed === undefined) return false
      if (missed.length === 0) {
        this.#isLive = true
        return true
      }
      number += missed.length
      for (const happened of together(missed)) await this.#past(happened)
    }
  }

  /** @returns False when the reader is gone. */
  async #give(pages: AsyncGenerator<Happened>): Promise<boolean> {
    const { turns } = this.#options
    for (;;) {
      const { done, value } = await turns.runExclusive(() => pages.next())
      if (this.#gone.signal.aborted) return false
      if (done) return true
      await this.#past(value)
    }
  }

  async #past(happened: Happened): Promise<void> {
    const { topics, sink } = this.#options
    if (topics.has(happened.topic) && !this.#gone.signal.aborted) await sink.past(happened)
  }
}

/** The actors: first every one as it is, then each that changes. */
class ActorFeed {
  readonly #directory: Directory
  readonly #sinks = new Set<EventSink>()
  #known = new Map<string, ActorItem>()
  #stop = () => {}

  constructor(directory: Directory) {
    this.#directory = directory
  }

  /** @returns Ends it. */
  listen(sink: EventSink): () => void {
    if (this.#sinks.size === 0) {
      this.#known = this.#now()
      this.#stop = this.#directory.onChange(() => this.#tell())
    }
    sink.live({ topic: 'actor', items: [...this.#known.values()] })
    this.#sinks.add(sink)
    return () => {
      if (this.#sinks.delete(sink) && this.#sinks.size === 0) this.#stop()
    }
  }

  #now(): Map<string, ActorItem> {
    return new Map(this.#directory.actors().map((entry) => [entry.name, actorItem(entry)]))
  }

  #tell(): void {
    const [before, now] = [this.#known, this.#now()]
    const isSame = (item: ActorItem) => JSON.stringify(before.get(item.name)) === JSON.stringify(item)
    const changed: object[] = [...now.values()].filter((item) => !isSame(item))
    for (const [name, item] of before) if (!now.has(name)) changed.push({ ...item, state: 'removed' })
    this.#known = now
    if (changed.length === 0) return
    const happened: Happened = { topic: 'actor', items: changed }
    for (const sink of this.#sinks) sink.live(happened)
  }
}

/** Follows everything, for all readers of a facade. */
export class Follower {
  readonly #context: ActorContext
  readonly #past: PastOptions
  readonly #log: Feed
  readonly #settled: Feed
  readonly #stats: Feed
  readonly #actors: ActorFeed
  readonly #turns = new Semaphore(RESUMES_AT_ONCE)

  constructor(context: ActorContext, { logging, holders, readTurns, laneCount }: FollowerOptions) {
    const lanes = new Lanes(holders, laneCount)
    this.#context = context
    this.#past = { clock: context.clock, logging, readTurns, lanes }
    this.#log = new Feed(context, () => new LogSource(context, logging))
    this.#settled = new Feed(context, () => new SettledSource(context, lanes))
    this.#stats = new Feed(context, () => new StatsSource(context), STATS_MS)
    this.#actors = new ActorFeed(context.directory)
  }

  /** As `Facade.follow`. */
  follow(topics: ReadonlySet<Topic>, from: EventCursor | undefined, sink: EventSink): Following {
    const { clock } = this.#context
    const reading = (feed: Feed, past: Past | undefined) =>
      new Reading({ feed, past, topics, sink, clock, turns: this.#turns })
    const log = topics.has('logged')
      ? reading(this.#log, from && new PastOfLog(this.#past, from.logged))
      : undefined
    const settledTopics = (['delivered', 'dead'] as const).filter((topic) => topics.has(topic))
    const settled =
      settledTopics.length > 0
        ? reading(this.#settled, from && new PastOfLanes(this.#past, from.settled, settledTopics))
        : undefined
    const stats = topics.has('stats') ? reading(this.#stats, undefined) : undefined
    const readings = [log, settled, stats].filter((each) => each !== undefined)
    const forget = topics.has('actor') ? this.#actors.listen(sink) : () => {}
    for (const each of readings) each.run().catch((error: unknown) => this.#context.fail(error))
    return {
      get cursor() {
        const logged = (log ?? settled ?? stats)?.cursor ?? clock.now() - CURSOR_DELAY_MS
        return { logged, settled: settled?.cursor ?? logged }
      },
      async ready() {
        await Promise.race([Promise.all(readings.map((each) => each.ready())), clock.sleep(FOLLOW_READY_MS)])
      },
      end() {
        for (const each of readings) each.end()
        forget()
      },
    }
  }
}

/** The same as one for each topic: who takes them slowly takes more at a time. */
function together(happened: readonly Happened[]): Happened[] {
  const byTopic = Map.groupBy(happened, ({ topic }) => topic)
  return [...byTopic].map(([topic, each]) => ({ topic, items: each.flatMap(({ items }) => items) }))
}

function loggedItem({ id, preview }: LoggedHead): object {
  return { id, at: atOf(id), ...preview }
}

function deliveredItem({ id, deliveredAt, attempts, preview }: DeliveredHead, deliveredTo: string): object {
  return { id, at: atOf(id), deliveredTo, deliveredAt: isoOf(deliveredAt), attempts, ...preview }
}

function deadItem({ id, deadAt, reason, attempts, lastError, preview }: DeadHead): object {
  const error = lastError.slice(0, ERROR_CHARACTERS).toWellFormed()
  return { id, at: atOf(id), deadAt: isoOf(deadAt), reason, attempts, lastError: error, ...preview }
}

type ActorItem = Pick<ActorEntry, 'name' | 'role' | 'node' | 'state' | 'pid' | 'restarts'>

function actorItem({ name, role, node, state, pid, restarts }: ActorEntry): ActorItem {
  return { name, role, node, state, pid, restarts }
}

function isoOf(time: number): string {
  return new Date(time).toISOString()
}
