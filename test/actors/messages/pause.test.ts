/** A pause, as one messages actor knows it. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { Pause } from '../../../src/actors/messages/pause.ts'

const settle = () => new Promise((resolve) => setImmediate(resolve))

/** Whether waits for its end have ended. */
function waits(pause: Pause, signal = new AbortController().signal) {
  const state = { isOver: false }
  void pause.over(signal).then(() => {
    state.isOver = true
  })
  return state
}

test('who waits for the end of a pause goes on when it ends, and at once without one', async () => {
  const pause = new Pause()
  const early = waits(pause)
  await settle()
  assert.ok(early.isOver)
  assert.equal(pause.set(true), true)
  assert.equal(pause.set(true), false)
  const late = waits(pause)
  await settle()
  assert.ok(!late.isOver)
  pause.set(false)
  await settle()
  assert.ok(late.isOver)
})

test('one that begins anew before its waits have gone on lasts for them', async () => {
  const pause = new Pause()
  pause.set(true)
  const wait = waits(pause)
  pause.set(false)
  pause.set(true)
  await settle()
  assert.ok(!wait.isOver)
})

test('an aborted wait ends', async () => {
  const pause = new Pause()
  pause.set(true)
  const leaving = new AbortController()
  const wait = waits(pause, leaving.signal)
  leaving.abort()
  await settle()
  assert.ok(wait.isOver)
})

test('an answer that was asked for before it was told does not undo that', () => {
  const pause = new Pause()
  const { version } = pause
  pause.set(true)
  assert.equal(pause.set(false, version), false)
  assert.ok(pause.isPaused)
  assert.equal(pause.set(false, pause.version), true)
})
