/** How the public server says goodbye and stops. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
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

test('stopping waits for the requests in flight, and for nothing else', async (t) => {
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
  for (const { isOver } of [idle, silent]) assert.equal(isOver, false, 'a request may be on its way')
  for (let turn = 0; turn < 10; turn++) await api.clock.advance(100)
  for (const raw of [idle, silent]) {
    await until(() => raw.isOver)
    assert.match(raw.heard, /HTTP\/1.1 408 .*"outcome":"none"/s)
  }
  assert.equal(stopped, false)
  resolve()
  assert.equal((await posted).status, 201)
  while (!stopped) await api.clock.advance(100)
  await stopping
  await assert.rejects(fetch(`http://127.0.0.1:${api.server.port}/livez`))
})

test('connections made while the process was paused are answered, not reset, when it stops listening', async (t) => {
  const api = await startApi(t)
  const stopping = api.server.stopListening()
  const outcomes = Array.from({ length: 40 }, () => {
    const socket = connect(api.server.port, '127.0.0.1')
    socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    return new Promise<string>((resolve) => {
      socket.setEncoding('utf8')
      socket.once('data', (heard: string) => resolve(heard.slice(0, 15)))
      socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code!))
    })
  })
  // They are on their way into the kernel's queue when the time is up, before this process looks there.
  await undefined
  const advanced = api.clock.advance(50)
  while (!(await settledWithin(outcomes))) await api.clock.advance(100)
  await advanced
  assert.deepEqual([...new Set(await Promise.all(outcomes))], ['HTTP/1.1 200 OK'])
  await api.stop()
  await stopping
})

/** True once all have settled; looks after what is due now. */
async function settledWithin(promises: Promise<unknown>[]): Promise<boolean> {
  const later = new Promise((resolve) => setTimeout(resolve, 5, 'later'))
  return (await Promise.race([Promise.all(promises), later])) !== 'later'
}
