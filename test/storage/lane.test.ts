/** The rules of a message's attempts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Attempts,
  adopted,
  attemptsOf,
  killerLetter,
  queuedAt,
  settledAs,
  startedOnce,
  UNSTARTED,
} from '../../src/storage/lane.ts'
import { MAX_DEATHS } from '../../src/storage/limits.ts'

const NOW = 1000
const dead = (error: string) =>
  ({ id: 'a', as: 'dead', reason: 'The handler failed 5 times', error }) as const
const retry = (error: string) => ({ id: 'a', as: 'retry', delayMs: 50, error }) as const
const waiting = (known: Attempts) => ({ is: 'waiting', attempts: known }) as const

function startedTimes(count: number): Attempts {
  return { ...UNSTARTED, starts: count, open: true }
}

test('a start counts one more, open, and keeps what was known', () => {
  assert.deepEqual(startedOnce(), startedTimes(1))
  const known = { ...UNSTARTED, starts: 2, suspect: true, firstError: 'one', lastError: 'two' }
  assert.deepEqual(startedOnce(known), { ...known, starts: 3, open: true })
})

test('a delivered message has the attempts it was started, at least one', () => {
  assert.deepEqual(settledAs({ id: 'a', as: 'done' }, NOW), { is: 'delivered', attempts: 1 })
  assert.deepEqual(settledAs({ id: 'a', as: 'done' }, NOW, startedTimes(3)), { is: 'delivered', attempts: 3 })
  assert.deepEqual([attemptsOf(), attemptsOf(startedTimes(4))], [1, 4])
})

test('a failed attempt is due after its delay, with the first and the last error, and is suspect no more', () => {
  const once = settledAs(retry('one'), NOW, { ...startedTimes(1), suspect: true })
  const first = { ...UNSTARTED, starts: 1, dueAt: NOW + 50, firstError: 'one', lastError: 'one' }
  assert.deepEqual(once, waiting(first))
  assert.deepEqual(
    settledAs(retry('two'), NOW + 60, startedOnce(first)),
    waiting({ ...first, starts: 2, dueAt: NOW + 110, lastError: 'two' }),
  )
})

test('a message that is given back is due at once, and its open start does not count', () => {
  const known = { ...startedTimes(2), suspect: true, dueAt: 5, firstError: 'one', lastError: 'one' }
  assert.deepEqual(
    settledAs({ id: 'a', as: 'back' }, NOW, known),
    waiting({ ...known, starts: 1, open: false, dueAt: 0 }),
  )
  assert.deepEqual(settledAs({ id: 'a', as: 'back' }, NOW), waiting(UNSTARTED))
})

test('a dead letter has the reason, the attempts, the first error and the last', () => {
  const letter = { reason: 'The handler failed 5 times', attempts: 5, firstError: 'last', lastError: 'last' }
  assert.deepEqual(settledAs(dead('last'), NOW, startedTimes(5)), { is: 'dead', letter })
  const known = { ...startedTimes(5), firstError: 'one', lastError: 'four' }
  assert.deepEqual(settledAs(dead('last'), NOW, known), {
    is: 'dead',
    letter: { ...letter, firstError: 'one' },
  })
})

test('a start in which the process died counts as a death and as a start, and the next one is alone', () => {
  const settlement = { ...retry('died'), isDeath: true } as const
  const errors = { firstError: 'died', lastError: 'died' }
  assert.deepEqual(
    settledAs(settlement, NOW, { ...startedTimes(3), deaths: 1 }),
    waiting({ ...UNSTARTED, ...errors, starts: 3, deaths: 2, suspect: true, dueAt: NOW + 50 }),
  )
})

test('a start that met an outage does not count, is due after its delay, and leaves its error', () => {
  const known = { ...startedTimes(2), suspect: true, firstError: 'one', lastError: 'one' }
  assert.deepEqual(
    settledAs({ id: 'a', as: 'back', delayMs: 70, error: '503' }, NOW, known),
    waiting({ ...known, starts: 1, open: false, dueAt: NOW + 70, lastError: '503' }),
  )
})

test('a message that waits is told of with its attempts, its last error, and the instant of the next attempt', () => {
  const errors = { firstError: null, lastError: null }
  const place = { state: 'queued', attempts: 0, deliveredAt: null, ...errors, nextAttemptAt: null }
  assert.deepEqual(queuedAt(NOW, 5000), place)
  const failed = { ...UNSTARTED, starts: 2, dueAt: NOW + 50.4, firstError: 'one', lastError: 'two' }
  const told = { ...place, attempts: 2, firstError: 'one', lastError: 'two' }
  assert.deepEqual(queuedAt(NOW, 5000, failed), { ...told, nextAttemptAt: 5050 })
  assert.deepEqual(queuedAt(NOW + 51, 5051, failed), told, 'due')
  assert.deepEqual(queuedAt(NOW, 5000, { ...failed, open: true }), told, 'under way')
})

test('an open start of a former holder makes its message suspect and due; others are due within the longest delay', () => {
  const open = { ...startedTimes(2), dueAt: 9999, firstError: 'one', lastError: 'one' }
  assert.deepEqual(adopted(open, NOW), { ...open, deaths: 1, open: false, suspect: true, dueAt: 0 })
  const far = { ...UNSTARTED, starts: 2, dueAt: NOW + 1 }
  assert.deepEqual(adopted(far, NOW), { ...far, dueAt: NOW })
  assert.deepEqual(adopted({ ...far, dueAt: NOW - 1 }, NOW), { ...far, dueAt: NOW - 1 })
})

test('a message is buried after as many deaths as there may be, however few its starts', () => {
  const killer = { ...UNSTARTED, starts: MAX_DEATHS, deaths: MAX_DEATHS, suspect: true }
  assert.deepEqual(killerLetter(killer), {
    reason: `The process that ran its handler died ${MAX_DEATHS} times`,
    ...{ attempts: MAX_DEATHS, firstError: 'the worker died', lastError: 'the worker died' },
  })
  assert.equal(killerLetter({ ...killer, firstError: 'one' })?.firstError, 'one')
  assert.equal(killerLetter({ ...killer, deaths: MAX_DEATHS - 1, starts: 99 }), undefined)
})
