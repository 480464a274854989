import assert from 'node:assert/strict'
import test from 'node:test'
import { Batcher } from '../../../src/actors/facade/batcher.ts'
import { systemClock } from '../../../src/runtime/clock.ts'
import { Mailbox } from '../../../src/runtime/mailbox.ts'

/** A batcher of numbers; each batch ends when the test resolves its gate. */
function open({ concurrency = 2, maxCount = 10, maxBytes = 1000, capacityCount = 100 } = {}) {
  const mailbox = new Mailbox({ name: 'facade-1', capacityCount, capacityBytes: 10_000, concurrency })
  const sent: { items: readonly number[]; gate: PromiseWithResolvers<void> }[] = []
  const batcher = new Batcher<number, number>({
    ...{ mailbox, clock: systemClock, maxCount, maxBytes, concurrency },
    async send(items) {
      const gate = Promise.withResolvers<void>()
      sent.push({ items, gate })
      await gate.promise
      return items.map((item) => item * 10)
    },
  })
  const addAll = (items: number[]) => Promise.allSettled(items.map((item) => batcher.add(item, { bytes: 1 })))
  return { mailbox, batcher, sent, addAll }
}

/** Runs all callbacks that need no timer. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
}

test('items that arrive together share a batch, and each gets its own result', async () => {
  const { sent, addAll } = open()
  const results = addAll([1, 2, 3])
  await settle()
  assert.deepEqual(
    sent.map(({ items }) => items),
    [[1, 2, 3]],
  )
  sent[0]!.gate.resolve()
  assert.deepEqual(
    (await results).map((result) => result.status === 'fulfilled' && result.value),
    [10, 20, 30],
  )
})

test('items that arrive while all batches are in flight share the next', async () => {
  const { sent, addAll } = open({ concurrency: 1 })
  const first = addAll([1])
  await settle()
  const rest = [addAll([2]), addAll([3]), addAll([4])]
  await settle()
  assert.equal(sent.length, 1)
  sent[0]!.gate.resolve()
  await settle()
  assert.deepEqual(sent[1]!.items, [2, 3, 4])
  sent[1]!.gate.resolve()
  await Promise.all([first, ...rest])
})

test('a batch holds no more than its bounds, in order of arrival', async () => {
  const { sent, batcher } = open({ concurrency: 1, maxCount: 3, maxBytes: 100 })
  const results = [40, 40, 40, 1, 1, 1, 1, 500].map((item) => batcher.add(item, { bytes: item }))
  for (let turn = 0; turn < 10; turn++) {
    await settle()
    sent.at(-1)!.gate.resolve()
  }
  await Promise.all(results)
  assert.deepEqual(
    sent.map(({ items }) => items),
    [[40, 40], [40, 1, 1], [1, 1], [500]],
  )
})

test('a batch that fails fails each of its items and no other', async () => {
  const { sent, addAll } = open({ concurrency: 1, maxCount: 2 })
  const results = addAll([1, 2, 3])
  await settle()
  sent[0]!.gate.reject(new Error('lost'))
  await settle()
  sent[1]!.gate.resolve()
  assert.deepEqual(
    (await results).map(({ status }) => status),
    ['rejected', 'rejected', 'fulfilled'],
  )
})

test('items count in the mailbox until their batch is done', async () => {
  const { mailbox, sent, addAll, batcher } = open({ capacityCount: 3 })
  const results = addAll([1, 2, 3])
  await settle()
  assert.equal(mailbox.depth, 3)
  await assert.rejects(batcher.add(4, { bytes: 1 }), { code: 'MR_MAILBOX_FULL' })
  sent[0]!.gate.resolve()
  await results
  assert.equal(mailbox.depth, 0)
  assert.equal(mailbox.handled, 3)
})

test('an item that counts for several takes as much of a batch and of the mailbox', async () => {
  const { mailbox, sent, batcher } = open({ concurrency: 1, maxCount: 3 })
  const results = [2, 2, 1, 9].map((count) => batcher.add(count, { count }))
  assert.equal(mailbox.depth, 14)
  for (let turn = 0; turn < 10; turn++) {
    await settle()
    for (const { gate } of sent) gate.resolve()
  }
  assert.deepEqual(
    sent.map(({ items }) => items),
    [[2], [2, 1], [9]],
  )
  await Promise.all(results)
  assert.equal(mailbox.depth, 0)
})

test('other callbacks run between the results of a large batch', async () => {
  const { sent, batcher } = open({ concurrency: 1, maxCount: 100 })
  const seen: (number | string)[] = []
  const results = Array.from({ length: 100 }, (_, item) =>
    batcher.add(item, { bytes: 1 }).then((result) => seen.push(result / 10)),
  )
  await settle()
  void sent[0]!.gate.promise.then(() => setImmediate(() => seen.push('another')))
  sent[0]!.gate.resolve()
  await Promise.all(results)
  const place = seen.indexOf('another')
  assert.ok(place > 0 && place < 100, `it came at place ${place}`)
  assert.deepEqual(
    seen.filter((each) => each !== 'another'),
    Array.from({ length: 100 }, (_, item) => item),
  )
})
