/**
 * A lane in the hands of its holder: reads the lane's rows from all log files, knows which are in hand, and
 * moves the lane's cursors.
 *
 * For each log file:   settled … settled │ in hand, some settled out of order │ waiting …
 *                            cursor (durable) ▲                     readSeq ▲
 *
 * The durable cursor never passes a row that is neither settled nor in the home's `start`; it may lag. A row
 * behind it that was settled is met again after a crash; its id stands in the home, so it only moves the cursor.
 */

import type { Clock } from '../../runtime/clock.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { byId, timeOf } from '../ids.ts'
import { CLAIM_MAX_BYTES } from '../limits.ts'
import type { Claimed, Dead, Delivered, Depth, Range, Settlement, Whereabouts } from '../ports.ts'
import type { Home, InHand } from './home.ts'
import type { Lock } from './lock-file.ts'
import type { LogFiles } from './log-files.ts'
import type { LogReader, LogRow } from './log-reader.ts'
import { isUnavailable } from './sqlite.ts'

const CHUNK_COUNT = 128

/** A row that was read and whether it is out of the line. */
interface Row {
  seq: number
  settled: boolean
}

/** What is known of one log file. */
class Track {
  readonly file: string
  /** Up to which row this lane's rows have been read. */
  readSeq: number
  /** Rows read and not yet behind the durable cursor, ascending. */
  readonly rows: Row[] = []
  /** The last row before the first that is not settled. */
  cursor: number
  /** What of `cursor` is durable. */
  savedCursor: number
  /** Up to which row those behind `readSeq` have been counted, and how many they are. */
  countedSeq: number
  waiting = 0

  constructor(file: string, cursor: number) {
    this.file = file
    this.cursor = this.savedCursor = this.readSeq = this.countedSeq = cursor
  }

  read(seq: number): Row {
    if (seq <= this.countedSeq) this.waiting--
    else this.countedSeq = seq
    this.readSeq = seq
    const row = { seq, settled: false }
    this.rows.push(row)
    return row
  }

  /** True when the durable cursor can move. */
  get isBehind(): boolean {
    return this.rows[0]?.settled === true || this.cursor > this.savedCursor
  }

  /** Moves the cursor past what is settled. */
  advance(): void {
    let count = 0
    while (this.rows[count]?.settled) this.cursor = this.rows[count++]!.seq
    this.rows.splice(0, count)
  }

  count(reader: LogReader, lane: number): void {
    const { count, last } = reader.countOf(lane, this.countedSeq)
    this.waiting += count
    this.countedSeq = last
  }
}

/** What is in hand: the message, and its row when it came from the log's line. */
interface Hand extends InHand {
  row: Row | undefined
}

/** What a held lane needs. */
export interface HeldLaneOptions {
  lane: number
  home: Home
  lock: Lock
  files: LogFiles
  clock: Clock
}

/** A held lane. */
export class HeldLane {
  readonly #options: HeldLaneOptions
  readonly #cursors: Map<string, number>
  readonly #tracks = new Map<string, Track>()
  readonly #inHand = new Map<string, Hand>()
  #released = false
  /** Why the home cannot be written now, human-readable. */
  #unwritable: string | undefined
  /** Why this lane is out of use. */
  #broken: { error: unknown } | undefined
  /** Set by a wake that nobody waited for. */
  #woken = false
  #wake: (() => void) | undefined
  /** Set by a claim that found nothing: until the files change or a retry is due, another one would find nothing either. */
  #idle: { version: string; dueAt: number; depth?: Depth } | undefined
  #turn = 0

  constructor(options: HeldLaneOptions) {
    this.#options = options
    this.#cursors = options.home.cursors()
  }

  /** The home, for reading. @throws {MailroomError} `MR_LANE_ELSEWHERE` once released; what broke the lane. */
  get home(): Home {
    this.#refuse()
    return this.#options.home
  }

  wake(): void {
    this.#woken = true
    this.#idle = undefined
    this.#wake?.()
  }

  /** Ends the wait of a claim unless it would find nothing. */
  poll(): void {
    let isIdle = false
    try {
      isIdle = this.#isIdle()
    } catch {} // The claim will fail for the same reason, and report it.
    if (!isIdle) this.#wake?.()
  }

  async claim(maxCount: number, waitMs: number, maxRetryCount = maxCount): Promise<Claimed[]> {
    const { clock, home, files } = this.#options
    const nowMs = clock.monotonic()
    // All idle lanes of a process end their waits in the same event-loop iteration.
    const endAt = waitMs === 0 ? nowMs : nowMs + waitMs - (nowMs % waitMs)
    let wasWoken = false
    for (;;) {
      this.#refuse()
      this.#woken = false
      if (waitMs === 0 || !this.#isIdle()) {
        // Both before the claim, which does not see what changes or becomes due after it.
        const [version, now] = [files.version(), home.dueNow()]
        const claimed = this.#claimNow(maxCount, maxRetryCount)
        if (claimed.length > 0) return claimed
        // Without room for retries, some may be due that were not claimed.
        this.#idle = maxRetryCount > 0 ? { version, dueAt: home.nextDueAfter(now) } : undefined
      }
      const leftMs = endAt - clock.monotonic()
      if (leftMs <= 0 || wasWoken) return []
      const dueInMs = this.#idle === undefined ? leftMs : this.#idle.dueAt - home.dueNow()
      await this.#sleep(Math.min(leftMs, Math.max(1, dueInMs)))
      wasWoken = this.#woken
    }
  }

  async start(ids: readonly string[]): Promise<void> {
    const hands = ids.map((id) => this.#handOf(id))
    await this.#commit(() => {
      for (const hand of hands) this.home.start(hand)
    })
    for (const { row } of hands) if (row !== undefined) row.settled = true
  }

  async settle(settlements: readonly Settlement[]): Promise<Delivered[]> {
    this.#refuse()
    const pairs = settlements.flatMap((settlement) => {
      const hand = this.#inHand.get(settlement.id)
      return hand === undefined ? [] : [{ settlement, hand }] // Settled before: nothing changes.
    })
    let delivered: Delivered[] = []
    await this.#commit(() => {
      delivered = []
      for (const { hand, settlement } of pairs) {
        const message = this.home.settle(hand, settlement)
        if (message !== undefined) delivered.push(message)
      }
    })
    for (const { hand } of pairs) {
      if (hand.row !== undefined) hand.row.settled = true
      this.#inHand.delete(hand.id)
    }
    return delivered.sort(byId)
  }

  find(id: string): Whereabouts {
    return this.home.find(id) ?? { state: 'queued', attempts: 0, deliveredAt: null }
  }

  delivered(range: Range): Delivered[] {
    const page: Delivered[] = []
    let next = range
    // A damaged row leaves a gap: read on, so that a page is short at the end only.
    while (page.length < range.limit) {
      const limit = range.limit - page.length
      const rows = this.home.delivered({ ...next, limit })
      for (const { damaged: _, ...message } of this.#options.files.intact(rows)) page.push(message)
      if (rows.length < limit) break
      const last = rows.at(-1)!.id
      next = range.after === undefined ? { ...next, before: last } : { ...next, after: last }
    }
    return page
  }

  dead(range: { after?: string; limit: number }): Dead[] {
    return this.home.dead(range)
  }

  async replay(id: string): Promise<boolean> {
    const found = await this.#change(() => this.home.replay(id))
    if (found) this.wake()
    return found
  }

  purge(id: string): Promise<boolean> {
    return this.#change(() => this.home.purge(id))
  }

  depth(): Depth {
    const { lane, files } = this.#options
    if (this.#idle?.depth !== undefined && this.#isIdle()) return this.#idle.depth
    const starts = this.home.starts()
    let waiting = starts.count
    let oldest = starts.oldest
    for (const id of this.#inHand.keys()) if (oldest === null || id < oldest) oldest = id
    for (const { row } of this.#inHand.values()) if (row === undefined || row.settled) waiting--
    for (const name of files.names()) {
      files.read(name, (reader) => {
        const track = this.#trackOf(reader)
        track.count(reader, lane)
        waiting += track.waiting
        const next = track.waiting > 0 ? reader.nextOf(lane, track.readSeq) : undefined
        if (next !== undefined && (oldest === null || next < oldest)) oldest = next
      })
    }
    const inHand = this.#inHand.size
    const oldestAt = oldest === null ? null : timeOf(oldest)
    const depth = { waiting: Math.max(0, waiting), inHand, dead: this.home.deadCount(), oldestAt }
    if (this.#idle !== undefined && this.#isIdle() && inHand === 0) this.#idle.depth = depth
    return depth
  }

  /** Removes what is older than the retention, bit by bit, and moves the durable cursors. */
  async removeOld(): Promise<void> {
    if (!this.home.hasOld() && ![...this.#tracks.values()].some(({ isBehind }) => isBehind)) return
    while (!this.#released && (await this.#change(() => this.home.removeOld())));
  }

  /** Why the lane's outcomes cannot be recorded now, human-readable. */
  get unwritable(): string | undefined {
    return this.#unwritable
  }

  /** Moves what is in the home's write-ahead log into the home. */
  checkpoint(): void {
    this.#options.home.checkpoint()
  }

  /** Notices whether the home and its lock are there, and whether a home that could not be written can be again. */
  async watch(): Promise<void> {
    const { home, lock } = this.#options
    try {
      lock.keep()
      home.check()
    } catch (error) {
      if (!isMailroomError(error)) this.#unwritable = home.whyUnwritable(error)
      return
    }
    if (this.#unwritable === undefined || !home.mayWrite()) return
    await this.#commit(() => home.touch()).catch((error) => {
      if (!isMailroomError(error)) throw error // It may be lost: the lane cannot be trusted any more.
    })
  }

  /**
   * Its home cannot be trusted any more: what was written last may be gone, and what is written next may say that it
   * is there. Whoever uses the lane is told so; its consumer ends the process for it, and the next one begins with
   * what the disk has.
   *
   * @returns False when it was broken before.
   */
  break(error: unknown): boolean {
    if (this.#broken !== undefined) return false
    this.#broken = { error }
    this.wake()
    return true
  }

  /** What is in hand is in nobody's hand; a claim that waits is refused. */
  release(): void {
    if (this.#released) return
    this.#released = true
    this.#wake?.()
    this.#options.home.close()
    this.#options.lock.release()
  }

  #isIdle(): boolean {
    const { files, home } = this.#options
    return (
      this.#idle !== undefined && home.dueNow() < this.#idle.dueAt && files.version() === this.#idle.version
    )
  }

  #claimNow(maxCount: number, maxRetryCount: number): Claimed[] {
    const { home, files, lane } = this.#options
    const claimed: Claimed[] = []
    for (const message of home.due(maxRetryCount + this.#inHand.size)) {
      if (claimed.length === maxRetryCount) break
      if (this.#inHand.has(message.id)) continue
      this.#inHand.set(message.id, { id: message.id, text: message.text, row: undefined })
      claimed.push(message)
    }
    const names = files.names()
    this.#turn++
    let bytes = 0
    for (let index = 0; index < names.length; index++) {
      const name = names[(index + this.#turn) % names.length]!
      while (claimed.length < maxCount && bytes < CLAIM_MAX_BYTES) {
        const limit = Math.min(CHUNK_COUNT, maxCount - claimed.length)
        let next: { track: Track; rows: LogRow[] } | undefined
        try {
          next = files.read(name, (reader) => {
            const track = this.#trackOf(reader)
            return { track, rows: reader.ofLane(lane, track.readSeq, limit) }
          })
        } catch (error) {
          // What is in hand by now must be returned: no later claim would find it.
          if (claimed.length === 0) throw error
          return claimed
        }
        if (next === undefined) break
        for (const { seq, id, text, damaged } of next.rows) {
          // Not to be delivered, or no longer pending: it only moves the cursor.
          const settled = damaged || this.#inHand.has(id) || home.knows(id)
          const row = next.track.read(seq)
          row.settled = settled
          if (damaged) files.intact(next.rows)
          if (settled) continue
          this.#inHand.set(id, { id, text, row })
          claimed.push({ id, text, starts: 0, suspect: false })
          bytes += text.length
        }
        if (next.rows.length < limit) break
      }
    }
    return claimed
  }

  #trackOf(reader: LogReader): Track {
    let track = this.#tracks.get(reader.file)
    if (track === undefined) {
      track = new Track(reader.file, this.#cursors.get(reader.file) ?? 0)
      this.#tracks.set(reader.file, track)
    }
    return track
  }

  #handOf(id: string): Hand {
    this.#refuse()
    const hand = this.#inHand.get(id)
    if (hand === undefined) throw new MailroomError('MR_NOT_FOUND', { what: `message ${id} in hand` })
    return hand
  }

  async #change(write: () => boolean): Promise<boolean> {
    let changed = false
    await this.#commit(() => {
      changed = write()
    })
    return changed
  }

  /**
   * Writes, and moves the durable cursors as far as earlier writes allow: a row counts as settled only once
   * that is durable, else a write that fails could leave the cursor past a message that is nowhere.
   */
  async #commit(write: () => void): Promise<void> {
    this.#refuse()
    try {
      await this.#options.home.commit(() => {
        this.#options.lock.keep()
        write()
        for (const track of this.#tracks.values()) {
          track.advance()
          if (track.cursor > track.savedCursor) this.home.moveCursor(track.file, track.cursor)
        }
      })
      for (const track of this.#tracks.values()) track.savedCursor = track.cursor
      this.#unwritable = undefined
    } catch (error) {
      this.#refuse()
      if (!isUnavailable(error)) throw error
      this.#unwritable = this.#options.home.whyUnwritable(error)
      throw unavailable(this.#unwritable, error)
    } finally {
      this.#idle = undefined
    }
  }

  #sleep(ms: number): Promise<void> {
    if (this.#woken || this.#released) return Promise.resolve()
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(ms, resolve)
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
  }

  #refuse(): void {
    if (this.#broken !== undefined) throw this.#broken.error
    if (!this.#released) return
    throw new MailroomError('MR_LANE_ELSEWHERE', { lane: this.#options.lane, name: 'this process' })
  }
}

/** What a home that cannot be written now says. */
export function unavailable(reason: string, cause: unknown): MailroomError<'MR_STORE_UNAVAILABLE'> {
  return new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason }, { cause })
}
