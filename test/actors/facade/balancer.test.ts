import assert from 'node:assert/strict'
import test from 'node:test'
import { Balancer } from '../../../src/actors/facade/logging-pool.ts'
import { PASS_OVER_MS } from '../../../src/runtime/timings.ts'
import { seeded } from '../../support/actor-context.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const NAMES = ['a', 'b', 'c']
const blamed = () => true

function open() {
  const clock = new FakeClock()
  const balancer = new Balancer(clock, seeded(3))
  const fail = (name: string) =>
    assert.rejects(balancer.track(name, () => Promise.reject(new Error('lost')), blamed))
  const begin = (name: string) => {
    const gate = Promise.withResolvers<void>()
    const ended = balancer.track(name, () => gate.promise, blamed).catch(() => {})
    return {
      async end(error?: Error) {
        if (error) gate.reject(error)
        else gate.resolve()
        await ended
      },
    }
  }
  /** The names that 100 picks return. */
  const picked = (names = NAMES) =>
    [...new Set(Array.from({ length: 100 }, () => balancer.pick(names)))].sort().join('')
  return { clock, balancer, fail, begin, picked }
}

test('picks among all available actors, the only one, or none', () => {
  const { picked, balancer } = open()
  assert.equal(picked(), 'abc')
  assert.equal(balancer.pick(['a']), 'a')
  assert.equal(balancer.pick([]), undefined)
})

test('the busiest of three is never picked, and of two the idle one always', async () => {
  const { begin, picked } = open()
  const calls = [begin('a'), begin('a'), begin('b')]
  assert.equal(picked(), 'bc')
  assert.equal(picked(['a', 'b']), 'b')
  for (const call of calls) await call.end()
  assert.equal(picked(), 'abc')
})

test('an actor that failed is passed over, longer each time, at most eight times as long', async () => {
  const { clock, fail, picked } = open()
  for (const asideMs of [1, 2, 4, 8, 8].map((factor) => factor * PASS_OVER_MS)) {
    await fail('a')
    await clock.advance(asideMs - 1)
    assert.equal(picked(), 'bc', `${asideMs} ms`)
    await clock.advance(1)
    assert.equal(picked(), 'abc')
  }
})

test('calls that fail together count as one failure', async () => {
  const { clock, begin, picked } = open()
  const calls = [begin('a'), begin('a'), begin('a'), begin('a')]
  for (const call of calls) await call.end(new Error('lost'))
  await clock.advance(PASS_OVER_MS)
  assert.equal(picked(), 'abc')
})

test('one call at a time probes an actor that failed; a success makes it available', async () => {
  const { clock, fail, begin, picked } = open()
  await fail('a')
  await clock.advance(PASS_OVER_MS)
  const trial = begin('a')
  assert.equal(picked(), 'bc')
  await trial.end()
  const more = begin('a')
  assert.match(picked(['a', 'c']), /c/)
  await more.end()
  assert.equal(picked(), 'abc')
})

test('when all are passed over, they are picked all the same', async () => {
  const { fail, picked } = open()
  for (const name of NAMES) await fail(name)
  assert.equal(picked(), 'abc')
})

test('a failure that is not the actor’s does not count, and is passed on', async () => {
  const { balancer, picked } = open()
  const failure = balancer.track(
    'a',
    () => Promise.reject(new Error('bad key')),
    () => false,
  )
  await assert.rejects(failure, { message: 'bad key' })
  assert.equal(picked(), 'abc')
})
