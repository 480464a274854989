/** The node's time, on clocks that tests move. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { createLogger } from '../../src/runtime/logger.ts'
import { beforeLeaps, type StoredTime, TimeKeeper, timeAt, WorkerClock } from '../../src/runtime/node-time.ts'
import { CLOCK_BELIEVE_MS, CLOCK_CHECK_MS, DAY_MS } from '../../src/runtime/timings.ts'

const SECOND_MS = 1000
const HOUR_MS = 3_600_000
const YEAR_MS = 365 * DAY_MS
const NOON = Date.UTC(2026, 10, 27, 12)
const logger = createLogger('silent', {})

/** A machine, and the node that runs on it. */
class Bench {
  /** How long this machine has run, and how far its wall clock is off. */
  ranMs = 5000
  bootedAt = 0
  asleepMs = 0
  offMs = 0
  boot = 'first'
  isFull = false
  stored: StoredTime | undefined
  newest: number | undefined
  keeper!: TimeKeeper

  constructor(offMs = 0) {
    this.offMs = offMs
    this.start()
  }

  start(): void {
    this.keeper = new TimeKeeper({
      machine: {
        wall: () => NOON + this.ranMs + this.asleepMs + this.offMs,
        monotonic: () => this.ranMs - this.bootedAt,
        uptime: () => this.ranMs + this.asleepMs - this.bootedAt,
        bootId: this.boot,
      },
      ...{ stored: this.stored, newest: this.newest, retentionMs: DAY_MS, logger },
      store: (time) => {
        if (!this.isFull) this.stored = JSON.parse(JSON.stringify(time))
        return !this.isFull
      },
    })
  }

  /** The machine starts anew after `ms`. */
  reboot(ms: number): void {
    this.ranMs += ms
    this.bootedAt = this.ranMs
    this.boot += '+'
    this.start()
  }

  pass(ms: number): void {
    for (const endAt = this.ranMs + ms; this.ranMs < endAt; ) {
      this.ranMs += Math.min(CLOCK_CHECK_MS, endAt - this.ranMs)
      this.keeper.tick()
    }
  }

  get now(): number {
    return timeAt(this.keeper.time, this.ranMs - this.bootedAt)
  }

  /** Node time minus the true time. */
  get aheadMs(): number {
    return Math.round(this.now - NOON - this.ranMs - this.asleepMs)
  }

  ago(ms: number): number {
    return beforeLeaps(this.now, ms, this.keeper.time.leaps)
  }
}

test('a wall clock that goes back an hour is approached at half speed', () => {
  const bench = new Bench(HOUR_MS)
  assert.equal(bench.aheadMs, HOUR_MS)
  bench.offMs = 0
  bench.pass(60 * SECOND_MS)
  assert.ok(Math.abs(bench.aheadMs - (HOUR_MS - 30 * SECOND_MS)) < SECOND_MS, String(bench.aheadMs))
  bench.pass(2 * HOUR_MS)
  assert.ok(Math.abs(bench.aheadMs) <= 50, String(bench.aheadMs))
  assert.equal(bench.keeper.time.pace, 1)
})

test('a wall clock that goes forward is believed after a minute, and makes nothing older', () => {
  const bench = new Bench()
  const before = bench.now
  bench.offMs = HOUR_MS
  bench.pass(CLOCK_BELIEVE_MS - SECOND_MS)
  assert.equal(bench.aheadMs, 0)
  bench.pass(2 * SECOND_MS)
  assert.equal(bench.aheadMs, HOUR_MS)
  const agedMs = CLOCK_BELIEVE_MS + SECOND_MS
  assert.equal(Math.round(bench.ago(agedMs) - before), 0)
  assert.ok(bench.ago(0) === bench.now)
})

test('a wall clock that goes forward and back within a minute moves nothing', () => {
  const bench = new Bench()
  for (const offMs of [HOUR_MS, 75 * YEAR_MS, 30 * DAY_MS]) {
    bench.offMs = offMs
    bench.pass(CLOCK_BELIEVE_MS - SECOND_MS)
  }
  bench.offMs = 0
  bench.pass(SECOND_MS)
  assert.equal(bench.aheadMs, 0)
  assert.deepEqual(bench.keeper.time.leaps, [])
})

test('a wall clock that says 1970 or 2099 is never believed while the node runs', () => {
  const bench = new Bench()
  for (const offMs of [-56 * YEAR_MS, 73 * YEAR_MS]) {
    bench.offMs = offMs
    bench.pass(HOUR_MS)
    assert.equal(bench.aheadMs, 0)
    assert.equal(bench.keeper.time.isSet, true)
  }
})

test('with a clock of 1970 at the start nothing is stamped until the clock is right, then at once', () => {
  const bench = new Bench(-56 * YEAR_MS)
  bench.pass(HOUR_MS)
  assert.equal(bench.keeper.time.isSet, false)
  bench.offMs = 0
  bench.pass(CLOCK_CHECK_MS)
  assert.equal(bench.keeper.time.isSet, true)
  assert.equal(bench.aheadMs, 0)
})

test('a clock that is off by less than a second is approached without a leap', () => {
  for (const offMs of [-900, 900]) {
    const bench = new Bench()
    bench.offMs = offMs
    bench.pass(30 * SECOND_MS)
    assert.ok(Math.abs(bench.aheadMs - offMs) <= 50, `${offMs}: ${bench.aheadMs}`)
    assert.deepEqual(bench.keeper.time.leaps, [])
  }
})

test('a machine that wakes up from a suspend is believed at once', () => {
  const bench = new Bench()
  bench.pass(SECOND_MS)
  bench.asleepMs = 8 * HOUR_MS
  bench.pass(CLOCK_CHECK_MS)
  assert.equal(bench.aheadMs, 0)
})

test('a start within the same boot goes on with the same line, whatever the wall clock says', () => {
  const bench = new Bench()
  bench.pass(SECOND_MS)
  for (const offMs of [-HOUR_MS, HOUR_MS, 0]) {
    bench.offMs = offMs
    bench.ranMs += 10 * SECOND_MS
    bench.start()
    assert.equal(bench.aheadMs, 0)
  }
})

test('after a reboot time begins with the wall clock, above all that was stamped', () => {
  const bench = new Bench()
  bench.pass(HOUR_MS)
  bench.newest = bench.now
  const last = bench.now
  bench.offMs = -2 * HOUR_MS
  bench.reboot(60 * SECOND_MS)
  assert.ok(bench.now > last && bench.now < last + SECOND_MS)

  bench.newest = bench.now
  bench.offMs = 30 * DAY_MS
  bench.reboot(60 * SECOND_MS)
  assert.equal(bench.aheadMs, 30 * DAY_MS)
  assert.ok(bench.ago(HOUR_MS) < last, 'the time it was off makes nothing older')
  bench.pass(2 * HOUR_MS)
  assert.ok(bench.ago(HOUR_MS) > bench.newest, 'the time it runs does')
})

test('a newest message that a wrong clock of an older release stamped is no reason to begin there', () => {
  const bench = new Bench()
  bench.newest = Date.UTC(2099, 0, 1)
  bench.stored = undefined
  bench.start()
  assert.equal(bench.aheadMs, 0)
})

test('a leap that the disk does not take is not made until it does', () => {
  const bench = new Bench()
  bench.isFull = true
  bench.offMs = HOUR_MS
  bench.pass(2 * CLOCK_BELIEVE_MS)
  assert.equal(bench.aheadMs, 0)
  bench.isFull = false
  bench.pass(CLOCK_CHECK_MS)
  assert.equal(bench.aheadMs, HOUR_MS)
})

test('node time never runs backwards, and what is old in it is as old in truth', () => {
  const step = fc.record({
    offMs: fc.integer({ min: -2 * DAY_MS, max: 2 * DAY_MS }),
    passMs: fc.integer({ min: 1, max: 3 * CLOCK_BELIEVE_MS }),
    end: fc.constantFrom('nothing', 'restart', 'reboot', 'suspend'),
  })
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
      const bench = new Bench()
      const slewedMs = steps.length * 2 * SECOND_MS
      const stamped: { time: number; at: number }[] = []
      for (const { offMs, passMs, end } of steps) {
        bench.offMs = offMs
        if (end === 'restart') bench.start()
        if (end === 'reboot') bench.reboot(passMs)
        if (end === 'suspend') bench.asleepMs += passMs
        bench.pass(passMs)
        const time = bench.now
        assert.ok(time > (stamped.at(-1)?.time ?? 0), 'it runs forwards')
        stamped.push({ time, at: bench.ranMs })
        bench.newest = time
        for (const each of stamped) {
          const ageMs = bench.ranMs - each.at
          assert.ok(bench.ago(ageMs + slewedMs) <= each.time, `${each.time} is no older than ${ageMs} ms`)
        }
      }
    }),
    { numRuns: 200 },
  )
})

test('a worker follows the newest line, and its clock never runs backwards', () => {
  const clock = new WorkerClock()
  assert.throws(() => clock.now())
  const at = clock.monotonic()
  const line = { at, time: NOON, pace: 1, leaps: [], isSet: true }
  clock.follow(line)
  const first = clock.now()
  assert.ok(first >= NOON && first < NOON + 10_000)
  clock.follow({ ...line, at: at - 1, time: 0 })
  assert.ok(clock.now() >= first, 'an older line is passed over')
  clock.follow({ ...line, at: at + 0.5, time: NOON - HOUR_MS })
  assert.ok(clock.now() >= first)
  assert.equal(clock.problem(), undefined)
  assert.match(clock.warnings().join(), /^the wall clock says \S+Z, \d+ s (ahead of|behind) this node's time/)
  clock.follow({ ...line, at: at + 1, isSet: false })
  assert.deepEqual([clock.problem()?.code, clock.problem()?.outcome], ['MR_CLOCK_WRONG', 'none'])
})
