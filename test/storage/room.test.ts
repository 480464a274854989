import assert from 'node:assert/strict'
import test from 'node:test'
import { Room } from '../../src/storage/room.ts'

function open(capacityBytes: number) {
  const room = new Room(capacityBytes)
  const woken: string[] = []
  return { room, woken, lane: (name: string) => room.lane(() => woken.push(name)) }
}

test('all lanes share one room, and an empty one takes anything', () => {
  const { room, lane } = open(100)
  const [a, b] = [lane('a'), lane('b')]
  assert.equal(a.take(150, false), true)
  assert.equal(b.take(1, false), false)
  a.give(100)
  assert.equal(b.take(50, false), true)
  assert.equal(b.take(1, false), false)
  assert.equal(room.bytes, 100)
})

test('who waits for much is not passed by those who want little', () => {
  const { lane, woken } = open(100)
  const [large, small, other] = [lane('large'), lane('small'), lane('other')]
  small.take(40, true)
  other.take(40, true)
  assert.equal(large.take(90, true), false)
  assert.equal(small.take(1, true), false)
  small.give(40)
  assert.deepEqual(woken, [])
  assert.equal(other.take(1, true), false)
  other.give(40)
  assert.deepEqual(woken, ['large'])
  assert.equal(large.take(90, true), true)
  // Those behind him are next, in their order, as far as there is room.
  assert.deepEqual(woken, ['large', 'small'])
  assert.equal(other.take(1, true), false)
  assert.equal(small.take(1, true), true)
  assert.equal(other.take(1, true), true)
})

test('who does not wait holds nobody up', () => {
  const { lane } = open(100)
  const [a, b] = [lane('a'), lane('b')]
  a.take(60, false)
  assert.equal(a.take(60, false), false)
  assert.equal(b.take(40, true), true)
})

test('a lane that is closed gives all back, leaves the line, and counts no more', () => {
  const { room, lane, woken } = open(100)
  const [a, b, c] = [lane('a'), lane('b'), lane('c')]
  a.take(100, true)
  b.take(100, true)
  c.take(10, true)
  b.close()
  a.close()
  assert.deepEqual(woken, ['c'])
  a.give(100)
  assert.equal(a.take(1, true), false)
  assert.equal(room.bytes, 0)
  assert.equal(c.take(10, true), true)
})
