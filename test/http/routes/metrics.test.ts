import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatOf, METRICS_TYPES } from '../../../src/runtime/metrics.ts'
import { startApi } from '../../support/public-api.ts'

test('the format is the one that the scraper likes best', () => {
  const ofPrometheus =
    'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2'
  assert.equal(formatOf(ofPrometheus), 'openmetrics')
  assert.equal(formatOf('application/openmetrics-text'), 'openmetrics')
  assert.equal(formatOf('application/openmetrics-text; version=1.0.0, text/plain'), 'openmetrics')
  for (const accept of [
    ...[undefined, '', '*/*', 'text/plain', 'application/json', 'application/openmetrics-text;q=0'],
    ...['application/openmetrics-text;version=0.0.1', 'application/openmetrics-text;q=0.2, text/*;q=0.3'],
  ])
    assert.equal(formatOf(accept), 'prometheus', accept)
})

test('GET /metrics answers in each format, with its media type, and needs the token', async (t) => {
  const api = await startApi(t, { token: 'a-token-of-32-characters-for-test' })
  assert.equal((await api.ask('GET', '/metrics')).status, 401)
  const authorization = 'Bearer a-token-of-32-characters-for-test'
  const plain = await api.ask('GET', '/metrics', { headers: { authorization } })
  assert.deepEqual(
    [plain.status, plain.headers['content-type'], plain.text],
    [200, METRICS_TYPES.prometheus, '# prometheus\n'],
  )
  const accept = 'application/openmetrics-text'
  const open = await api.ask('GET', '/metrics', { headers: { authorization, accept } })
  assert.deepEqual([open.headers['content-type'], open.text], [METRICS_TYPES.openmetrics, '# openmetrics\n'])
})

test('requests are counted by method, route and status; a client’s own words are no label', async (t) => {
  const api = await startApi(t)
  await api.ask('GET', '/messages/01J0000000000000000000AAAA')
  await api.ask('GET', '/a/path/of/a/client')
  await api.ask('POST', '/messages', { body: '{"text":1}', headers: { 'content-type': 'application/json' } })
  const changes = new Map(await api.figures.changes())
  const labels = changes
    .get('http_server_request_duration_seconds')!
    .map(([of]) => Object.values(of).join(' '))
  assert.deepEqual(labels, ['GET /messages/{id} 404', 'GET  404', 'POST /messages 400'])
  const refused = changes.get('mailroom_refused_total')!.filter(([, count = 0]) => count > 0)
  assert.deepEqual(refused, [[{ code: 'MR_MESSAGE_INVALID' }, 1]], 'posts only')
})
