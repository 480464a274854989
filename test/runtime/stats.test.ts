import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type ActorStats,
  type Distribution,
  quantileOf,
  statsOf,
  type Totals,
} from '../../src/runtime/stats.ts'
import { entryOf } from '../support/actor-context.ts'

const NOW = Date.UTC(2026, 0, 1)

/** Counts at most 1 s, at most 2 s, and all. */
function distribution(one: number, two: number, count: number): Distribution {
  return {
    buckets: [
      [1, one],
      [2, two],
    ],
    ...{ count, sumSeconds: count },
  }
}

function totals(all: number): Totals {
  return {
    ...{ accepted: all, refused: all, replayed: all, delivered: all, attempts: all, died: all },
    ...{ accept: distribution(all, all, all), delivery: distribution(0, all, all) },
  }
}

test('the counts of all nodes are added, each node once, and the actors of all are listed', () => {
  const at = { since: NOW - 9000, nextProbeAt: NOW + 1000 }
  const failed = (at: number) => ({ id: 'one', target: outage.target, at, error: 'Error: no' })
  const outage = { target: 'https://a.example/in', why: 'refused', ...at }
  const actors = [
    entryOf('facade-1@a', { node: 'a' }),
    entryOf('messages-1@a', {
      ...{ node: 'a', lanes: { 0: 2, 1: 3 }, inHand: 1, dead: 4, oldestAt: NOW - 1500 },
      ...{ retrying: 2, lastFailure: failed(NOW - 100) },
    }),
    entryOf('messages-1@b', {
      ...{ node: 'b', lanes: { 2: 5 }, inHand: 2, dead: 1, oldestAt: NOW - 500, paused: true },
      ...{ outage: { ...outage, since: NOW - 5000 }, retrying: 1, lastFailure: failed(NOW - 200) },
    }),
    // What failed here was delivered since.
    entryOf('messages-2@b', { node: 'b', oldestAt: null, outage, retrying: 0, lastFailure: failed(NOW) }),
  ]
  const disk = { node: 'a', dataBytes: 10, freeBytes: 100 }
  const nodes = [
    { totals: totals(3), disk, target: outage.target, took: { 'messages-1@a': { count: 2, sumSeconds: 3 } } },
    { totals: totals(4), disk: null, target: outage.target },
    // Of an older version.
    { totals: totals(0), disk: null },
  ]
  const { actors: rows, ...stats } = statsOf(nodes, actors, NOW)
  assert.deepEqual(stats, {
    ...{ ...totals(7), at: NOW, waiting: 10, inHand: 3, oldestWaitingSeconds: 1.5, dead: 5, paused: true },
    ...{ outages: [outage], targets: [outage.target], disks: [disk] },
    ...{ retrying: 3, lastFailure: { actor: 'messages-1@a', ...failed(NOW - 100) } },
  })
  const life = { state: 'ready', pid: 1, restarts: 0, handled: 0 }
  const mailbox = { depth: 0, capacity: 1000, refused: 0 }
  const expected: ActorStats[] = [
    { ...life, name: 'facade-1@a', role: 'facade', node: 'a', state: 'ready', mailbox },
    {
      ...{ ...life, name: 'messages-1@a', role: 'messages', node: 'a', state: 'ready', mailbox },
      ...{ waiting: 5, inHand: 1, dead: 4, oldestWaitingSeconds: 1.5, took: { count: 2, sumSeconds: 3 } },
    },
  ]
  assert.deepEqual(rows.slice(0, 2), expected)
})

test('a quantile is linear within its bucket, and that of a moment leaves out what was before', () => {
  const before = distribution(10, 10, 10)
  const now = distribution(10, 18, 20)
  assert.equal(quantileOf(0.5, before), 0.5)
  assert.equal(quantileOf(0.5, now, before), 1 + 5 / 8, 'of 10 observations in between 8 took 1 to 2 s')
  assert.equal(quantileOf(0.99, now, before), 2, 'it is not known by how much the rest took longer')
  assert.equal(quantileOf(0.5, now, now), undefined, 'nothing in between')
  assert.equal(quantileOf(0.5, before, now), 0.5, 'a count that went down begins anew')
})
