/**
 * The node's time: what messages are stamped with. Ids contain it, lists sort by it, retention and cursors measure
 * with it, so it never runs backwards, whatever the wall clock does (docs/decisions/0045-node-time.md).
 *
 *   node time = a straight line over the machine's monotonic clock
 *
 * The primary draws the line (`TimeKeeper`) and sends it to its workers; each reads it with the same monotonic clock
 * (`NodeClock`), so all of them agree. A wall clock that is behind is approached at half speed. One that is ahead is
 * followed with a leap, once it has been ahead for a minute. Leaps are remembered: they do not make a message older.
 */
import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { type Clock, systemClock } from './clock.ts'
import { MailroomError } from './errors.ts'
import type { Logger } from './logger.ts'
import { CLOCK_BELIEVE_MS, CLOCK_OFF_MS, DAY_MS, SLEW_FROM_MS, SLEW_TO_MS } from './timings.ts'

/** No message is stamped before this: Mailroom is not older. */
const CLOCK_MIN = Date.UTC(2026, 0, 1)
/** A wall clock that says this or more is wrong: nobody runs this release then. */
const CLOCK_MAX = Date.UTC(2046, 0, 1)

/** Small differences are corrected at this pace, backwards or forwards. */
const SLEW = 0.05
/** The pace while the wall clock is more than `CLOCK_OFF_MS` behind. */
const HALF_PACE = 0.5

/** Node time jumped forward by so many ms, to an instant. */
interface Leap {
  to: number
  by: number
}

/** The line. JSON: it crosses IPC, and outlives the node in its data directory. */
export interface NodeTime {
  /** Monotonic ms, since when it counts, and the node's time then. */
  at: number
  time: number
  /** Ms of node time in a ms: 1, or a little more or less while it approaches the wall clock. */
  pace: number
  /** Newest first. */
  leaps: readonly Leap[]
  /** False until the wall clock has said a time that can be: until then no message is stamped. */
  isSet: boolean
}

/** The node's time at a monotonic instant. */
export function timeAt({ at, time, pace }: NodeTime, monotonic: number): number {
  return time + (monotonic - at) * pace
}

/** As `Clock.ago`, from an instant of node time. O(leaps). */
export function beforeLeaps(now: number, ms: number, leaps: readonly Leap[]): number {
  let instant = now - ms
  for (const { to, by } of leaps) if (instant < to) instant -= by
  return instant
}

function isPlausible(time: number): boolean {
  return time >= CLOCK_MIN && time < CLOCK_MAX
}

/** A clock that says the node's time. */
export interface NodeClock extends Clock {
  /** `MR_CLOCK_WRONG` while no message may be stamped. */
  problem(): MailroomError | undefined
  /** What is wrong with the wall clock although messages can be stamped, as sentences for people. */
  warnings(): string[]
}

/** A worker's clock: the line that its primary draws. */
export class WorkerClock implements NodeClock {
  readonly after = systemClock.after
  readonly every = systemClock.every
  readonly soon = systemClock.soon
  readonly sleep = systemClock.sleep
  readonly monotonic = systemClock.monotonic
  #time: NodeTime | undefined
  #last = 0

  /** Takes a line, unless it has a newer one. */
  follow(time: NodeTime): void {
    if (this.#time === undefined || time.at > this.#time.at) this.#time = time
  }

  now(): number {
    // A line that is less steep arrives a moment after the others have it.
    this.#last = Math.max(this.#last, Math.floor(timeAt(this.#line, this.monotonic())))
    return this.#last
  }

  ago(ms: number): number {
    return beforeLeaps(this.now(), ms, this.#line.leaps)
  }

  problem(): MailroomError | undefined {
    if (this.#line.isSet) return undefined
    const facts = { wallClock: isoOf(systemClock.now()), from: dayOf(CLOCK_MIN), to: dayOf(CLOCK_MAX) }
    return new MailroomError('MR_CLOCK_WRONG', facts)
  }

  warnings(): string[] {
    const wall = systemClock.now()
    const offMs = wall - this.now()
    if (!this.#line.isSet || Math.abs(offMs) <= CLOCK_OFF_MS) return []
    const off = `${Math.round(Math.abs(offMs) / 1000)} s ${offMs > 0 ? 'ahead of' : 'behind'}`
    return [`the wall clock says ${isoOf(wall)}, ${off} this node's time: messages get the node's time`]
  }

  get #line(): NodeTime {
    if (this.#time === undefined) throw new Error('the clock was asked before its primary sent the time')
    return this.#time
  }
}

/** The clocks of the machine. */
export interface Machine {
  /** Ms since 1970. */
  wall(): number
  monotonic(): number
  /** Ms since the machine started, with the time it was suspended, which the monotonic clock may lack. */
  uptime(): number
  /** Another one after each start of the machine; empty when it cannot be known. */
  bootId: string
}

/** The clocks of this machine. */
export function thisMachine(): Machine {
  return {
    wall: systemClock.now,
    monotonic: systemClock.monotonic,
    uptime: () => uptime() * 1000,
    bootId: bootIdOf(),
  }
}

/** Linux has it, and no other system. */
function bootIdOf(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}

/** A line as it is stored, with the boot its monotonic clock belongs to. */
export interface StoredTime extends NodeTime {
  boot: string
}

/** What a keeper needs. */
export interface TimeKeeperOptions {
  machine: Machine
  /** The line of the last start on this data; undefined when there is none. */
  stored: StoredTime | undefined
  /** The newest instant that a message was stamped with; undefined when there is none. */
  newest: number | undefined
  /** A leap is remembered for as long as anything is as old. */
  retentionMs: number
  /** Stores the line durably. Returns false when that failed. */
  store: (time: StoredTime) => boolean
  logger: Logger
}

/** Draws a node's line. Call `tick` every `CLOCK_CHECK_MS`. */
export class TimeKeeper {
  readonly #options: TimeKeeperOptions
  #time: NodeTime
  #isStored = false
  /** Wall clock minus monotonic clock, and since when (monotonic) that has been constant. */
  #offset: { ms: number; since: number }
  #asleepMs: number
  #isOff = false

  constructor(options: TimeKeeperOptions) {
    const { machine, stored } = options
    const monotonic = machine.monotonic()
    this.#options = options
    this.#offset = { ms: machine.wall() - monotonic, since: monotonic }
    this.#asleepMs = machine.uptime() - monotonic
    const isSameBoot = stored !== undefined && stored.boot === machine.bootId && stored.boot !== ''
    this.#time =
      isSameBoot && stored.at <= monotonic ? this.#continued(stored, monotonic) : this.#begun(monotonic)
    this.#store()
  }

  /** The line now. */
  get time(): NodeTime {
    return this.#time
  }

  /** Compares the line with the wall clock. @returns True when there is a new line. */
  tick(): boolean {
    const { machine } = this.#options
    const before = this.#time
    const monotonic = machine.monotonic()
    const wall = machine.wall()
    const asleepMs = machine.uptime() - monotonic
    const sleptMs = asleepMs - this.#asleepMs
    this.#asleepMs = asleepMs
    if (Math.abs(wall - monotonic - this.#offset.ms) > CLOCK_OFF_MS) {
      this.#offset = { ms: wall - monotonic, since: monotonic }
    }
    const now = timeAt(before, monotonic)
    const offMs = wall - now
    const isBelieved =
      monotonic - this.#offset.since >= CLOCK_BELIEVE_MS || sleptMs >= offMs - CLOCK_OFF_MS || !before.isSet
    if (!isPlausible(wall)) this.#draw({ at: monotonic, time: now, pace: 1 })
    else if ((offMs > CLOCK_OFF_MS || !before.isSet) && isBelieved) this.#leap(monotonic, now, wall)
    else this.#draw({ at: monotonic, time: now, pace: paceFor(offMs, before.pace) })
    this.#report(offMs)
    if (!this.#isStored) this.#store()
    return this.#time !== before
  }

  /** The line of the last start goes on: its monotonic clock is still ours. */
  #continued({ boot: _, ...stored }: StoredTime, monotonic: number): NodeTime {
    const { newest = 0 } = this.#options
    const time = Math.max(timeAt(stored, monotonic), isPlausible(newest) ? newest + 1 : 0)
    return { ...stored, at: monotonic, time, pace: 1 }
  }

  /** A line from the wall clock, above all that was stamped. How long nothing ran before it is not known. */
  #begun(monotonic: number): NodeTime {
    const { machine, stored, newest } = this.#options
    const lived = [stored?.time, newest].filter((time) => time !== undefined && isPlausible(time))
    const last = Math.max(0, ...(lived as number[]))
    const wall = machine.wall()
    const isSet = isPlausible(wall)
    const time = Math.max(isSet ? wall : CLOCK_MIN, last + 1)
    const leaps = [...(last > 0 ? leapOf(last, time) : []), ...this.#remembered(last, stored?.leaps ?? [])]
    return { at: monotonic, time, pace: 1, leaps, isSet }
  }

  #leap(monotonic: number, now: number, wall: number): void {
    const { logger } = this.#options
    const time = Math.max(now, wall)
    const leaps = [...leapOf(now, time), ...this.#remembered(now, this.#time.leaps)]
    const next = { at: monotonic, time, pace: 1, leaps, isSet: true }
    // Forgotten, a leap would make what was stamped before it too old. Until posts are taken, nothing was.
    if (this.#time.isSet && !this.#options.store({ ...next, boot: this.#options.machine.bootId })) return
    logger.warn({ byMs: Math.round(time - now), time: isoOf(time) }, 'node time follows the wall clock')
    this.#time = next
    this.#isStored = false
  }

  /** The leaps that something that is not too old yet was stamped before. */
  #remembered(now: number, leaps: readonly Leap[]): readonly Leap[] {
    const oldest = beforeLeaps(now, Math.max(this.#options.retentionMs, DAY_MS), leaps)
    return leaps.filter(({ to }) => to > oldest)
  }

  #draw(line: Pick<NodeTime, 'at' | 'time' | 'pace'>): void {
    if (line.pace === this.#time.pace) return
    this.#time = { ...this.#time, ...line }
    this.#isStored = false
  }

  #store(): void {
    this.#isStored = this.#options.store({ ...this.#time, boot: this.#options.machine.bootId })
  }

  #report(offMs: number): void {
    const isOff = Math.abs(offMs) > CLOCK_OFF_MS
    if (isOff === this.#isOff) return
    this.#isOff = isOff
    const facts = { offMs: Math.round(offMs) }
    if (isOff) this.#options.logger.warn(facts, 'the wall clock differs from node time')
    else this.#options.logger.info(facts, 'the wall clock agrees with node time')
  }
}

function leapOf(from: number, to: number): Leap[] {
  return to - from > CLOCK_OFF_MS ? [{ to, by: to - from }] : []
}

function paceFor(offMs: number, pace: number): number {
  const size = Math.abs(offMs)
  if (offMs < -CLOCK_OFF_MS) return HALF_PACE
  if (size <= SLEW_TO_MS || size > CLOCK_OFF_MS || (pace === 1 && size <= SLEW_FROM_MS)) return 1
  return offMs < 0 ? 1 - SLEW : 1 + SLEW
}

function isoOf(instant: number): string {
  return new Date(instant).toISOString()
}

function dayOf(instant: number): string {
  return isoOf(instant).slice(0, 10)
}
