import assert from 'node:assert/strict'
import test from 'node:test'
import { RestartPolicy } from '../../../src/runtime/cluster/restart-policy.ts'
import { FakeClock } from '../../support/fake-clock.ts'

function open(random = () => 1) {
  const clock = new FakeClock()
  return { clock, policy: new RestartPolicy(clock, random) }
}

test('the backoff is 0.1 s, doubles with each crash, and has full jitter', () => {
  const { policy } = open()
  assert.deepEqual(
    [1, 2, 3, 4].map(() => policy.crashed().delayMs),
    [100, 200, 400, 800],
  )
  assert.equal(open(() => 0).policy.crashed().delayMs, 0)
})

test('the fifth crash in 60 s opens the breaker: a probe every 30 s', async () => {
  const { policy, clock } = open()
  for (let crash = 1; crash <= 4; crash++) assert.equal(policy.crashed().failed, false)
  for (let probe = 1; probe <= 5; probe++) {
    assert.deepEqual(policy.crashed(), { failed: true, delayMs: 30_000 })
    await clock.advance(31_000)
  }
})

test('a process that has been ready for 60 s closes the breaker', async () => {
  const { policy, clock } = open()
  for (let crash = 1; crash <= 5; crash++) policy.crashed()
  policy.ready()
  await clock.advance(60_000)
  assert.deepEqual(policy.crashed(), { failed: false, delayMs: 100 })
})

test('a fork that fails is tried again after 2 s at the latest, and opens no breaker', () => {
  const { policy } = open()
  for (let crash = 1; crash <= 4; crash++) policy.crashed()
  const delays = Array.from({ length: 6 }, () => policy.forkFailed())
  assert.deepEqual(
    delays,
    [100, 200, 400, 800, 1600, 2000].map((delayMs) => ({ delayMs, failed: false })),
  )
  policy.ready()
  assert.equal(policy.forkFailed().delayMs, 100)
  assert.equal(policy.crashed().failed, true)
  assert.deepEqual(policy.forkFailed(), { delayMs: 30_000, failed: true })
})

test('crashes more than 60 s ago do not count', async () => {
  const { policy, clock } = open()
  for (let crash = 1; crash <= 20; crash++) {
    assert.equal(policy.crashed().failed, false)
    await clock.advance(15_001)
  }
})
