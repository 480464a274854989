/** The log on a Hazelcast cluster: one entry a batch. */
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { POST_DEADLINE_MS } from '../../runtime/timings.ts'
import { batchKeyOf, idAtPlace, placeOf, timeOf } from '../ids.ts'
import type { LaneBatch, Log, Logged, Message, Range, Receipt } from '../ports.ts'
import type { Bound } from './bound.ts'
import type { Cluster, ClusterMap } from './cluster.ts'
import { type LogEntry, NAMES } from './entries.ts'
import { KeyRange } from './key-range.ts'

/** What a log needs. */
export interface HazelcastLogOptions {
  cluster: Cluster
  clock: Clock
  retentionMs: number
  /** Refuses when the cluster holds as much as it may. */
  bound: Bound
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
    this.#messages = new KeyRange({ map: this.#map, prefix: '', clock, retentionMs, itemsOf: loggedOf })
  }

  async append({ messages, lane, deadlineAt }: LaneBatch): Promise<Receipt[]> {
    const { clock, retentionMs, bound } = this.#options
    const [first] = messages as [Message]
    if (clock.monotonic() > deadlineAt) {
      const facts = { what: 'Appending to the log', deadlineMs: POST_DEADLINE_MS }
      throw new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: 'none' })
    }
    bound.check()
    const entry: LogEntry = { lane, texts: messages.map(({ text }) => text) }
    const value = JSON.stringify(entry)
    await this.#map.set(batchKeyOf(first.id), value, retentionMs)
    bound.added(value.length)
    return messages.map(({ id }) => ({ id, replayed: false }))
  }

  page(range: Range): Promise<Logged[]> {
    return this.#messages.page(range)
  }

  async get(id: string): Promise<Logged | undefined> {
    const { clock, retentionMs } = this.#options
    if (timeOf(id) < clock.ago(retentionMs)) return undefined
    const value = await this.#map.get(batchKeyOf(id))
    if (value === undefined) return undefined
    const { lane, texts } = JSON.parse(value) as LogEntry
    const text = texts[placeOf(id) - 1]
    return text === undefined ? undefined : { id, text, lane }
  }
}

function loggedOf(batchKey: string, value: string): Logged[] {
  const { lane, texts } = JSON.parse(value) as LogEntry
  return texts.map((text, index) => ({ id: idAtPlace(batchKey, index + 1), text, lane }))
}
