import assert from 'node:assert/strict'
import test from 'node:test'
import { Mailbox } from '../../src/runtime/mailbox.ts'

const open = (options: Partial<ConstructorParameters<typeof Mailbox>[0]> = {}) =>
  new Mailbox({ name: 'logging-1', capacityCount: 1000, capacityBytes: 10_000, concurrency: 1, ...options })

test('a mailbox for 1000 messages refuses the 1001st at once and counts it', async () => {
  const mailbox = open()
  const gate = Promise.withResolvers<void>()
  const admitted = mailbox.run(() => gate.promise, { count: 1000 })
  await assert.rejects(
    mailbox.run(async () => assert.fail('ran')),
    {
      code: 'MR_MAILBOX_FULL',
      outcome: 'none',
      details: { mailbox: 'logging-1', depth: 1000, capacity: 1000, unit: 'messages' },
    },
  )
  assert.equal(mailbox.refused, 1)
  gate.resolve()
  await admitted
  assert.equal(await mailbox.run(async () => 'again'), 'again')
  assert.equal(mailbox.handled, 1001)
})

test('a mailbox is bounded in bytes too', async () => {
  const mailbox = open()
  const gate = Promise.withResolvers<void>()
  const admitted = mailbox.run(() => gate.promise, { bytes: 9_999 })
  await assert.rejects(
    mailbox.run(async () => {}, { bytes: 2 }),
    { code: 'MR_MAILBOX_FULL' },
  )
  gate.resolve()
  await admitted
})

test('with a concurrency of 1, work runs one at a time and in order, also when it fails', async () => {
  const mailbox = open()
  const log: string[] = []
  const work = (name: string) => async () => {
    log.push(`${name} begins`)
    await new Promise(setImmediate)
    log.push(`${name} ends`)
    if (name === 'a') throw new Error('a failed')
  }
  const results = await Promise.allSettled([mailbox.run(work('a')), mailbox.run(work('b'))])
  assert.deepEqual(log, ['a begins', 'a ends', 'b begins', 'b ends'])
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'fulfilled'],
  )
  assert.equal(mailbox.depth, 0)
})

test('no more work runs at once than the concurrency', async () => {
  const mailbox = open({ concurrency: 3 })
  let running = 0
  let most = 0
  const work = async () => {
    most = Math.max(most, ++running)
    await new Promise(setImmediate)
    running--
  }
  await Promise.all(Array.from({ length: 20 }, () => mailbox.run(work)))
  assert.equal(most, 3)
})

test('control work is not refused by a full mailbox and does not queue behind its messages', async () => {
  const mailbox = open({ capacityCount: 1 })
  const gate = Promise.withResolvers<void>()
  const stuck = mailbox.run(() => gate.promise)
  assert.equal(await mailbox.control(async () => 'drained'), 'drained')
  gate.resolve()
  await stuck
})

test('a closed mailbox refuses work and finishes what it admitted', async () => {
  const mailbox = open()
  const gate = Promise.withResolvers<void>()
  const admitted = [mailbox.run(() => gate.promise), mailbox.run(async () => 'second')]
  mailbox.close()
  await assert.rejects(
    mailbox.run(async () => {}),
    { code: 'MR_DRAINING', outcome: 'none' },
  )
  let idle = false
  const waiting = mailbox.idle().then(() => {
    idle = true
  })
  await new Promise(setImmediate)
  assert.equal(idle, false)
  gate.resolve()
  await waiting
  assert.equal((await Promise.all(admitted))[1], 'second')
})

test('work of more bytes than the bound is admitted while no other has bytes', async () => {
  const mailbox = open()
  const leave = mailbox.admit({ bytes: 10_001 })
  assert.throws(() => mailbox.admit({ bytes: 1 }), { code: 'MR_MAILBOX_FULL' })
  mailbox.admit({})()
  leave()
  mailbox.admit({ bytes: 1 })
  assert.throws(() => mailbox.admit({ bytes: 10_001 }), { code: 'MR_MAILBOX_FULL' })
})
