/**
 * What happens, for readers who follow it. Two feeds, the log and what lanes settle, are read once for all readers, and only
 * while there are any. A reader that resumes reads by itself what it has missed, then joins the feed:
 *
 *   cursor ──pages──▶ 5 s ago ──▶ the end ──▶ what the feed has given since that read began ──▶ live
 *
 * A cursor is an instant: all that was logged before it, or settled before it, was given. It stays `CURSOR_DELAY_MS` behind
 * the last read that reached the end, as what is stored becomes visible up to that much after the time it carries.
 *
 * This file joins the two; `follow-feed.ts` reads what happens, `follow-past.ts` what was missed.
 */
import { Semaphore } from 'async-mutex'
import type { Clock } from '../../runtime/clock.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { ActorEntry, Directory } from '../../runtime/cluster/directory.ts'
import { isMailroomError } from '../../runtime/errors.ts'
import { CURSOR_DELAY_MS, FOLLOW_READY_MS, FOLLOW_RETRY_MS, STATS_MS } from '../../runtime/timings.ts'
import type { EventCursor, EventSink, Following, Happened, Topic } from '../protocol.ts'
import { Feed, LogSource, SettledSource, StatsSource } from './follow-feed.ts'
import { Lanes } from './follow-items.ts'
import { type Past, PastOfLanes, PastOfLog, type PastOptions } from './follow-past.ts'
import type { Holders } from './holders.ts'
import type { LoggingPool } from './logging-pool.ts'
import type { ReadTurns } from './turns.ts'

/** Items that are kept for a reader while it reads what it has missed. */
const KEPT_MAX_COUNT = 20_000
/** Reads for readers that resume, at once. */
const RESUMES_AT_ONCE = 2

/** What a follower needs of its facade. */
export interface FollowerOptions {
  logging: LoggingPool
  holders: Holders
  readTurns: ReadTurns
  laneCount: number
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

/** How one reader reads one feed: first what it has missed, then what the feed gives. */
class Reading {
  readonly #options: ReadingOptions
  readonly #gone = new AbortController()
  readonly #leave: () => void
  #isLive = false
  /** What the feed gives while the last of the past is read; undefined when it is not kept, or was too much. */
  #kept: { happened: Happened[]; count: number } | undefined

  constructor(options: ReadingOptions) {
    this.#options = options
    const { feed, topics, sink, past } = options
    this.#isLive = past === undefined
    const unuse = feed.use()
    const unlisten = feed.listen((happened) => {
      if (this.#isLive && topics.has(happened.topic)) sink.live(happened)
      else this.#keep(happened)
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
        if (await this.#catchUp(past)) return
      } catch (error) {
        if (!isMailroomError(error)) throw error // Else what it reads is away: it goes on from where it is.
        await clock.sleep(FOLLOW_RETRY_MS, this.#gone.signal)
      }
    }
  }

  /** @returns False when the feed has given more meanwhile than is kept. */
  async #catchUp(past: Past): Promise<boolean> {
    if (!(await this.#give(past.far()))) return false
    this.#kept = { happened: [], count: 0 }
    if (!(await this.#give(past.near()))) return false
    for (;;) {
      const { happened: missed } = this.#kept ?? {}
      if (missed === undefined) return false
      if (missed.length === 0) {
        this.#kept = undefined
        this.#isLive = true
        return true
      }
      this.#kept = { happened: [], count: 0 }
      for (const happened of together(missed)) await this.#past(happened)
    }
  }

  #keep(happened: Happened): void {
    if (this.#kept === undefined) return
    this.#kept.happened.push(happened)
    this.#kept.count += happened.items.length
    if (this.#kept.count > KEPT_MAX_COUNT) this.#kept = undefined
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

/** The same as one for each topic: who takes them slowly takes more at a time. */
function together(happened: readonly Happened[]): Happened[] {
  const byTopic = Map.groupBy(happened, ({ topic }) => topic)
  return [...byTopic].map(([topic, each]) => ({ topic, items: each.flatMap(({ items }) => items) }))
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

type ActorItem = Pick<ActorEntry, 'name' | 'role' | 'node' | 'state' | 'pid' | 'restarts'>

function actorItem({ name, role, node, state, pid, restarts }: ActorEntry): ActorItem {
  return { name, role, node, state, pid, restarts }
}
