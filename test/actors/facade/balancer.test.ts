import assert from 'node:assert/strict'
import test from 'node:test'
import { Balancer } from '../../../src/actors/facade/logging-pool.ts'
import { PASS_OVER_MS } from '../../../src/runtime/timings.ts'
import { seeded } from '../../support/actor-context.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const NAMES = ['a', 'b', 'c']
const blamed = () => true

function open(seed = 3) {
  const clock = new FakeClock()
  const balancer = new Balancer(clock, seeded(seed))
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
  /** The names that so many picks return that each of those that may be picked is. */
  const picked = (names = NAMES) =>
    [...new Set(Array.from({ length: 1000 }, () => balancer.pick(names)))].sort().join('')
  /** Makes 100 calls, one after another, each of which takes `msOf` its actor. @returns How many went to each. */
  const calls = async (msOf: (name: string) => number = () => 1) => {
    const counts = new Map(NAMES.map((name) => [name, 0]))
    for (let count = 0; count < 100; count++) {
      const name = balancer.pick(NAMES)!
      counts.set(name, counts.get(name)! + 1)
      const call = begin(name)
      await clock.advance(msOf(name))
      await call.end()
    }
    return counts
  }
  /** The actor that nearly all calls go to. */
  const preferred = async (msOf?: (name: string) => number) => {
    const counts = await calls(msOf)
    const [name, most] = [...counts].sort(([, a], [, b]) => b - a)[0]!
    assert.ok(most > 85, `${most} of 100 to ${name}`)
    return name
  }
  return { balancer, clock, fail, begin, picked, calls, preferred }
}

test('picks among all available actors, the only one, or none', () => {
  const { picked, balancer } = open()
  assert.equal(picked(), 'abc')
  assert.equal(balancer.pick(['a']), 'a')
  assert.equal(balancer.pick([]), undefined)
})

test('calls that come one after another go to the same actor; each process prefers one at random', async () => {
  const all = new Set<string>()
  for (let seed = 1; seed <= 20; seed++) {
    const { preferred } = open(seed)
    const name = await preferred()
    assert.equal(await preferred(), name)
    all.add(name)
  }
  assert.deepEqual([...all].sort(), NAMES)
})

test('an actor that is slow beside the others is left for one that is not, and preferred again when it is well', async () => {
  const { calls, preferred } = open()
  const first = await preferred(() => 10)
  await calls(() => 10) // By now it knows how fast the others are.
  const isSlow = (name: string) => (name === first ? 50 : 10)
  const { [first]: ofSlow = 0 } = Object.fromEntries(await calls(isSlow))
  assert.ok(ofSlow < 15, `${ofSlow} of 100 to the slow one`)
  assert.notEqual(await preferred(isSlow), first)
  for (let round = 0; round < 30; round++) await calls(() => 10)
  assert.equal(await preferred(() => 10), first)
  // When all are slow, nothing is gained elsewhere.
  await calls(() => 200)
  assert.equal(await preferred(() => 200), first)
})

test('one of many calls at once goes to each actor', () => {
  const { balancer, begin } = open()
  const names = Array.from({ length: 9 }, () => {
    const name = balancer.pick(NAMES)!
    begin(name)
    return name
  })
  assert.deepEqual(names.sort().join(''), 'aaabbbccc')
})

test('an actor with more calls under way than another is never picked', async () => {
  const { begin, picked } = open()
  const calls = [begin('a'), begin('a'), begin('b')]
  assert.equal(picked(), 'c')
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
