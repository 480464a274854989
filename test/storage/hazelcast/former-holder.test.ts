/** What a former holder of a lane settles when the next one has read the lane already. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { laneKey } from '../../../src/storage/hazelcast/entries.ts'
import { batchKeyOf } from '../../../src/storage/ids.ts'
import { LaneBench as Bench, LANE } from '../../support/lane-bench.ts'

const NOTHING = { claimed: [], late: [] }
const listOf = async (bench: Bench) => {
  const list = await bench.run(bench.queue.delivered(LANE, { after: '0', limit: 9 }))
  return list.map(({ id }) => id)
}

test('a message both pending and in the list is shown as listed, not claimed, and removed from pending', async () => {
  const bench = new Bench()
  const [a, b] = (await bench.accept('a', 'b')) as [string, string]
  await bench.hold()
  await bench.deliver(batchKeyOf(a), 'a', 'b')
  assert.deepEqual(await bench.claim(), { claimed: [], late: [`${a} a then`, `${b} b then`] })
  assert.deepEqual(await bench.claim(), NOTHING)
  assert.deepEqual(await bench.waiting(), [])
})

test('messages of the same batch that are not in the list are claimed', async () => {
  const bench = new Bench()
  const [a, b, c] = (await bench.accept('a', 'b', 'c')) as [string, string, string]
  await bench.hold()
  await bench.deliver(b, 'b')
  assert.deepEqual(await bench.claim(), { claimed: [a, c], late: [`${b} b then`] })
  assert.deepEqual(await bench.settle(a, c), [`${a} a now`, `${c} c now`])
  assert.deepEqual(await listOf(bench), [a, b, c])
})

test('a message that another holder listed while it is in hand is shown as listed', async () => {
  const bench = new Bench()
  const [a, b] = (await bench.accept('a', 'b')) as [string, string]
  await bench.hold()
  assert.deepEqual(await bench.claim(), { claimed: [a, b], late: [] })
  await bench.deliver(batchKeyOf(a), null, 'b')
  assert.deepEqual(await bench.settle(a, b), [`${a} a now`, `${b} b then`])
  assert.deepEqual(await listOf(bench), [a, b])
})

test('a message that the former holder listed and removed from pending is shown', async () => {
  const bench = new Bench()
  const [a] = (await bench.accept('a')) as [string]
  await bench.hold()
  const [key] = await bench.waiting()
  await bench.deliver(batchKeyOf(a), 'a')
  await bench.run(bench.pending.delete(key!))
  assert.deepEqual(await bench.claim(), { claimed: [], late: [`${a} a then`] })
})

test('a message that is delivered while it waits for a retry is shown and not claimed again', async () => {
  for (const isGone of [false, true]) {
    const bench = new Bench()
    const [a] = (await bench.accept('a')) as [string]
    await bench.hold()
    await bench.claim()
    await bench.run(bench.queue.start(LANE, [a]))
    await bench.run(bench.queue.settle(LANE, [{ id: a, as: 'retry', delayMs: 0, error: 'Error: no' }]))
    await bench.deliver(a, 'a')
    if (isGone) await bench.run(bench.pending.delete(laneKey(LANE, a)))
    assert.deepEqual(await bench.claim(), { claimed: [], late: [`${a} a then`] })
    assert.deepEqual(await bench.claim(), NOTHING)
    assert.deepEqual(await bench.waiting(), [])
  }
})

test('a message that the former holder made a dead letter is a dead letter here, too', async () => {
  const bench = new Bench()
  const [a] = (await bench.accept('a')) as [string]
  await bench.hold()
  await bench.claim()
  await bench.run(bench.queue.start(LANE, [a]))
  await bench.run(bench.queue.settle(LANE, [{ id: a, as: 'retry', delayMs: 0, error: 'Error: no' }]))
  await bench.bury(a, 'a')
  await bench.run(bench.pending.delete(laneKey(LANE, a)))
  assert.deepEqual(await bench.claim(), NOTHING)
  const letters = await bench.run(bench.queue.dead(LANE, { limit: 9 }))
  assert.deepEqual(
    letters.map(({ id, reason }) => ({ id, reason })),
    [{ id: a, reason: 'tried' }],
  )
})

test('a dead letter that the former holder delivered is shown as delivered', async () => {
  const bench = new Bench()
  const [a] = (await bench.accept('a')) as [string]
  await bench.hold()
  await bench.claim()
  await bench.run(bench.queue.settle(LANE, [{ id: a, as: 'dead', reason: 'tried', error: 'Error: no' }]))
  await bench.deliver(a, 'a')
  assert.deepEqual(await bench.claim(), NOTHING)
  assert.deepEqual(await bench.run(bench.queue.dead(LANE, { limit: 9 })), [])
  assert.deepEqual(await bench.claim(), { claimed: [], late: [`${a} a then`] })
})
