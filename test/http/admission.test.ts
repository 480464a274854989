import assert from 'node:assert/strict'
import test from 'node:test'
import { Admission, IN_FLIGHT_MAX, IN_FLIGHT_MIN } from '../../src/http/overload.ts'
import { OVERLOAD_WINDOW_MS, PROMPT_ANSWER_MS } from '../../src/runtime/timings.ts'
import { FakeClock } from '../support/fake-clock.ts'

function open() {
  const clock = new FakeClock()
  const admission = new Admission(clock)
  const inside: (() => void)[] = []
  /** Lets so many try to enter; how many were refused. */
  const enter = (count: number) => {
    let refused = 0
    for (let one = 0; one < count; one++) {
      const leave = admission.enter()
      if (leave === undefined) refused++
      else inside.push(leave)
    }
    return refused
  }
  const leave = (count: number) => {
    for (const out of inside.splice(0, count)) out()
  }
  /** A second at a store that serves `perSecond`, with `comers` every 10 ms; how many were refused. */
  const second = async (perSecond: number, comers: number) => {
    let refused = 0
    for (let step = 0; step < 100; step++) {
      refused += enter(comers)
      leave(perSecond / 100)
      await clock.advance(10)
    }
    return refused
  }
  return { clock, admission, inside, enter, leave, second }
}

test('a burst of any size is let in, when it is gone within a second', async () => {
  const { clock, enter, leave, admission } = open()
  assert.equal(enter(5000), 0)
  await clock.advance(OVERLOAD_WINDOW_MS - 1)
  assert.equal(enter(1), 0)
  leave(5001)
  await clock.advance(1)
  assert.equal(enter(5000), 0)
  assert.equal(admission.overloaded, false)
})

test('a crowd that stands for a second is refused its newcomers, and only them', async () => {
  const { clock, enter, inside, admission } = open()
  enter(IN_FLIGHT_MIN)
  enter(1)
  await clock.advance(OVERLOAD_WINDOW_MS)
  assert.equal(enter(10), 10)
  assert.equal(admission.overloaded, true)
  assert.equal(inside.length, IN_FLIGHT_MIN + 1)
})

test('in overload one is let in for each that leaves', async () => {
  const { clock, enter, leave } = open()
  enter(IN_FLIGHT_MIN + 1)
  await clock.advance(OVERLOAD_WINDOW_MS)
  enter(1)
  leave(11)
  assert.equal(enter(100), 90)
})

test('three times what is served, for a minute: all that can be served is, and few wait', async () => {
  const { second, inside } = open()
  let refused = 0
  for (let one = 0; one < 5; one++) refused += await second(10_000, 300)
  for (let one = 5; one < 60; one++) {
    refused = await second(10_000, 300)
    assert.ok(Math.abs(refused - 20_000) < 100, `${refused} refused`)
    assert.ok(inside.length <= IN_FLIGHT_MAX, `${inside.length} inside`)
  }
})

test('many who are answered at once are no overload, however long that goes on', async () => {
  const { clock, admission, enter, leave } = open()
  for (let step = 0; step < 100; step++) {
    assert.equal(enter(5000), 0)
    await clock.advance(PROMPT_ANSWER_MS - 1)
    leave(5000)
  }
  assert.equal(admission.overloaded, false)
})

test('a crowd that is read, stored and answered all together is one, though nobody is inside between', async () => {
  const { clock, enter, leave, inside } = open()
  let refused = 0
  for (let step = 0; step < 10; step++) {
    refused = enter(6000)
    await clock.advance(300)
    leave(inside.length - 1)
  }
  assert.equal(refused, 6000 - IN_FLIGHT_MAX + 1)
})

test('a slow store has fewer wait: as many as it serves in a second', async () => {
  const { second, inside } = open()
  for (let one = 0; one < 10; one++) await second(500, 20)
  assert.ok(inside.length <= 510 && inside.length > 400, `${inside.length} inside`)
})

test('a few are never refused, however long the store takes', async () => {
  const { clock, enter } = open()
  enter(IN_FLIGHT_MIN - 1)
  await clock.advance(60_000)
  assert.equal(enter(1), 0)
})

test('overload is over as soon as a second goes by without a refusal', async () => {
  const { clock, enter, leave, admission, inside } = open()
  enter(IN_FLIGHT_MIN + 1)
  await clock.advance(OVERLOAD_WINDOW_MS)
  assert.equal(enter(1), 1)
  leave(inside.length)
  await clock.advance(OVERLOAD_WINDOW_MS)
  assert.equal(enter(5000), 0)
  assert.equal(admission.overloaded, false)
})
