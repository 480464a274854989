import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { atOf, batchKeyOf, idAt, idGenerator, isId, MAX_ID, MIN_ID, timeOf } from '../../src/storage/ids.ts'
import { BATCH_MAX_COUNT } from '../../src/storage/limits.ts'
import { seeded } from '../support/actor-context.ts'
import { FakeClock } from '../support/fake-clock.ts'

const MAX_TIME = 2 ** 48 - 1
const chance = fc.oneof(
  fc.nat().map(seeded),
  fc.constantFrom(0, 1 - 2 ** -53).map((value) => () => value),
)
const time = fc.integer({ min: 0, max: MAX_TIME })

test('ids increase strictly within a generator, however the clock steps', () => {
  const steps = fc.array(
    fc.record({ stepMs: fc.integer({ min: -10_000, max: 10_000 }), count: fc.integer({ min: 1, max: 40 }) }),
    { minLength: 1, maxLength: 40 },
  )
  fc.assert(
    fc.property(chance, steps, (random, steps) => {
      const clock = new FakeClock()
      const next = idGenerator(clock, random)
      let last = MIN_ID
      for (const { stepMs, count } of steps) {
        clock.step(stepMs)
        for (const id of next(count)) {
          assert.ok(isId(id), id)
          assert.ok(id > last && id < MAX_ID, `${id} after ${last}`)
          last = id
        }
      }
    }),
  )
})

test('an id contains its place in its batch and the batch’s key', () => {
  const next = idGenerator(new FakeClock(), seeded(7))
  const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
  for (const count of [1, 31, 32, BATCH_MAX_COUNT]) {
    const ids = next(count)
    assert.equal(new Set(ids.map(batchKeyOf)).size, 1)
    for (const [index, id] of ids.entries()) {
      assert.equal(digits.indexOf(id[24]!) * 32 + digits.indexOf(id[25]!), index + 1)
      assert.ok(batchKeyOf(id) < ids[0]!)
    }
  }
})

test('ids of generators that work at once never collide', () => {
  const clock = new FakeClock()
  const keys = Array.from(
    { length: 1000 },
    (_, seed) => idGenerator(clock, seeded(seed))(1).map(batchKeyOf)[0],
  )
  assert.equal(new Set(keys).size, 1000)
})

test('the time of an id is the time it was made', () => {
  fc.assert(
    fc.property(time, chance, (now, random) => {
      const [id] = idGenerator(new FakeClock(now), random)(1)
      assert.equal(timeOf(id!), now)
      assert.equal(atOf(id!), new Date(now).toISOString())
    }),
  )
})

test('the smallest id of a time bounds the ids made then', () => {
  fc.assert(
    fc.property(time, time, chance, (a, b, random) => {
      const [id] = idGenerator(new FakeClock(a), random)(1)
      assert.ok(idAt(a) < id!)
      assert.equal(idAt(b) < id!, b <= a)
    }),
  )
  assert.equal(idAt(-1), MIN_ID)
  assert.equal(idAt(Number.MAX_VALUE), idAt(MAX_TIME))
})

test('an id is 26 characters of Crockford’s base 32 in upper case', () => {
  const id = '01HZX3V4Q8K9T2W5R7Y6B0C1D1'
  assert.ok(isId(id) && isId(MIN_ID) && isId(MAX_ID))
  for (const wrong of ['', id.slice(1), `${id}0`, id.toLowerCase(), `8${id.slice(1)}`, `${id}\n`, ` ${id}`]) {
    assert.ok(!isId(wrong), JSON.stringify(wrong))
  }
  for (const letter of 'ILOU') assert.ok(!isId(id.slice(0, -1) + letter), letter)
})
