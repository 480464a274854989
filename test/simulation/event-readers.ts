/**
 * Readers of events. They are cut, are slow, stay away for a while, and resume with their cursor at any facade. What
 * they were given is judged at the end: nothing missed, and nothing given again that lies before their cursor.
 */
import { type ServerEvent, serverEvents } from '../../src/commands/server-events.ts'
import { cursorText, parseCursor } from '../../src/http/events.ts'
import { CURSOR_DELAY_MS } from '../../src/runtime/timings.ts'
import { timeOf } from '../../src/storage/ids.ts'
import type { EventStreams } from './event-streams.ts'
import { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'
import { passUntil } from './waiting.ts'

/** Readers of a history. */
const COUNT = 2
/** All that happened is given so long after everything has recovered. */
const GIVEN_MS = 40_000
/** How far a reader's cursor is behind what it is given, when nothing is wrong: the delay, and some time to look. */
const BEHIND_MS = CURSOR_DELAY_MS + 2000
const CONNECT_MS = { min: 20, max: 100 }
const AWAY_MS = { min: 200, max: 6000 }
const STAY_MS = { min: 100, max: 10_000 }
const SLOW_MS = { min: 50, max: 1500 }
/** Parts of the connections: those that are slow, and those after which the reader stays away. */
const SLOW = 0.3
const AWAY = 0.3
/** A cursor that is older than anything that is kept. */
const LONG_AGO = cursorText({ logged: 0, settled: 0 })

/** What is wrong in the world of a reader, to see whether it is caught. */
export interface EventBugs {
  /** A cursor lies so much later than it should. */
  cursorAheadMs?: number
  /** These frames are not sent. */
  loses?: (frame: string) => boolean
}

/** What there is at the end. */
export interface Expected {
  logged: readonly string[]
  delivered: readonly string[]
  dead: readonly string[]
  /** What a repeat of a post may have stored, or delivered, under ids from before: it may come again. */
  late: ReadonlySet<string>
}

type Topic = 'logged' | 'delivered' | 'dead'

const TOPICS: readonly Topic[] = ['logged', 'delivered', 'dead']

interface Item {
  id: string
  deliveredAt?: string
  deadAt?: string
}

/** All readers of one history. */
export class EventReaders {
  readonly #scheduler: Scheduler
  readonly #readers: EventReader[]

  constructor(options: { scheduler: Scheduler; streams: EventStreams; rng: Rng; bugs: EventBugs }) {
    this.#scheduler = options.scheduler
    this.#readers = Array.from({ length: COUNT }, (_, index) => new EventReader(`reader-${index}`, options))
  }

  /** True when all have been connected. */
  readonly areReading = () => this.#readers.every(({ cursor }) => cursor !== undefined)

  /** From now on they stay, and take what comes. Resolves when they are connected. */
  async settle(): Promise<void> {
    for (const reader of this.#readers) reader.settle()
    await this.#scheduler.pass(AWAY_MS.max + SLOW_MS.max)
  }

  /** @returns What is wrong, in words. */
  async judge(expected: Expected): Promise<string[]> {
    await passUntil(this.#scheduler, GIVEN_MS, () =>
      this.#readers.every((reader) => reader.missed(expected).length === 0),
    )
    return this.#readers.flatMap((reader) => reader.wrongs(expected))
  }
}

class EventReader {
  readonly #name: string
  readonly #scheduler: Scheduler
  readonly #streams: EventStreams
  readonly #rng: Rng
  readonly #bugs: EventBugs
  readonly #process: SimProcess
  /** Ids that it was given. */
  readonly #given: Record<Topic, Set<string>> = { logged: new Set(), delivered: new Set(), dead: new Set() }
  /** What was given again although it lies before the cursor: in words, by id. */
  readonly #repeats = new Map<string, string>()
  /** Its first cursor is older than what is kept: it, and nobody else, is told of a gap. */
  readonly #isLate: boolean
  #gapCount = 0
  #isSettled = false
  /** How far the cursor was behind the last item of each topic, ms; since it is settled. */
  readonly #behindMs = new Map<Topic, number>()
  cursor: string | undefined

  constructor(
    name: string,
    {
      scheduler,
      streams,
      rng,
      bugs,
    }: { scheduler: Scheduler; streams: EventStreams; rng: Rng; bugs: EventBugs },
  ) {
    this.#name = name
    this.#scheduler = scheduler
    this.#streams = streams
    this.#rng = rng.fork()
    this.#bugs = bugs
    this.#process = new SimProcess(scheduler, name, { name, clockOffsetMs: 0, boot: 1 }, rng.fork())
    this.#isLate = this.#rng.chance(0.3)
    void this.#run()
  }

  settle(): void {
    this.#isSettled = true
  }

  /** What it was not given. */
  missed(expected: Expected): string[] {
    return TOPICS.flatMap((topic) =>
      expected[topic].filter((id) => !this.#given[topic].has(id)).map((id) => `${topic} ${id}`),
    )
  }

  wrongs(expected: Expected): string[] {
    const missed = this.missed(expected)
    const repeats = [...this.#repeats].filter(([id]) => !expected.late.has(id)).map(([, what]) => what)
    const wrongs = repeats.slice(0, 1)
    if (missed.length > 0) wrongs.push(`missed ${missed.length}: ${missed.slice(0, 3).join(', ')}`)
    if (this.#isLate !== this.#gapCount > 0) wrongs.push(`told of ${this.#gapCount} gaps`)
    // The last dead letter may be from before it was connected for good.
    for (const topic of ['logged', 'delivered'] as const) {
      const ms = this.#behindMs.get(topic) ?? Number.POSITIVE_INFINITY
      if (!(ms <= BEHIND_MS)) wrongs.push(`its cursor is ${ms} ms behind what is ${topic}`)
    }
    return wrongs.map((what) => `${this.#name}: ${what}`)
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#pause(CONNECT_MS)
      const names = this.#streams.names()
      if (names.length === 0) continue
      const stream = this.#streams.connect(this.#rng.pick(names), this.#process, {
        ...{ cursor: this.#cursorToSend(), rng: this.#rng },
      })
      const stayMs = this.#rng.between(STAY_MS.min, STAY_MS.max)
      this.#process.clock.after(stayMs, () => {
        if (!this.#isSettled) stream.cut()
      })
      const isSlow = this.#rng.chance(SLOW)
      for await (const event of serverEvents(stream)) {
        this.#take(event)
        if (isSlow && !this.#isSettled) await this.#pause(SLOW_MS)
      }
      if (!this.#isSettled && this.#rng.chance(AWAY)) await this.#pause(AWAY_MS)
    }
  }

  #cursorToSend(): string | undefined {
    if (this.cursor === undefined) return this.#isLate ? LONG_AGO : undefined
    const { cursorAheadMs = 0 } = this.#bugs
    const { logged, settled } = parseCursor(this.cursor)!
    return cursorText({ logged: logged + cursorAheadMs, settled: settled + cursorAheadMs })
  }

  #take({ event, id, data }: ServerEvent): void {
    const before = parseCursor(this.cursor ?? id!)!
    this.cursor = id
    if (event === 'gap') this.#gapCount++
    if (!isTopic(event)) return
    const now = parseCursor(id!)!
    const of = event === 'logged' ? 'logged' : 'settled'
    for (const item of data as Item[]) {
      this.#scheduler.note(`${this.#name} is given ${event} ${item.id}`)
      const at = event === 'logged' ? timeOf(item.id) : Date.parse(item.deliveredAt ?? item.deadAt!)
      if (this.#given[event].has(item.id) && at < before[of]) {
        const what = `given again: ${event} ${item.id}, ${before[of] - at} ms before its cursor`
        this.#repeats.set(item.id, what)
      }
      this.#given[event].add(item.id)
      if (this.#isSettled) this.#behindMs.set(event, at - now[of])
    }
  }

  #pause({ min, max }: { min: number; max: number }): Promise<void> {
    return this.#process.clock.sleep(this.#rng.between(min, max))
  }
}

function isTopic(event: string | undefined): event is Topic {
  return TOPICS.some((topic) => topic === event)
}
