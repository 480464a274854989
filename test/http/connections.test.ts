/** Which connections of clients are passed on, and how many. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { surplusOf } from '../../src/runtime/cluster/directory.ts'
import { startApi, until } from '../support/public-api.ts'

test('a facade passes on what is above its share, then one at a time until no move would help', () => {
  assert.equal(surplusOf(47, [7, 2, 8]), 31)
  assert.equal(surplusOf(16, [16, 16, 16]), 0)
  assert.equal(surplusOf(3, [3, 3, 0]), 1)
  assert.equal(surplusOf(2, [1]), 0)
  assert.equal(surplusOf(5, []), 0)
  assert.equal(surplusOf(0, [5, 6]), 0)
})

test('an idle connection is passed on; one whose next request has begun is not', async (t) => {
  const api = await startApi(t)
  const asks = 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'
  const idle = await api.raw()
  const begun = await api.raw()
  idle.say(asks)
  begun.say(`${asks}${asks.slice(0, 20)}`)
  for (const raw of [idle, begun]) await until(() => raw.heard.endsWith('{"status":"ok"}'))
  assert.match(idle.heard, /\r\nKeep-Alive: timeout=95\r\n/, 'longer than common clients keep a connection')
  const silent = await api.raw()
  await until(() => api.server.connectionCount() === 3)
  api.server.passOn(Number.POSITIVE_INFINITY)
  const ports = api.passedOn.map(({ remotePort }) => remotePort)
  assert.deepEqual(ports, [idle.socket.localPort, silent.socket.localPort])
  begun.say(asks.slice(20))
  await until(() => api.passedOn.length === 3)
  await until(() => begun.heard.split('{"status":"ok"}').length === 3)
  for (const connection of api.passedOn) connection.destroy()
  await until(() => api.server.connectionCount() === 0)
})

test('a connection that cannot be passed on is served on, and passed on later', async (t) => {
  let hasRoom = false
  const api = await startApi(t, { leaves: () => hasRoom })
  const raw = await api.raw()
  const asked = async (count: number) => {
    raw.say('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await until(() => raw.heard.split('{"status":"ok"}').length === count + 1)
  }
  await asked(1)
  api.server.passOn(Number.POSITIVE_INFINITY)
  await asked(2)
  hasRoom = true
  await api.clock.advance(1000)
  await until(() => api.passedOn.length === 1)
  api.passedOn[0]!.destroy()
})
