/** `POST /log/redrive`. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { startApi } from '../../support/public-api.ts'

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
