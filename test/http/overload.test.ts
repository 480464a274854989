import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { IN_FLIGHT_MIN } from '../../src/http/overload.ts'
import { OVERLOAD_WINDOW_MS, REFUSED_PAUSE_MS } from '../../src/runtime/timings.ts'
import { startApi, until } from '../support/public-api.ts'

const POST =
  'POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\na'

/** An API whose posts are held back, with a crowd inside for a second. */
async function crowded(t: TestContext) {
  const api = await startApi(t, { level: 'info' })
  const { promise, resolve } = Promise.withResolvers<void>()
  api.facade.hold = promise
  const crowd = await Promise.all(Array.from({ length: IN_FLIGHT_MIN + 1 }, () => api.raw()))
  for (const raw of crowd) raw.say(POST)
  await until(() => api.facade.mostAtOnce === crowd.length)
  await api.clock.advance(OVERLOAD_WINDOW_MS)
  return { api, crowd, release: resolve }
}

test('in overload a post is refused with 429, Retry-After and an outcome; the crowd inside is answered', async (t) => {
  const { api, crowd, release } = await crowded(t)
  const headers = { 'content-type': 'text/plain' }
  const answer = await api.ask('POST', '/messages', { headers, body: 'b' })
  assert.deepEqual([answer.status, answer.json.code, answer.json.outcome], [429, 'MR_OVERLOADED', 'none'])
  assert.match(String(answer.headers['retry-after']), /^[123]$/)
  assert.equal(answer.json.requestId, answer.headers['x-request-id'])
  assert.equal(answer.headers['x-content-type-options'], 'nosniff')
  release()
  await until(() => crowd.every(({ heard }) => heard.includes('201 Created')))
  assert.equal(api.facade.messages.length, crowd.length)
})

test('in overload everything but posts is answered as ever', async (t) => {
  const { api, release } = await crowded(t)
  for (const path of ['/livez', '/readyz', '/log', '/actors', '/messages']) {
    assert.equal((await api.ask('GET', path)).status, 200)
  }
  release()
})

test('who is refused and comes again at once is heard a second later', async (t) => {
  const { api, crowd, release } = await crowded(t)
  const raw = await api.raw()
  raw.say(POST)
  await until(() => raw.heard.includes('429 Too Many Requests'))
  release()
  await until(() => crowd.every(({ heard }) => heard.includes('201 Created')))
  await api.clock.advance(1)
  raw.say(POST)
  const beside = await api.raw()
  beside.say(POST)
  await until(() => beside.heard.includes('201 Created'))
  assert.doesNotMatch(raw.heard, /201 Created/)
  await api.clock.advance(REFUSED_PAUSE_MS)
  await until(() => raw.heard.includes('201 Created'))
})

test('overload is logged when it begins and when it ends, once each', async (t) => {
  const { api, release } = await crowded(t)
  const headers = { 'content-type': 'text/plain' }
  for (let count = 0; count < 2; count++) {
    const raw = await api.raw()
    raw.say(POST)
    await until(() => raw.heard.includes('429'))
  }
  release()
  await until(() => api.facade.messages.length === IN_FLIGHT_MIN + 1)
  await api.clock.advance(2 * OVERLOAD_WINDOW_MS)
  assert.equal((await api.ask('POST', '/messages', { headers, body: 'b' })).status, 201)
  assert.deepEqual(
    api.logged.map(({ msg }) => msg),
    ['overloaded: posts are refused', 'no longer overloaded'],
  )
})
