/** `GET /loss` and `POST /loss/confirm`. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { MailroomError } from '../../../src/runtime/errors.ts'
import type { Loss } from '../../../src/runtime/losses.ts'
import { startApi } from '../../support/public-api.ts'

const LOSS: Loss = {
  ...{ store: 'queue', epoch: 'q', kind: 'empty', count: 51_404, isConfirmed: false },
  ...{ lastSeenAt: Date.UTC(2026, 10, 27, 16, 2), noticedAt: Date.UTC(2026, 10, 27, 16, 5) },
}

test('losses are shown until they are confirmed; with nothing to confirm the answer is an empty list', async (t) => {
  const { ask, facade } = await startApi(t)
  facade.lossesOfClusters.push(LOSS)
  const { status, json } = await ask('GET', '/loss')
  const [{ detail, ...loss }] = json.losses
  assert.deepEqual(
    [status, loss],
    [
      200,
      {
        ...{ store: 'queue', kind: 'empty', count: 51_404, epoch: 'q' },
        ...{ lastSeenAt: '2026-11-27T16:02:00.000Z', noticedAt: '2026-11-27T16:05:00.000Z' },
      },
    ],
  )
  assert.match(
    detail,
    /came back empty, noticed at 2026-11-27T16:05Z: .* about 51404 messages at 2026-11-27T16:02Z/,
  )
  const confirmed = await ask('POST', '/loss/confirm')
  assert.deepEqual([confirmed.status, confirmed.json], [200, json])
  for (const [method, path] of [
    ['GET', '/loss'],
    ['POST', '/loss/confirm'],
  ] as const) {
    const answer = await ask(method, path)
    assert.deepEqual([answer.status, answer.json], [200, { losses: [] }])
  }
})

test('a loss of a cluster that is away cannot be confirmed now: 503', async (t) => {
  const { ask, facade } = await startApi(t)
  facade.lossesOfClusters.push(LOSS)
  facade.fault = new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason: 'away' })
  const { status, headers, json } = await ask('POST', '/loss/confirm')
  assert.deepEqual([status, json.code], [503, 'MR_STORE_UNAVAILABLE'])
  assert.ok(headers['retry-after'])
  assert.equal((await ask('GET', '/loss')).json.losses.length, 1)
})
