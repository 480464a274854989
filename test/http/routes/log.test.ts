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

test('invalid parameters are refused, and nothing is redriven', async (t) => {
  const { ask, facade, clock } = await startApi(t)
  const { id } = await facade.post('a', clock.monotonic() + 1000)
  facade.lost.add(id)
  for (const query of ['limit=0', 'limit=1001', 'limit=a', 'after=1', 'before=1', `since=${id}`]) {
    const answer = await ask('POST', `/log/redrive?${query}`)
    assert.deepEqual([answer.status, answer.json.code], [400, 'MR_REQUEST_INVALID'], query)
  }
  assert.equal((await ask('POST', '/log/redrive', { body: '{}' })).status, 400)
  assert.ok(facade.lost.has(id))
})

test('an unavailable queue is 503', async (t) => {
  const { ask, facade } = await startApi(t)
  facade.fault = new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason: 'away' })
  const { status, headers, json } = await ask('POST', '/log/redrive')
  assert.deepEqual([status, json.code], [503, 'MR_STORE_UNAVAILABLE'])
  assert.ok(headers['retry-after'])
})
