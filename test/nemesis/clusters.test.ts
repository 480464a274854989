/** What the nemesis excuses when whole clusters stop. Its deals of that run in `npm run soak`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { History } from '../support/history.ts'
import { excusedByStops } from './clusters.ts'

test('what only one cluster held must be back in the end; what both held, and nothing posted later, is excused', () => {
  const history = new History()
  for (const [id, at] of [
    ['A', 10],
    ['B', 30],
    ['C', 50],
  ] as const) {
    history.postedAt.set(`text ${id}`, at)
    history.acknowledge(id, `text ${id}`, at + 1)
  }
  const { logged, restored, delivered } = excusedByStops(history, [
    { stores: ['log', 'queue'], beganAt: 15, endedAt: 20 },
    { stores: ['log'], beganAt: 35, endedAt: 40 },
    { stores: ['queue'], beganAt: 55, endedAt: 60 },
  ])
  assert.deepEqual([...logged].sort(), ['A', 'B'])
  assert.deepEqual([...restored!], ['B'])
  assert.deepEqual([...delivered], ['A'])
})
