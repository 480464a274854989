import assert from 'node:assert/strict'
import test from 'node:test'
import { AnswerRoom } from '../../src/http/answer-room.ts'
import { READ_STALL_MS } from '../../src/runtime/timings.ts'
import { HAND_MAX_BYTES } from '../../src/storage/limits.ts'
import { FakeClock } from '../support/fake-clock.ts'

const HALF = HAND_MAX_BYTES / 2

/** Whether a place was entered by now. */
async function isEntered(place: Promise<unknown>): Promise<boolean> {
  const later = new Promise((resolve) => setImmediate(() => resolve('later')))
  return (await Promise.race([place.then(() => 'entered'), later])) === 'entered'
}

test('until texts are read, the most they may be counts; then what they are', async () => {
  const room = new AnswerRoom(new FakeClock(), HALF)
  const [a, b] = [await room.enter(), await room.enter()]
  const third = room.enter()
  assert.equal(await isEntered(third), false)
  a.keep(10)
  assert.equal(await isEntered(third), false)
  b.keep(HALF - 10)
  assert.equal(await isEntered(third), true)
  assert.equal(await isEntered(room.enter()), false)
})

test('those who wait enter in their order; a place is given back once', async () => {
  const room = new AnswerRoom(new FakeClock(), HALF)
  const [a, b] = [await room.enter(), await room.enter()]
  const [third, fourth] = [room.enter(), room.enter()]
  a.leave()
  a.leave()
  assert.deepEqual([await isEntered(third), await isEntered(fourth)], [true, false])
  b.leave()
  assert.equal(await isEntered(fourth), true)
})

test('an answer that is more than the room enters alone', async () => {
  const room = new AnswerRoom(new FakeClock(), 2 * HAND_MAX_BYTES)
  const place = await room.enter()
  const second = room.enter()
  assert.equal(await isEntered(second), false)
  place.leave()
  assert.equal(await isEntered(second), true)
})

test('who finds no room is refused after the time that a client may take nothing', async () => {
  const clock = new FakeClock()
  const room = new AnswerRoom(clock, HAND_MAX_BYTES)
  const first = await room.enter()
  const refused = assert.rejects(room.enter(), { code: 'MR_OVERLOADED' })
  await clock.advance(READ_STALL_MS)
  await refused
  first.leave()
  assert.equal(await isEntered(room.enter()), true)
})

test('a little that a client takes slowly keeps out nobody, whatever an answer may be', async () => {
  const room = new AnswerRoom(new FakeClock(), 1.1 * HAND_MAX_BYTES)
  const slow = await room.enter()
  const second = room.enter()
  assert.equal(await isEntered(second), false)
  slow.keep(1000)
  assert.equal(await isEntered(second), true)
  assert.equal(await isEntered(room.enter()), false)
})

test('a slow client that holds little keeps nobody out, however large messages may be', async () => {
  const room = new AnswerRoom(new FakeClock(), 2 * HAND_MAX_BYTES)
  const slow = await room.enter()
  slow.keep(HALF)
  for (let count = 0; count < 3; count++) {
    const place = room.enter()
    assert.equal(await isEntered(place), true)
    ;(await place).leave()
  }
})
