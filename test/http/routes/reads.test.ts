/** What reads messages: the two lists, the log, a store, one message. */
import assert from 'node:assert/strict'
import test from 'node:test'
import naughty from 'big-list-of-naughty-strings' with { type: 'json' }
import { MailroomError } from '../../../src/runtime/errors.ts'
import { CURSOR_DELAY_MS, READ_STALL_MS } from '../../../src/runtime/timings.ts'
import { atOf, idAt, MIN_ID } from '../../../src/storage/ids.ts'
import { PAGE_MAX_BYTES } from '../../../src/storage/limits.ts'
import { type Api, RETENTION_MS, startApi, until } from '../../support/public-api.ts'

async function fill({ facade }: Api, count: number): Promise<string[]> {
  const texts = Array.from({ length: count }, (_, index) => `"text" ${index}`)
  for (let from = 0; from < count; from += 1000) {
    await facade.postBatch(texts.slice(from, from + 1000), { deadlineAt: 0 })
  }
  return facade.messages.map(({ id }) => id)
}

function shown({ facade }: Api, ids: readonly string[]): object[] {
  const byId = new Map(facade.messages.map((message) => [message.id, message]))
  return ids.map((id) => ({ ...byId.get(id)!, at: atOf(id) }))
}

const idsOf = (items: { id: string }[]) => items.map(({ id }) => id)

test('the two lists come whole and in the order of their keys', async (t) => {
  const api = await startApi(t)
  const ids = await fill(api, 3)
  const { status, json, text, headers } = await api.ask('GET', '/messages')
  assert.equal(status, 200)
  assert.deepEqual(Object.keys(json), ['logged', 'delivered', 'deliveredTo', 'partial'])
  assert.deepEqual(json, {
    logged: shown(api, ids),
    delivered: shown(api, ids),
    deliveredTo: 'messages-1',
    partial: [],
  })
  assert.equal(headers['content-length'], String(Buffer.byteLength(text)))
})

test('the naughtiest strings there are come back byte for byte, by every way to post', async (t) => {
  const { ask } = await startApi(t)
  const texts = (naughty as string[]).filter((text) => text !== '')
  const post = (type: string, body: string) =>
    ask('POST', '/messages', { headers: { 'content-type': type }, body })
  const line = (text: string) => `${JSON.stringify({ text })}\n`
  await post('application/x-ndjson', texts.map(line).join(''))
  await post('application/json', JSON.stringify(texts.map((text) => ({ text }))))
  for (const text of texts) await post('text/plain', text)
  const { json } = await ask('GET', '/messages')
  for (const list of [json.logged, json.delivered]) {
    assert.deepEqual(
      list.map(({ text }: { text: string }) => text),
      [...texts, ...texts, ...texts],
    )
  }
})

test('lists of any length are streamed', async (t) => {
  const api = await startApi(t)
  const ids = await fill(api, 20_000)
  const { json, headers } = await api.ask('GET', '/messages')
  assert.equal(headers['content-length'], undefined)
  assert.deepEqual(idsOf(json.logged), ids)
  assert.deepEqual(idsOf(json.delivered), ids)
})

test('limit takes the newest of each', async (t) => {
  const api = await startApi(t)
  const ids = await fill(api, 5)
  const { json } = await api.ask('GET', '/messages?limit=2')
  assert.deepEqual([idsOf(json.logged), idsOf(json.delivered)], [ids.slice(-2), ids.slice(-2)])
})

for (const half of ['logged', 'delivered'] as const) {
  test(`a ${half} half that ends early is named in partial, and the answer is JSON all the same`, async (t) => {
    const api = await startApi(t)
    await fill(api, 2500)
    api.facade.brokenHalf = half
    const { status, json } = await api.ask('GET', '/messages')
    assert.equal(status, 200)
    assert.deepEqual(json.partial, [half])
    assert.equal(json[half].length, 1000)
    assert.equal(json[half === 'logged' ? 'delivered' : 'logged'].length, 2500)
  })
}

test('a client that reads nothing of the lists for 10 s is disconnected', async (t) => {
  const api = await startApi(t)
  await api.facade.postBatch(Array(1000).fill('x'.repeat(60_000)), { deadlineAt: 0 })
  const raw = await api.raw()
  let closed = false
  raw.socket.on('close', () => {
    closed = true
  })
  raw.socket.pause()
  await api.clock.advance(READ_STALL_MS - 1000)
  raw.say('GET /messages HTTP/1.1\r\nHost: localhost\r\n\r\n')
  for (let turn = 0; turn < 200; turn++) await new Promise((settled) => setImmediate(settled))
  await api.clock.advance(READ_STALL_MS - 1000)
  assert.equal(api.server.connectionCount(), 1)
  await api.clock.advance(2000)
  raw.socket.resume()
  await until(() => closed)
  assert.ok(raw.heard.length < 100_000_000 && !raw.heard.endsWith('0\r\n\r\n'))
})

for (const path of ['/messages', '/messages/ID']) {
  test(`of ${path} a client that takes a large message slowly is not disconnected, one that takes nothing is`, async (t) => {
    const api = await startApi(t, { maxMessageBytes: 25 * 1024 * 1024 })
    const { id } = await api.facade.post('x'.repeat(25 * 1024 * 1024), 0)
    const raw = await api.raw()
    let closed = false
    raw.socket.on('close', () => {
      closed = true
    })
    raw.say(`GET ${path.replace('ID', id)} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    const turns = async () => {
      for (let turn = 0; turn < 100; turn++) await new Promise((settled) => setImmediate(settled))
    }
    let pauseAt = 0
    raw.socket.on('data', () => raw.socket.bytesRead >= pauseAt && raw.socket.pause())
    raw.socket.pause()
    await turns()
    for (let round = 0; round < 3; round++) {
      await api.clock.advance(READ_STALL_MS - 1000)
      pauseAt = raw.socket.bytesRead + 4 * 1024 * 1024
      raw.socket.resume()
      await until(() => raw.socket.isPaused())
      await turns()
    }
    assert.equal(api.server.connectionCount(), 1)
    assert.ok(raw.socket.bytesRead < 25 * 1024 * 1024)
    await api.clock.advance(READ_STALL_MS + 1000)
    pauseAt = Number.POSITIVE_INFINITY
    raw.socket.resume()
    await until(() => closed)
    assert.ok(raw.socket.bytesRead < 25 * 1024 * 1024)
  })
}

test('a message is shown with its state and the actor it was delivered to', async (t) => {
  const api = await startApi(t)
  const [id] = await fill(api, 1)
  const { status, text } = await api.ask('GET', `/messages/${id}`)
  const deliveredAt = new Date(api.clock.now()).toISOString()
  const expected = {
    id,
    text: '"text" 0',
    at: atOf(id!),
    state: 'delivered',
    deliveredTo: 'messages-1',
    deliveredAt,
    heldBy: 'messages-1',
    attempts: 1,
    firstError: null,
    lastError: null,
    nextAttemptAt: null,
    outage: null,
  }
  assert.equal(status, 200)
  assert.equal(text, JSON.stringify(expected))
})

test('a message that waits is shown with its last error, its next attempt, and the outage it waits for', async (t) => {
  const api = await startApi(t)
  const [id] = await fill(api, 1)
  const at = Date.UTC(2026, 0, 2)
  const outage = { target: 'http://127.0.0.1:9/', since: at, why: 'refused', nextProbeAt: at + 2000 }
  const errors = { firstError: 'Error: busy', lastError: 'Error: no' }
  api.facade.isDelivered = false
  api.facade.trouble = { attempts: 2, ...errors, nextAttemptAt: at + 1000, outage }
  const { json } = await api.ask('GET', `/messages/${id}`)
  const { id: _, text: _text, at: _at, ...place } = json
  assert.deepEqual(place, {
    ...{
      state: 'queued',
      deliveredTo: null,
      deliveredAt: null,
      heldBy: 'messages-1',
      attempts: 2,
      ...errors,
    },
    nextAttemptAt: '2026-01-02T00:00:01.000Z',
    outage: { ...outage, since: '2026-01-02T00:00:00.000Z', nextProbeAt: '2026-01-02T00:00:02.000Z' },
  })
})

test('a message that waits while delivery is paused says so; others have no such field', async (t) => {
  const api = await startApi(t)
  const [id] = await fill(api, 1)
  api.facade.isDelivered = false
  const paused = async () => (await api.ask('GET', `/messages/${id}`)).json['paused']
  assert.equal(await paused(), undefined)
  api.facade.trouble = { paused: true }
  assert.equal(await paused(), true)
})

test('an unknown message is 404, an invalid id is 400', async (t) => {
  const { ask } = await startApi(t)
  const unknown = await ask('GET', `/messages/${MIN_ID}`)
  assert.deepEqual([unknown.status, unknown.json.code], [404, 'MR_NOT_FOUND'])
  for (const id of ['1', MIN_ID.slice(1), `${MIN_ID}0`, 'u'.repeat(26), '..%2F..%2Fetc%2Fpasswd', '%ff']) {
    const answer = await ask('GET', `/messages/${id}`)
    assert.deepEqual([answer.status, answer.json.code], [400, 'MR_REQUEST_INVALID'])
  }
})

test('without wait a message is read once', async (t) => {
  const api = await startApi(t)
  const [id] = await fill(api, 1)
  for (const wait of ['', '?wait=0']) await api.ask('GET', `/messages/${id}${wait}`)
  assert.deepEqual(api.facade.waits, [0, 0])
})

test('a long poll waits as long as it was asked to, and shows what it then finds', async (t) => {
  const api = await startApi(t)
  const [id] = await fill(api, 1)
  assert.equal((await api.ask('GET', `/messages/${id}?wait=30`)).json.state, 'delivered')
  api.facade.isDelivered = false
  const { json } = await api.ask('GET', `/messages/${id}?wait=5`)
  assert.deepEqual([json.state, json.deliveredTo, json.deliveredAt], ['queued', null, null])
  assert.deepEqual(api.facade.waits, [30_000, 5000])
  assert.equal(api.facade.goneCount, 0)
})

test('a long poll whose client goes away is over', async (t) => {
  const api = await startApi(t)
  const [id] = await fill(api, 1)
  const { promise, resolve } = Promise.withResolvers<void>()
  api.facade.hold = promise
  const raw = await api.raw()
  raw.say(`GET /messages/${id}?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await until(() => api.facade.waits.length === 1)
  raw.socket.destroy()
  await until(() => api.facade.goneCount === 1)
  resolve()
})

test('however many wait for messages or redeliver them, few texts are read at once', async (t) => {
  const api = await startApi(t, { maxMessageBytes: 10 * 1024 * 1024 })
  const [id] = await fill(api, 1)
  const raws = await Promise.all(Array.from({ length: 60 }, () => api.raw()))
  for (const [index, one] of raws.entries()) {
    const target = index % 2 === 0 ? `GET /messages/${id}?wait=1` : `POST /messages/${id}/redeliver`
    one.say(`${target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n`)
  }
  await until(() => raws.every(({ heard }) => heard.startsWith('HTTP/1.1 200 ')))
  assert.ok(api.facade.mostLooking <= 3, `${api.facade.mostLooking}`)
})

test('at most 1,000 long polls run at once', async (t) => {
  const api = await startApi(t)
  const [id] = await fill(api, 1)
  const { promise, resolve } = Promise.withResolvers<void>()
  api.facade.hold = promise
  const raw = await api.raw()
  // Pipelined on a few connections: a thousand connections are no part of what is tested.
  const raws = await Promise.all(Array.from({ length: 1000 }, () => api.raw()))
  for (const one of raws) one.say(`GET /messages/${id}?wait=1 HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await until(() => api.facade.waits.length === 1000)
  raw.say(`GET /messages/${id}?wait=1 HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await until(() => raw.heard.includes('\r\n\r\n'))
  assert.match(raw.heard, /^HTTP\/1.1 429 /)
  resolve()
  await until(() => raws.every(({ heard }) => heard.startsWith('HTTP/1.1 200 ')))
})

test('the log is paged newest first, each page naming the next', async (t) => {
  const api = await startApi(t)
  const ids = await fill(api, 5)
  const seen: string[] = []
  let next: string | null = '/log?limit=2'
  while (next !== null) {
    const { json } = await api.ask('GET', next)
    assert.deepEqual(json.items, shown(api, idsOf(json.items)))
    seen.push(...idsOf(json.items))
    next = json.next
  }
  assert.deepEqual(seen, ids.toReversed())
})

test('a page holds 100 messages by default, and up to 1,000', async (t) => {
  const api = await startApi(t)
  const ids = await fill(api, 1500)
  assert.deepEqual(idsOf((await api.ask('GET', '/log')).json.items), ids.toReversed().slice(0, 100))
  const { json } = await api.ask('GET', '/log?limit=1000')
  assert.deepEqual(idsOf(json.items), ids.toReversed().slice(0, 1000))
  assert.equal(json.next, `/log?limit=1000&before=${ids[500]}`)
})

test('a page of large texts is read in parts that fit in memory', async (t) => {
  const api = await startApi(t)
  const text = 'x'.repeat(60_000)
  await api.facade.postBatch(Array(300).fill(text), { deadlineAt: 0 })
  const { json } = await api.ask('GET', '/log?limit=300')
  assert.equal(json.items.length, 300)
  const perPart = Math.ceil(PAGE_MAX_BYTES / text.length)
  assert.deepEqual(
    api.facade.pages.map(({ limit }) => limit),
    Array.from({ length: Math.ceil(300 / perPart) }, (_, part) => 300 - part * perPart),
  )
})

test('a page that fails before anything was sent is an error, one that fails later is cut short', async (t) => {
  const api = await startApi(t)
  await fill(api, 500)
  api.facade.goodPages = 0
  const answer = await api.ask('GET', '/log?limit=500')
  assert.deepEqual([answer.status, answer.json.code], [500, 'MR_INTERNAL'])
  await api.facade.postBatch(Array(500).fill('x'.repeat(60_000)), { deadlineAt: 0 })
  api.facade.goodPages = api.facade.pages.length + 1
  await assert.rejects(api.ask('GET', '/log?limit=500'))
})

test('following the log goes oldest first, and no cursor passes what is younger than its delay', async (t) => {
  const api = await startApi(t)
  const [first] = await fill(api, 1)
  await api.clock.advance(10_000)
  const [, second] = await fill(api, 1)
  const page = await api.ask('GET', `/log?after=${MIN_ID}`)
  assert.deepEqual(idsOf(page.json.items), [first, second])
  const settledId = idAt(api.clock.now() - CURSOR_DELAY_MS)
  assert.equal(page.json.next, `/log?limit=100&after=${settledId}`)
  const again = await api.ask('GET', page.json.next)
  assert.deepEqual(idsOf(again.json.items), [second])
  assert.equal(again.json.next, null)
  await api.clock.advance(CURSOR_DELAY_MS + 1000)
  const later = await api.ask('GET', page.json.next)
  assert.equal(later.json.next, `/log?limit=100&after=${second}`)
  const end = await api.ask('GET', later.json.next)
  assert.deepEqual(end.json, { items: [], next: null })
})

test('before and after together are refused', async (t) => {
  const { ask } = await startApi(t)
  assert.equal((await ask('GET', `/log?before=${MIN_ID}&after=${MIN_ID}`)).status, 400)
})

test("one actor's store is paged as the log is", async (t) => {
  const api = await startApi(t)
  const ids = await fill(api, 3)
  const { json } = await api.ask('GET', '/actors/messages-1/messages?limit=2')
  assert.deepEqual(json.items, shown(api, [ids[2]!, ids[1]!]))
  assert.equal(json.next, `/actors/messages-1/messages?limit=2&before=${ids[1]}`)
  const last = await api.ask('GET', json.next)
  assert.deepEqual([idsOf(last.json.items), last.json.next], [[ids[0]], null])
  assert.equal((await api.ask('GET', '/actors/messages-9/messages')).status, 404)
})

const BAD_QUERIES = [
  '/messages?limit=0',
  '/messages?limit=10001',
  '/messages?limit=1.0',
  '/messages?limit=',
  '/messages?limit=1&limit=1',
  '/messages?Limit=1',
  `/messages/${MIN_ID}?wait=31`,
  `/messages/${MIN_ID}?wait=-1`,
  `/messages/${MIN_ID}?limit=1`,
  '/log?limit=1001',
  '/log?limit=0',
  '/log?before=x',
  '/log?after=',
  '/log?page=1',
  '/actors?x=1',
  '/actors/messages-1/messages?limit=1001',
  `/actors/messages-1/messages?after=${MIN_ID}`,
  '/dead?limit=1001',
  `/dead?before=${MIN_ID}`,
  `/dead/${MIN_ID}?x=1`,
  '/livez?x',
  '/readyz?__proto__=1',
]

for (const path of BAD_QUERIES) {
  test(`refuses ${path} and names the parameter`, async (t) => {
    const { ask } = await startApi(t)
    const answer = await ask('GET', path)
    assert.deepEqual([answer.status, answer.json.code], [400, 'MR_REQUEST_INVALID'])
    const [, name] = /\?(\w+)/.exec(path)!
    assert.equal(answer.json.errors[0].where, `query parameter "${name}"`)
  })
}

test('a follower whose cursor is older than the retention is told; a new one is not', async (t) => {
  const { ask, facade, clock } = await startApi(t)
  const old = await facade.post('old', clock.now() + 1000)
  assert.equal((await ask('GET', `/log?after=${old.id}`)).json.gap, undefined)
  clock.leap(2 * RETENTION_MS)
  assert.equal((await ask('GET', `/log?after=${old.id}`)).json.gap, undefined, 'a leap makes nothing older')
  await clock.advance(RETENTION_MS + 1)
  const young = await facade.post('young', clock.now() + 1000)
  const { gap, items } = (await ask('GET', `/log?after=${old.id}`)).json
  assert.deepEqual([gap.code, gap.oldest], ['MR_CURSOR_EXPIRED', young.id])
  assert.equal(items.length, 1)
  for (const path of [`/log?after=${MIN_ID}`, `/log?after=${young.id}`, '/log']) {
    assert.equal((await ask('GET', path)).json.gap, undefined)
  }
})

test('with the store unavailable reads are refused, and nothing was stored', async (t) => {
  const { ask, facade } = await startApi(t)
  facade.fault = new MailroomError('MR_PEER_LOST', { peer: 'logging-1', reason: 'gone' })
  for (const path of ['/messages', '/log', `/messages/${MIN_ID}`, '/actors/messages-1/messages', '/dead']) {
    const answer = await ask('GET', path)
    assert.deepEqual([answer.status, answer.json.outcome], [503, 'none'])
    assert.match(String(answer.headers['retry-after']), /^[1-3]$/)
  }
})
