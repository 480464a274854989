/** `GET /log` with previews and filters, and `POST /log/redrive`. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { storedText } from '../../../src/storage/content.ts'
import { atOf, MIN_ID } from '../../../src/storage/ids.ts'
import { SEARCH_MAX_COUNT } from '../../../src/storage/limits.ts'
import { type Api, startApi } from '../../support/public-api.ts'

test('the log is redriven page by page', async (t) => {
  const { ask, facade, clock } = await startApi(t)
  const receipts = await facade.postBatch([...'abc'], { deadlineAt: clock.monotonic() + 1000 })
  const ids = receipts.map(({ id }) => id)
  for (const id of [ids[0]!, ids[2]!]) facade.lost.add(id)
  const first = await ask('POST', '/log/redrive?limit=2')
  assert.equal(first.status, 200)
  assert.deepEqual(first.json, {
    checked: 2,
    redriven: 1,
    next: `/log/redrive?limit=2&after=${ids[1]}`,
  })
  const second = await ask('POST', first.json.next)
  assert.deepEqual(second.json, { checked: 1, redriven: 1, next: null })
  const again = await ask('POST', '/log/redrive')
  assert.deepEqual(again.json, { checked: 3, redriven: 0, next: null })
})

test('with a lane, the log is restored page by page, from that lane on', async (t) => {
  const { ask, facade } = await startApi(t)
  const [since, last] = ['A', 'B'].map((digit) => `01M8849C1KEEDTYR6E000000${digit}1`) as [string, string]
  facade.restored = { checked: 2, restored: 1, lost: 1, next: { lane: 3, after: last } }
  const first = await ask('POST', `/log/redrive?lane=0&limit=2&since=${since}`)
  const next = `/log/redrive?limit=2&lane=3&after=${last}&since=${since}`
  assert.deepEqual([first.status, first.json], [200, { checked: 2, restored: 1, lost: 1, next }])
  facade.restored = { checked: 1, restored: 0, lost: 0, next: null }
  const second = await ask('POST', next)
  assert.deepEqual(second.json, { checked: 1, restored: 0, lost: 0, next: null })
  await ask('POST', '/log/redrive?lane=15')
  assert.deepEqual(facade.restores, [
    { lane: 0, since, limit: 2 },
    { lane: 3, since, after: last, limit: 2 },
    { lane: 15, limit: 1000 },
  ])
})

test('invalid parameters are refused, and nothing is redriven', async (t) => {
  const { ask, facade, clock } = await startApi(t)
  const { id } = await facade.post('a', clock.monotonic() + 1000)
  facade.lost.add(id)
  for (const query of [
    'limit=0',
    'limit=1001',
    'limit=a',
    'after=1',
    'before=1',
    `since=${id}`,
    'lane=-1',
    'lane=16',
    'lane=0&since=1',
  ]) {
    const answer = await ask('POST', `/log/redrive?${query}`)
    assert.deepEqual([answer.status, answer.json.code], [400, 'MR_REQUEST_INVALID'], query)
  }
  assert.equal((await ask('POST', '/log/redrive', { body: '{}' })).status, 400)
  assert.ok(facade.lost.has(id))
  assert.deepEqual(facade.restores, [])
})

test('an unavailable queue is 503', async (t) => {
  const { ask, facade } = await startApi(t)
  facade.fault = new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason: 'away' })
  const { status, headers, json } = await ask('POST', '/log/redrive')
  assert.deepEqual([status, json.code], [503, 'MR_STORE_UNAVAILABLE'])
  assert.ok(headers['retry-after'])
})

/** The ids of messages with these texts, in the log of a facade. */
async function logged({ facade }: Api, texts: readonly string[]): Promise<string[]> {
  return (await facade.postBatch(texts, { deadlineAt: 0 })).map(({ id }) => id)
}

test('a page of previews has the beginning of each body and its bytes, both ways, and next goes on with them', async (t) => {
  const api = await startApi(t)
  const github = storedText({ source: 'github', type: 'text/plain', headers: { 'x-a': 'b' }, text: 'abcdef' })
  const ids = await logged(api, ['é'.repeat(300), github, storedText({ source: 'form', base64: '//79/Ps=' })])
  const at = ids.map(atOf)
  const newest = await api.ask('GET', '/log?limit=2&text=4')
  assert.deepEqual(newest.json, {
    items: [
      { id: ids[2], base64: '//79', source: 'form', at: at[2], bytes: 5 },
      { id: ids[1], text: 'abcd', source: 'github', type: 'text/plain', at: at[1], bytes: 6 },
    ],
    next: `/log?limit=2&text=4&before=${ids[1]}`,
  })
  const last = await api.ask('GET', newest.json.next)
  assert.deepEqual(last.json, { items: [{ id: ids[0], text: 'éééé', at: at[0], bytes: 600 }], next: null })
  await api.clock.advance(10_000)
  const followed = await api.ask('GET', `/log?limit=1&text=0&after=${MIN_ID}`)
  assert.deepEqual(followed.json.items, [{ id: ids[0], text: '', at: at[0], bytes: 600 }])
})

test('a filtered page looks at up to 10,000 messages; next goes on though it found none', async (t) => {
  const api = await startApi(t)
  const [needle] = await logged(api, ['a needle'])
  const hay = await logged(api, Array(1000).fill('hay'))
  for (let batch = 1; batch < 11; batch++) hay.push(...(await logged(api, Array(1000).fill('hay'))))
  const first = await api.ask('GET', '/log?limit=5&contains=needle')
  const next = `/log?limit=5&contains=needle&before=${hay.at(-SEARCH_MAX_COUNT)}`
  assert.deepEqual([first.status, first.json], [200, { items: [], next }])
  const second = await api.ask('GET', first.json.next)
  assert.deepEqual(second.json, { items: [{ id: needle, text: 'a needle', at: atOf(needle!) }], next: null })
  assert.ok(api.facade.pages.every(({ limit }) => limit <= 250))
})

test('one who follows a filtered log goes on behind what was looked at, and skips nothing young', async (t) => {
  const api = await startApi(t)
  const github = storedText({ source: 'github', text: 'a' })
  const ids = await logged(api, [github, 'b', github, 'c'])
  const young = await api.ask('GET', `/log?source=github&after=${MIN_ID}`)
  assert.deepEqual(
    young.json.items.map(({ id }: { id: string }) => id),
    [ids[0], ids[2]],
  )
  const cursor = new URLSearchParams(young.json.next.split('?')[1]).get('after')!
  assert.ok(cursor < ids[0]!, 'it stays behind what may yet be stored')
  await api.clock.advance(10_000)
  const old = await api.ask('GET', `/log?source=github&after=${MIN_ID}`)
  assert.equal(old.json.next, `/log?limit=100&source=github&after=${ids[3]}`)
  assert.deepEqual((await api.ask('GET', old.json.next)).json, { items: [], next: null })
})

test('a filter or a preview that is out of bounds is refused by name', async (t) => {
  const { ask } = await startApi(t)
  for (const [query, expected] of [
    ['text=1001', /"text" to be a whole number from 0 to 1000, got "1001"/],
    ['text=', /"text" to be a whole number/],
    ['source=GitHub', /"source" to be a name of 1 to 64/],
    ['contains=', /"contains" to be a text of 1 to 200 characters, got ""/],
    [`contains=${'x'.repeat(201)}`, /"contains" to be a text of 1 to 200 characters/],
  ] as const) {
    const { status, json } = await ask('GET', `/log?${query}`)
    assert.deepEqual([status, json.code], [400, 'MR_REQUEST_INVALID'], query)
    assert.match(json.detail, expected)
  }
  assert.equal((await ask('GET', `/log?contains=${encodeURIComponent('😀'.repeat(200))}`)).status, 200)
})
