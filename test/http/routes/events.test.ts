/** Readers of `GET /events` in front of a facade in memory. */
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { Topic } from '../../../src/actors/protocol.ts'
import { cursorText, EVENT_READERS_MAX, parseCursor } from '../../../src/http/events.ts'
import {
  CURSOR_DELAY_MS,
  EVENTS_COMMENT_MS,
  READ_STALL_MS,
  STREAM_DRAIN_CHECK_MS,
} from '../../../src/runtime/timings.ts'
import { settle } from '../../support/fake-clock.ts'
import { type Api, type Raw, RETENTION_MS, startApi, until } from '../../support/public-api.ts'

/** A reader: what it hears, without the chunks of HTTP. */
async function read(api: Api, query = '', headers = ''): Promise<Raw> {
  const raw = await api.raw()
  raw.say(`GET /events${query} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`)
  await until(() => raw.heard.includes('\r\n\r\n'))
  return raw
}

const bodyOf = ({ heard }: Raw) => {
  let rest = heard.slice(heard.indexOf('\r\n\r\n') + 4)
  let body = ''
  for (;;) {
    const [, size] = /^([0-9a-f]+)\r\n/.exec(rest) ?? []
    if (size === undefined) return body
    const begin = size.length + 2
    body += rest.slice(begin, begin + Number.parseInt(size, 16))
    rest = rest.slice(begin + Number.parseInt(size, 16) + 2)
  }
}

const eventsOf = (raw: Raw) =>
  bodyOf(raw)
    .split('\n\n')
    .slice(0, -1)
    .filter((frame) => frame.includes('data: '))
    .map((frame) => ({
      id: /^id: (.*)$/m.exec(frame)?.[1],
      event: /^event: (.*)$/m.exec(frame)?.[1],
      data: JSON.parse(/^data: (.*)$/m.exec(frame)![1]!),
    }))

const cursorAgo = ({ clock }: Api, ms: number) =>
  cursorText({ logged: clock.now() - ms, settled: clock.now() - ms })

async function open(context: TestContext, options = {}) {
  const api = await startApi(context, options)
  // Before the server is stopped, which waits for its readers.
  context.after(() => api.client.destroy())
  return api
}

test('a reader is sent a cursor at once, then events with cursors, each on lines of its own whatever a text is', async (context) => {
  const api = await open(context)
  const raw = await read(api)
  await until(() => bodyOf(raw).endsWith('\n\n'))
  assert.match(raw.heard, /^HTTP\/1\.1 200 /)
  for (const header of [
    'Content-Type: text/event-stream',
    'Cache-Control: no-store',
    'X-Accel-Buffering: no',
  ])
    assert.ok(raw.heard.includes(`${header}\r\n`), header)
  assert.equal(bodyOf(raw), `retry: 1000\nid: ${cursorAgo(api, CURSOR_DELAY_MS)}\n\n`)
  const text = 'a\n\ndata: b\r\n\rid: x\u2028\u0000'
  api.facade.happen('logged', [{ id: 'one', text }, { id: 'two' }])
  api.facade.happen('actor', [{ name: 'facade-1' }, { name: 'facade-2' }])
  await until(() => eventsOf(raw).length === 3)
  const id = cursorAgo(api, CURSOR_DELAY_MS)
  assert.deepEqual(
    eventsOf(raw).map(({ event, data }) => [event, data]),
    [
      ['logged', [{ id: 'one', text: Buffer.from(text).toString('latin1') }, { id: 'two' }]],
      ['actor', { name: 'facade-1' }],
      ['actor', { name: 'facade-2' }],
    ],
  )
  for (const event of eventsOf(raw)) assert.equal(event.id, id)
  assert.equal(bodyOf(raw).split('\n\n').length, 5, 'no line feed but ours')
  raw.socket.destroy()
  await until(() => api.facade.followers.size === 0)
})

test('`only` chooses; it and the cursor are refused by name', async (context) => {
  const api = await open(context)
  const raw = await read(api, '?only=dead,actor')
  await until(() => api.facade.followers.size === 1)
  assert.deepEqual([...[...api.facade.followers][0]!.topics], ['dead', 'actor'])
  raw.socket.destroy()
  for (const [query, detail] of [
    ['?only=logged,loged', /"only".*logged, delivered, dead, actor.*got "loged"/],
    ['?only=', /"only".*got ""/],
    ['?only=gap', /got "gap"/],
    ['?after=x', /"after" to be a cursor.*got "x"/],
    ['?after=1-0', /"after"/],
    ['?after=1-zzzzzzzzzz-0', /"after"/],
    ['?onyl=logged', /"onyl"/],
  ] as const) {
    const { status, json } = await api.ask('GET', `/events${query}`)
    assert.equal(status, 400, query)
    assert.match(json.detail, detail)
  }
  const bad = await api.ask('GET', '/events', { headers: { 'last-event-id': 'x' } })
  assert.match(bad.json.detail, /the header Last-Event-ID to be a cursor.*got "x"/)
  const { status, text } = await api.ask('HEAD', '/events')
  assert.deepEqual([status, text], [200, ''])
})

test('a cursor is given back as it was; the header goes before the query; none is ahead of now', async (context) => {
  const api = await open(context)
  const { clock, facade } = api
  const cursor = { logged: clock.now() - 60_000, settled: clock.now() - 50_000 }
  assert.deepEqual(parseCursor(cursorText(cursor)), cursor)
  const froms = async (query: string, headers: string) => {
    const raw = await read(api, query, headers)
    await until(() => facade.followers.size === 1)
    const [{ from }] = facade.followers as unknown as [{ from: object }]
    const [, first] = /^id: (.*)$/m.exec(bodyOf(raw))!
    assert.deepEqual(parseCursor(first!), from)
    raw.socket.destroy()
    await until(() => facade.followers.size === 0)
    return from
  }
  const older = cursorText({ logged: 1, settled: 1 })
  assert.deepEqual(await froms(`?after=${cursorText(cursor)}`, ''), cursor)
  assert.deepEqual(await froms(`?after=${older}`, `Last-Event-ID: ${cursorText(cursor)}\r\n`), cursor)
  assert.deepEqual(await froms(`?after=${cursorText(cursor)}`, 'Last-Event-ID: \r\n'), cursor)
  const ahead = cursorText({ logged: clock.now() + 99_000, settled: clock.now() })
  const now = clock.now() - CURSOR_DELAY_MS
  assert.deepEqual(await froms(`?after=${ahead}`, ''), { logged: now, settled: now })
})

test('a cursor that is older than the retention: first a gap, with the oldest message there is', async (context) => {
  const api = await open(context)
  const { clock, facade } = api
  await facade.post('oldest', 0)
  const oldest = facade.messages[0]!.id
  const raw = await read(api, `?only=logged&after=${cursorAgo(api, RETENTION_MS + 1)}`)
  facade.happen('logged', [{ id: 'x' }])
  await until(() => eventsOf(raw).length === 2)
  const [gap, logged] = eventsOf(raw)
  assert.equal(gap!.event, 'gap')
  assert.deepEqual([gap!.data.code, gap!.data.oldest], ['MR_CURSOR_EXPIRED', oldest])
  assert.equal(logged!.event, 'logged')
  const [{ from }] = facade.followers as unknown as [{ from: { logged: number } }]
  assert.equal(from.logged, clock.now() - RETENTION_MS)
  raw.socket.destroy()
})

test('a quiet stream gets a comment with the cursor of now, which is no event', async (context) => {
  const api = await open(context)
  const raw = await read(api, '?only=logged')
  await until(() => api.facade.followers.size === 1)
  const [follower] = api.facade.followers as unknown as [{ cursor: object }]
  follower.cursor = { logged: 36, settled: 37 }
  await api.clock.advance(EVENTS_COMMENT_MS)
  await until(() => bodyOf(raw).endsWith(':\nid: 1-10-11\n\n'))
  raw.socket.destroy()
})

test('what a reader is given of the past waits until it has taken it', async (context) => {
  const api = await open(context)
  const raw = await read(api, '?only=logged')
  await until(() => api.facade.followers.size === 1)
  const [{ sink }] = [...api.facade.followers] as [
    typeof api.facade.followers extends Set<infer F> ? F : never,
  ]
  const large = Array.from({ length: 40 }, () => ({ text: 'x'.repeat(60_000) }))
  raw.socket.pause()
  // Two at once, as the log and the lanes are read apart.
  const small = { topic: 'logged' as const, items: [{ id: 'small' }] }
  await Promise.all([sink.past(small), sink.past({ ...small })])
  let isTaken = false
  let pieces = 0
  // Until the kernel's buffers are full, each is taken at once.
  const give = async () => {
    for (const item of large) {
      await sink.past({ topic: 'logged', items: [item, item, item] })
      pieces++
    }
    isTaken = true
  }
  const giving = Promise.all([give(), give()])
  let before = -1
  await until(() => {
    const isStill = before === pieces
    before = pieces
    return isStill && pieces > 0
  })
  for (let turn = 0; turn < 20; turn++) await settle()
  assert.equal(isTaken, false)
  raw.socket.resume()
  await giving
  await until(() => eventsOf(raw).flatMap(({ data }) => data).length === 242)
  raw.socket.destroy()
})

test('a reader that is 256 KiB behind is cut with `lagged` and the cursor of what it has; others are not', async (context) => {
  const api = await open(context)
  const { facade, clock } = api
  const slow = await read(api, '?only=logged')
  const quick = await read(api, '?only=logged')
  await until(() => facade.followers.size === 2)
  slow.socket.pause()
  let number = 0
  while (facade.followers.size === 2) {
    assert.ok(number < 2000, 'it is never cut')
    await clock.advance(100)
    for (const follower of facade.followers) follower.cursor = { logged: ++number, settled: number }
    facade.happen('logged', [{ number, text: 'x'.repeat(100_000) }])
    await until(() => quick.socket.isPaused() || eventsOf(quick).length >= number / 2)
  }
  assert.ok(number > 2)
  slow.socket.resume()
  await until(() => eventsOf(slow).at(-1)?.event === 'lagged')
  const events = eventsOf(slow)
  const last = events.at(-1)!
  assert.equal(last.event, 'lagged')
  assert.equal(last.data.cursor, last.id)
  const had = events.at(-2)!
  assert.equal(had.id, last.id, 'the cursor of the last that it has')
  assert.ok(events.length < eventsOf(quick).length)
  quick.socket.destroy()
})

test('much that happens at once cuts nobody who reads', async (context) => {
  const api = await open(context)
  const raw = await read(api, '?only=logged')
  await until(() => api.facade.followers.size === 1)
  const items = Array.from({ length: 50 }, (_, number) => ({ number, text: 'x'.repeat(20_000) }))
  api.facade.happen('logged', items)
  await until(() => eventsOf(raw).flatMap(({ data }) => data).length === 50)
  assert.equal(api.facade.followers.size, 1)
  raw.socket.destroy()
})

test('a reader that was cut and takes nothing at all is disconnected', async (context) => {
  const api = await open(context)
  const { facade, clock } = api
  const slow = await read(api, '?only=logged')
  await until(() => facade.followers.size === 1)
  slow.socket.pause()
  for (let turn = 0; facade.followers.size === 1; turn++) {
    facade.happen('logged', [{ text: 'x'.repeat(500_000) }])
    await settle()
    assert.ok(turn < 200)
  }
  assert.equal(api.server.connectionCount(), 1)
  await clock.advance(READ_STALL_MS)
  await until(() => api.server.connectionCount() === 0)
})

test('a drain says bye, and ends the answer', async (context) => {
  const api = await open(context)
  const raw = await read(api)
  await until(() => api.facade.followers.size === 1)
  api.facade.draining = true
  await api.clock.advance(STREAM_DRAIN_CHECK_MS)
  await until(() => eventsOf(raw).length === 1)
  const [bye] = eventsOf(raw)
  assert.deepEqual([bye!.event, bye!.data], ['bye', { reason: 'draining', cursor: bye!.id }])
  assert.equal(api.facade.followers.size, 0)
  const { status, json, headers } = await api.ask('GET', '/events')
  assert.deepEqual([status, json.code], [503, 'MR_DRAINING'])
  assert.match(String(headers['retry-after']), /^[123]$/)
})

for (const [topic, other] of [
  ['actor', 'stats'],
  ['stats', 'actor'],
]) {
  test(`so many readers of ${topic} at most; one more is refused, until one leaves; of ${other} there is room`, async (context) => {
    const api = await open(context)
    const readers: Raw[] = []
    for (let count = 0; count < EVENT_READERS_MAX; count += 100) {
      readers.push(...(await Promise.all(Array.from({ length: 100 }, () => read(api, `?only=${topic}`)))))
    }
    const { status, json, headers } = await api.ask('GET', `/events?only=${topic}`)
    assert.deepEqual([status, json.code, json.outcome], [503, 'MR_READERS_FULL', 'none'])
    assert.match(String(headers['retry-after']), /^[123]$/)
    assert.equal((await api.ask('GET', '/log')).status, 200, 'other reads are served')
    const served = await read(api, `?only=${other}`)
    assert.equal(api.facade.followers.size, EVENT_READERS_MAX + 1)
    readers[0]!.socket.destroy()
    await until(() => api.facade.followers.size === EVENT_READERS_MAX)
    const late = await read(api, `?only=${topic}`)
    api.facade.happen(topic as Topic, [{ name: 'a' }])
    for (const reader of [...readers.slice(1), late]) {
      await until(() => eventsOf(reader).length === 1)
      reader.socket.destroy()
    }
    served.socket.destroy()
  })
}

test('an answer has chunks: who is slow can tell its end from a connection that broke', async (context) => {
  const api = await open(context)
  const reader = await read(api, '?only=stats')
  assert.match(reader.heard, /^transfer-encoding: chunked\r$/im)
  reader.socket.destroy()
})

test('a reader that leaves before its answer begins leaves nothing behind', async (context) => {
  const api = await open(context)
  const { promise, resolve } = Promise.withResolvers<void>()
  api.facade.followReady = promise
  const raw = await api.raw()
  raw.say('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await until(() => api.facade.followers.size === 1)
  api.facade.happen('logged', [{ id: 'x' }])
  raw.socket.destroy()
  await until(() => api.facade.followers.size === 0)
  resolve()
  await settle()
  assert.equal((await api.ask('GET', '/livez')).status, 200)
})
