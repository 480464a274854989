import assert from 'node:assert/strict'
import test from 'node:test'
import { settlementOf } from '../../../src/actors/messages/retry.ts'
import type { Run } from '../../../src/actors/messages/runner.ts'

const POLICY = { attempts: 24, retryMinMs: 1000, retryMaxMs: 3_600_000 }
const HOUR_MS = 3_600_000

function failed(
  more: Partial<Extract<Run, { as: 'failed' }>>,
  { starts = 0, deaths = 0, random = 1, target = 'the handler' } = {},
) {
  const run: Extract<Run, { as: 'failed' }> = { as: 'failed', error: 'no', isSuspect: false, ...more }
  return settlementOf(run, { id: 'a', starts, deaths }, { policy: POLICY, random: () => random, target })
}

test('by default a message is tried for nine hours in the mean, twelve at most, and 24 times', () => {
  const total = (random: number) => {
    let sum = 0
    for (let starts = 0; ; starts++) {
      const settlement = failed({}, { starts, random })
      if (settlement.as !== 'retry') return { starts: starts + 1, hours: sum / HOUR_MS, settlement }
      sum += settlement.delayMs
    }
  }
  const longest = total(1)
  assert.deepEqual(longest.settlement, {
    id: 'a',
    as: 'dead',
    reason: 'The handler failed 24 times',
    error: 'no',
  })
  assert.equal(longest.starts, 24)
  assert.ok(longest.hours > 12 && longest.hours < 12.2)
  assert.ok(total(0.5).hours > 9 && total(0.5).hours < 9.2)
})

test('a pause doubles, up to the longest, and is up to a half shorter', () => {
  const delays = (random: number) =>
    [0, 1, 2, 11, 12, 20].map((starts) => {
      const settlement = failed({}, { starts, random })
      return settlement.as === 'retry' && settlement.delayMs / 1000
    })
  assert.deepEqual(delays(1), [1, 2, 4, 2048, 3600, 3600])
  assert.deepEqual(delays(0), [0.5, 1, 2, 1024, 1800, 1800])
})

test('a pause that was asked for is kept where it is longer, up to the longest', () => {
  assert.deepEqual(failed({ retry: { afterMs: 30_000 } }), {
    id: 'a',
    as: 'retry',
    delayMs: 30_000,
    error: 'no',
  })
  assert.deepEqual(failed({ retry: { afterMs: 1 } }), { id: 'a', as: 'retry', delayMs: 1000, error: 'no' })
  const far = failed({ retry: { afterMs: 2 * HOUR_MS } })
  assert.deepEqual(far, { id: 'a', as: 'retry', delayMs: HOUR_MS, error: 'no' })
})

test('five deaths are a dead letter, and use none of the attempts', () => {
  const fourth = failed({ isDeath: true }, { starts: 3, deaths: 3 })
  assert.deepEqual(fourth, { id: 'a', as: 'retry', delayMs: 8000, error: 'no', isDeath: true })
  const reason = 'The process that ran its handler died 5 times'
  assert.deepEqual(failed({ isDeath: true }, { starts: 9, deaths: 4 }), {
    id: 'a',
    as: 'dead',
    reason,
    error: 'no',
  })
  assert.equal(failed({}, { starts: 26, deaths: 4 }).as, 'retry', 'the 23rd failure')
  assert.equal(failed({}, { starts: 27, deaths: 4 }).as, 'dead', 'the 24th')
})

test('the reason names what failed', () => {
  const target = 'http://127.0.0.1:3000/'
  const reasonOf = (settlement: ReturnType<typeof failed>) => settlement.as === 'dead' && settlement.reason
  assert.equal(reasonOf(failed({}, { starts: 23, target })), `${target} failed 24 times`)
  assert.equal(reasonOf(failed({ retry: false }, { target })), `${target} asked for no other attempt`)
})
