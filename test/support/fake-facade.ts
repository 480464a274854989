/** A facade in memory, with switches for what can go wrong behind it. */

import { searchLog } from '../../src/actors/logging/search.ts'
import type {
  DeadChanged,
  DeadCounts,
  EventCursor,
  EventSink,
  Facade,
  Following,
  Found,
  Lists,
  LogFound,
  LogSearch,
  Look,
  Redriven,
  Restored,
  Topic,
  Wait,
} from '../../src/actors/protocol.ts'
import type { Clock, Random } from '../../src/runtime/clock.ts'
import type { ActorEntry, Role } from '../../src/runtime/cluster/directory.ts'
import { NodeFigures } from '../../src/runtime/cluster/node-figures.ts'
import { MailroomError } from '../../src/runtime/errors.ts'
import type { Point } from '../../src/runtime/history.ts'
import type { Loss } from '../../src/runtime/losses.ts'
import type { MetricsFormat } from '../../src/runtime/metrics.ts'
import { type Stats, statsOf } from '../../src/runtime/stats.ts'
import { CURSOR_DELAY_MS } from '../../src/runtime/timings.ts'
import { isMeant } from '../../src/storage/dead-filter.ts'
import { groupsOf } from '../../src/storage/dead-groups.ts'
import { idGenerator } from '../../src/storage/ids.ts'
import { PAGE_MAX_BYTES } from '../../src/storage/limits.ts'
import { firstBytes } from '../../src/storage/paging.ts'
import type {
  ClusterState,
  Dead,
  DeadFilter,
  IdempotencyKey,
  Logged,
  Message,
  Range,
  Receipt,
} from '../../src/storage/ports.ts'

/** Everything posted is logged, and delivered to `messages-1` at once. */
export class FakeFacade implements Facade {
  draining = false
  /** Thrown by every call that is not only a look at what is known. */
  fault: unknown
  /** While set, posts wait for it before they are stored. */
  hold: Promise<void> | undefined
  /** Thrown by `pages` of the named half, after its first page. */
  brokenHalf: 'logged' | 'delivered' | undefined
  #looking = 0
  /** Texts that were read at once by those who only look where a message is. */
  mostLooking = 0
  /** What `find` shows. */
  isDelivered = true
  /** What is shown of a message that is not delivered, beyond that. */
  trouble: Partial<Found> = {}
  /** Waits whose reader went away. */
  goneCount = 0
  /** The pages of the log that can be had. */
  goodPages = Number.POSITIVE_INFINITY
  readonly pages: Range[] = []
  degradedThings: string[] = []
  damagedThings: string[] = []
  clusterStates: ClusterState[] = []
  warned: string[] = []
  readonly missingThings: string[] = []
  readonly messages: Message[] = []
  readonly deadLetters: Dead[] = []
  readonly lossesOfClusters: Loss[] = []
  /** Ids that the queue has lost. */
  readonly lost = new Set<string>()
  readonly deadlines: number[] = []
  readonly batches: string[][] = []
  readonly keys: IdempotencyKey[] = []
  paused = false
  /** Where `deadGroups` says that it goes on. */
  nextGroups: DeadCounts['next'] = null
  readonly redelivered: string[] = []
  readonly followers = new Set<{
    topics: ReadonlySet<Topic>
    from: EventCursor | undefined
    sink: EventSink
    cursor: EventCursor
  }>()
  /** A new follower is ready when it resolves. */
  followReady: Promise<void> | undefined
  readonly waits: number[] = []
  readonly scaled: [Role, number][] = []
  readonly restarted: Role[] = []
  /** The most posts that ran at once. */
  mostAtOnce = 0
  #running = 0
  readonly #keys = new Map<string, { hash: string; receipts?: Receipt[] }>()
  readonly #clock: Clock
  readonly #nextIds: (count: number) => string[]

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#nextIds = idGenerator(clock, random)
  }

  async post(text: string, deadlineAt: number): Promise<Receipt> {
    return (await this.#store([text], deadlineAt))[0]!
  }

  async postBatch(
    texts: readonly string[],
    { deadlineAt, key }: { deadlineAt: number; key?: IdempotencyKey },
  ): Promise<Receipt[]> {
    if (key === undefined) return this.#store(texts, deadlineAt)
    this.keys.push(key)
    const first = this.#keys.get(key.value)
    if (first !== undefined && first.hash !== key.hash)
      throw new MailroomError('MR_KEY_REUSED', { key: key.value })
    if (first !== undefined) {
      if (first.receipts === undefined) throw new MailroomError('MR_KEY_BUSY', { key: key.value })
      return first.receipts.map(({ id }) => ({ id, replayed: true }))
    }
    const entry: { hash: string; receipts?: Receipt[] } = { hash: key.hash }
    this.#keys.set(key.value, entry)
    entry.receipts = await this.#store(texts, deadlineAt)
    return entry.receipts
  }

  async #look(): Promise<void> {
    this.mostLooking = Math.max(this.mostLooking, ++this.#looking)
    await new Promise((resolve) => setImmediate(resolve))
    this.#looking--
  }

  async redeliver(id: string, look?: Look): Promise<boolean> {
    this.#fail()
    await look?.(() => this.#look())
    this.redelivered.push(id)
    return this.messages.some((message) => message.id === id)
  }

  async isPaused(): Promise<boolean> {
    this.#fail()
    return this.paused
  }

  async setPaused(paused: boolean): Promise<void> {
    this.#fail()
    this.paused = paused
  }

  async lists(limit = Number.POSITIVE_INFINITY): Promise<Lists> {
    this.#fail()
    const newest = this.messages.slice(-limit)
    const half = (name: 'logged' | 'delivered') => {
      let ended = false
      const isBroken = () => this.brokenHalf === name
      async function* pages() {
        for (let from = 0; from < newest.length; from += 1000) {
          yield newest.slice(from, from + 1000)
          if (isBroken()) throw new Error('the page after the first')
        }
        ended = true
      }
      return { pages: pages(), whole: () => ended }
    }
    return { logged: half('logged'), delivered: half('delivered'), deliveredTo: 'messages-1' }
  }

  /** Gives what happens to all who follow its topic. */
  happen(topic: Topic, items: readonly object[]): void {
    const happened = { topic, items }
    for (const { topics, sink } of this.followers) if (topics.has(topic)) sink.live(happened)
  }

  follow(topics: ReadonlySet<Topic>, from: EventCursor | undefined, sink: EventSink): Following {
    const follower = {
      topics,
      from,
      sink,
      cursor: from ?? {
        logged: this.#clock.now() - CURSOR_DELAY_MS,
        settled: this.#clock.now() - CURSOR_DELAY_MS,
      },
    }
    this.followers.add(follower)
    return {
      get cursor() {
        return follower.cursor
      },
      ready: async () => {
        await this.followReady
      },
      end: () => this.followers.delete(follower),
    }
  }

  async logPage(range: Range): Promise<Message[]> {
    this.#fail()
    this.pages.push(range)
    if (this.pages.length > this.goodPages) throw new Error('a page too many')
    return firstBytes(pageOf(this.messages, range), PAGE_MAX_BYTES)
  }

  searchLog(range: Range, search: LogSearch): Promise<LogFound> {
    return searchLog(
      { page: async (part) => this.#logged(await this.logPage(part)) },
      this.#clock,
      range,
      search,
    )
  }

  #logged(page: Message[]): Logged[] {
    return page.map((message) => ({ ...message, lane: 0 }))
  }

  async deadGroups(): Promise<DeadCounts> {
    this.#fail()
    const counted = this.deadLetters.length
    return { groups: groupsOf(this.deadLetters), counted, others: 0, next: this.nextGroups }
  }

  async storePage(name: string, range: Range): Promise<Message[]> {
    this.#fail()
    if (name !== 'messages-1') throw new MailroomError('MR_NOT_FOUND', { what: `messages actor ${name}` })
    return firstBytes(pageOf(this.messages, range), PAGE_MAX_BYTES)
  }

  /** A wait is over at once. */
  async find(id: string, wait?: Wait): Promise<Found | undefined> {
    this.waits.push(wait?.waitMs ?? 0)
    wait?.gone.addEventListener('abort', () => this.goneCount++)
    this.#fail()
    await wait?.look?.(() => this.#look())
    const message = this.messages.find((one) => one.id === id)
    if (message === undefined) return undefined
    await this.hold
    const errors = { firstError: null, lastError: null }
    const fine = { ...errors, heldBy: 'messages-1', nextAttemptAt: null, outage: null, paused: false }
    if (!this.isDelivered) {
      const place = { state: 'queued', deliveredAt: null, deliveredTo: null, attempts: 0 } as const
      return { ...message, ...place, ...fine, ...this.trouble }
    }
    const deliveredAt = this.#clock.now()
    return { ...message, state: 'delivered', deliveredAt, deliveredTo: 'messages-1', attempts: 1, ...fine }
  }

  async metrics(format: MetricsFormat): Promise<string> {
    this.#fail()
    return `# ${format}\n`
  }

  async stats(): Promise<Stats> {
    this.#fail()
    const figures = new NodeFigures({
      ...{ node: 'here', version: 'test', data: '', target: undefined, clock: this.#clock },
      actors: () => this.actors(),
      isReady: () => true,
    })
    return statsOf([figures.totals()], this.actors(), this.#clock.now())
  }

  async history(): Promise<Point[]> {
    this.#fail()
    return []
  }

  actors(): readonly ActorEntry[] {
    const mailbox = { depth: 1, capacity: 20_000, refused: 2 }
    const life = {
      node: 'here',
      pid: 7,
      restarts: 0,
      mailbox,
      handled: 3,
      missing: [],
      address: '127.0.0.1:1',
    }
    return [
      { ...life, name: 'facade-1', role: 'facade', state: 'ready' },
      {
        ...life,
        name: 'messages-1',
        role: 'messages',
        state: 'draining',
        lanes: { 0: 4, 3: 5 },
        oldestAt: 0,
        dead: 6,
        ...{
          retrying: 4,
          lastFailure: { id: '0'.repeat(26), target: 'the handler', at: 0, error: 'Error: no' },
        },
        outage: { target: 'the handler', since: 0, why: 'refused', nextProbeAt: 1000 },
      },
      { ...life, name: 'messages-2', role: 'messages', state: 'starting' },
    ]
  }

  async scale(role: Role, count: number): Promise<readonly ActorEntry[]> {
    this.#fail()
    this.scaled.push([role, count])
    return this.actors()
  }

  async restart(role: Role): Promise<readonly ActorEntry[]> {
    this.#fail()
    this.restarted.push(role)
    return this.actors()
  }

  async dead({ after = '', limit }: { after?: string; limit: number }): Promise<Dead[]> {
    this.#fail()
    return firstBytes(this.deadLetters.filter(({ id }) => id > after).slice(0, limit), PAGE_MAX_BYTES)
  }

  async deadOne(id: string): Promise<Dead | undefined> {
    return this.deadLetters.find((letter) => letter.id === id)
  }

  async replay(id: string): Promise<boolean> {
    return this.purge(id)
  }

  async purge(id: string): Promise<boolean> {
    const index = this.deadLetters.findIndex((letter) => letter.id === id)
    return index !== -1 && this.deadLetters.splice(index, 1).length === 1
  }

  async changeDead(
    _change: 'replay' | 'purge',
    { after = '', limit, ...filter }: { after?: string; limit: number } & DeadFilter,
  ): Promise<DeadChanged> {
    this.#fail()
    const page = this.deadLetters.filter(({ id }) => id > after).slice(0, limit)
    const meant = page.filter((letter) => isMeant(filter, letter))
    for (const { id } of meant) await this.purge(id)
    const last = page.length < limit ? null : page.at(-1)!.id
    return { checked: page.length, changed: meant.length, last }
  }

  async redrive({ after = '', limit }: { after?: string; limit: number }): Promise<Redriven> {
    this.#fail()
    const page = pageOf(this.messages, { after, limit })
    const redriven = page.filter(({ id }) => this.lost.delete(id)).length
    return { checked: page.length, redriven, last: page.length < limit ? null : page.at(-1)!.id }
  }

  /** What `restore` was asked for, and what it answers. */
  readonly restores: Parameters<Facade['restore']>[0][] = []
  restored: Restored = { checked: 0, restored: 0, lost: 0, next: null }

  async restore(range: Parameters<Facade['restore']>[0]): Promise<Restored> {
    this.#fail()
    this.restores.push(range)
    return this.restored
  }

  async clusters(): Promise<ClusterState[]> {
    this.#fail()
    return this.clusterStates
  }

  losses(): Loss[] {
    return this.lossesOfClusters
  }

  async confirmLosses(): Promise<Loss[]> {
    this.#fail()
    return this.lossesOfClusters.splice(0)
  }

  missing(): string[] {
    return this.missingThings
  }

  degraded(): string[] {
    return this.degradedThings
  }

  restoring(): string[] {
    return []
  }

  damaged(): string[] {
    return this.damagedThings
  }

  warnings(): string[] {
    return this.warned
  }

  async #store(texts: readonly string[], deadlineAt: number): Promise<Receipt[]> {
    this.deadlines.push(deadlineAt)
    this.#fail()
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#running)
    await this.hold
    this.#running--
    this.#fail()
    this.batches.push([...texts])
    const ids = this.#nextIds(texts.length)
    ids.forEach((id, index) => {
      this.messages.push({ id, text: texts[index]! })
    })
    return ids.map((id) => ({ id, replayed: false }))
  }

  #fail(): void {
    if (this.fault !== undefined) throw this.fault
  }
}

function pageOf(messages: readonly Message[], { before, after, limit }: Range): Message[] {
  const inside = messages.filter(
    ({ id }) => (before === undefined || id < before) && (after === undefined || id > after),
  )
  return after === undefined ? inside.reverse().slice(0, limit) : inside.slice(0, limit)
}
