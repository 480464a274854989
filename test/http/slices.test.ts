import assert from 'node:assert/strict'
import test from 'node:test'
import { ACCEPT_ITERATIONS_MAX, SliceQueue } from '../../src/http/overload.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** A clock whose turns are taken by hand, and on which work takes as long as it says. */
class TurnClock extends FakeClock {
  readonly #due: (() => void)[] = []
  #nowMs = 1000

  override monotonic(): number {
    return this.#nowMs
  }

  override soon(work: () => void): void {
    this.#due.push(work)
  }

  pass(ms: number): void {
    this.#nowMs += ms
  }

  /** One look at the sockets; true when there was work to come after it. */
  turn(): boolean {
    const due = this.#due.splice(0)
    for (const work of due) work()
    return due.length > 0
  }
}

function open() {
  const clock = new TurnClock()
  const slices = new SliceQueue(clock)
  const done: number[] = []
  /** Adds so many pieces of work of 0.25 ms each. */
  const add = (count: number) => {
    for (let one = 0; one < count; one++) {
      slices.add(() => {
        done.push(done.length)
        clock.pass(0.25)
      })
    }
  }
  return { clock, slices, done, add }
}

test('work is done in its order, a millisecond of it a turn, all of it in the end', () => {
  const { clock, done, add } = open()
  add(10)
  assert.equal(done.length, 0)
  clock.turn()
  assert.equal(done.length, 4)
  clock.turn()
  assert.equal(done.length, 8)
  clock.turn()
  assert.deepEqual(done, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  assert.equal(clock.turn(), false)
})

test('while others knock, turns pass without work, but not for ever', () => {
  const { clock, slices, done, add } = open()
  add(8)
  clock.turn()
  for (let look = 0; look < ACCEPT_ITERATIONS_MAX; look++) {
    slices.connectionAccepted()
    clock.turn()
    assert.equal(done.length, 4)
  }
  slices.connectionAccepted()
  clock.turn()
  assert.equal(done.length, 8)
})

test('when nobody knocks any more, work goes on at once', () => {
  const { clock, slices, done, add } = open()
  add(8)
  clock.turn()
  slices.connectionAccepted()
  clock.turn()
  clock.turn()
  assert.equal(done.length, 8)
})

test('work that is added while it is its turn waits for the next', () => {
  const { clock, slices, done } = open()
  slices.add(() => {
    done.push(1)
    clock.pass(2)
    slices.add(() => done.push(2))
  })
  clock.turn()
  assert.deepEqual(done, [1])
  clock.turn()
  assert.deepEqual(done, [1, 2])
})
