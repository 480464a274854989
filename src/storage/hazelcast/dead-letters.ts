/** A held lane's dead letters. A purged one leaves a mark, so that it does not come back. */
import { isMeant } from '../dead-filter.ts'
import { groupsOf } from '../dead-groups.ts'
import { MIN_ID } from '../ids.ts'
import { Page } from '../paging.ts'
import type { Dead, DeadFilter, DeadGroups, Sifted } from '../ports.ts'
import { type Cluster, type ClusterMap, FOR_EVER_MS, makeSure, putOnce } from './cluster.ts'
import { type DeadEntry, laneBounds, laneKey, NAMES, partsOf } from './entries.ts'
import type { LaneRecords } from './lane-records.ts'
import { SortedIds } from './sorted-ids.ts'

const PURGED = '!'
/** Letters that are read or changed at a time: few while their size is unknown. */
const FETCH_FIRST_COUNT = 8
const FETCH_MAX_COUNT = 64
const FETCH_BYTES = 4 * 1024 * 1024
/** Texts that one step of counting brings here. */
const GROUP_BYTES = 4 * FETCH_BYTES

/** What dead letters need of their lane. */
export interface LaneDeadLettersOptions {
  lane: number
  cluster: Cluster
  retentionMs: number
  records: LaneRecords
  /** Which of these messages are delivered, durably: whatever a former holder wrote late, delivered wins. */
  delivered: (ids: readonly string[]) => Promise<Set<string>>
  /** @throws {MailroomError} `MR_LANE_ELSEWHERE` once the lane was released: letters are the next holder's to change. */
  refuseReleased: () => void
}

/** The dead letters of one lane. All throw as `ClusterMap` does. */
export class LaneDeadLetters {
  readonly #options: LaneDeadLettersOptions
  readonly #map: ClusterMap
  /** When each died (ms since 1970); null while that is not known. */
  readonly #dead = new Map<string, number | null>()
  readonly #order = new SortedIds()
  readonly #purged = new Set<string>()
  /** Of changes: of two for one letter the second is to find what the first has left. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: LaneDeadLettersOptions) {
    this.#options = options
    this.#map = options.cluster.map(NAMES.dead)
  }

  /** Learns which there are. */
  async load(): Promise<void> {
    for (const key of await this.#map.keys(...laneBounds(this.#options.lane))) {
      const id = key.slice(key.indexOf('/') + 1)
      if (id.endsWith(PURGED)) this.#purged.add(id.slice(0, -1))
      else this.#dead.set(id, null)
    }
    // Whoever purged these may have died before a journal knew of it: then their letters are still there.
    const halfPurged = [...this.#purged].filter((id) => this.#dead.has(id))
    await this.#options.records.write(halfPurged.map((id) => ({ id, is: 'purged' })))
    for (const id of halfPurged) this.#dead.delete(id)
    this.#order.reset(this.#dead.keys())
  }

  /** Learns of those of these messages that are dead, durably: a former holder may have buried them after `load`. */
  async learn(ids: readonly string[]): Promise<void> {
    const found = await this.#map.getAll(ids.map((id) => this.#keyOf(id)))
    const sure = await makeSure(this.#map, found, FOR_EVER_MS)
    for (const key of sure.keys()) this.#note(partsOf(key).id, null)
  }

  get count(): number {
    return this.#dead.size
  }

  /** True for a dead letter, also one that was purged. */
  has(id: string): boolean {
    return this.#dead.has(id) || this.#purged.has(id)
  }

  isPurged(id: string): boolean {
    return this.#purged.has(id)
  }

  /** Of dead letters, and of those that were purged. */
  ids(): string[] {
    return [...this.#dead.keys(), ...this.#purged]
  }

  /** Those that are there, as they are written. */
  async fetch(ids: readonly string[]): Promise<Map<string, DeadEntry>> {
    const values = await this.#map.getAll(ids.map((id) => this.#keyOf(id)))
    return new Map([...values].map(([key, value]) => [partsOf(key).id, JSON.parse(value) as DeadEntry]))
  }

  /** True when one is there, durably, or was purged: what `load` found may be on one member only. */
  async isSure(id: string): Promise<boolean> {
    if (this.#purged.has(id)) return true
    const key = this.#keyOf(id)
    const sure = await makeSure(this.#map, await this.#map.getAll([key]), FOR_EVER_MS)
    if (!sure.has(key)) this.#forget(id)
    return sure.has(key)
  }

  /** Makes a message a dead letter, durably; repeating it changes nothing. */
  async bury(id: string, entry: DeadEntry): Promise<void> {
    const stands = await putOnce(this.#map, this.#keyOf(id), JSON.stringify(entry), FOR_EVER_MS)
    this.#note(id, (JSON.parse(stands) as DeadEntry).deadAt)
  }

  /** As `Queue.dead`. */
  async page({ after = MIN_ID, limit }: { after?: string; limit: number }): Promise<Dead[]> {
    const ids = this.#order.page(after, this.#dead.size)
    const page = new Page<Dead>(limit)
    for await (const letters of this.#read(ids)) {
      for (const [id, letter] of letters) if (page.add({ id, ...letter })) return page.items
    }
    return page.items
  }

  /** As `Queue.sift`. Without a filter nothing is read, and one with a time reads only what may be old enough. */
  async sift({ after, limit }: { after: string; limit: number }, filter: DeadFilter): Promise<Sifted[]> {
    const ids = this.#order.page(after, limit)
    const { diedBefore = Number.POSITIVE_INFINITY } = filter
    const isOpen = Object.values(filter).every((value) => value === undefined)
    const meant = new Set(isOpen ? ids : [])
    const unsure = isOpen ? [] : ids.filter((id) => (this.#dead.get(id) ?? 0) < diedBefore)
    for await (const letters of this.#read(unsure)) {
      for (const [id, letter] of letters) if (isMeant(filter, letter)) meant.add(id)
    }
    return ids.map((id) => ({ id, isMeant: meant.has(id) }))
  }

  /** As `Queue.groupDead`. A member gives an entry whole, so it brings the texts here, and ends before they are many. */
  async group({ after, limit }: { after: string; limit: number }): Promise<DeadGroups> {
    const ids = this.#order.page(after, limit)
    const read: Pick<Dead, 'id' | 'reason' | 'lastError' | 'deadAt'>[] = []
    let last = ids.length < limit ? null : ids.at(-1)!
    let bytes = 0
    for await (const letters of this.#read(ids)) {
      for (const [id, { text, reason, lastError, deadAt }] of letters) {
        read.push({ id, reason, lastError, deadAt })
        bytes += Buffer.byteLength(text)
      }
      const lastRead = read.at(-1)
      if (bytes < GROUP_BYTES || lastRead === undefined || lastRead.id === ids.at(-1)) continue
      last = lastRead.id
      break
    }
    return { groups: groupsOf(read), counted: read.length, last }
  }

  /** One that is there and was not delivered meanwhile. */
  async get(id: string): Promise<DeadEntry | undefined> {
    if (!this.#dead.has(id)) return undefined
    const value = await this.#map.get(this.#keyOf(id))
    if (value === undefined) this.#forget(id)
    if (value === undefined || (await this.#options.delivered([id])).has(id)) return undefined
    return JSON.parse(value) as DeadEntry
  }

  /** Takes this letter away, as its message is pending again. One that the message becomes later stays. */
  async remove(id: string, letter: DeadEntry): Promise<void> {
    await this.#map.removeIfSame(this.#keyOf(id), JSON.stringify(letter))
    this.#forget(id)
  }

  /** As `Queue.purge`: first the mark, then the letter goes. */
  purge(ids: readonly string[]): Promise<number> {
    return this.change(ids, async (id, letter) => {
      await Promise.all([this.#mark(id), this.#options.records.write([{ id, is: 'purged' }])])
      await this.remove(id, letter)
    })
  }

  /** Marks a message as purged, durably; its letter is no affair of this. */
  async markPurged(id: string): Promise<void> {
    await this.#mark(id)
    this.#forget(id)
  }

  async #mark(id: string): Promise<void> {
    await putOnce(this.#map, this.#keyOf(id) + PURGED, '', this.#options.retentionMs)
    this.#purged.add(id)
  }

  /**
   * Changes those of these messages that are dead letters, several at a time: `change` takes each away.
   *
   * @returns How many there were.
   */
  change(ids: readonly string[], change: (id: string, letter: DeadEntry) => Promise<void>): Promise<number> {
    const changed = this.#turn.then(() => this.#changeNow(ids, change))
    this.#turn = changed.catch(() => {})
    return changed
  }

  async #changeNow(
    ids: readonly string[],
    change: (id: string, letter: DeadEntry) => Promise<void>,
  ): Promise<number> {
    let count = 0
    for await (const letters of this.#read([...new Set(ids)].filter((id) => this.#dead.has(id)))) {
      this.#options.refuseReleased()
      // All have ended before the next turn, whatever fails.
      const results = await Promise.allSettled(letters.map(([id, letter]) => change(id, letter)))
      for (const result of results) if (result.status === 'rejected') throw result.reason
      count += letters.length
    }
    return count
  }

  /** Those of these that are there and were not delivered meanwhile, in order: some MiB of them at a time. */
  async *#read(ids: readonly string[]): AsyncGenerator<[id: string, letter: DeadEntry][]> {
    let count = FETCH_FIRST_COUNT
    for (let index = 0; index < ids.length; ) {
      const chunk = ids.slice(index, index + count)
      index += chunk.length
      const before = new Map(chunk.map((id) => [id, this.#dead.get(id)]))
      const [values, delivered] = await Promise.all([
        this.#map.getAll(chunk.map((id) => this.#keyOf(id))),
        this.#options.delivered(chunk),
      ])
      const letters: [id: string, letter: DeadEntry][] = []
      let bytes = 0
      for (const id of chunk) {
        const value = values.get(this.#keyOf(id))
        // Else it was taken away meanwhile, or died again.
        const isSame = this.#dead.get(id) === before.get(id)
        if (value === undefined || delivered.has(id)) {
          if (isSame) this.#forget(id)
          continue
        }
        const letter = JSON.parse(value) as DeadEntry
        if (isSame && this.#dead.has(id)) this.#dead.set(id, letter.deadAt)
        letters.push([id, letter])
        bytes += value.length
      }
      yield letters
      const fitting = Math.floor((FETCH_BYTES * chunk.length) / Math.max(1, bytes))
      count = Math.max(1, Math.min(FETCH_MAX_COUNT, count * 2, fitting))
    }
  }

  #note(id: string, deadAt: number | null): void {
    this.#dead.set(id, deadAt)
    this.#order.add(id)
  }

  #forget(id: string): void {
    this.#dead.delete(id)
    this.#order.remove(id)
  }

  #keyOf(id: string): string {
    return laneKey(this.#options.lane, id)
  }
}
