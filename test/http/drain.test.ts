/** How the public server says goodbye and stops. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { startApi, until } from '../support/public-api.ts'

const TEXT_TYPE = { 'content-type': 'text/plain' }

test('while draining posts are taken, every reply closes its connection, and readyz says unready', async (t) => {
  const { ask, facade } = await startApi(t)
  facade.draining = true
  const posted = await ask('POST', '/messages', { headers: TEXT_TYPE, body: 'a' })
  assert.deepEqual([posted.status, posted.headers['connection']], [201, 'close'])
  for (const [path, status] of [
    ['/readyz', 503],
    ['/livez', 200],
    ['/messages', 200],
    ['/log', 200],
    ['/nothing', 404],
  ] as const) {
    const answer = await ask('GET', path)
    assert.deepEqual([answer.status, answer.headers['connection']], [status, 'close'])
  }
})

test('a drain that begins while a request runs closes its connection too', async (t) => {
  const { ask, facade } = await startApi(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  facade.hold = promise
  const posted = ask('POST', '/messages', { headers: TEXT_TYPE, body: 'a' })
  await until(() => facade.mostAtOnce === 1)
  facade.draining = true
  resolve()
  assert.equal((await posted).headers['connection'], 'close')
})

test('stopping waits for the requests under way, and for nothing else', async (t) => {
  const api = await startApi(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  api.facade.hold = promise
  const silent = await api.raw()
  const idle = await api.raw()
  idle.say('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await until(() => idle.heard.endsWith('{"status":"ok"}'))
  const posted = api.ask('POST', '/messages', { headers: TEXT_TYPE, body: 'a' })
  await until(() => api.facade.mostAtOnce === 1)
  let stopped = false
  const stopping = api.server.stopListening().then(() => {
    stopped = true
  })
  assert.equal(api.server.stopListening(), api.server.stopListening())
  await api.clock.advance(500)
  await until(() => silent.isOver && idle.isOver)
  assert.equal(stopped, false)
  resolve()
  assert.equal((await posted).status, 201)
  while (!stopped) await api.clock.advance(100)
  await stopping
  await assert.rejects(fetch(`http://127.0.0.1:${api.server.port}/livez`))
})
