import assert from 'node:assert/strict'
import { test } from 'node:test'
import { History } from '../../src/runtime/history.ts'
import type { Distribution } from '../../src/runtime/stats.ts'
import { HEARTBEAT_MS, HISTORY_MS } from '../../src/runtime/timings.ts'

const none: Distribution = { buckets: [[0.1, 0]], count: 0, sumSeconds: 0 }
const zero = {
  at: 0,
  accepted: 0,
  delivered: 0,
  refused: 0,
  died: 0,
  waiting: 0,
  accept: none,
  delivery: none,
}

test('a point has the rates of its second, and what 99 of 100 took at most', () => {
  const history = new History()
  history.add(zero)
  const accept: Distribution = { buckets: [[0.1, 100]], count: 100, sumSeconds: 5 }
  history.add({ ...zero, at: 2000, accepted: 100, delivered: 60, refused: 2, waiting: 40, accept })
  assert.deepEqual(history.points(), [
    {
      ...{ at: 2000, accepted: 50, delivered: 30, refused: 1, died: 0, waiting: 40 },
      ...{ acceptP99: 0.099, deliveryP99: null },
    },
  ])
})

test('when a node leaves, its counts do, too: that is no negative rate', () => {
  const history = new History()
  history.add({ ...zero, accepted: 1000 })
  history.add({ ...zero, at: 1000, accepted: 10 })
  assert.equal(history.points()[0]!.accepted, 0)
})

test('the newest points are kept, those of 15 minutes', () => {
  const history = new History()
  const many = HISTORY_MS / HEARTBEAT_MS
  for (let second = 0; second <= many + 5; second++) history.add({ ...zero, at: second * 1000 })
  const points = history.points()
  assert.deepEqual([points.length, points[0]!.at, points.at(-1)!.at], [many, 6000, (many + 5) * 1000])
})
