/** What people are told of a cluster that came back empty, and of what journals put back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  epochsMetFirst,
  type JournalReport,
  type Loss,
  restoredBy,
  sentenceOf,
} from '../../src/runtime/losses.ts'

const LOSS: Loss = {
  ...{ store: 'log', epoch: 'first', kind: 'empty', count: 5000, isConfirmed: false },
  ...{ lastSeenAt: Date.UTC(2026, 0, 1, 10), noticedAt: Date.UTC(2026, 0, 1, 11) },
}

function report(id: string, more: Partial<JournalReport>): JournalReport {
  const times = { beganAt: 1, beganIn: {}, wholeIn: 'second', putBackIn: null, since: null }
  return { id, ...times, done: 0, total: 0, absent: [], ...more }
}

test('without a journal a loss is a loss; with one it says how much is back, each journal once, and which were not there', () => {
  const told = (...journals: JournalReport[]) => sentenceOf(LOSS, restoredBy(journals))
  assert.match(told(), /what it held is lost, about 5000 messages at 2026-01-01T10:00Z.*mailroom redrive/)
  const back = { putBackIn: 'second', done: 3000 }
  const others = [report('b', { putBackIn: 'second', done: 1990 }), report('lanes', { wholeIn: '' })]
  assert.match(told(report('a', { wholeIn: null }), ...others), /put back by itself: restoring in \/readyz/)
  const whole = told(report('a', back), report('a', back), ...others)
  assert.match(whole, /about 5000 messages .*\. Now 4990 messages of journals are in it again\. Next: /)
  const absent = [{ id: 'c', node: 'node-c' }]
  const lacking = [report('a', back), report('lanes', { wholeIn: '', absent })]
  assert.match(told(...lacking), /Now 3000 messages .* again, without the journals of node-c\. Next: /)
  const queue = sentenceOf({ ...LOSS, store: 'queue' }, restoredBy(lacking))
  assert.match(queue, /Now its lanes are filled again, without the journals of node-c\. Next: /)
})

test('of each cluster the epoch counts that was met first, also by the node before', () => {
  const seen = (store: 'log' | 'queue', epoch: string) => ({
    ...{ seen: { store, epoch, name: 'name', lastSeenAt: 0, count: 0 }, losses: [] },
  })
  let reports = [seen('queue', 'first')]
  const log = { ...seen('log', 'before').seen, firstSeenAt: 0, countedAt: 0, perEntry: 1, losses: [] }
  const met = epochsMetFirst({ log }, () => reports)
  assert.deepEqual(met(), { log: 'before', queue: 'first' })
  reports = [seen('queue', 'second'), seen('log', 'second')]
  assert.deepEqual(met(), { log: 'before', queue: 'first' })
  assert.deepEqual(epochsMetFirst({}, () => [])(), {})
})
