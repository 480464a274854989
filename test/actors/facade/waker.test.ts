import assert from 'node:assert/strict'
import test from 'node:test'
import { Waker } from '../../../src/actors/facade/waker.ts'
import { DELIVERY_MS } from '../../../src/runtime/timings.ts'
import { DirectPeers, entryOf, lost, testContext } from '../../support/actor-context.ts'
import { settle } from '../../support/fake-clock.ts'

/** A waker and two messages actors that hold four lanes. */
function open() {
  const context = testContext()
  context.directory.set(entryOf('messages-1'), entryOf('messages-2'))
  const peers = new DirectPeers()
  const calls: [name: string, lanes: readonly number[]][] = []
  /** Each call ends when its promise does. */
  let answer: () => Promise<void> = async () => {}
  for (const name of ['messages-1', 'messages-2']) {
    peers.actors.set(name, {
      async wake(lanes) {
        calls.push([name, lanes])
        await answer()
      },
    })
  }
  const waker = new Waker(context, peers, 4)
  return {
    ...{ context, waker, calls, peers },
    answers: (next: () => Promise<void>) => {
      answer = next
    },
  }
}

test('a lane’s holder is woken', async () => {
  const { waker, calls } = open()
  waker.wake(2)
  waker.wake(3)
  await settle()
  assert.deepEqual(calls, [
    ['messages-1', [2]],
    ['messages-2', [3]],
  ])
})

test('wake-ups during a call share the next call, each lane once', async () => {
  const { context, waker, calls, answers } = open()
  const gate = Promise.withResolvers<void>()
  answers(() => gate.promise)
  for (const lane of [0, 2, 0, 2, 2]) waker.wake(lane)
  await settle()
  assert.deepEqual(calls, [['messages-1', [0]]])
  gate.resolve()
  await context.clock.advance(DELIVERY_MS - 1)
  assert.equal(calls.length, 1, 'not more often than lanes are claimed')
  await context.clock.advance(1)
  assert.deepEqual(calls.slice(1), [['messages-1', [2, 0]]])
})

test('an unreachable holder loses its wake-up, and nothing else does', async () => {
  const { context, waker, calls, answers } = open()
  answers(() => Promise.reject(lost('messages-1', 'unknown')))
  waker.wake(0)
  await settle()
  answers(async () => {})
  waker.wake(2)
  await context.clock.advance(DELIVERY_MS)
  assert.deepEqual(calls.at(-1), ['messages-1', [2]])
})

test('a call that fails does not lose the wake-ups that came meanwhile', async () => {
  const { context, waker, calls, answers } = open()
  const gate = Promise.withResolvers<void>()
  answers(() => gate.promise)
  waker.wake(0)
  await settle()
  waker.wake(2)
  answers(async () => {})
  gate.reject(lost('messages-1', 'unknown'))
  await context.clock.advance(DELIVERY_MS)
  assert.deepEqual(calls.at(-1), ['messages-1', [2]])
})

test('without a holder, or its address, no call is made', async () => {
  const { waker, calls, context } = open()
  context.directory.set()
  waker.wake(0)
  context.directory.set(entryOf('messages-1', { state: 'restarting', address: null }))
  waker.wake(0)
  await settle()
  assert.deepEqual(calls, [])
})

test('depths are each lane’s holder and its pending messages as of the last heartbeat', () => {
  const { waker, context } = open()
  context.directory.set(
    entryOf('messages-1', { lanes: { 0: 7, 1: 99 } }), // Lane 1 is on its way to the other.
    entryOf('messages-2', { lanes: {} }),
  )
  assert.deepEqual(waker.depths(), [
    { holder: 'messages-1', waiting: 7 },
    { holder: 'messages-2', waiting: 0 },
    { holder: 'messages-1', waiting: 0 },
    { holder: 'messages-2', waiting: 0 },
  ])
  context.directory.set()
  assert.deepEqual(waker.depths()[0], { holder: null, waiting: 0 })
})
