import assert from 'node:assert/strict'
import test from 'node:test'
import { LoggingActor } from '../../../src/actors/logging/logging.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import { seeded, testContext } from '../../support/actor-context.ts'
import { MemoryStore } from '../../support/memory-backend.ts'

function open(mailboxCapacity = 1000) {
  const context = testContext({ name: 'logging-1', config: { mailboxCapacity } })
  const store = new MemoryStore(context.clock)
  const actor = new LoggingActor(context, store.open())
  const nextIds = idGenerator(context.clock, seeded(2))
  const batch = (...texts: string[]) => ({
    messages: nextIds(texts.length).map((id, index) => ({ id, text: texts[index]! })),
    lane: 1,
    deadlineAt: context.clock.monotonic() + 1000,
  })
  return { context, store, actor, batch }
}

test('writes a batch to the log and reads it back', async () => {
  const { actor, batch } = open()
  const given = batch('a', 'b')
  const receipts = await actor.append(given, null)
  assert.deepEqual(
    receipts,
    given.messages.map(({ id }) => ({ id, replayed: false })),
  )
  assert.deepEqual(
    await actor.page({ limit: 9 }),
    given.messages.toReversed().map((message) => ({ ...message, lane: 1 })),
  )
  assert.deepEqual(await actor.get(given.messages[0]!.id), { ...given.messages[0]!, lane: 1 })
  assert.equal(await actor.get('0'.repeat(26)), undefined)
  assert.equal(actor.status().handled, 5)
})

test('a batch counts as its messages in the mailbox; one that does not fit is refused at once and not stored', async () => {
  const { actor, batch, store } = open(3)
  const gate = Promise.withResolvers<void>()
  store.before = () => gate.promise
  const first = actor.append(batch('a', 'b'), null)
  await assert.rejects(actor.append(batch('c', 'd'), null), { code: 'MR_MAILBOX_FULL', outcome: 'none' })
  gate.resolve()
  await first
  assert.equal(store.log.size, 2)
  assert.deepEqual(actor.status().mailbox, { depth: 0, capacity: 3, refused: 2 })
})

test('a drain finishes what was admitted, refuses the rest, and is the same for every caller', async () => {
  const { actor, batch, store } = open()
  const gate = Promise.withResolvers<void>()
  store.before = () => gate.promise
  const admitted = actor.append(batch('a'), null)
  const drained = actor.drain()
  assert.equal(actor.drain(), drained)
  assert.ok(actor.draining)
  await Promise.resolve()
  await assert.rejects(actor.append(batch('b'), null), { code: 'MR_DRAINING', outcome: 'none' })
  gate.resolve()
  await drained
  assert.equal((await admitted).length, 1)
})

test('a page of large texts is shorter than asked, never empty before the end', async () => {
  const { actor, batch } = open()
  const text = 'x'.repeat(65_536)
  for (let count = 0; count < 300; count += 100)
    await actor.append(batch(...Array<string>(100).fill(text)), null)
  const page = await actor.page({ limit: 1000 })
  assert.equal(page.length, 8)
  const rest = await actor.page({ limit: 1000, before: page.at(-1)!.id })
  assert.equal(rest.length, 8)
})

test('the time left that another node sends replaces its deadline', async () => {
  const { actor, batch } = open()
  const theirs = { ...batch('a'), deadlineAt: -1 }
  assert.equal((await actor.append(theirs, 1000)).length, 1)
  await assert.rejects(actor.append(theirs, null), { code: 'MR_DEADLINE_EXPIRED', outcome: 'none' })
})

test('a largest message is admitted beside others: under steady load it would never be else', async () => {
  const maxMessageBytes = 25 * 1024 * 1024
  const context = testContext({ name: 'logging-1', config: { maxMessageBytes } })
  const store = new MemoryStore(context.clock)
  const actor = new LoggingActor(context, store.open())
  const nextIds = idGenerator(context.clock, seeded(2))
  const append = (text: string) => {
    const messages = nextIds(1).map((id) => ({ id, text }))
    return actor.append({ messages, lane: 1, deadlineAt: context.clock.monotonic() + 1000 }, null)
  }
  const gate = Promise.withResolvers<void>()
  store.before = () => gate.promise
  const all = [append('a little'), append('x'.repeat(Math.floor((maxMessageBytes * 4) / 3)))]
  gate.resolve()
  await Promise.all(all)
})
