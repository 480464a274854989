/**
 * Clients of a simulated Mailroom. No fault hits them. They post single messages, batches, and batches with keys
 * (repeated until the outcome is known), read both lists, follow the log, and record every answer.
 */

import type { DeadChanged, Found, Redriven, Restored } from '../../src/actors/protocol.ts'
import { isMailroomError, MailroomError } from '../../src/runtime/errors.ts'
import { POST_DEADLINE_MS } from '../../src/runtime/timings.ts'
import { MIN_ID } from '../../src/storage/ids.ts'
import type { Dead, Message, Receipt } from '../../src/storage/ports.ts'
import type { FinalRead } from '../support/checker.ts'
import { History } from '../support/history.ts'
import { PUBLIC, type ReadHalf } from './boot.ts'
import type { Network } from './network.ts'
import { POISONS } from './poison.ts'
import { SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'

const TIMEOUT_MS = POST_DEADLINE_MS + 1000
const PAUSE_MS = { min: 20, max: 250 }
const READ_PAUSE_MS = { min: 300, max: 900 }
const FOLLOW_LIMIT = 40
const KEY_TRIES = 40
const REDRIVE_LIMIT = { min: 5, max: 40 }

/** How clients behave. */
export interface ClientOptions {
  scheduler: Scheduler
  network: Network
  rng: Rng
  posters: number
  /** Part of the messages that are poison. */
  poison: number
}

/** All clients of one run. */
export class Clients {
  readonly history = new History()
  /** Ids that followers of the log may miss. */
  readonly excused = new Set<string>()
  /** Posts that have not been answered. */
  posting = 0
  /** Told with each post that leaves, for faults that wait for one. */
  onPost: () => void = () => {}
  readonly #options: ClientOptions
  readonly #process: SimProcess
  readonly #rng: Rng
  /** Where each follower is. */
  readonly #followers: { cursor: string; seen: Set<string> }[] = []
  /** Texts by their idempotency key. */
  readonly #keyed = new Map<string, readonly string[]>()
  #running: Promise<void>[] = []
  #stopped = false
  #count = 0

  constructor(options: ClientOptions) {
    this.#options = options
    this.#rng = options.rng
    const outside = { name: 'outside', clockOffsetMs: 0, boot: 1 }
    this.#process = new SimProcess(options.scheduler, 'client', outside, options.rng.fork())
  }

  start(): void {
    this.#stopped = false
    for (let index = 0; index < this.#options.posters; index++) this.#running.push(this.#post())
    this.#running.push(this.#read(), this.#follow())
  }

  /** Takes nothing new on; resolves when all that was begun has ended. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
    this.#running = []
  }

  /** Single messages, one after the other, none of them poison. */
  async postPlainly(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      await this.#postSingle(`text ${++this.#count}`)
      await this.pause(PAUSE_MS)
    }
  }

  /**
   * What the command does: page after page of the log, each asked for again until it is answered.
   *
   * @param goOn Asked when a page was not answered.
   * @returns How many messages were put back, as far as that was told: not by pages that were asked for again.
   * Undefined when it did not go on.
   */
  async redrive(goOn: () => boolean): Promise<{ count: number; allTold: boolean } | undefined> {
    const limit = REDRIVE_LIMIT.min + this.#rng.below(REDRIVE_LIMIT.max - REDRIVE_LIMIT.min)
    return this.#pageByPage(goOn, async (after) => {
      const { redriven, last } = (await this.#ask('redrive', [{ after, limit }])) as Redriven
      return { count: redriven, last }
    })
  }

  async #pageByPage(
    goOn: () => boolean,
    ask: (after: string) => Promise<{ count: number; last: string | null }>,
  ): Promise<{ count: number; allTold: boolean } | undefined> {
    const told = { count: 0, allTold: true }
    for (let after: string | null = MIN_ID; after !== null; ) {
      try {
        const { count, last } = await ask(after)
        told.count += count
        after = last
      } catch (error) {
        if (!isMailroomError(error)) throw error
        if (!goOn()) return undefined
        told.allTold = false
        await this.pause(PAUSE_MS)
      }
    }
    return told
  }

  /** What the queue has and the log lacks, page after page, as the command does. @returns False when it did not go on. */
  async restore(goOn: () => boolean): Promise<boolean> {
    for (let next: Restored['next'] = { lane: 0, after: MIN_ID }; next !== null; ) {
      try {
        next = ((await this.#ask('restore', [{ ...next, limit: REDRIVE_LIMIT.max }])) as Restored).next
      } catch (error) {
        if (!isMailroomError(error)) throw error
        if (!goOn()) return false
        await this.pause(PAUSE_MS)
      }
    }
    return true
  }

  /** All dead letters; undefined when they cannot be had now. */
  async deadLetters(): Promise<Dead[] | undefined> {
    return (await this.#askOnce('dead', [])) as Dead[] | undefined
  }

  /**
   * What the command does with `--all`: page after page, each asked for again until it is answered.
   *
   * @param limit Letters of a page.
   * @returns As `redrive`, of those replayed or purged.
   */
  changeDead(
    change: 'replay' | 'purge',
    { limit, goOn }: { limit: number; goOn: () => boolean },
  ): Promise<{ count: number; allTold: boolean } | undefined> {
    return this.#pageByPage(goOn, async (after) => {
      const { changed, last } = (await this.#ask('changeDead', [change, { after, limit }])) as DeadChanged
      return { count: changed, last }
    })
  }

  /** Asks until it is answered. */
  async setPaused(paused: boolean): Promise<void> {
    for (;;) {
      try {
        await this.#ask('setPaused', [paused])
        return
      } catch (error) {
        if (!isMailroomError(error)) throw error
        await this.pause(PAUSE_MS)
      }
    }
  }

  /** @returns What was answered; undefined when it is not known whether it was done. */
  replay(id: string): Promise<boolean | undefined> {
    return this.#askOnce('replay', [id]) as Promise<boolean | undefined>
  }

  /** @returns As `replay`. */
  purge(id: string): Promise<boolean | undefined> {
    return this.#askOnce('purge', [id]) as Promise<boolean | undefined>
  }

  /** Texts that were posted with one of these keys. */
  textsWith(keys: ReadonlySet<string>): Set<string> {
    return new Set([...this.#keyed].flatMap(([key, texts]) => (keys.has(key) ? texts : [])))
  }

  /** Both lists, the dead letters; all followers are at the end then. Undefined when it cannot be had now. */
  async finalRead(stores: readonly string[]): Promise<Omit<FinalRead, 'pending'> | undefined> {
    try {
      const { logged } = await this.#lists(null)
      if (!logged.whole) return undefined
      const read = new Map<string, Message[]>()
      for (const name of stores) {
        const range = { after: MIN_ID, limit: 1000 }
        read.set(name, (await this.#ask('store', [name, range])) as Message[])
      }
      const dead = ((await this.#ask('dead', [])) as Dead[]).map(({ id }) => id)
      this.history.followed.length = 0
      for (const follower of this.#followers) {
        // From where it is to the end: nothing comes in any more, so the last id is as good as a cursor.
        for (let items: Message[] | undefined; items === undefined || items.length === FOLLOW_LIMIT; ) {
          items = await this.#followOn(follower)
          follower.cursor = items.at(-1)?.id ?? follower.cursor
        }
        this.history.followed.push(follower.seen)
      }
      return { logged: logged.messages, stores: read, dead }
    } catch (error) {
      if (isMailroomError(error)) return undefined
      throw error
    }
  }

  async #post(): Promise<void> {
    while (!this.#stopped) {
      const kind = this.#rng.next()
      if (kind < 0.7) await this.#postSingle()
      else if (kind < 0.85) await this.#postBatch()
      else if (kind < 0.95) await this.#postKeyed()
      else await this.#postAsSource()
      await this.pause(PAUSE_MS)
    }
  }

  async #postSingle(text = this.#text()): Promise<void> {
    const receipt = (await this.#attempt('post', [text], [text])) as Receipt | undefined
    if (receipt === undefined) return
    this.#acknowledge([receipt], [text])
    if (this.#rng.chance(0.15)) await this.#lookUp(receipt.id)
  }

  async #postBatch(): Promise<void> {
    const texts = Array.from({ length: 2 + this.#rng.below(4) }, () => this.#text())
    const receipts = (await this.#attempt('postBatch', [texts, null], texts)) as Receipt[] | undefined
    if (receipts !== undefined) this.#acknowledge(receipts, texts)
  }

  /** Until it is known; then perhaps once more, which must answer the same. */
  async #postKeyed(): Promise<void> {
    const texts = Array.from({ length: 1 + this.#rng.below(3) }, () => this.#text())
    const key = { value: `key-${texts[0]!.replaceAll(' ', '-')}`, hash: 'hash' }
    this.#keyed.set(key.value, texts)
    let again = this.#rng.chance(0.3) ? 2 : 1
    for (let turn = 0; turn < KEY_TRIES && again > 0; turn++) {
      const receipts = (await this.#attempt('postBatch', [texts, key], texts)) as Receipt[] | undefined
      if (receipts === undefined) {
        await this.pause({ min: 50, max: 600 })
        continue
      }
      this.#acknowledge(receipts, texts)
      // A repeat may store what the first attempt began, under ids that followers have passed: said in the docs.
      if (turn > 0) this.#excuse(receipts)
      again--
    }
  }

  /** A webhook: each attempt has another body under the same id. */
  async #postAsSource(): Promise<void> {
    const first = this.#text()
    const bodies = new Set([first])
    this.history.bodies.set(first, bodies)
    const key = { value: ` in:${first}`, hash: '' }
    this.#keyed.set(key.value, [first])
    let again = this.#rng.chance(0.3) ? 2 : 1
    let body = first
    for (let turn = 0; turn < KEY_TRIES && again > 0; turn++) {
      const receipts = (await this.#attempt('postBatch', [[body], key], [body])) as Receipt[] | undefined
      body = `${first} again ${turn}`
      bodies.add(body)
      if (receipts === undefined) {
        await this.pause({ min: 50, max: 600 })
        continue
      }
      this.#acknowledge(receipts, [first])
      if (turn > 0) this.#excuse(receipts)
      again--
    }
  }

  #excuse(receipts: readonly Receipt[]): void {
    for (const { id } of receipts) {
      this.excused.add(id)
      for (const { seen } of this.#followers) seen.add(id)
    }
  }

  /** One attempt; undefined when it was not acknowledged. */
  async #attempt(method: string, args: unknown[], texts: readonly string[]): Promise<unknown> {
    const { history } = this
    const isFirst = !history.attempted.has(texts[0]!)
    for (const text of texts) history.attempted.add(text)
    const startedAt = this.#options.scheduler.now
    this.posting++
    this.onPost()
    try {
      return await this.#ask(method, args)
    } catch (error) {
      if (!isMailroomError(error)) throw error
      const { now } = this.#options.scheduler
      for (const text of texts) {
        history.failures.push({ how: error.code, text, at: now, tookMs: now - startedAt })
        // One that leaves doubt leaves it for good.
        if (error.outcome !== 'none') history.denied.delete(text)
        else if (isFirst) history.denied.add(text)
      }
      return undefined
    } finally {
      this.posting--
    }
  }

  #acknowledge(receipts: readonly Receipt[], texts: readonly string[]): void {
    const { scheduler } = this.#options
    for (const [index, { id }] of receipts.entries()) {
      scheduler.note(`acknowledged ${id} ${texts[index]}`)
      this.history.denied.delete(texts[index]!)
      this.history.acknowledge(id, texts[index]!, scheduler.now)
    }
  }

  /** Read your writes, by id. */
  async #lookUp(id: string): Promise<void> {
    const beganAt = this.#options.scheduler.now
    try {
      const found = (await this.#ask('find', [id])) as Found | null
      const above = id.slice(0, -1) + String.fromCharCode(id.charCodeAt(id.length - 1) - 1)
      if (found === null) this.history.logReads.push({ beganAt, ids: [], above, upTo: id })
    } catch (error) {
      if (!isMailroomError(error)) throw error
    }
  }

  async #read(): Promise<void> {
    while (!this.#stopped) {
      await this.pause(READ_PAUSE_MS)
      const limit = this.#rng.chance(0.5) ? null : 10
      const beganAt = this.#options.scheduler.now
      try {
        const { logged, delivered } = await this.#lists(limit)
        const ids = logged.messages.map(({ id }) => id)
        const above = limit !== null && ids.length >= limit ? ids[0]! : ''
        if (logged.whole) this.history.logReads.push({ beganAt, ids, above })
        this.history.deliveredReads.push(delivered.messages.map(({ id }) => id))
      } catch (error) {
        if (!isMailroomError(error)) throw error
      }
    }
  }

  async #follow(): Promise<void> {
    const follower = { cursor: MIN_ID, seen: new Set<string>() }
    this.#followers.push(follower)
    while (!this.#stopped) {
      await this.pause(READ_PAUSE_MS)
      await this.#followOn(follower).catch((error: unknown) => {
        if (!isMailroomError(error)) throw error
      })
    }
  }

  async #followOn(follower: { cursor: string; seen: Set<string> }): Promise<Message[]> {
    const { items, next } = (await this.#ask('follow', [follower.cursor, FOLLOW_LIMIT])) as {
      items: Message[]
      next: string
    }
    for (const { id } of items) follower.seen.add(id)
    follower.cursor = next
    return items
  }

  #lists(limit: number | null): Promise<{ logged: ReadHalf; delivered: ReadHalf }> {
    return this.#ask('lists', [limit]) as Promise<{ logged: ReadHalf; delivered: ReadHalf }>
  }

  /** As `#ask`; undefined when it fails. */
  async #askOnce(method: string, args: unknown[]): Promise<unknown> {
    try {
      return await this.#ask(method, args)
    } catch (error) {
      if (!isMailroomError(error)) throw error
      return undefined
    }
  }

  /** Any facade that listens. */
  async #ask(method: string, args: unknown[]): Promise<unknown> {
    const { network } = this.#options
    const addresses = network.addresses(PUBLIC)
    if (addresses.length === 0) {
      await this.#process.clock.sleep(20)
      throw new MailroomError('MR_PEER_LOST', { peer: 'any facade', reason: 'refused' }, { outcome: 'none' })
    }
    return network.call(this.#process, this.#rng.pick(addresses), method, args, TIMEOUT_MS)
  }

  #text(): string {
    const { poison } = this.#options
    const kind = poison > 0 && this.#rng.chance(poison) ? this.#rng.pick(POISONS) : 'text'
    return `${kind} ${++this.#count}`
  }

  /** Any time between two, on the clients' clock. */
  pause({ min, max }: { min: number; max: number }): Promise<void> {
    return this.#process.clock.sleep(this.#rng.between(min, max))
  }
}
