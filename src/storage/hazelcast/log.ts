/** The log on a Hazelcast cluster: one entry a batch; of a batch that was lost and restored, perhaps several. */
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { CURSOR_DELAY_MS, POST_DEADLINE_MS } from '../../runtime/timings.ts'
import { batchKeyOf, idAt, placeOf, timeOf } from '../ids.ts'
import type { Journal } from '../journal.ts'
import { PAGE_MAX_BYTES } from '../limits.ts'
import type {
  LaneBatch,
  Log,
  Logged,
  LogPart,
  LogPosition,
  Message,
  Range,
  Receipt,
  Stored,
  StoreMeter,
} from '../ports.ts'
import { textBytesOf } from '../ports.ts'
import { keyRowOf } from '../records.ts'
import type { Bound } from './bound.ts'
import type { Census } from './census.ts'
import { type Cluster, type ClusterMap, putOnce, throwInDoubt } from './cluster.ts'
import { type LogEntry, loggedOf, NAMES } from './entries.ts'
import { KeyRange } from './key-range.ts'

/** Entries that a follower is given at a time: few, as each may be a largest batch. */
const FOLLOW_COUNT = 8

/** What a log needs. */
export interface HazelcastLogOptions {
  cluster: Cluster
  clock: Clock
  meter?: StoreMeter | undefined
  retentionMs: number
  /** Refuses when the cluster holds as much as it may. */
  bound: Bound
  census: Census
  /** Of this process: a batch is acknowledged when both have it. */
  journal?: Journal | undefined
}

/** Answers `Log`. Keys are not its affair: the queue decides them. */
export class HazelcastLog implements Log {
  readonly #options: HazelcastLogOptions
  readonly #map: ClusterMap
  readonly #messages: KeyRange<Logged>

  constructor(options: HazelcastLogOptions) {
    const { cluster, clock, retentionMs } = options
    this.#options = options
    this.#map = cluster.map(NAMES.log)
    // An entry with gaps may yet be replaced by the whole batch.
    const isFinal = (value: string) => !value.includes('null')
    const prefix = ''
    this.#messages = new KeyRange({ map: this.#map, prefix, clock, retentionMs, itemsOf: loggedOf, isFinal })
  }

  async append(batch: LaneBatch): Promise<Receipt[]> {
    const { messages, lane, deadlineAt } = batch
    const { clock, retentionMs, bound, census, meter, journal } = this.#options
    const [first] = messages as [Message]
    if (clock.monotonic() > deadlineAt) {
      const facts = { what: 'Appending to the log', deadlineMs: POST_DEADLINE_MS }
      throw new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: 'none' })
    }
    bound.checkAdmitted()
    const entry: LogEntry = { lane, texts: messages.map(({ text }) => text) }
    const value = JSON.stringify(entry)
    const beganAt = clock.monotonic()
    // In this order: whatever ends this process, what the cluster shows is in a journal, with its key.
    if (journal !== undefined) await journaled(batch, journal)
    const written = this.#map.set(batchKeyOf(first.id), value, retentionMs)
    await (journal === undefined ? written : written.catch(throwInDoubt))
    meter?.logged(clock.monotonic() - beganAt, messages.length)
    bound.added(value)
    census.note(messages.length)
    return messages.map(({ id }) => ({ id, replayed: false }))
  }

  page(range: Range): Promise<Logged[]> {
    return this.#messages.page(range)
  }

  /** Keys are in the order of ids only, so those of the last seconds are read each time, and entries once. */
  async follow({ after, seen = [] }: LogPosition, limit: number): Promise<LogPart> {
    const youngest = idAt(this.#options.clock.ago(CURSOR_DELAY_MS))
    const from = batchKeyOf(after)
    const keys = (await this.#map.keys(from, '~')).sort()
    const known = new Set(seen)
    const fresh = keys.filter((key) => !known.has(key))
    const messages: Logged[] = []
    let next = 0
    while (next < fresh.length && messages.length < limit && textBytesOf(messages) < PAGE_MAX_BYTES) {
      const chunk = fresh.slice(next, next + FOLLOW_COUNT)
      const found = await this.#map.getAll(chunk)
      for (const key of chunk) {
        const value = found.get(key)
        if (value !== undefined) messages.push(...loggedOf(key, value).filter(({ id }) => id > after))
      }
      next += chunk.length
    }
    const unread = fresh[next]
    // What is older than that is all there, and read.
    const bound = unread !== undefined && unread < youngest ? batchKeyOf(unread) : youngest
    const moved = bound > after ? bound : after
    const isRead = (key: string) =>
      key >= batchKeyOf(moved) && (unread === undefined || known.has(key) || key < unread)
    return { messages, position: { after: moved, seen: keys.filter(isRead) }, isEnd: unread === undefined }
  }

  async get(id: string): Promise<Logged | undefined> {
    const { clock, retentionMs } = this.#options
    if (timeOf(id) < clock.ago(retentionMs)) return undefined
    const found = await this.#inBatches([id])
    return (found.size > 0 ? found : await this.#alone([id])).get(id)
  }

  /**
   * What is missing of a batch becomes one entry of the batch, with gaps. If the batch has an entry, each missing
   * message gets its own.
   */
  async restore(lane: number, messages: readonly Stored[]): Promise<string[]> {
    const inBatches = await this.#inBatches(messages.map(({ id }) => id))
    const others = messages.filter(({ id }) => !inBatches.has(id))
    const alone = await this.#alone(others.map(({ id }) => id))
    const lost = others.filter(({ id }) => !alone.has(id))
    const known = lost.flatMap(({ id, text }) => (text === null ? [] : { id, text, lane }))
    if (known.length > 0) this.#options.bound.check()
    const batches = [...Map.groupBy(known, ({ id }) => batchKeyOf(id))]
    await Promise.all(batches.map(([batchKey, mates]) => this.#restoreBatch(batchKey, mates)))
    return lost.map(({ id }) => id)
  }

  async #restoreBatch(batchKey: string, messages: readonly Logged[]): Promise<void> {
    const [{ lane }] = messages as [Logged]
    const texts: (string | null)[] = Array(placeOf(messages.at(-1)!.id)).fill(null)
    for (const { id, text } of messages) texts[placeOf(id) - 1] = text
    const stands = await this.#putOnce(batchKey, { lane, texts })
    const found = new Set(loggedOf(batchKey, stands).map(({ id }) => id))
    const others = messages.filter(({ id }) => !found.has(id))
    await Promise.all(others.map(({ id, text }) => this.#putOnce(id, { lane, texts: [text] })))
  }

  /** @returns What stands there, durably. */
  async #putOnce(key: string, entry: LogEntry): Promise<string> {
    const value = JSON.stringify(entry)
    const stands = await putOnce(this.#map, key, value, this.#options.retentionMs)
    if (stands === value) {
      this.#options.bound.added(value)
      this.#options.census.note(loggedOf(key, value).length)
    }
    return stands
  }

  /** Which of these messages are in entries of their batches, by id. */
  async #inBatches(ids: readonly string[]): Promise<Map<string, Logged>> {
    const wanted = new Set(ids)
    const entries = await this.#map.getAll([...new Set(ids.map(batchKeyOf))])
    const messages = [...entries].flatMap(([key, value]) => loggedOf(key, value))
    return new Map(messages.filter(({ id }) => wanted.has(id)).map((message) => [message.id, message]))
  }

  /** Which of these messages have entries of their own, by id. */
  async #alone(ids: readonly string[]): Promise<Map<string, Logged>> {
    const entries = await this.#map.getAll(ids)
    return new Map([...entries].map(([id, value]) => [id, loggedOf(id, value)[0]!]))
  }
}

/** With its key, if it has one: the two are written together. */
async function journaled(batch: LaneBatch, journal: Journal): Promise<void> {
  const { keyed } = batch
  const rows = keyed === undefined ? [batch] : [batch, keyRowOf(batch, keyed)]
  await Promise.all(rows.map((row) => journal.append(row)))
}
