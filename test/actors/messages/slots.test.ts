import assert from 'node:assert/strict'
import test from 'node:test'
import { type Share, Slots } from '../../../src/actors/messages/slots.ts'

/** Slots, and the messages that got one, in order. */
function bench(count: number) {
  const slots = new Slots(count)
  const granted: string[] = []
  const releases = new Map<string, () => void>()
  const acquire = async (share: Share, name: string) => {
    releases.set(name, await slots.acquire(share))
    granted.push(name)
  }
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  return {
    async ask(share: Share, ...names: string[]) {
      for (const name of names) void acquire(share, name)
      await settle()
      return granted.splice(0)
    },
    async release(name: string) {
      releases.get(name)!()
      await settle()
      return granted.splice(0)
    },
  }
}

test('new messages may take all slots, first come first served', async () => {
  const { ask, release } = bench(3)
  assert.deepEqual(await ask('new', 'a', 'b', 'c', 'd', 'e'), ['a', 'b', 'c'])
  assert.deepEqual(await release('b'), ['d'])
})

test('retries and suspects together hold at most half of the slots', async () => {
  const { ask, release } = bench(5)
  assert.deepEqual(await ask('retry', 'a', 'b', 'c'), ['a', 'b'])
  assert.deepEqual(await ask('alone', 'd'), [])
  assert.deepEqual(await ask('new', 'e', 'f', 'g', 'h'), ['e', 'f', 'g'])
  assert.deepEqual(await release('e'), ['h'], 'the half is full')
  assert.equal((await release('a')).length, 1)
})

test('one slot is shared in rotation', async () => {
  const { ask, release } = bench(1)
  assert.deepEqual(await ask('new', 'new 1', 'new 2', 'new 3'), ['new 1'])
  await ask('retry', 'retry 1', 'retry 2')
  await ask('alone', 'alone 1')
  const order = ['new 1']
  while (order.length < 6) order.push(...(await release(order.at(-1)!)))
  assert.deepEqual(order, ['new 1', 'retry 1', 'alone 1', 'new 2', 'retry 2', 'new 3'])
})

test('at most four run alone', async () => {
  const { ask, release } = bench(32)
  const names = ['a', 'b', 'c', 'd', 'e']
  assert.deepEqual(await ask('alone', ...names), names.slice(0, 4))
  assert.deepEqual(await ask('retry', 'retry'), ['retry'])
  assert.deepEqual(await release('b'), ['e'])
})
