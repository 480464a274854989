import assert from 'node:assert/strict'
import test from 'node:test'
import pino from 'pino'
import type { StorePage } from '../../../src/actors/protocol.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { BACKLOG_PERIOD_MS, MINUTE_MS } from '../../../src/runtime/timings.ts'
import { MAX_ID, MIN_ID } from '../../../src/storage/ids.ts'
import { entryOf, TestDirectory } from '../../support/actor-context.ts'
import { settle } from '../../support/fake-clock.ts'
import { MessagesBench, textsOf } from '../../support/messages-bench.ts'

const away = () => new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason: 'the disk is full' })
const lanesOf = ({ actor }: Awaited<ReturnType<MessagesBench['boot']>>) =>
  Object.keys(actor.status().lanes!).map(Number)

test('takes its share of the lanes and delivers their pending messages into its store', async () => {
  const bench = new MessagesBench()
  await bench.add(0, 'a')
  await bench.add(1, 'b')
  const first = await bench.boot(1)
  const second = await bench.boot(2)
  await bench.live(1, 2)
  assert.deepEqual(
    [lanesOf(first), lanesOf(second)],
    [
      [0, 2],
      [1, 3],
    ],
  )
  await bench.add(2, 'c')
  assert.deepEqual(await textsOf(first), ['c', 'a'])
  assert.deepEqual(await textsOf(second), ['b'])
  assert.equal(first.actor.status().handled, 2)
})

test('a page’s bounds are exclusive, its order that of the log', async () => {
  const bench = new MessagesBench()
  const first = await bench.boot(1)
  await bench.live(1)
  const ids: string[] = []
  for (const [index, text] of [...'abcdef'].entries()) ids.push(...(await bench.add(index % 4, text)))
  const page = async (range: object) =>
    (await first.actor.page(range as never)).messages.map(({ text }) => text).join('')
  assert.equal(await page({ limit: 3, before: ids[3] }), 'cba')
  assert.equal(await page({ limit: 3, after: ids[1] }), 'cde')
  assert.equal(await page({ limit: 9, after: MIN_ID, before: ids[2] }), 'ab')
})

test('messages older than the retention are hidden at once, whatever is in memory', async () => {
  const bench = new MessagesBench()
  const first = await bench.boot(1, { retentionMs: 60_000 })
  await bench.live(1)
  const [id] = (await bench.add(0, 'old')) as [string]
  await bench.clock.advance(59_000)
  await bench.add(1, 'new')
  assert.deepEqual(await textsOf(first), ['new', 'old'])
  await bench.clock.advance(2000)
  assert.deepEqual(await textsOf(first), ['new'])
  for (const range of [{ after: MIN_ID }, { after: id }, { before: MAX_ID }]) {
    const { messages } = await first.actor.page({ ...range, limit: 9 })
    assert.deepEqual(
      messages.map(({ text }) => text),
      ['new'],
    )
  }
})

test('its list is back after a restart', async () => {
  const bench = new MessagesBench()
  const first = await bench.boot(1)
  await bench.live(1)
  for (const [index, text] of [...'abcdef'].entries()) await bench.add(index % 4, text)
  await first.backend.close() // As its death does.
  const next = await bench.boot(1)
  await bench.clock.advance(100)
  const { messages, complete } = await next.actor.page({ limit: 9 })
  assert.equal(messages.map(({ text }) => text).join(''), 'fedcba')
  assert.ok(complete)
})

test('lanes move with their lists; nothing is ever in two stores, and an incomplete page says so', async () => {
  const bench = new MessagesBench()
  const members = [await bench.boot(1), await bench.boot(2), await bench.boot(3)]
  const all: string[] = []
  bench.directory.set(entryOf('messages-1'))
  await bench.clock.advance(600)
  for (let index = 0; index < 12; index++) {
    await bench.add(index % 4, `text ${index}`)
    all.push(`text ${index}`)
  }
  for (const living of [[1, 2], [1, 2, 3], [3], [2], [1, 2]]) {
    bench.directory.set(...living.map((number) => entryOf(`messages-${number}`)))
    for (let stepMs = 0; stepMs < 700; stepMs += 20) {
      const pages = await Promise.all(members.map(({ actor }) => actor.page({ limit: 100 })))
      const shown = pages.flatMap(({ messages }) => messages.map(({ text }) => text))
      assert.equal(new Set(shown).size, shown.length, 'nothing is in two stores')
      if (living.every((number) => pages[number - 1]!.complete)) {
        assert.deepEqual(shown.sort(), [...all].sort(), 'all are complete, so all is shown')
      }
      await bench.clock.advance(20)
    }
    const pages = await Promise.all(living.map((number) => members[number - 1]!.actor.page({ limit: 100 })))
    assert.ok(
      pages.every(({ complete }) => complete),
      'after a move all is there again',
    )
  }
  assert.ok(members.every(({ context }) => context.failures.length === 0))
})

test('the term grows when a lane comes or goes', async () => {
  const bench = new MessagesBench()
  const first = await bench.boot(1)
  await bench.boot(2)
  const terms: number[] = []
  for (const living of [[1], [1, 2], [1]]) {
    await bench.live(...living)
    terms.push((await first.actor.page({ limit: 1 })).term)
  }
  assert.ok(terms[0]! < terms[1]! && terms[1]! < terms[2]!, String(terms))
})

test('a page that overlaps a lane’s leaving is of one term or says it is not complete', async () => {
  const bench = new MessagesBench()
  const first = await bench.boot(1)
  let isLeaving = false
  const pages: StorePage[] = []
  const readers: Promise<void>[] = []
  const read = async (delay: number) => {
    for (let count = 0; count < delay; count++) await Promise.resolve()
    pages.push(await first.actor.page({ limit: 9 }))
  }
  // A lane is released when its last claim has ended. From then on, readers arrive in every microtask.
  const sleep = bench.clock.sleep.bind(bench.clock)
  bench.clock.sleep = async (...args) => {
    await sleep(...args)
    if (!isLeaving) return
    for (let delay = 0; delay < 100; delay++) readers.push(read(delay))
  }
  await bench.live(1)
  await bench.add(1, 'moves')
  isLeaving = true
  await bench.live(1, 2)
  await Promise.all(readers)
  const counts = new Map<number, number>()
  for (const { messages, term, complete } of pages) {
    if (!complete) continue
    assert.equal(messages.length, counts.get(term) ?? messages.length, `two lists in term ${term}`)
    counts.set(term, messages.length)
  }
  const seen = [...counts.values()]
  assert.ok(seen[0] === 1 && seen.at(-1) === 0, 'it moved meanwhile')
})

test('an actor that its directory does not list among the holders is not complete', async () => {
  const bench = new MessagesBench()
  const directory = new TestDirectory()
  const late = await bench.boot(1, { directory })
  assert.equal((await late.actor.page({ limit: 1 })).complete, false, 'not yet')
  directory.set(entryOf('messages-1'))
  await bench.clock.advance(600)
  assert.equal((await late.actor.page({ limit: 1 })).complete, true)
  directory.set(entryOf('messages-1', { state: 'draining' }), entryOf('messages-2'))
  await bench.clock.advance(600)
  assert.equal((await late.actor.page({ limit: 1 })).complete, false, 'no more')
})

test('a lane that is not free is retried, no more often when the directory changes more', async () => {
  const bench = new MessagesBench()
  const other = bench.store.open()
  await other.queue.hold(2)
  let holds = 0
  bench.store.before = (call) => {
    if (call === 'hold') holds++
  }
  const first = await bench.boot(1)
  for (let change = 0; change < 20; change++) await bench.live(1)
  assert.equal((await first.actor.page({ limit: 1 })).complete, false)
  holds = 0
  await bench.clock.advance(1000)
  assert.ok(holds >= 10 && holds <= 25, `${holds} in a second`)
  await other.close()
  await bench.clock.advance(100)
  assert.ok((await first.actor.page({ limit: 1 })).complete)
})

for (const call of ['hold', 'delivered', 'depth']) {
  test(`taking a lane is retried while ${call} is unavailable`, async () => {
    const bench = new MessagesBench()
    let isAway = true
    bench.store.before = (name) => {
      if (name === call && isAway) throw away()
    }
    const first = await bench.boot(1)
    await bench.live(1)
    assert.deepEqual(first.context.failures, [])
    isAway = false
    await bench.add(0, 'a')
    await bench.clock.advance(600)
    assert.deepEqual(await textsOf(first), ['a'])
    assert.deepEqual(first.context.failures, [])
  })
}

test('messages older than the window come from the lanes’ lists', async () => {
  const bench = new MessagesBench()
  const first = await bench.boot(1)
  await bench.live(1)
  const text = 'x'.repeat(65_536)
  const ids: string[] = []
  for (let round = 0; round < 8; round++) ids.push(...(await bench.add(round % 4, ...Array(100).fill(text))))
  let fromHomes = 0
  bench.store.before = (call) => {
    if (call === 'delivered') fromHomes++
  }
  const seen: string[] = []
  for (;;) {
    const last = seen.at(-1)
    const { messages } = await first.actor.page({ limit: 300, ...(last && { before: last }) })
    if (messages.length === 0) break
    assert.ok(messages.length <= 150, 'a page is bounded in bytes, wherever it comes from')
    seen.push(...messages.map(({ id }) => id))
  }
  assert.deepEqual(seen, ids.toReversed())
  assert.ok(fromHomes > 0)
})

test('a restart reads no more of its lists than its window holds, and lets other callbacks run', async () => {
  const bench = new MessagesBench(4)
  const now = bench.clock.now()
  for (const [number, lane] of bench.store.lanes.entries()) {
    for (let index = 0; index < 60_000; index++) {
      const id = `01${String(number * 100_000 + index).padStart(24, '0')}`
      lane.delivered.set(id, { id, text: 'short', deliveredAt: now, attempts: 1 })
    }
  }
  // The backend in memory sorts a lane for every page, which is too slow here. Sort once instead.
  const backend = bench.store.open()
  let read = 0
  let turns = 0
  let counting = true
  const count = () => {
    turns++
    if (counting) setImmediate(count)
  }
  setImmediate(count)
  const { queue } = backend
  const lists = bench.store.lanes.map((lane) => [...lane.delivered.values()].reverse())
  queue.delivered = async (lane, { before, limit }) => {
    const from = before === undefined ? 0 : lists[lane]!.findIndex(({ id }) => id < before)
    const page = from === -1 ? [] : lists[lane]!.slice(from, from + limit)
    read += page.length
    return page
  }
  bench.store.open = () => backend
  const first = await bench.boot(1)
  bench.directory.set(entryOf('messages-1'))
  while (lanesOf(first).length < 4) await settle()
  counting = false
  assert.ok(read >= 150_000 && read <= 220_000, `${read} read`)
  assert.ok(turns > 100, `${turns} turns`)
})

test('a drain releases the lanes, for others to take at once, and its pages are not complete', async () => {
  const bench = new MessagesBench()
  const first = await bench.boot(1)
  await bench.live(1)
  await bench.add(0, 'a')
  const drained = first.actor.drain()
  assert.equal(first.actor.drain(), drained)
  const during: boolean[] = []
  for (let turn = 0; turn < 10; turn++) {
    const page = await first.actor.page({ limit: 1 }).catch(() => undefined)
    if (page !== undefined && page.messages.length === 0) during.push(page.complete)
    await bench.clock.advance(100)
  }
  assert.ok(
    during.every((complete) => !complete),
    'an emptied list is not whole',
  )
  await drained
  assert.equal(bench.directory.listenerCount, 0)
  await assert.rejects(first.actor.page({ limit: 1 }), { code: 'MR_DRAINING' })
  const next = await bench.boot(2)
  await bench.live(2)
  assert.deepEqual(await textsOf(next), ['a'])
  assert.deepEqual(first.context.failures, [])
})

test('a drain while lanes are being taken leaves none behind', async () => {
  for (let turn = 0; turn < 12; turn++) {
    const bench = new MessagesBench()
    const first = await bench.boot(1)
    bench.directory.set(entryOf('messages-1'))
    for (let count = 0; count < turn; count++) await Promise.resolve()
    const drained = first.actor.drain()
    await bench.clock.advance(1000)
    await drained
    for (const lane of bench.store.lanes) assert.equal(lane.holder, undefined)
  }
})

test('find answers where a message is, and waits until it is delivered or dead', async () => {
  const gate = Promise.withResolvers<void>()
  const bench = new MessagesBench()
  const handler = async ({ text }: { text?: string }) => {
    await gate.promise
    if (text === 'poison') throw new Error('no')
  }
  const { actor } = await bench.boot(1, { handler })
  await bench.live(1)
  const [good] = await bench.add(0, 'good')
  const errors = { firstError: null, lastError: null }
  const fine = { ...errors, nextAttemptAt: null, outage: null, paused: false }
  assert.deepEqual(await actor.find(0, good!, 0), {
    state: 'queued',
    attempts: 1,
    deliveredAt: null,
    ...fine,
  })
  const early = actor.find(0, good!, 700)
  await bench.clock.advance(700)
  assert.equal((await early).state, 'queued')
  const waiting = actor.find(0, good!, 30_000)
  await settle()
  gate.resolve()
  await settle()
  assert.equal((await waiting).state, 'delivered')
  const [poison] = await bench.add(0, 'poison')
  const dead = actor.find(0, poison!, 30_000)
  await bench.clock.advance(20_000)
  assert.deepEqual(await dead, {
    ...{ state: 'dead', attempts: 5, deliveredAt: null, ...fine },
    ...{ firstError: 'Error: no', lastError: 'Error: no' },
  })
  await assert.rejects(actor.find(9, good!, 0))
})

test('a receiver that refuses everything is seen: how many wait for another attempt, and the last error', async () => {
  const bench = new MessagesBench()
  const { actor } = await bench.boot(1, {
    handler: () => {
      throw new Error('refused')
    },
  })
  await bench.live(1)
  assert.deepEqual([actor.status().retrying, actor.status().lastFailure], [0, null])
  const [id] = await bench.add(0, 'a', 'b')
  await settle()
  const at = bench.clock.now()
  await bench.clock.advance(BACKLOG_PERIOD_MS)
  const { retrying, lastFailure, dead } = actor.status()
  assert.deepEqual([retrying, dead], [2, 0])
  assert.deepEqual([lastFailure!.target, lastFailure!.error], ['the handler', 'Error: refused'])
  assert.ok(lastFailure!.at > at && lastFailure!.at <= bench.clock.now(), 'of the second attempt')
  await actor.pause(true)
  assert.equal((await actor.find(0, id!, 0)).paused, true)
  await actor.pause(false)
  await bench.clock.advance(60_000)
  const after = actor.status()
  assert.deepEqual([after.retrying, after.dead], [0, 2])
  assert.deepEqual((await actor.find(0, id!, 0)).paused, false)
})

test('redeliveries are few at once: each has its text in hand', async () => {
  const gate = Promise.withResolvers<void>()
  let isGated = false
  const bench = new MessagesBench()
  const { actor } = await bench.boot(1, { handler: () => (isGated ? gate.promise : undefined) })
  await bench.live(1)
  const [id] = await bench.add(0, 'good')
  isGated = true
  const all = Promise.allSettled(Array.from({ length: 100 }, () => actor.redeliver(0, id!)))
  await bench.clock.advance(100)
  gate.resolve()
  await bench.clock.advance(1000)
  const refused = (await all).filter((each) => each.status === 'rejected')
  assert.ok(refused.length > 50 && refused.length < 100, String(refused.length))
  assert.ok(refused.every(({ reason }) => reason.code === 'MR_REDELIVERY_REFUSED'))
  await actor.redeliver(0, id!)
})

test('dead letters of all its lanes are listed, replayed and purged', async () => {
  let broken = true
  const bench = new MessagesBench()
  const first = await bench.boot(1, {
    handler: () => {
      if (broken) throw new Error('no')
    },
  })
  const { actor } = first
  await bench.live(1)
  const ids: string[] = []
  for (const lane of [3, 0, 2]) ids.push(...(await bench.add(lane, `in ${lane}`)))
  await bench.clock.advance(60_000)
  const listed = async (range: object) => (await actor.dead(range as never)).map(({ id }) => id)
  assert.deepEqual(await listed({ limit: 9 }), ids)
  assert.deepEqual(await listed({ limit: 1, after: ids[0] }), [ids[1]])
  assert.equal(actor.status().dead, 3)
  broken = false
  assert.equal(await actor.replay(ids[1]!), true)
  assert.equal(await actor.purge(ids[2]!), true)
  assert.equal(await actor.replay(ids[2]!), false)
  await bench.clock.advance(600)
  assert.deepEqual(await textsOf(first), ['in 0'])
  assert.deepEqual(await listed({ limit: 9 }), [ids[0]])
})

test('dead letters older than their retention are purged, those of all lanes, and counted in one line', async () => {
  const bench = new MessagesBench()
  let broken = true
  const handler = () => {
    if (broken) throw new Error('no')
  }
  const { actor, context } = await bench.boot(1, { handler, deadRetentionMs: 10 * MINUTE_MS })
  const lines: { count?: number; msg: string }[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) })
  await bench.live(1)
  const ids: string[] = []
  for (const lane of [0, 2]) ids.push(...(await bench.add(lane, `first in ${lane}`)))
  // Many enough for several steps.
  ids.push(...(await bench.add(1, ...Array.from({ length: 250 }, (_, index) => `many ${index}`))))
  await bench.clock.advance(5 * MINUTE_MS)
  const young = await bench.add(0, 'five minutes later')
  await bench.clock.advance(MINUTE_MS)
  const deadIds = async () => (await actor.dead({ limit: 1000 })).map(({ id }) => id)
  assert.deepEqual(await deadIds(), [...ids, ...young])
  Object.assign(context, { logger })
  await bench.clock.advance(3 * MINUTE_MS)
  assert.deepEqual([(await deadIds()).length, lines], [253, []])
  await bench.clock.advance(3 * MINUTE_MS)
  assert.deepEqual(await deadIds(), young)
  assert.deepEqual(
    lines.map(({ count, msg }) => [count, msg]),
    [[252, 'dead letters older than --dead-retention removed']],
  )
  broken = false
  await bench.clock.advance(5 * MINUTE_MS)
  assert.deepEqual(await deadIds(), [])
  // Purged, not forgotten: nothing is delivered after all.
  assert.deepEqual((await actor.page({ limit: 9 })).messages, [])
  assert.equal((await actor.find(0, young[0]!, 0)).state, 'dead')
})

test('without a retention of their own dead letters stay; a lane that cannot be written keeps no other from losing its old ones', async () => {
  const bench = new MessagesBench()
  const handler = () => {
    throw new Error('no')
  }
  const kept = await bench.boot(1, { handler })
  const losing = await bench.boot(2, { handler, deadRetentionMs: MINUTE_MS })
  await bench.live(1, 2)
  for (const lane of [0, 1, 3]) await bench.add(lane, `in ${lane}`)
  bench.store.before = async (call, lane) => {
    if (call === 'purge' && lane === 1) throw away()
  }
  await bench.clock.advance(10 * MINUTE_MS)
  assert.equal((await kept.actor.dead({ limit: 9 })).length, 1)
  const left = (await losing.actor.dead({ limit: 9 })).map(({ text }) => text)
  assert.deepEqual(left, ['in 1'])
  bench.store.before = () => {}
  await bench.clock.advance(2 * MINUTE_MS)
  assert.deepEqual(await losing.actor.dead({ limit: 9 }), [])
  assert.deepEqual(losing.context.failures, [])
})

test('while it lacks a lane it does not report a message as absent', async () => {
  const bench = new MessagesBench()
  await bench.store.open().queue.hold(2)
  const { actor } = await bench.boot(1)
  await bench.live(1)
  const refused = { code: 'MR_STORE_UNAVAILABLE', outcome: 'none' }
  await assert.rejects(actor.dead({ limit: 9 }), refused)
  await assert.rejects(actor.replay(`${MIN_ID}`), refused)
  await assert.rejects(actor.purge(`${MIN_ID}`), refused)
})

test('a bug in a consumer ends the worker; a hung handler does not block a drain', async () => {
  const bench = new MessagesBench()
  const broken = await bench.boot(1)
  await bench.live(1)
  bench.store.before = (call) => {
    if (call === 'settle') throw new TypeError('a bug')
  }
  await bench.add(0, 'a')
  assert.match(String(broken.context.failures[0]), /a bug/)

  const other = new MessagesBench()
  const ignoring = await other.boot(1, { handler: () => new Promise(() => {}) })
  await other.live(1)
  await other.add(0, 'a')
  const drained = ignoring.actor.drain()
  await other.clock.advance(6000)
  await drained
  assert.deepEqual(ignoring.context.failures, [])
})

test('its status has the pending messages, the oldest, and the dead letters, as of the last second', async () => {
  const bench = new MessagesBench()
  const { actor } = await bench.boot(1, { handler: () => new Promise(() => {}) })
  await bench.live(1)
  const at = bench.clock.now()
  await bench.add(2, 'a', 'b', 'c')
  await bench.clock.advance(1000)
  const { lanes, oldestAt, dead } = actor.status()
  assert.deepEqual([lanes, oldestAt, dead], [{ 0: 0, 1: 0, 2: 3, 3: 0 }, at, 0])
})

test('a lane that was lost is not shown, from the next page on, and is taken again when it is free', async () => {
  const bench = new MessagesBench()
  const first = await bench.boot(1)
  await bench.live(1)
  await bench.add(0, 'a')
  await bench.add(1, 'b')
  const other = bench.store.open()
  bench.store.lanes[0]!.holder = undefined
  await other.queue.hold(0)
  const page = await first.actor.page({ limit: 9 })
  assert.deepEqual([page.messages.map(({ text }) => text), page.complete], [['b'], false])
  await bench.clock.advance(1000)
  assert.deepEqual(await textsOf(first), ['b'])
  await other.queue.release(0)
  await bench.clock.advance(100)
  assert.deepEqual(await textsOf(first), ['b', 'a'])
  assert.deepEqual(first.context.failures, [])
})

test('messages settled while their lane is lost are not shown by its former holder', async () => {
  const bench = new MessagesBench()
  const first = await bench.boot(1)
  await bench.live(1)
  const answered = Promise.withResolvers<void>()
  const { queue } = first.backend
  const settleNow = queue.settle
  queue.settle = async (...args) => {
    const shown = await settleNow(...args)
    await answered.promise
    return shown
  }
  await bench.add(0, 'a')
  const other = bench.store.open()
  bench.store.lanes[0]!.holder = undefined
  await other.queue.hold(0)
  assert.equal((await other.queue.delivered(0, { limit: 9 })).length, 1)
  assert.deepEqual(await textsOf(first), [])
  answered.resolve()
  await settle()
  assert.deepEqual(await textsOf(first), [])
})
