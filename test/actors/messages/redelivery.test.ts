/** A delivered message runs once more, or it is told why not. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { Breaker } from '../../../src/actors/messages/outage.ts'
import { redeliver } from '../../../src/actors/messages/redelivery.ts'
import type { Run, Runner } from '../../../src/actors/messages/runner.ts'
import { type Share, Slots } from '../../../src/actors/messages/slots.ts'
import { REDELIVER_WAIT_MS } from '../../../src/runtime/timings.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const MESSAGE = { id: '01K0000000000000000000000A', text: 'hello' }

class Bench {
  readonly clock = new FakeClock()
  readonly drain = new AbortController()
  readonly breaker = new Breaker({
    ...{ target: 'http://there/', clock: this.clock, random: () => 1 },
    ...{ actorCount: () => 1, actorIndex: () => 0, waitingCount: () => 9, onChange: () => {} },
  })
  readonly slots = new Slots(2)
  readonly runs: unknown[] = []
  run: Run = { as: 'done' }
  readonly runner: Runner = {
    acquire: (share: Share) => this.slots.acquire(share),
    ready: async () => {},
    run: async (message, { attempt, isAlone, onStart }) => {
      onStart()
      this.runs.push({ ...message, attempt, isAlone })
      return this.run
    },
    missing: () => [],
    close: async () => {},
    target: 'http://there/',
  }

  again(runner: Runner | null = this.runner): Promise<void> {
    const { clock, breaker, drain } = this
    return redeliver(MESSAGE, 2, { runner, breaker, clock, drain: drain.signal })
  }

  /** How many slots are free. */
  async freeCount(): Promise<number> {
    const releases: (() => void)[] = []
    for (let count = 0; count < 2; count++) {
      void this.slots.acquire('new').then((release) => releases.push(release))
    }
    await this.clock.advance(1)
    for (const release of releases) release()
    return releases.length
  }
}

test('it runs once, alone, with its next number, and gives its slot back', async () => {
  const bench = new Bench()
  await bench.again()
  assert.deepEqual(bench.runs, [{ ...MESSAGE, attempt: 2, isAlone: true }])
  assert.equal(await bench.freeCount(), 2)
})

test('a failure is told with its error; one of an outage counts for the breaker', async () => {
  const bench = new Bench()
  bench.run = { as: 'failed', error: 'answered 500', isSuspect: false }
  await assert.rejects(bench.again(), {
    code: 'MR_REDELIVERY_FAILED',
    message: /answered 500/,
    outcome: 'unknown',
  })
  bench.run = { as: 'failed', error: 'refused', isSuspect: false, isOutage: true }
  for (let count = 0; count < 20 && bench.breaker.outage === null; count++) {
    const { breaker } = bench
    const others = ['b', 'c', 'd', 'e'].map(async (id) => {
      const pass = await breaker.admit(id, false, new AbortController().signal)
      pass?.begin()
      pass?.metOutage('refused')
      pass?.end()
    })
    await bench.again().catch(() => {})
    await bench.clock.advance(2000)
    await Promise.all(others)
  }
  assert.equal(bench.breaker.outage?.target, 'http://there/')
  assert.equal(await bench.freeCount(), 2)
})

test('it is refused without a runner, and while delivery is paused: nothing runs', async () => {
  const bench = new Bench()
  await assert.rejects(bench.again(null), {
    code: 'MR_REDELIVERY_REFUSED',
    message: /--handler nor --forward/,
  })
  bench.breaker.setPaused(true)
  await assert.rejects(bench.again(), { code: 'MR_REDELIVERY_REFUSED', message: /paused/ })
  assert.deepEqual(bench.runs, [])
})

test('it waits for a slot, but not for long', async () => {
  const bench = new Bench()
  const busy = await Promise.all([bench.slots.acquire('new'), bench.slots.acquire('new')])
  const refused = assert.rejects(bench.again(), { code: 'MR_REDELIVERY_REFUSED', message: /try again/ })
  await bench.clock.advance(REDELIVER_WAIT_MS)
  await refused
  const later = bench.again()
  for (const release of busy) release()
  await bench.clock.advance(1)
  await later
  assert.equal(bench.runs.length, 1)
  assert.equal(await bench.freeCount(), 2)
})

test('a drain ends it, and its outcome is not known', async () => {
  const bench = new Bench()
  bench.run = { as: 'back', isSuspect: false }
  await assert.rejects(bench.again(), { code: 'MR_DRAINING' })
  bench.drain.abort()
  await assert.rejects(bench.again(), { code: 'MR_DRAINING' })
})
