/** Scans a held lane's `pending`: when the lane is taken, then at least every second. It finds batches without a wake-up. */
import type { Clock } from '../../runtime/clock.ts'
import type { Logger } from '../../runtime/logger.ts'
import { OVERDUE_MS, SCAN_MS } from '../../runtime/timings.ts'
import { timeOf } from '../ids.ts'
import { killerLetter, type Letter } from '../lane.ts'
import type { StoreMeter } from '../ports.ts'
import { onlyAway } from './cluster.ts'
import { laneBounds, partsOf } from './entries.ts'
import type { LaneState } from './lane-state.ts'

/** What a scan needs of its lane. */
export interface PendingScanOptions {
  state: LaneState
  clock: Clock
  logger: Logger
  meter?: StoreMeter | undefined
  /** Called when something was found. */
  wake: () => void
}

/** Scans one lane. All throw as `ClusterMap` does. */
export class PendingScan {
  readonly #options: PendingScanOptions
  readonly #state: LaneState
  /** Batches that came too recently for a scan to touch, and since when at the most (monotonic, ms). */
  #young = new Map<string, number>()
  /** When the last scan began (monotonic, ms): what it did not see came later. */
  #scannedAt = 0
  #scanning: Promise<void> = Promise.resolve()
  #cancel = () => {}

  constructor(options: PendingScanOptions) {
    this.#options = options
    this.#state = options.state
  }

  /** Messages that came too recently for a scan to touch, and the instant (ms) of the oldest. */
  get young(): { messages: number; oldestAt: number } {
    const young = { messages: 0, oldestAt: Number.POSITIVE_INFINITY }
    for (const { id, count } of [...this.#young.keys()].map(partsOf)) {
      young.messages += count!
      young.oldestAt = Math.min(young.oldestAt, timeOf(id))
    }
    return young
  }

  /** Takes up all that waits: its wake-ups may have died with the last holder. @returns The starts that one left open. */
  async begin(): Promise<number> {
    const { lane, pending, dead, backlog } = this.#state
    this.#scannedAt = this.#options.clock.monotonic()
    // Before anything else is read: what its last holder settles meanwhile, it settles first and takes out then.
    const found = (await pending.keys(...laneBounds(lane))).sort()
    await dead.load()
    for (const key of found) if (partsOf(key).count !== undefined) backlog.found(key)
    const lone = found.filter((key) => partsOf(key).count === undefined).map((key) => partsOf(key).id)
    const leftOpenCount = await this.#adopt(lone)
    this.#cancel = this.#options.clock.every(SCAN_MS, () => void this.scan().catch(onlyAway))
    return leftOpenCount
  }

  /** Finds what no wake-up brought. One at a time; each sees all that was written before it was asked for. */
  scan(): Promise<void> {
    const looked = this.#scanning.then(() => this.#scanNow())
    this.#scanning = looked.catch(() => {})
    return looked
  }

  end(): void {
    this.#cancel()
  }

  async #scanNow(): Promise<void> {
    const { clock, logger, wake } = this.#options
    const { lane, backlog, lone, inHand, leaving, pending, released } = this.#state
    if (released) return
    leaving.again()
    const lookedAt = clock.monotonic()
    const found = await pending.keys(...laneBounds(lane))
    const overdueAt = clock.ago(OVERDUE_MS)
    const young = new Map<string, number>()
    const strangers: string[] = []
    let overdue = 0
    for (const key of found.sort()) {
      if (backlog.has(key) || leaving.hasOrHad(key)) continue
      const { id, count } = partsOf(key)
      const cameAt = this.#young.get(key) ?? this.#scannedAt
      if (count === undefined) {
        if (!lone.has(id) && !inHand.has(id)) strangers.push(id)
      } else if (timeOf(id) > overdueAt && lookedAt - cameAt < OVERDUE_MS) {
        young.set(key, cameAt) // By our own clock, too: whoever made its id may have one that is ahead.
      } else {
        backlog.found(key)
        overdue++
      }
    }
    this.#young = young
    this.#scannedAt = lookedAt
    await this.#adopt(strangers)
    if (overdue > 0) logger.info({ lane, overdue }, 'batches that no wake-up brought')
    if (overdue + strangers.length > 0) wake()
  }

  /** Learns of lone messages. Those that kept killing their workers are buried, half-made moves ended. @returns Starts open. */
  async #adopt(ids: readonly string[]): Promise<number> {
    const { lone, dead } = this.#state
    const openCount = await lone.load(ids)
    await this.#state.foundGone(ids.filter((id) => !lone.has(id)))
    for (const id of ids) {
      const known = lone.get(id)
      if (known === undefined) continue
      if (dead.has(id) && (await this.#endMove(id))) continue
      const letter = killerLetter(known)
      if (letter !== undefined) await this.#buryKiller(id, letter)
    }
    return openCount
  }

  /**
   * It waits and is dead: the one of the two goes that it was before, once the other is in a journal. Who made it that
   * may have died before.
   *
   * @returns Whether it is dead, and waits no more.
   */
  async #endMove(id: string): Promise<boolean> {
    const { lone, dead, records } = this.#state
    // What is taken away was there before the other was looked at: if they change meanwhile, it is not taken.
    const letter = await dead.get(id)
    const entry = (await lone.fetch([id])).get(id)
    if (entry?.replayed && letter !== undefined) {
      const { text: _, replayed: __, ...attempts } = entry
      await records.write([{ id, is: 'waiting', attempts }])
      await dead.remove(id, letter)
      return false
    }
    if (!(await dead.isSure(id))) return false
    if (dead.isPurged(id)) await records.write([{ id, is: 'purged' }])
    else if (letter !== undefined) await records.write([{ id, is: 'dead', letter }])
    if (entry !== undefined) this.#state.forgetDead(id, entry)
    return true
  }

  async #buryKiller(id: string, letter: Letter): Promise<void> {
    const { lone, dead } = this.#state
    const entry = (await lone.fetch([id])).get(id)
    if (entry === undefined) return
    const buried = { text: entry.text, ...letter, deadAt: this.#options.clock.now() }
    await Promise.all([
      dead.bury(id, buried),
      this.#state.records.write([{ id, is: 'dead', letter: buried }]),
    ])
    this.#options.meter?.buried(1)
    this.#state.forgetDead(id, entry)
  }
}
