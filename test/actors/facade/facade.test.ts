import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import test from 'node:test'
import { FacadeActor } from '../../../src/actors/facade/facade.ts'
import { LoggingActor } from '../../../src/actors/logging/logging.ts'
import type { Handler } from '../../../src/actors/messages/handler.ts'
import type { Messages, PagedList, Wait } from '../../../src/actors/protocol.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import type { ClusterReport, Loss } from '../../../src/runtime/losses.ts'
import {
  ASK_TIMEOUT_MS,
  BULK_SLICE_MS,
  LOG_READ_DEADLINE_MS,
  POST_DEADLINE_MS,
  REDRIVE_AGE_MS,
} from '../../../src/runtime/timings.ts'
import { storedText } from '../../../src/storage/content.ts'
import { MIN_ID } from '../../../src/storage/ids.ts'
import { DEAD_GROUPS_MAX, PAGE_MAX_BYTES } from '../../../src/storage/limits.ts'
import type { Receipt } from '../../../src/storage/ports.ts'
import { DirectPeers, entryOf, lost, testContext } from '../../support/actor-context.ts'
import { settle } from '../../support/fake-clock.ts'
import { type Member, MessagesBench } from '../../support/messages-bench.ts'

const LOGGING = entryOf('logging-1')

const forUpTo = (waitMs: number): Wait => ({ waitMs, gone: new AbortController().signal })

/** A real facade, a real logging actor and real messages actors, on a backend in memory. */
async function open({ messages = 2, handler = null as Handler | null, mailboxCapacity = 1000 } = {}) {
  const bench = new MessagesBench()
  const { clock, directory, store } = bench
  const peers = new DirectPeers()
  const context = testContext({ clock, directory, config: { mailboxCapacity } })
  const logging = new LoggingActor(testContext({ name: 'logging-1', clock, directory }), store.open())
  peers.actors.set('logging-1', logging)
  const members: Member[] = []
  for (let number = 1; number <= messages; number++) {
    const member = await bench.boot(number, { handler })
    members.push(member)
    peers.actors.set(`messages-${number}`, member.actor)
  }
  const facade = new FacadeActor(context, store.open(), peers)
  /** Sets the messages actors of the directory, and lets them take their lanes. */
  const live = async (...numbers: number[]) => {
    directory.set(LOGGING, ...numbers.map((number) => entryOf(`messages-${number}`)))
    await clock.advance(600)
  }
  await live(...members.map((_, index) => index + 1))
  const deadlineAt = () => clock.monotonic() + POST_DEADLINE_MS
  const post = (text: string) => facade.post(text, deadlineAt())
  const postBatch = (texts: string[], key?: { value: string; hash: string }) =>
    facade.postBatch(texts, { deadlineAt: deadlineAt(), ...(key && { key }) })
  /** Advances the clock by `ms` and rejects when the promise is still pending then. */
  const within = async <T>(promise: Promise<T>, ms: number): Promise<T> => {
    promise.catch(() => {})
    await clock.advance(ms)
    return Promise.race([promise, Promise.reject(new Error(`not within ${ms} ms`))])
  }
  return { bench, clock, directory, store, peers, facade, members, live, post, postBatch, within, context }
}

async function textsOf({ pages }: PagedList): Promise<string[]> {
  const texts: string[] = []
  for await (const page of pages) texts.push(...page.map(({ text }) => text))
  return texts
}

const idsOf = (receipts: readonly { id: string }[]) => receipts.map(({ id }) => id)

test('a posted message is in the log at once, and reaches one messages actor', async () => {
  const { facade, post } = await open()
  const { id, replayed } = await post('hello')
  assert.equal(replayed, false)
  const page = await facade.logPage({ limit: 9 })
  assert.deepEqual(
    page.map((message) => [message.id, message.text]),
    [[id, 'hello']],
  )
  await settle()
  const stores = await Promise.all(
    ['messages-1', 'messages-2'].map((name) => facade.storePage(name, { limit: 9 })),
  )
  assert.deepEqual(stores.flat(), [{ id, text: 'hello' }])
  const { logged, delivered, deliveredTo } = await facade.lists()
  assert.deepEqual(await textsOf(logged), ['hello'])
  assert.deepEqual(
    await textsOf(delivered),
    stores[deliveredTo === 'messages-1' ? 0 : 1]!.map(({ text }) => text),
  )
  assert.ok(logged.whole() && delivered.whole())
})

test('posts that arrive together are appended together, in order', async () => {
  const { post, store } = await open()
  let appends = 0
  store.before = (call) => {
    if (call === 'append') appends++
  }
  const receipts = await Promise.all([...'abcdef'].map(post))
  assert.equal(appends, 1)
  assert.deepEqual(idsOf(receipts), idsOf(receipts).sort())
  assert.deepEqual(
    receipts.map(({ id }) => store.log.get(id)!.text),
    [...'abcdef'],
  )
})

test('a message posted after another’s receipt has the higher id, also when the clock steps back', async () => {
  const { post, postBatch, clock } = await open()
  const ids: string[] = []
  for (let round = 0; round < 10; round++) {
    ids.push((await post('a')).id, ...idsOf(await postBatch(['b', 'c'])))
    clock.step(-500)
  }
  assert.deepEqual(ids, [...ids].sort())
})

test('a post past its deadline does not fail the others of its batch', async () => {
  const { facade, post, postBatch, store, clock } = await open()
  const gate = Promise.withResolvers<void>()
  store.before = (call) => (call === 'append' ? gate.promise : undefined)
  const busy = Array.from({ length: 4 }, () => postBatch(['busy']))
  await settle()
  const late = facade.post('late', clock.monotonic() + 10)
  await clock.advance(10)
  const fresh = post('fresh')
  gate.resolve()
  await assert.rejects(late, { code: 'MR_DEADLINE_EXPIRED', outcome: 'none', message: /within 10 ms/ })
  assert.equal(store.log.get((await fresh).id)!.text, 'fresh')
  await Promise.all(busy)
  assert.equal(store.log.size, 5)
  assert.equal(facade.status().mailbox.depth, 0)
})

test('a posted batch is appended by itself, all or none', async () => {
  const { facade, post, postBatch, store } = await open({ mailboxCapacity: 4 })
  const [receipts] = await Promise.all([postBatch(['a', 'b', 'c']), post('x')])
  assert.equal(new Set(receipts.map(({ id }) => store.log.get(id)!.lane)).size, 1)
  await assert.rejects(postBatch([...'abcde']), { code: 'MR_MAILBOX_FULL', outcome: 'none' })
  assert.equal(store.log.size, 4)
  assert.equal(facade.status().mailbox.depth, 0)
  assert.equal(facade.status().handled, 4)
})

test('posts with a key that leave together are answered each by itself', async () => {
  const { postBatch, within } = await open()
  const key = (value: string, hash = 'h') => ({ value, hash })
  await within(postBatch(['first'], key('used')), 100)
  const [reused, two, one] = await within(
    Promise.allSettled([
      postBatch(['other'], key('used', 'another hash')),
      postBatch(['a', 'b'], key('fresh')),
      postBatch(['c'], key('fresh too')),
    ]),
    100,
  )
  assert.equal(reused!.status === 'rejected' && reused!.reason.code, 'MR_KEY_REUSED')
  assert.equal(two!.status === 'fulfilled' && two!.value.length, 2)
  assert.equal(one!.status === 'fulfilled' && one!.value.length, 1)
})

test('a repeat with the same key gets the first receipts; another body, or a repeat while the first runs, is refused', async () => {
  const { postBatch, store } = await open()
  const key = { value: 'key-0123456789abcdef', hash: 'h1' }
  const gate = Promise.withResolvers<void>()
  store.before = () => gate.promise
  const first = postBatch(['a'], key)
  await assert.rejects(postBatch(['a'], key), { code: 'MR_KEY_BUSY', outcome: 'unknown' })
  await assert.rejects(postBatch(['b'], { ...key, hash: 'h2' }), { code: 'MR_KEY_REUSED', outcome: 'none' })
  gate.resolve()
  const [receipt] = (await first) as [Receipt]
  assert.deepEqual(await postBatch(['a'], key), [{ id: receipt.id, replayed: true }])
  await assert.rejects(postBatch(['b'], { ...key, hash: 'h2' }), { code: 'MR_KEY_REUSED' })
  assert.equal(store.log.size, 1)
})

test('after a failed request its key can be used again', async () => {
  const { postBatch, peers, within } = await open()
  const logging = peers.actors.get('logging-1')!
  peers.actors.delete('logging-1')
  const key = { value: 'key-0123456789abcdef', hash: 'h1' }
  await assert.rejects(within(postBatch(['a'], key), POST_DEADLINE_MS + 1000), {
    code: 'MR_PEER_LOST',
    outcome: 'none',
  })
  peers.actors.set('logging-1', logging)
  // Until the next probe it counts as silent.
  assert.equal((await within(postBatch(['a'], key), 1000))[0]!.replayed, false)
})

test('find answers where a message is and its lane’s holder; undefined when it is not in the log', async () => {
  const { facade, post } = await open()
  const { id } = await post('a')
  await settle()
  const found = await facade.find(id)
  assert.equal(found!.state, 'delivered')
  const page = await facade.storePage(found!.deliveredTo!, { limit: 9 })
  assert.deepEqual(idsOf(page), [id])
  assert.equal(await facade.find(MIN_ID, forUpTo(1000)), undefined)
})

test('find waits until the message is delivered, also while its lane moves to another', async () => {
  let done = false
  const handler: Handler = (_, { signal }) => {
    if (done) return
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }
  const { facade, post, live, clock, store } = await open({ handler })
  const { id } = await post('a')
  await settle()
  const before = await facade.find(id)
  assert.deepEqual([before!.state, before!.deliveredTo], ['queued', null])
  const waiting = facade.find(id, forUpTo(25_000))
  done = true
  const other = store.log.get(id)!.lane % 2 === 0 ? 2 : 1
  await live(other)
  await clock.advance(8000)
  const found = await waiting
  assert.deepEqual([found!.state, found!.deliveredTo], ['delivered', `messages-${other}`])
})

for (const [how, end] of [
  ['a drain', ({ facade }) => facade.announceDrain()],
  ['a reader who goes away', ({ gone }) => gone.abort()],
] satisfies [string, (of: { facade: FacadeActor; gone: AbortController }) => void][]) {
  test(`${how} ends the wait of find, and leaves nothing behind`, async () => {
    const handler: Handler = (_, { signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    const { facade, post, clock } = await open({ handler })
    const { id } = await post('a')
    await settle()
    const gone = new AbortController()
    const waiting = facade.find(id, { waitMs: 30_000, gone: gone.signal })
    await clock.advance(1000)
    end({ facade, gone })
    await settle()
    assert.equal((await waiting)!.state, 'queued')
    assert.equal(getEventListeners(gone.signal, 'abort').length, 0)
  })
}

test('find without a holder to ask is an error after its wait, never a guess', async () => {
  const { facade, post, live, within } = await open()
  const { id } = await post('a')
  await live()
  for (const waitMs of [0, 5000]) {
    await assert.rejects(within(facade.find(id, forUpTo(waitMs)), 8000), {
      code: 'MR_STORE_UNAVAILABLE',
      outcome: 'none',
    })
  }
})

test('every part of a page is bounded in bytes, and only the end of a list is empty', async () => {
  const { facade, postBatch, live } = await open({ messages: 1 })
  await live(1)
  const text = 'x'.repeat(65_536)
  for (let round = 0; round < 3; round++) await postBatch(Array<string>(100).fill(text))
  await settle()
  for (const read of [
    (after: string) => facade.logPage({ limit: 1000, after }),
    (after: string) => facade.storePage('messages-1', { limit: 1000, after }),
  ]) {
    const ids = new Set<string>()
    for (let part = await read(MIN_ID); part.length > 0; part = await read(part.at(-1)!.id)) {
      assert.ok(part.length <= PAGE_MAX_BYTES / text.length + 1)
      for (const { id } of part) ids.add(id)
    }
    assert.equal(ids.size, 300)
  }
})

test('a page of a store is whole or refused, never silently shorter', async () => {
  const { facade, postBatch, directory, clock, within, live } = await open({ messages: 1 })
  await live(1)
  await postBatch(['a'])
  await settle()
  await assert.rejects(facade.storePage('messages-9', { limit: 1 }), { code: 'MR_NOT_FOUND' })
  await assert.rejects(facade.storePage('logging-1', { limit: 1 }), { code: 'MR_NOT_FOUND' })
  directory.set(LOGGING, entryOf('messages-1', { state: 'draining' }))
  await clock.advance(600)
  await assert.rejects(within(facade.storePage('messages-1', { limit: 9 }), 2 * ASK_TIMEOUT_MS), {
    code: 'MR_STORE_UNAVAILABLE',
  })
  directory.set(LOGGING, entryOf('messages-1'))
  assert.equal((await within(facade.storePage('messages-1', { limit: 9 }), 1000)).length, 1, 'waited for')
})

test('dead letters of all messages actors are listed, shown, replayed and purged', async () => {
  let broken = true
  const { facade, postBatch, clock } = await open({
    handler: () => {
      if (broken) throw new Error('no')
    },
  })
  const ids: string[] = []
  for (const text of ['a', 'b', 'c', 'd']) ids.push(...idsOf(await postBatch([text])))
  await clock.advance(60_000)
  assert.deepEqual(idsOf(await facade.dead({ limit: 9 })), ids)
  assert.deepEqual(idsOf(await facade.dead({ after: ids[0]!, limit: 2 })), ids.slice(1, 3))
  for (const id of ids) assert.equal((await facade.deadOne(id))?.id, id)
  assert.equal(await facade.deadOne(`${ids[3]!.slice(0, -2)}0Z`), undefined)
  broken = false
  assert.equal(await facade.replay(ids[1]!), true)
  assert.equal(await facade.purge(ids[2]!), true)
  assert.equal(await facade.purge(ids[2]!), false)
  await clock.advance(600)
  assert.deepEqual(idsOf(await facade.dead({ limit: 9 })), [ids[0], ids[3]])
  assert.equal((await facade.find(ids[1]!))!.state, 'delivered')
})

/** A system in which each of these texts is a dead letter; from now on its handler succeeds. */
async function openWithDead(texts: readonly string[], messages = 2, errorOf = (_text: string) => 'no') {
  let broken = true
  const handled: string[] = []
  const system = await open({
    messages,
    handler: ({ id, text }) => {
      if (broken) throw new Error(errorOf(text!))
      handled.push(id)
    },
  })
  const ids: string[] = []
  for (const text of texts) ids.push(...idsOf(await system.postBatch([text])))
  await system.clock.advance(60_000)
  broken = false
  return { ...system, ids, handled }
}

test('dead letters are replayed and purged in bulk, page by page, those that are meant', async () => {
  const texts = Array.from({ length: 12 }, (_, index) =>
    storedText({ source: index % 3 === 0 ? 'github' : 'form', text: `${index}` }),
  )
  const { facade, clock, ids, handled } = await openWithDead(texts)
  const first = await facade.changeDead('replay', { limit: 5, source: 'github' })
  assert.deepEqual(first, { checked: 5, changed: 2, last: ids[4] })
  const rest = await facade.changeDead('replay', { after: first.last!, limit: 9, source: 'github' })
  assert.deepEqual(rest, { checked: 7, changed: 2, last: null })
  await clock.advance(600)
  assert.deepEqual(
    handled.toSorted(),
    ids.filter((_, index) => index % 3 === 0),
  )
  const none = await facade.changeDead('purge', { limit: 1000, reason: 'outage' })
  assert.deepEqual(none, { checked: 8, changed: 0, last: null })
  const all = await facade.changeDead('purge', { limit: 1000, reason: 'The handler failed' })
  assert.deepEqual(all, { checked: 8, changed: 8, last: null })
  assert.deepEqual(await facade.dead({ limit: 9 }), [])
})

test('dead letters of all lanes are counted by group; a long count answers with what it has, and goes on', async () => {
  const { facade, store, clock, within, ids } = await openWithDead([...'abcdefgh'])
  const { groups, ...counts } = await facade.deadGroups({ lane: 0 })
  assert.deepEqual(counts, { counted: 8, others: 0, next: null })
  assert.deepEqual(
    groups.map(({ error, count, example }) => [error, count, ids.includes(example)]),
    [['Error: no', 8, true]],
  )
  store.before = (call) => (call === 'groupDead' ? clock.sleep(BULK_SLICE_MS / 2 + 1) : undefined)
  let [counted, calls] = [0, 0]
  for (let next: { lane: number; after?: string } | null = { lane: 0 }; next !== null; calls++) {
    const part: Awaited<ReturnType<typeof facade.deadGroups>> = await within(facade.deadGroups(next), 60_000)
    counted += part.counted
    next = part.next
  }
  assert.equal(counted, 8)
  assert.ok(calls > 1)
})

test('of more groups than are shown the largest are, and the letters of the rest are counted', async () => {
  const count = DEAD_GROUPS_MAX + 20
  const texts = Array.from({ length: count }, (_, index) => `${index}`)
  const { facade } = await openWithDead([...texts, '0', '1'], 1, (text) =>
    String.fromCodePoint(0x4e00 + Number(text)),
  )
  const { groups, counted, others } = await facade.deadGroups({ lane: 0 })
  assert.deepEqual([groups.length, counted, others], [DEAD_GROUPS_MAX, count + 2, 20])
  assert.deepEqual(
    groups.slice(0, 3).map(({ count }) => count),
    [2, 2, 1],
  )
})

test('a bulk change passes over no lane that nobody answers for: it fails, and changes nothing', async () => {
  const { facade, live, members, ids } = await openWithDead(['a', 'b', 'c', 'd'])
  const unavailable = { code: 'MR_STORE_UNAVAILABLE', outcome: 'none' }
  // The facade hears first that messages-2 is to go: messages-1 does not have its lanes yet.
  const { actor } = members[0]!
  const { sift } = actor
  actor.sift = async (...args) => {
    const page = await sift.apply(actor, args)
    const lanes = page.lanes.slice(1)
    return { lanes, letters: page.letters.filter(({ lane }) => lanes.includes(lane)) }
  }
  await assert.rejects(facade.changeDead('replay', { limit: 9 }), unavailable)
  assert.deepEqual(idsOf(await facade.dead({ limit: 9 })), ids)
  actor.sift = sift
  await live()
  await assert.rejects(facade.changeDead('purge', { limit: 9 }), unavailable)
})

test('when a lane moves under a bulk replay, what was replayed is counted and the rest is asked for again', async () => {
  const { facade, clock, members, ids, handled } = await openWithDead(['a', 'b', 'c', 'd'])
  const { actor } = members[0]!
  const { replayMany } = actor
  let refusals = 0
  actor.replayMany = async (lane, some) => {
    if (refusals++ > 0) return replayMany.call(actor, lane, some)
    throw new MailroomError('MR_LANE_ELSEWHERE', { lane, name: 'messages-1' })
  }
  const part = await facade.changeDead('replay', { limit: 1000 })
  assert.ok(part.changed > 0 && part.changed < 4)
  assert.deepEqual([part.checked, part.last], [part.changed, MIN_ID])
  const rest = await facade.changeDead('replay', { after: part.last!, limit: 1000 })
  assert.deepEqual([part.changed + rest.changed, rest.last], [4, null])
  await clock.advance(600)
  assert.deepEqual(handled.toSorted(), ids)
})

test('a long bulk replay answers after its slice of time with what it has done', async () => {
  const { facade, store, clock, within } = await openWithDead(
    Array.from({ length: 700 }, (_, index) => `${index}`),
    1,
  )
  store.before = (call) => (call === 'replay' ? clock.sleep(BULK_SLICE_MS / 3 + 30) : undefined)
  const { checked, changed, last } = await within(
    facade.changeDead('replay', { limit: 1000 }),
    BULK_SLICE_MS + 900,
  )
  assert.deepEqual([checked, changed], [600, 600])
  store.before = () => {}
  const rest = await facade.changeDead('replay', { after: last!, limit: 1000 })
  assert.deepEqual(rest, { checked: 100, changed: 100, last: null })
})

test('every part of the dead letters is bounded in bytes, large ones behind small ones, too', async () => {
  const { facade, postBatch, clock } = await open({
    handler: () => {
      throw new Error('no')
    },
  })
  const texts = [...Array<string>(150).fill('small'), ...Array<string>(200).fill('x'.repeat(65_536))]
  for (let from = 0; from < texts.length; from += 15) await postBatch(texts.slice(from, from + 15))
  await clock.advance(120_000)
  const seen: string[] = []
  for (;;) {
    const part = await facade.dead({ ...(seen.length > 0 && { after: seen.at(-1)! }), limit: 1000 })
    if (part.length === 0) break
    const bytes = part.reduce((sum, { text }) => sum + text.length, 0)
    assert.ok(bytes < 100 * 65_536, `${bytes} bytes`)
    seen.push(...idsOf(part))
  }
  assert.deepEqual([seen.length, seen], [texts.length, seen.toSorted()])
})

test('while a messages actor is unreachable, dead letters are not reported as absent, and a replay that succeeded is reported', async () => {
  const { facade, postBatch, clock, peers } = await open({
    handler: () => {
      throw new Error('no')
    },
  })
  const [id] = idsOf(await postBatch(['a']))
  await clock.advance(60_000)
  const away: Partial<Messages> = {
    dead: () => Promise.reject(lost('messages-2', 'none')),
    replay: () => Promise.reject(lost('messages-2', 'none')),
    purge: () => Promise.reject(lost('messages-2', 'none')),
  }
  peers.actors.set('messages-2', away)
  await assert.rejects(facade.dead({ limit: 9 }), { code: 'MR_PEER_LOST' })
  await assert.rejects(facade.replay(MIN_ID), { code: 'MR_PEER_LOST' })
  assert.equal(await facade.replay(id!), true)
  await clock.advance(60_000)
  assert.equal(await facade.purge(id!), true)
})

test('losses() are those that nobody has confirmed, whichever actor knows of it; confirmed, they are gone at once', async () => {
  const { facade, directory, store, peers, within } = await open()
  const loss = { kind: 'empty', lastSeenAt: 0, noticedAt: 60_000, count: 2, isConfirmed: false } as const
  const ofLog = { ...loss, store: 'log', epoch: 'l' } as const
  const ofQueue = { ...loss, store: 'queue', epoch: 'q', count: 1 } as const
  const report = (of: 'log' | 'queue', ...losses: Loss[]): ClusterReport => ({
    seen: { store: of, epoch: 'now', name: of, lastSeenAt: 0, count: 0 },
    losses,
  })
  const reported = (...clusters: ClusterReport[]) =>
    directory.set(
      entryOf('logging-1', { clusters: [report('log', ofLog)] }),
      entryOf('messages-1', { clusters }),
      entryOf('messages-2', { clusters: [report('queue', ofQueue)] }),
    )
  reported(report('queue', { ...ofQueue, isConfirmed: true }))
  assert.deepEqual(facade.losses(), [ofLog])
  reported(report('queue'))
  assert.deepEqual(facade.losses(), [ofLog, ofQueue])
  const [first, second] = facade.damaged()
  assert.match(
    first!,
    /^the log's .* came back empty, noticed at 1970-01-01T00:01Z: .* about 2 messages at 1970/,
  )
  assert.match(second!, /^the queue's .* about 1 message at .*mailroom redrive.*mailroom loss --confirm/)

  const confirmed: Loss[] = []
  const logging = {
    confirmLosses: async () => Promise.reject(lost('logging-1', 'none')),
    page: async () => [],
  }
  peers.actors.set('logging-1', logging)
  store.confirmLosses = async (losses) => void confirmed.push(...losses)
  await assert.rejects(within(facade.confirmLosses(), LOG_READ_DEADLINE_MS + 1000), { code: 'MR_PEER_LOST' })
  assert.deepEqual([confirmed, facade.losses()], [[ofQueue], [ofLog]], 'the other is confirmed')
})

test('missing() names what keeps posts from being taken, degraded() what does not', async () => {
  const { facade, directory, clock, post } = await open()
  const lanes = (...numbers: number[]) => ({ lanes: Object.fromEntries(numbers.map((lane) => [lane, 0])) })
  const held = [entryOf('messages-1', lanes(0, 2)), entryOf('messages-2', lanes(1))]
  directory.set(LOGGING, ...held)
  assert.deepEqual([facade.missing(), facade.degraded()], [[], ['holders of 1 lanes: messages in them wait']])
  directory.set(LOGGING, held[0]!, entryOf('messages-2', lanes(1, 3)))
  assert.deepEqual([facade.missing(), facade.degraded()], [[], []])
  const full = entryOf('messages-1', {
    ...{ missing: ['room on the disk'], damaged: ['log-1.1.db'] },
    ...lanes(0, 1, 2, 3),
  })
  const away = entryOf('logging-2', { missing: ['its cluster: not connected'], damaged: ['log-1.1.db'] })
  directory.set(LOGGING, away, entryOf('logging-3', { state: 'restarting' }), full)
  const others = ['logging-2: its cluster: not connected', 'logging-3: restarting']
  assert.deepEqual([facade.missing(), facade.degraded()], [[], [...others, 'messages-1: room on the disk']])
  await post('taken')
  const outage = { target: 'the handler', since: 60_000, why: 'refused', nextProbeAt: 70_000 }
  const later = { ...outage, since: 61_000, why: 'a time-out', nextProbeAt: 69_000 }
  directory.set(
    LOGGING,
    entryOf('messages-1', { outage: later, ...lanes(0, 2) }),
    entryOf('messages-2', { outage, ...lanes(1, 3) }),
  )
  const told = 'an outage of the handler since 1970-01-01T00:01:00.000Z: messages wait'
  const next = ', the next probe is at 1970-01-01T00:01:09.000Z'
  assert.deepEqual([facade.missing(), facade.degraded()], [[], [told + next]])
  const paused = { ...outage, nextProbeAt: null }
  directory.set(LOGGING, entryOf('messages-1', { outage: paused, ...lanes(0, 1, 2, 3) }))
  assert.deepEqual(facade.degraded(), [told])
  directory.set(entryOf('logging-1', { state: 'failed' }), away)
  const missing = ['logging-1: it keeps crashing', 'logging-2: its cluster: not connected']
  assert.deepEqual(
    [facade.missing(), facade.degraded()],
    [
      ['a ready logging actor', ...missing],
      ['a ready messages actor'], // The lanes may be on their way.
    ],
  )
  await clock.advance(1001)
  assert.ok(facade.degraded().includes('holders of 4 lanes: messages in them wait'))
  assert.deepEqual(facade.damaged(), ['log-1.1.db'])
  clock.off = ['the clock is off']
  directory.set(
    entryOf('facade-2', { state: 'restarting', missing: ['its process could not be started: EAGAIN'] }),
    entryOf('facade-3', { missing: ['a ready logging actor'] }),
  )
  assert.deepEqual(facade.warnings(), [
    'the clock is off',
    'facade-2: its process could not be started: EAGAIN',
  ])
  clock.off = []
  const seen = { store: 'log', epoch: 'e', name: 'logging', lastSeenAt: 0, count: 0 } as const
  const clusters = [{ seen, losses: [] }]
  const journal = {
    ...{ id: 'a', beganAt: null, beganIn: {}, wholeIn: null, putBackIn: null, since: null },
    ...{ done: 0, total: 0, absent: [] },
  }
  directory.set(
    entryOf('logging-1', { clusters, journal }),
    entryOf('facade-2', { clusters }),
    entryOf('messages-1', { clusters, state: 'starting' }),
  )
  assert.deepEqual(facade.warnings(), [])
  directory.set(entryOf('logging-1', { clusters }), entryOf('logging-2', { clusters }))
  assert.match(facade.warnings().join(), /^no journal on \S+ \(--journal off\): .* loses what it held$/)
  facade.announceDrain()
  assert.ok(facade.missing().includes('this node is draining'))
})

test('ready means taken: what is missing refuses a post before anything is written', async () => {
  const { facade, directory, store, post, postBatch, within } = await open()
  let written = 0
  store.before = (call) => {
    if (call === 'append') written++
  }
  const away = (number: number) => entryOf(`logging-${number}`, { missing: ['its cluster: not connected'] })
  for (const actors of [[], [away(1), away(2)], [entryOf('logging-1', { state: 'failed' }), away(2)]]) {
    directory.set(...actors)
    assert.ok(facade.missing().length > 0)
    const key = { value: 'key', hash: 'h' }
    for (const send of [() => post('a'), () => postBatch(['b']), () => postBatch(['c'], key)]) {
      const refusal = { code: 'MR_STORE_UNAVAILABLE', outcome: 'none', details: { store: 'log' } }
      await assert.rejects(within<unknown>(send(), 0), (error: MailroomError<'MR_STORE_UNAVAILABLE'>) => {
        const { code, outcome, details } = error
        assert.deepEqual({ code, outcome, details: { store: details.store } }, refusal)
        return true
      })
    }
  }
  // One that starts may be ready in time.
  directory.set(away(1), entryOf('logging-2', { state: 'restarting', address: null }))
  await assert.rejects(within(post('late'), POST_DEADLINE_MS), {
    code: 'MR_STORE_UNAVAILABLE',
    outcome: 'none',
  })
  assert.equal(written, 0)
  const waits = post('waits')
  await within(Promise.resolve(), 1000)
  directory.set(LOGGING)
  assert.equal((await within(waits, 1000)).replayed, false)
})

test('logging actors that do not answer: unready after one call, posts refused with none, ready once they answer', async () => {
  const { facade, directory, peers, clock, post, within } = await open()
  const logging = peers.actors.get('logging-1')!
  directory.set(LOGGING, entryOf('logging-2'))
  peers.actors.delete('logging-1') // Nothing listens at either.
  const first = within(post('first'), POST_DEADLINE_MS)
  await assert.rejects(first, { code: 'MR_PEER_LOST' })
  assert.deepEqual(facade.missing(), [
    'a ready logging actor',
    'logging-1: it did not answer its last call',
    'logging-2: it did not answer its last call',
  ])
  const refusal = { code: 'MR_STORE_UNAVAILABLE', outcome: 'none' }
  await assert.rejects(within(post('second'), POST_DEADLINE_MS), refusal)
  peers.actors.set('logging-1', logging)
  await clock.advance(1000)
  assert.deepEqual(facade.missing(), [])
  assert.ok(facade.degraded().includes('logging-2: it did not answer its last call'))
  assert.equal((await post('third')).replayed, false)
})

test('while the clock has not been set nothing is accepted, and the clock is missing', async () => {
  const { facade, clock, post, postBatch } = await open()
  const facts = { wallClock: '1970-01-01T00:00:00.000Z', from: '2026-01-01', to: '2046-01-01' }
  clock.wrong = new MailroomError('MR_CLOCK_WRONG', facts)
  assert.ok(facade.missing().includes(clock.wrong.message))
  const refusal = { code: 'MR_CLOCK_WRONG', outcome: 'none' }
  await Promise.all([assert.rejects(post('a'), refusal), assert.rejects(postBatch(['b']), refusal)])
  clock.wrong = undefined
  assert.equal((await post('c')).replayed, false)
})

test('there are at most as many messages actors as lanes', async () => {
  const { facade } = await open()
  await assert.rejects(facade.scale('messages', 5), { code: 'MR_SCALE_REFUSED', outcome: 'none' })
  assert.equal(await facade.scale('messages', 4), facade.actors())
  assert.equal(await facade.scale('logging', 5), facade.actors())
})

test('a drain answers what was admitted and refuses the rest', async () => {
  const { facade, post, postBatch, store } = await open()
  const gate = Promise.withResolvers<void>()
  store.before = () => gate.promise
  const admitted = [post('a'), postBatch(['b'])] as const
  await settle()
  const drained = facade.drain()
  await assert.rejects(post('c'), { code: 'MR_DRAINING', outcome: 'none' })
  await assert.rejects(postBatch(['d']), { code: 'MR_DRAINING', outcome: 'none' })
  gate.resolve()
  await drained
  await Promise.all(admitted)
  assert.equal(store.log.size, 2)
})

/** Every lane loses its messages, when all are old enough to be redriven. */
async function loseAll({ clock, store }: Awaited<ReturnType<typeof open>>): Promise<void> {
  await clock.advance(REDRIVE_AGE_MS + 1)
  for (const lane of store.lanes.keys()) store.forget(lane)
}

test('a redrive makes messages that the queue lost pending again, each in its lane; each is delivered once', async () => {
  const system = await open()
  const { facade, post, store, clock } = system
  const texts = [...'abcdefg']
  for (const text of texts) {
    await post(text)
    await settle()
  }
  const ids = idsOf(await facade.logPage({ after: MIN_ID, limit: 9 }))
  await loseAll(system)
  assert.deepEqual(await facade.redrive({ limit: 3 }), { checked: 3, redriven: 3, last: ids[2] })
  const rest = await facade.redrive({ after: ids[2]!, limit: 1000 })
  assert.deepEqual(rest, { checked: 4, redriven: 4, last: null })
  await clock.advance(600)
  const delivered = store.lanes.flatMap((lane) => [...lane.delivered.keys()])
  assert.deepEqual(delivered.sort(), ids)
  assert.ok(
    store.lanes.every((lane, number) =>
      [...lane.delivered.keys()].every((id) => store.log.get(id)!.lane === number),
    ),
  )
  assert.deepEqual(await facade.redrive({ limit: 1000 }), { checked: 7, redriven: 0, last: null })
})

test('a redrive that fails is an error, and skips nothing', async () => {
  const system = await open({ messages: 1 })
  const { facade, post, store, directory } = system
  await post('a')
  await settle()
  await loseAll(system)
  store.before = (call) => {
    if (call === 'redrive') throw lost('messages-1', 'unknown')
  }
  await assert.rejects(facade.redrive({ limit: 9 }), { code: 'MR_PEER_LOST' })
  directory.set(LOGGING)
  await assert.rejects(facade.redrive({ limit: 9 }), { code: 'MR_STORE_UNAVAILABLE' })
  directory.set(LOGGING, entryOf('messages-1'))
  store.before = () => {}
  await settle() // It takes its lanes again.
  assert.deepEqual(await facade.redrive({ limit: 9 }), { checked: 1, redriven: 1, last: null })
})

test('a lane without a holder rejects the redrive and nothing else, whatever the other lanes answer', async () => {
  const system = await open()
  const { facade, post, store, directory } = system
  for (const text of [...'abcd']) {
    await post(text)
    await settle()
  }
  await loseAll(system)
  store.before = (call) => {
    if (call === 'redrive') throw lost('a messages actor', 'unknown')
  }
  for (const [ready, away] of [
    ['messages-1', 'messages-2'],
    ['messages-2', 'messages-1'],
  ] as const) {
    directory.set(LOGGING, entryOf(ready), entryOf(away, { state: 'restarting' }))
    await assert.rejects(facade.redrive({ limit: 9 }), { retryable: true })
    await settle() // A rejection that nobody waits for would fail this test.
  }
})

test('a long redrive answers after its slice of time with what it has done', async () => {
  const system = await open({ messages: 1 })
  const { facade, postBatch, store, clock, within } = system
  await postBatch(Array<string>(100).fill('x'.repeat(65_536)))
  await settle()
  await loseAll(system)
  store.before = (call) => (call === 'redrive' ? clock.sleep(BULK_SLICE_MS / 3 + 30) : undefined)
  const { checked, redriven, last } = await within(facade.redrive({ limit: 1000 }), BULK_SLICE_MS + 900)
  assert.ok(checked > 0 && checked < 100 && redriven === checked)
  store.before = () => {}
  const rest = await facade.redrive({ after: last!, limit: 1000 })
  assert.deepEqual([checked + rest.checked, rest.last], [100, null])
})
