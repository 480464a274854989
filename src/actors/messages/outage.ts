/**
 * The breaker of one messages actor: whether what its runner needs (the target) is away, and which messages may start
 * meanwhile. In memory: a new process finds it out anew.
 *
 *   slow start ── 1, 2, 4 … at once ──▶ open to all ── five failures in a row ──▶ away: only probes
 *       ▲ boot                                                                         │
 *       └──────────────────────────────── a probe succeeds ◀───────────────────────────┘
 *
 * A failure is an outage's only when no start that began later has succeeded. Else the target answers, and the failure
 * is the message's own. So messages that hang beside others that succeed take nobody's turn.
 */
import type { Cancel, Clock, Random } from '../../runtime/clock.ts'
import type { Outage } from '../../runtime/cluster/directory.ts'
import {
  OUTAGE_ASKED_MAX_MS,
  OUTAGE_KNOCK_MS,
  OUTAGE_PAUSE_MAX_MS,
  SLOW_START_MS,
} from '../../runtime/timings.ts'
import { Pause } from './pause.ts'
import type { Run } from './runner.ts'

type Failed = Extract<Run, { as: 'failed' }>

/** So many failures in a row, of so many messages or of all that wait, are an outage. */
const ROW_COUNT = 5
const ROW_MESSAGES = 3
/** Of the last failures in a row, so many are kept. */
const ROW_MAX = 100
/** Probes that run at once: those that hang hold up no other. */
const PROBES_MAX = 3
const FIRST_PAUSE_MS = 1000
/** Starts at once that are no slow start any more: slots limit them. */
const FULL_WINDOW = 1024

/** What a breaker needs of its actor. */
export interface BreakerOptions {
  /** As `Runner.target`. */
  target: string
  clock: Clock
  random: Random
  /** Messages actors that knock at the same target, and the place of this one among them, from 0. */
  actorCount: () => number
  actorIndex: () => number
  /** Messages that wait in the lanes of this actor, those in hand included. */
  waitingCount: () => number
  /** An outage has begun, or ended after `lastedMs`. */
  onChange: (outage: Away, lastedMs?: number) => void
}

/** What is away. */
type Away = Omit<Outage, 'nextProbeAt'>

interface Waiting {
  id: string
  isRetry: boolean
  grant: (pass: Pass) => void
}

/** Lets messages start, and judges their failures. */
export class Breaker {
  /** Nothing may start while it lasts, no probe either. Set it by `setPaused`. */
  readonly pause = new Pause()
  readonly #options: BreakerOptions
  readonly #waiting = new Set<Waiting>()
  readonly #running = new Set<Pass>()
  /** Starts are numbered as they begin. */
  #begun = 0
  #newestSuccess = 0
  /** Outage failures since the target last answered, in the order of their ends. */
  #row: { number: number; id: string; at: number }[] = []
  /** By message: how many of these it had. */
  readonly #knocks = new Map<string, number>()
  #away: { outage: Away; sinceStart: number } | undefined
  /** Of the present outage. */
  #probes = 0
  #nextProbeAt = 0
  /** How many may run at once, those that hang apart. */
  #window = 1
  /** New messages get every second start. */
  #isNewNext = true
  #cancelTimer: Cancel = () => {}

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  /** The outage there is, or null. */
  get outage(): Outage | null {
    if (this.#away === undefined) return null
    const { clock } = this.#options
    const nextProbeAt = Math.round(clock.now() + this.#nextProbeAt - clock.monotonic())
    return { ...this.#away.outage, nextProbeAt: this.pause.isPaused ? null : nextProbeAt }
  }

  /**
   * Waits until a message may start. While the target is away, that is a probe: of the message that was probed least,
   * the oldest first.
   *
   * @param signal Ends the wait.
   * @returns Undefined when the wait was ended. Else end the pass, whatever came of it.
   */
  admit(id: string, isRetry: boolean, signal: AbortSignal): Promise<Pass | undefined> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve(undefined)
      const gone = () => {
        this.#waiting.delete(waiting)
        resolve(undefined)
      }
      const grant = (pass: Pass) => {
        this.#waiting.delete(waiting)
        signal.removeEventListener('abort', gone)
        resolve(pass)
      }
      const waiting: Waiting = { id, isRetry, grant }
      signal.addEventListener('abort', gone, { once: true })
      this.#waiting.add(waiting)
      this.#grant()
    })
  }

  /** For passes. @returns The number of the start that begins now. */
  begin(): number {
    return ++this.#begun
  }

  /** For passes: a start has succeeded. */
  succeeded({ id, number }: Pass): void {
    this.#newestSuccess = Math.max(this.#newestSuccess, number)
    this.#row = this.#row.filter((failure) => failure.number > number)
    this.#knocks.delete(id)
    this.answered(number)
  }

  /** For passes: the target has answered a start. Twice as many may start at once. */
  answered(number: number): void {
    // One that began before the outage does not tell whether the target takes more.
    if (this.#away !== undefined && number > this.#away.sinceStart) this.#close()
    this.widen()
  }

  /** For passes: a start has failed, and the target was away as far as it can tell. @returns As `Pass.metOutage`. */
  metOutage({ id, number }: Pass, why: string, askedMs: number | undefined): number | undefined {
    if (number < this.#newestSuccess) {
      this.#knocks.delete(id)
      return undefined
    }
    const { clock } = this.#options
    const now = clock.monotonic()
    const knocks = (this.#knocks.get(id) ?? 0) + 1
    this.#knocks.set(id, knocks)
    this.#row = [...this.#row, { number, id, at: clock.now() }].slice(-ROW_MAX)
    if (this.#away === undefined && !this.#isRow()) return this.#pauseMs(knocks - 1, askedMs)
    if (this.#away === undefined) this.#open(why)
    else if (askedMs !== undefined)
      this.#nextProbeAt = Math.max(this.#nextProbeAt, this.#turnAfter(now + this.#pauseMs(0, askedMs)))
    else this.#away.outage = { ...this.#away.outage, why }
    return Math.max(this.#nextProbeAt - now, this.#floorMs())
  }

  /** For passes: a start has failed by its own fault, and the target has answered it. */
  failed(pass: Pass): void {
    this.#forgetKnocks(pass)
    this.answered(pass.number)
  }

  /** For passes: a start has failed by its own fault, and nothing is known of the target. */
  fellSilent(pass: Pass): void {
    this.#forgetKnocks(pass)
    this.widen()
  }

  /** While the target is away it has been probed all the same. */
  #forgetKnocks({ id }: Pass): void {
    if (this.#away === undefined) this.#knocks.delete(id)
  }

  /** For passes: the target has answered, or does not refuse. Twice as many may start at once. */
  widen(): void {
    this.#window = Math.min(FULL_WINDOW, this.#window * 2)
  }

  /** Pauses, or goes on. @returns, `version`: as `Pause.set`. */
  setPaused(paused: boolean, version?: number): boolean {
    const isChanged = this.pause.set(paused, version)
    if (isChanged) this.#grant()
    return isChanged
  }

  /** For passes: it is over. */
  end(pass: Pass): void {
    this.#running.delete(pass)
    this.#grant()
  }

  #isRow(): boolean {
    const messages = new Set(this.#row.map(({ id }) => id)).size
    const neededMessages = Math.min(ROW_MESSAGES, this.#options.waitingCount())
    return this.#row.length >= ROW_COUNT && messages >= neededMessages
  }

  #open(why: string): void {
    const { target, onChange } = this.#options
    const outage = { target, since: this.#row[0]!.at, why }
    this.#away = { outage, sinceStart: this.#begun }
    this.#probes = 0
    this.#planProbe()
    onChange(outage)
  }

  #close(): void {
    const { outage } = this.#away!
    this.#away = undefined
    this.#row = []
    this.#knocks.clear()
    this.#window = 1
    for (const pass of this.#running) pass.hangs = true
    this.#options.onChange(outage, this.#options.clock.now() - outage.since)
  }

  #planProbe(askedMs?: number): void {
    this.#nextProbeAt = this.#turnAfter(
      this.#options.clock.monotonic() + this.#pauseMs(this.#probes++, askedMs),
    )
  }

  /** The next turn of this actor from an instant on. All take turns by the node's time, so that no two knock at once. */
  #turnAfter(at: number): number {
    const { clock, actorCount, actorIndex } = this.#options
    const count = actorCount()
    if (count <= 1) return at
    const offset = clock.now() - clock.monotonic()
    const first = Math.ceil((at + offset) / OUTAGE_KNOCK_MS)
    const waits = (((actorIndex() - first) % count) + count) % count
    return (first + waits) * OUTAGE_KNOCK_MS - offset
  }

  /** The pause after so many others, up to a half shorter; or what was asked for. */
  #pauseMs(count: number, askedMs?: number): number {
    const longestMs = Math.min(OUTAGE_PAUSE_MAX_MS, FIRST_PAUSE_MS * 2 ** count)
    const pauseMs = askedMs === undefined ? longestMs * (0.5 + this.#options.random() / 2) : askedMs
    return Math.max(this.#floorMs(), Math.min(pauseMs, OUTAGE_ASKED_MAX_MS))
  }

  #floorMs(): number {
    return OUTAGE_KNOCK_MS * Math.max(1, this.#options.actorCount())
  }

  /** Lets start what may, and comes back when more may. */
  #grant(): void {
    this.#cancelTimer()
    if (this.pause.isPaused) return
    const now = this.#options.clock.monotonic()
    const nextAt = this.#away === undefined ? this.#grantWithin(now) : this.#grantProbe(now)
    if (this.#waiting.size === 0 || !Number.isFinite(nextAt)) return
    this.#cancelTimer = this.#options.clock.after(nextAt - now, () => this.#grant(), { unref: true })
  }

  /** @returns When the next probe may start; infinite when one has to end first. */
  #grantProbe(now: number): number {
    let probing = 0
    for (const pass of this.#running) if (pass.isProbe) probing++
    if (probing >= PROBES_MAX) return Number.POSITIVE_INFINITY
    if (now < this.#nextProbeAt || this.#waiting.size === 0) return this.#nextProbeAt
    const knocks = ({ id }: Waiting) => this.#knocks.get(id) ?? 0
    const least = [...this.#waiting].reduce((best, each) => {
      const more = knocks(each) - knocks(best)
      return more < 0 || (more === 0 && each.id < best.id) ? each : best
    })
    this.#planProbe()
    this.#pass(least, now)
    return probing + 1 < PROBES_MAX ? this.#nextProbeAt : Number.POSITIVE_INFINITY
  }

  /** @returns When one that runs counts as hanging, so that another may start; infinite when none will. */
  #grantWithin(now: number): number {
    if (this.#window < FULL_WINDOW) {
      for (const pass of this.#running) {
        if (pass.hangs || now < pass.admittedAt + SLOW_START_MS) continue
        pass.hangs = true
        this.widen()
      }
    }
    let nextAt = Number.POSITIVE_INFINITY
    let running = 0
    if (this.#window < FULL_WINDOW) {
      for (const { hangs, admittedAt } of this.#running) {
        if (hangs) continue
        running++
        nextAt = Math.min(nextAt, admittedAt + SLOW_START_MS)
      }
    }
    while (this.#waiting.size > 0 && running < this.#window) {
      this.#pass(this.#oldest(), now)
      running++
      nextAt = Math.min(nextAt, now + SLOW_START_MS)
    }
    return nextAt
  }

  /** The oldest, new messages and others by turns. */
  #oldest(): Waiting {
    const all = [...this.#waiting]
    const wanted = all.filter(({ isRetry }) => isRetry !== this.#isNewNext)
    const chosen = (wanted.length > 0 ? wanted : all).reduce((best, each) =>
      each.id < best.id ? each : best,
    )
    this.#isNewNext = chosen.isRetry
    return chosen
  }

  #pass({ id, grant }: Waiting, admittedAt: number): void {
    const pass = new Pass(this, { id, admittedAt, isProbe: this.#away !== undefined })
    this.#running.add(pass)
    grant(pass)
  }
}

/** Leave to start one message. Say what came of it, then end it. */
export class Pass {
  readonly id: string
  /** On the monotonic clock, ms. */
  readonly admittedAt: number
  readonly isProbe: boolean
  /** It holds up no other start. */
  hangs = false
  /** Of its start, among all of its breaker. */
  number = 0
  readonly #breaker: Breaker

  constructor(breaker: Breaker, { id, admittedAt, isProbe }: Pick<Pass, 'id' | 'admittedAt' | 'isProbe'>) {
    this.#breaker = breaker
    this.id = id
    this.admittedAt = admittedAt
    this.isProbe = isProbe
  }

  /** The start begins now. */
  begin(): void {
    this.number = this.#breaker.begin()
  }

  succeeded(): void {
    this.#breaker.succeeded(this)
  }

  /** It failed, and not because of the target, which is there: it has answered. */
  failed(): void {
    this.#breaker.failed(this)
  }

  /** It failed, and nothing is known of the target: it timed out, or its process died. */
  fellSilent(): void {
    this.#breaker.fellSilent(this)
  }

  /**
   * It failed, and the target was away as far as it can tell.
   *
   * @param why For people.
   * @param askedMs The target asked for this pause.
   * @returns After how many ms the message may start again, this start uncounted. Undefined: the target is not away, the
   * failure is the message's own.
   */
  metOutage(why: string, askedMs?: number): number | undefined {
    return this.#breaker.metOutage(this, why, askedMs)
  }

  /** Call it once, whatever came of the start. */
  end(): void {
    this.#breaker.end(this)
  }
}

/** Tells a pass of a failure that is the message's own. */
export function fail(
  pass: Pass,
  { isTimeout, isDeath, isSuspect }: Pick<Failed, 'isTimeout' | 'isDeath' | 'isSuspect'>,
): void {
  if (isTimeout || isDeath || isSuspect) pass.fellSilent()
  else pass.failed()
}
