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
import { batchKeyOf, byId, idAtPlace, MAX_ID, MIN_ID, placeOf, timeOf } from '../ids.ts'
import { CLAIMED_FIRST, eachOnce, queuedAt } from '../lane.ts'
import { CLAIM_MAX_BYTES, HAND_MAX_BYTES } from '../limits.ts'
import { Page } from '../paging.ts'
import type {
  Claimed,
  Dead,
  DeadFilter,
  DeadGroups,
  DeadHead,
  Delivered,
  DeliveredHead,
  Depth,
  Message,
  Range,
  SettledPlace,
  Settlement,
  Sifted,
  Whereabouts,
} from '../ports.ts'
import { textBytesOf } from '../ports.ts'
import { previewOf } from '../preview.ts'
import type { LaneRoom, Room } from '../room.ts'
import type { Home, InHand, Run } from './home.ts'
import type { Lock } from './lock-file.ts'
import type { LogFiles } from './log-files.ts'
import type { LogReader } from './log-reader.ts'
import { isUnavailable } from './sqlite.ts'

/** A row that was read. */
interface Row {
  seq: number
  /** Messages that are neither settled nor in the home's `start`. */
  openCount: number
  /** Those of them that are not in hand, ascending. */
  ready: Message[]
}

/** What is known of one log file. */
class Track {
  readonly file: string
  /** Up to which row this lane's rows have been read. */
  readSeq: number
  /** Rows read and not yet behind the durable cursor, ascending. */
  readonly rows: Row[] = []
  /** The last row before the first that has open messages. */
  cursor: number
  /** What of `cursor` is durable. */
  savedCursor: number
  /** Up to which row the messages behind `readSeq` have been counted, and how many they are. */
  countedSeq: number
  waiting = 0

  constructor(file: string, cursor: number) {
    this.file = file
    this.cursor = this.savedCursor = this.readSeq = this.countedSeq = cursor
  }

  /** @param count Messages of the row. @param open Those that are to be claimed. */
  read(seq: number, count: number, open: Message[]): void {
    if (seq <= this.countedSeq) this.waiting -= count
    else this.countedSeq = seq
    this.readSeq = seq
    this.rows.push({ seq, openCount: open.length, ready: open })
  }

  /** The first messages that are not in hand, by row. */
  firstReady(maxCount: number): { row: Row; ready: Message[] }[] {
    const parts: { row: Row; ready: Message[] }[] = []
    let freeCount = maxCount
    for (const row of this.rows) {
      if (freeCount === 0) break
      const ready = row.ready.slice(0, freeCount)
      if (ready.length > 0) parts.push({ row, ready })
      freeCount -= ready.length
    }
    return parts
  }

  /** True when the durable cursor can move. */
  get isBehind(): boolean {
    return this.rows[0]?.openCount === 0 || this.cursor > this.savedCursor
  }

  /** True when all that was read is behind the durable cursor. */
  get isSettled(): boolean {
    return this.rows.length === 0 && this.cursor === this.savedCursor
  }

  /** Moves the cursor past rows without open messages. */
  advance(): void {
    let count = 0
    while (this.rows[count]?.openCount === 0) this.cursor = this.rows[count++]!.seq
    this.rows.splice(0, count)
  }

  count(reader: LogReader, lane: number): void {
    const { count, last } = reader.countOf(lane, this.countedSeq)
    this.waiting += count
    this.countedSeq = last
  }
}

/** What is in hand: the message, and its row unless the home's `start` has it. */
interface Hand extends InHand {
  row: Row | undefined
  /** It was started before it was claimed. */
  isRetry: boolean
}

const NO_ROOM = 'the disk is full: no message is started'
/** Rows of the log that a claim reads at a time. */
const ROWS_COUNT = 64
/** Delivered runs that a page reads at a time. */
const RUNS_COUNT = 100

/** What a held lane needs. */
export interface HeldLaneOptions {
  lane: number
  home: Home
  lock: Lock
  files: LogFiles
  clock: Clock
  /** For the texts that are claimed, or read to be claimed, of all lanes of the process. */
  room: Room
  /** What of it those may have that were started before. */
  retryRoom: Room
}

/** A held lane. */
export class HeldLane {
  readonly #options: HeldLaneOptions
  readonly #cursors: Map<string, number>
  readonly #tracks = new Map<string, Track>()
  readonly #inHand = new Map<string, Hand>()
  /** Names of the log files; those that are ended and of which everything is settled are not read again. */
  #names: { all: readonly string[]; over: Set<string> } = { all: [], over: new Set() }
  #released = false
  /** Why the home cannot be written now, human-readable. */
  #unwritable: string | undefined
  /** Messages are started, which copies their texts into the home; undefined while that is not known. */
  #copiesTexts: boolean | undefined
  /** The last claim left messages in the log, as their texts would take the last room. */
  #lacksRoom = false
  /** Why this lane is out of use. */
  #broken: { error: unknown } | undefined
  /** Set by a wake that nobody waited for. */
  #woken = false
  #wake: (() => void) | undefined
  /** Set by a claim that found nothing: until the files change or a retry is due, another one would find nothing either. */
  #idle: { version: string; dueAt: number; depth?: Depth } | undefined
  #turn = 0
  readonly #room: LaneRoom
  readonly #retryRoom: LaneRoom
  /** The last claim found something, and no room for it: it waits in line, and is woken. */
  #isShort = false
  /** The same of messages that were started before. */
  #isShortForRetries = false

  constructor(options: HeldLaneOptions) {
    this.#options = options
    this.#room = options.room.lane(() => this.wake())
    this.#retryRoom = options.retryRoom.lane(() => this.wake())
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
    // All idle lanes of a process end their waits in the same event-loop iteration: the first after half the wait or more.
    const endAt = waitMs === 0 ? nowMs : nowMs + waitMs - (nowMs % (waitMs / 2))
    let wasWoken = false
    for (;;) {
      this.#refuse()
      this.#woken = false
      if (waitMs === 0 || !this.#isIdle()) {
        // Both before the claim, which does not see what changes or becomes due after it.
        const [version, now] = [files.version(), home.dueNow()]
        const claimed = this.#claimNow(maxCount, maxRetryCount)
        if (!this.#isShort) this.#room.leaveLine()
        if (claimed.length > 0 || !this.#isShortForRetries) this.#retryRoom.leaveLine()
        if (claimed.length > 0) return claimed
        // Without room for retries, some may be due that were not claimed.
        const isAll = maxRetryCount > 0 && !this.#isShort && !this.#isShortForRetries && !this.#lacksRoom
        this.#idle = isAll ? { version, dueAt: home.nextDueAfter(now) } : undefined
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
    this.#copiesTexts = true
    await this.#commit(() => {
      for (const hand of hands) this.home.start(hand)
    })
    for (const hand of hands) leaveRow(hand)
  }

  async settle(settlements: readonly Settlement[]): Promise<Delivered[]> {
    this.#refuse()
    const pairs = eachOnce(settlements).flatMap((settlement) => {
      const hand = this.#inHand.get(settlement.id)
      return hand === undefined ? [] : [{ settlement, hand }] // Settled before: nothing changes.
    })
    let runs: Run[] = []
    // The log has everything of a message that was never started: a power cut only has it delivered again, to this list.
    const isDurable = pairs.some(({ settlement, hand }) => settlement.as !== 'done' || hand.row === undefined)
    if (pairs.length > 0 && !isDurable) this.#copiesTexts ??= false
    await this.#commit(() => {
      runs = [...this.#settleInRuns(pairs)]
    }, isDurable)
    const delivered = runs.flatMap((run) =>
      idsOf(run).map((id) => ({ ...outcomeOf(run), id, text: this.#inHand.get(id)!.text })),
    )
    for (const { hand } of pairs) {
      leaveRow(hand)
      this.#inHand.delete(hand.id)
    }
    const hands = pairs.map(({ hand }) => hand)
    this.#room.give(textBytesOf(hands))
    this.#retryRoom.give(textBytesOf(hands.filter(({ isRetry }) => isRetry)))
    return delivered.sort(byId)
  }

  /** Within a commit. Messages that were never started, of consecutive places, are one record. */
  *#settleInRuns(pairs: readonly { settlement: Settlement; hand: Hand }[]): Generator<Run> {
    let next: Pick<Run, 'id' | 'count' | 'file' | 'seq'> | undefined
    const deliver = () => (next === undefined ? undefined : this.home.deliver(next))
    for (const { settlement, hand } of pairs) {
      const { id, row, file, seq } = hand
      const isUnstarted = settlement.as === 'done' && row !== undefined
      if (isUnstarted && next?.seq === seq && next.file === file && id === idBehind(next)) {
        next.count++
        continue
      }
      const run = deliver()
      if (run !== undefined) yield run
      next = isUnstarted ? { id, count: 1, file, seq } : undefined
      const single = isUnstarted ? undefined : this.home.settle(hand, settlement)
      if (single !== undefined) yield single
    }
    const run = deliver()
    if (run !== undefined) yield run
  }

  find(id: string): Whereabouts {
    return this.home.find(id) ?? queuedAt(0, 0)
  }

  /** A text that cannot be read leaves a gap, and makes no page shorter. */
  delivered(range: Range): Delivered[] {
    const { before = MAX_ID, after, limit } = range
    const page = new Page<Delivered>(limit)
    let texts: { of: string; byId: Map<string, string> } | undefined
    let next: Range = { ...range, limit: RUNS_COUNT }
    for (;;) {
      const runs = this.home.delivered(next)
      for (const run of runs) {
        const of = `${run.file} ${run.seq}`
        if (texts?.of !== of) texts = { of, byId: this.#options.files.textsAt(run, run.id) }
        const ids = idsOf(run)
        for (const id of after === undefined ? ids.reverse() : ids) {
          const text = texts.byId.get(id)
          if (text === undefined || id <= (next.after ?? MIN_ID) || id >= before) continue
          if (page.add({ id, text, ...outcomeOf(run) })) return page.items
        }
      }
      if (runs.length < RUNS_COUNT) return page.items
      const last = runs.at(-1)!
      next = after === undefined ? { ...next, before: last.id } : { ...next, after: idsOf(last).at(-1)! }
    }
  }

  /** As `Queue.deliveredSince`. A text that cannot be read leaves a gap. */
  deliveredSince(from: SettledPlace, limit: number): DeliveredHead[] {
    const page = new Page<DeliveredHead>(limit)
    for (let place = from; ; ) {
      const runs = this.home.deliveredSince(place, RUNS_COUNT)
      for (const run of runs) {
        const texts = this.#options.files.textsAt(run, run.id)
        for (const id of idsOf(run)) {
          const text = texts.get(id)
          if (text === undefined || (run.deliveredAt === from.at && id <= from.id)) continue
          const head = { id, ...outcomeOf(run), preview: previewOf(text) }
          if (page.add(head, Buffer.byteLength(text))) return page.items
        }
      }
      const last = runs.at(-1)
      if (last === undefined || runs.length < RUNS_COUNT) return page.items
      place = { at: last.deliveredAt, id: idsOf(last).at(-1)! }
    }
  }

  /** As `Queue.deadSince`. */
  deadSince(from: SettledPlace, limit: number): DeadHead[] {
    return this.home.deadSince(from, limit)
  }

  dead(range: { after?: string; limit: number }): Dead[] {
    return this.home.dead(range)
  }

  sift(range: { after: string; limit: number }, filter: DeadFilter): Sifted[] {
    return this.home.sift(range, filter)
  }

  groupDead(range: { after: string; limit: number }): DeadGroups {
    return this.home.groupDead(range)
  }

  /** As `Queue.replay`. */
  replay(ids: readonly string[]): Promise<number> {
    return this.#changeDead(ids, (id) => this.home.replay(id))
  }

  /** As `Queue.purge`. */
  purge(ids: readonly string[]): Promise<number> {
    return this.#changeDead(ids, (id) => this.home.purge(id))
  }

  /** In commits of some MiB each. @param change Returns the bytes of the letter's text, null when there is none. */
  async #changeDead(ids: readonly string[], change: (id: string) => number | null): Promise<number> {
    let [count, next] = [0, 0]
    while (next < ids.length) {
      await this.#commit(() => {
        for (let bytes = 0; next < ids.length && bytes < CLAIM_MAX_BYTES; next++) {
          const changed = change(ids[next]!)
          if (changed === null) continue
          count++
          bytes += changed
        }
      })
      this.wake()
    }
    return count
  }

  depth(): Depth {
    const { lane, files } = this.#options
    if (this.#idle?.depth !== undefined && this.#isIdle()) return this.#idle.depth
    const starts = this.home.starts()
    let waiting = starts.count
    let oldest = starts.oldest
    for (const id of this.#inHand.keys()) if (oldest === null || id < oldest) oldest = id
    for (const { row } of this.#inHand.values()) if (row === undefined) waiting--
    for (const name of this.#unsettledFiles()) {
      files.read(name, (reader) => {
        const track = this.#trackOf(reader)
        track.count(reader, lane)
        waiting += track.waiting
        const next = track.waiting > 0 ? reader.nextOf(lane, track.readSeq) : undefined
        for (const { ready } of track.rows) {
          waiting += ready.length
          if (ready[0] !== undefined && (oldest === null || ready[0].id < oldest)) oldest = ready[0].id
        }
        if (next !== undefined && (oldest === null || next < oldest)) oldest = next
      })
    }
    const inHand = this.#inHand.size
    const oldestAt = oldest === null ? null : timeOf(oldest)
    const counts = { retrying: this.home.retryingCount(), dead: this.home.deadCount() }
    const depth = { waiting: Math.max(0, waiting), inHand, ...counts, oldestAt }
    if (this.#idle !== undefined && this.#isIdle() && inHand === 0) this.#idle.depth = depth
    return depth
  }

  /** Removes what is older than the retention, bit by bit, and moves the durable cursors. */
  async removeOld(): Promise<void> {
    if (!this.home.hasOld() && ![...this.#tracks.values()].some(({ isBehind }) => isBehind)) return
    while (!this.#released && (await this.#change(() => this.home.removeOld())));
    while (!this.#released && this.home.giveBack()) await this.#options.clock.sleep(0)
  }

  /** Why the lane's outcomes cannot be recorded now, human-readable. */
  get unwritable(): string | undefined {
    return this.#unwritable ?? (this.#lacksRoom ? NO_ROOM : undefined)
  }

  /** Moves what is in the home's write-ahead log into the home. */
  checkpoint(): void {
    this.#options.home.checkpoint()
  }

  /** Makes what is delivered durable. @throws When that fails: the home cannot be trusted any more. */
  async sync(): Promise<void> {
    try {
      if (!this.#released) await this.#options.home.sync()
    } catch (error) {
      if (!isUnavailable(error)) throw error
      this.#unwritable = this.#options.home.whyUnwritable(error)
    }
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
    this.#room.close()
    this.#retryRoom.close()
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
    const { home, files } = this.#options
    const claimed: Claimed[] = []
    this.#isShort = this.#isShortForRetries = false
    for (const message of home.due(maxRetryCount + this.#inHand.size)) {
      if (claimed.length === maxRetryCount) break
      if (this.#inHand.has(message.id)) continue
      const { id, bytes, file, seq, ...known } = message
      if (!this.#retryRoom.take(bytes, claimed.length === 0)) {
        this.#isShortForRetries = true
        break
      }
      if (!this.#takeRoom(bytes, claimed)) {
        this.#retryRoom.give(bytes)
        return claimed
      }
      const text = home.textOf(id)
      this.#inHand.set(id, { id, text, file, seq, row: undefined, isRetry: true })
      claimed.push({ id, text, ...known })
    }
    const mostCount = Math.min(maxCount, claimed.length + this.#newCount(maxCount))
    if (claimed.length === mostCount) return claimed
    const names = this.#unsettledFiles()
    this.#turn++
    let bytes = 0
    for (let index = 0; index < names.length; index++) {
      const name = names[(index + this.#turn) % names.length]!
      try {
        const track = files.read(name, (reader) => this.#trackOf(reader))
        for (let [isThere, isEnd] = [track !== undefined, false]; isThere; ) {
          bytes += this.#take(track!, claimed, mostCount)
          if (claimed.length === mostCount || bytes >= CLAIM_MAX_BYTES) return claimed
          if (isEnd) break
          const read = files.read(name, (reader) => this.#readRows(reader, track!, claimed))
          isThere = (read?.rowCount ?? 0) > 0
          isEnd = read?.isEnd ?? true
        }
        if (this.#isShort) return claimed
        // While something comes, the question can wait.
        const mayBeOver = claimed.length === 0 && track?.isSettled === true
        if (mayBeOver && files.read(name, (reader) => this.#isOver(reader, track))) this.#names.over.add(name)
      } catch (error) {
        // What is in hand by now must be returned: no later claim would find it.
        if (claimed.length === 0) throw error
        return claimed
      }
    }
    return claimed
  }

  /** Messages that may be claimed for the first time: on a nearly full disk one after another, on a full one none. */
  #newCount(maxCount: number): number {
    const { home } = this.#options
    this.#lacksRoom = false
    if (this.#copiesTexts === false || home.mayCopy(HAND_MAX_BYTES)) return maxCount
    if ([...this.#inHand.values()].some(({ row }) => row !== undefined)) return 0
    this.#lacksRoom = this.#copiesTexts === true && !home.mayCopy(0)
    return this.#lacksRoom ? 0 : 1
  }

  /** Takes messages of rows that were read in hand. @returns How many bytes their texts have. */
  #take(track: Track, claimed: Claimed[], maxCount: number): number {
    let bytes = 0
    for (;;) {
      const parts = track.firstReady(maxCount - claimed.length)
      if (parts.length === 0) return bytes
      const isKnown = this.home.known(parts.map(({ ready }) => [ready[0]!.id, ready.at(-1)!.id]))
      for (const { row, ready } of parts) {
        row.ready.splice(0, ready.length)
        for (const { id, text } of ready) {
          // Of a batch that stands in two files, one copy is in hand.
          if (this.#inHand.has(id) || isKnown(id)) {
            row.openCount--
            this.#room.give(Buffer.byteLength(text))
            continue
          }
          this.#inHand.set(id, { id, text, file: track.file, seq: row.seq, row, isRetry: false })
          claimed.push({ id, text, ...CLAIMED_FIRST })
          bytes += Buffer.byteLength(text)
        }
      }
    }
  }

  #unsettledFiles(): string[] {
    const all = this.#options.files.names()
    if (all !== this.#names.all) {
      const { over } = this.#names
      this.#names = { all, over: new Set(all.filter((name) => over.has(name))) }
    }
    return all.filter((name) => !this.#names.over.has(name))
  }

  /** True when the lane needs nothing more of a file, and never will. */
  #isOver(reader: LogReader, track: Track): boolean {
    if (!reader.isEnded || reader.nextOf(this.#options.lane, track.readSeq) !== undefined) return false
    this.#cursors.set(track.file, track.savedCursor)
    this.#tracks.delete(track.file)
    return true
  }

  /** @returns How many rows it read, none when there is no room for one; and whether they were the last. */
  #readRows(
    reader: LogReader,
    track: Track,
    claimed: readonly Claimed[],
  ): { rowCount: number; isEnd: boolean } {
    const { files, lane } = this.#options
    let rowCount = 0
    let bytes = 0
    const sizes = reader.sizesOf(lane, track.readSeq, ROWS_COUNT)
    for (const size of sizes) {
      if (bytes >= CLAIM_MAX_BYTES / 2 || !this.#takeRoom(size, rowCount === 0 ? claimed : sizes)) break
      rowCount++
      bytes += size
    }
    const isEnd = rowCount === sizes.length && rowCount < ROWS_COUNT
    if (rowCount === 0) return { rowCount, isEnd }
    try {
      for (const { seq, count, messages } of reader.ofLane(lane, track.readSeq, rowCount)) {
        const intact = files.intact(messages)
        bytes -= textBytesOf(intact)
        track.read(seq, count, intact)
      }
    } finally {
      // What was not read, or is damaged: a claim that fails is repeated.
      this.#room.give(bytes)
    }
    return { rowCount, isEnd }
  }

  /** @param found What the claim has without it; it waits for room only when that is nothing. @returns False: no room. */
  #takeRoom(bytes: number, found: readonly unknown[]): boolean {
    const isThere = this.#room.take(bytes, found.length === 0)
    this.#isShort ||= !isThere && found.length === 0
    return isThere
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
  async #commit(write: () => void, isDurable = true): Promise<void> {
    this.#refuse()
    try {
      await this.#options.home.commit(() => {
        this.#options.lock.keep()
        write()
        for (const track of this.#tracks.values()) {
          track.advance()
          if (track.cursor > track.savedCursor) this.home.moveCursor(track.file, track.cursor)
        }
      }, isDurable)
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

/** The log's line has a message no more: it is settled, or in the home's `start`. */
function leaveRow(hand: Hand): void {
  if (hand.row !== undefined) hand.row.openCount--
  hand.row = undefined
}

function idsOf({ id, count }: Pick<Run, 'id' | 'count'>): string[] {
  return Array.from({ length: count }, (_, index) => idBehind({ id, count: index }))
}

/** The id at the place behind a run. */
function idBehind({ id, count }: Pick<Run, 'id' | 'count'>): string {
  return idAtPlace(batchKeyOf(id), placeOf(id) + count)
}

function outcomeOf({ deliveredAt, attempts }: Run): Pick<Delivered, 'deliveredAt' | 'attempts'> {
  return { deliveredAt, attempts }
}
