import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { Holders } from '../../../src/actors/facade/holders.ts'
import { LoggingPool } from '../../../src/actors/facade/logging-pool.ts'
import { Reader } from '../../../src/actors/facade/read.ts'
import { ReadTurns } from '../../../src/actors/facade/turns.ts'
import type { Logging, Messages, PagedList, StorePage } from '../../../src/actors/protocol.ts'
import type { ActorEntry } from '../../../src/runtime/cluster/directory.ts'
import { MAX_ID } from '../../../src/storage/ids.ts'
import type { Message, Range } from '../../../src/storage/ports.ts'
import { DirectPeers, entryOf, lost, seeded, testContext } from '../../support/actor-context.ts'
import { pageOf } from '../../support/memory-backend.ts'

const messageOf = (number: number): Message => ({ id: `01${String(number).padStart(24, '0')}`, text: 't' })
const many = (count: number) => Array.from({ length: count }, (_, number) => messageOf(number))

/** A reader of one logging actor and some messages actors over plain lists; `onPage` runs before each page. */
function open({
  logged = [] as Message[],
  delivered = [] as Message[],
  entries = [entryOf('messages-1')],
} = {}) {
  const context = testContext()
  context.directory.set(entryOf('logging-1'), ...entries)
  const peers = new DirectPeers()
  const state = { term: 0, complete: true, onPage: (_: Range): number | undefined => undefined }
  const read = (list: Message[], range: Range) => {
    const limit = Math.min(range.limit, state.onPage(range) ?? range.limit)
    return pageOf(list, { ...range, limit })
  }
  const logging: Partial<Logging> = {
    page: async (range) => read(logged, range).map((message) => ({ ...message, lane: 0 })),
  }
  const messages: Partial<Messages> = {
    page: async (range): Promise<StorePage> => ({
      messages: read(delivered, range),
      term: state.term,
      complete: state.complete,
    }),
  }
  peers.actors.set('logging-1', logging)
  for (const { name } of entries) peers.actors.set(name, messages)
  const holders = new Holders(context, peers, context.config.lanes)
  const reader = new Reader(context, {
    ...{ logging: new LoggingPool(context, peers), holders, turns: new ReadTurns() },
    drain: new AbortController().signal,
  })
  const lists = (limit?: number) => reader.lists(limit)
  return { context, peers, state, lists, logged, delivered }
}

async function readAll({ pages }: PagedList): Promise<Message[]> {
  const all: Message[] = []
  for await (const page of pages) all.push(...page.map(({ id, text }) => ({ id, text })))
  return all
}

test('both lists are whole and ascending, and the actor asked is named', async () => {
  const { lists } = open({ logged: many(2500), delivered: many(1200) })
  const { logged, delivered, deliveredTo } = await lists()
  assert.deepEqual(await readAll(logged), many(2500))
  assert.deepEqual(await readAll(delivered), many(1200))
  assert.deepEqual([logged.whole(), delivered.whole(), deliveredTo], [true, true, 'messages-1'])
})

test('empty lists are whole', async () => {
  for (const limit of [undefined, 5]) {
    const { logged, delivered } = await open().lists(limit)
    assert.deepEqual([...(await readAll(logged)), ...(await readAll(delivered))], [])
    assert.ok(logged.whole() && delivered.whole())
  }
})

test('a limit gives the newest messages up to it, however short the pages are', async () => {
  const args = [
    fc.nat(120),
    fc.integer({ min: 1, max: 130 }),
    fc.integer({ min: 1, max: 50 }),
    fc.nat(),
  ] as const
  await fc.assert(
    fc.asyncProperty(...args, async (size, limit, pageSize, seed) => {
      const random = seeded(seed)
      const { lists, state } = open({ logged: many(size) })
      state.onPage = () => 1 + Math.floor(random() * pageSize)
      const { logged } = await lists(limit)
      assert.deepEqual(await readAll(logged), many(size).slice(-limit))
      assert.ok(logged.whole())
    }),
  )
})

test('a read contains all messages that existed when it began, whatever arrives meanwhile', async () => {
  const args = [
    fc.integer({ min: 1, max: 60 }),
    fc.option(fc.integer({ min: 1, max: 70 })),
    fc.nat(),
  ] as const
  await fc.assert(
    fc.asyncProperty(...args, async (size, limit, seed) => {
      const random = seeded(seed)
      const there = Array.from({ length: size }, (_, number) => messageOf(number * 100))
      const { lists, state, logged } = open({ logged: [...there] })
      const { logged: half } = await lists(limit ?? undefined)
      const first = half.pages[Symbol.asyncIterator]()
      state.onPage = (range) => {
        // Anywhere in the list, as ids are not in the order of their commits, but after the newest id was read.
        if (range.after === undefined && (range.before ?? MAX_ID) === MAX_ID) return 7
        for (let count = 0; count < 3; count++) {
          const late = messageOf(Math.floor(random() * 7000))
          if (!logged.some(({ id }) => id === late.id)) logged.push(late)
        }
        return 7
      }
      const all: Message[] = []
      for (let next = await first.next(); !next.done; next = await first.next()) all.push(...next.value)
      const ids = all.map(({ id }) => id)
      assert.deepEqual(ids, [...new Set(ids)].sort())
      if (limit !== null) assert.ok(ids.length <= limit)
      const newestFirst = there.toReversed()
      if (limit === null) for (const { id } of there) assert.ok(ids.includes(id), `${id} is missing`)
      else {
        assert.ok(ids.includes(newestFirst[0]!.id), 'the newest is missing')
        for (const { id } of there) assert.ok(id < ids[0]! || ids.includes(id), `${id} is missing`)
      }
    }),
  )
})

test('a read ends, however fast messages arrive', async () => {
  const { lists, state, logged: log } = open({ logged: many(10) })
  let next = 10
  state.onPage = () => {
    for (let count = 0; count < 5; count++) log.push(messageOf(next++))
    return 5
  }
  const { logged } = await lists()
  let pageCount = 0
  for await (const _ of logged.pages) assert.ok(++pageCount < 100)
  assert.ok(logged.whole())
})

test('a half whose read fails midway is not whole; the other is', async () => {
  const { lists, peers } = open({ logged: many(1500), delivered: many(10) })
  const { logged, delivered } = await lists()
  const pages = logged.pages[Symbol.asyncIterator]()
  assert.equal((await pages.next()).value!.length, 1000)
  const broken: Partial<Logging> = { page: () => Promise.reject(new Error('broken')) }
  peers.actors.set('logging-1', broken)
  assert.equal((await pages.next()).done, true)
  assert.equal((await readAll(delivered)).length, 10)
  assert.deepEqual([logged.whole(), delivered.whole()], [false, true])
})

test('a half that was not read to its end is not whole', async () => {
  const { logged } = await open({ logged: many(1500) }).lists()
  for await (const _ of logged.pages) break
  assert.equal(logged.whole(), false)
})

test('delivered is not whole when the store lacked a lane at any page, or lanes moved', async () => {
  const incomplete = open({ delivered: many(1500) })
  incomplete.state.complete = false
  const { delivered: first } = await incomplete.lists()
  incomplete.state.complete = true
  assert.equal((await readAll(first)).length, 1500)
  assert.equal(first.whole(), false)

  const moved = open({ delivered: many(1500) })
  const { delivered: second } = await moved.lists()
  for await (const _ of second.pages) moved.state.term++
  assert.equal(second.whole(), false)
})

test('delivered is not whole while a messages actor that holds lanes is not ready', async () => {
  const away: ActorEntry = entryOf('messages-2', { state: 'restarting', address: null })
  const { lists, context } = open({ entries: [entryOf('messages-1'), away] })
  const { delivered, logged } = await lists()
  await readAll(delivered)
  await readAll(logged)
  assert.deepEqual([delivered.whole(), logged.whole()], [false, true])
  context.directory.set(entryOf('logging-1'), entryOf('messages-1'), { ...away, state: 'draining' })
  const { delivered: again } = await lists()
  await readAll(again)
  assert.equal(again.whole(), true, 'one that has left holds nothing')
})

test('when a messages actor does not answer, another is asked', async () => {
  const { lists, peers } = open({ entries: ['messages-1', 'messages-2'].map((name) => entryOf(name)) })
  const away: Partial<Messages> = { page: () => Promise.reject(lost('messages-1', 'unknown')) }
  peers.actors.set('messages-1', away)
  for (let round = 0; round < 10; round++) assert.equal((await lists()).deliveredTo, 'messages-2')
})

test('any of the ready messages actors may be asked', async () => {
  const { lists } = open({ entries: ['messages-1', 'messages-2'].map((name) => entryOf(name)) })
  const asked = new Set<string | null>()
  for (let round = 0; round < 30; round++) asked.add((await lists()).deliveredTo)
  assert.equal(asked.size, 2)
})

test('without a ready messages actor, delivered is empty and not whole', async () => {
  const { delivered, deliveredTo } = await open({
    entries: [entryOf('messages-1', { state: 'starting', address: null })],
  }).lists()
  assert.deepEqual(await readAll(delivered), [])
  assert.deepEqual([delivered.whole(), deliveredTo], [false, null])
})
