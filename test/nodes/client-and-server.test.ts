/** Nodes over real HTTP: `NodeClient` against `serveNode`. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { NodeClient } from '../../src/nodes/client.ts'
import { nodeDirectory } from '../../src/nodes/node-directory.ts'
import { serveNode } from '../../src/nodes/server.ts'
import { systemClock as clock } from '../../src/runtime/clock.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import { entryOf } from '../support/actor-context.ts'
import { nodeOf } from '../support/fake-network.ts'

const HOST = '127.0.0.1'
const DIRECTORY = nodeOf('a', ['logging-1'], { more: { lanes: { 3: 1 }, damaged: ['a file'] } })

async function open(context: TestContext, { secret = 'secret', directory = DIRECTORY } = {}) {
  const wrong: string[] = []
  const missing: string[] = []
  const warnings: string[] = []
  const refused: string[] = []
  const logger = createLogger('silent', {})
  const server = await serveNode({
    ...{ host: HOST, port: 0, secret: 'secret', readTokens: ['token'], logger },
    metrics: async (format) => format,
    directory: () => directory,
    notRunning: () => wrong,
    missing: () => missing,
    warnings: () => warnings,
    onRefused: (host) => refused.push(host),
  })
  const client = new NodeClient({ secret, clock })
  context.after(() => Promise.all([client.close(), server.close()]))
  return { client, server, refused, wrong, missing, warnings, address: { host: HOST, port: server.port } }
}

const ask = (port: number, path: string, options: RequestInit = {}) =>
  fetch(`http://${HOST}:${port}${path}`, options)

test('a directory arrives as it was sent', async (t) => {
  const { client, address } = await open(t)
  assert.deepEqual(await client.directoryAt(address, 1000), DIRECTORY)
})

test('the directory needs the secret; health does not', async (t) => {
  const { client, address, refused, wrong, missing, warnings } = await open(t, { secret: 'another' })
  await assert.rejects(client.directoryAt(address, 1000), {
    ...{ code: 'MR_FORBIDDEN', retryable: false },
    message: "its secret (--secret) is not this node's",
  })
  for (const headers of [{}, { 'x-mailroom-secret': 'secres' }, { 'x-mailroom-secret': '' }]) {
    assert.equal((await ask(address.port, '/directory', { headers })).status, 403)
  }
  assert.deepEqual(refused, Array(4).fill(HOST))
  assert.deepEqual(await (await ask(address.port, '/livez')).json(), { status: 'ok' })
  const healthy = await ask(address.port, '/healthz')
  assert.deepEqual([healthy.status, await healthy.json()], [200, { status: 'healthy', wrong: [] }])
  wrong.push('logging-1: failed')
  const unhealthy = await ask(address.port, '/healthz')
  assert.deepEqual(
    [unhealthy.status, await unhealthy.json()],
    [503, { status: 'unhealthy', wrong: ['logging-1: failed'] }],
  )
  const ready = await ask(address.port, '/readyz')
  assert.deepEqual([ready.status, await ready.json()], [200, { status: 'ready', missing: [] }])
  warnings.push('a clock')
  const warned = await ask(address.port, '/readyz')
  assert.deepEqual(
    [warned.status, await warned.json()],
    [200, { status: 'ready', missing: [], warnings: ['a clock'] }],
  )
  warnings.pop()
  missing.push('logging-1: starting')
  const unready = await ask(address.port, '/readyz')
  assert.deepEqual(
    [unready.status, await unready.json()],
    [503, { status: 'unready', missing: ['logging-1: starting'] }],
  )
})

test('health is answered over HTTP/1.1 without a Host, as the checks of load balancers send it', async (t) => {
  const { address } = await open(t)
  for (const path of ['/livez', '/healthz', '/readyz']) {
    const socket = connect(address.port, HOST).end(`GET ${path} HTTP/1.1\r\nConnection: close\r\n\r\n`)
    assert.match(await text(socket), /^HTTP\/1\.1 200 /)
  }
})

test('the metrics need the secret or the token, and come in the format that is asked for', async (t) => {
  const { address, refused } = await open(t)
  const get = (headers: Record<string, string>) => ask(address.port, '/metrics', { headers })
  for (const headers of [{}, { authorization: 'Bearer tokem' }, { 'x-mailroom-secret': 'token' }]) {
    assert.equal((await get(headers)).status, 403)
  }
  assert.deepEqual(refused, [], 'a scraper is no node')
  for (const headers of [
    ...[{ authorization: 'Bearer token' }, { authorization: 'bearer secret' }],
    ...[{ 'x-mailroom-secret': 'secret' }],
  ]) {
    const answer = await get(headers)
    assert.deepEqual([answer.status, await answer.text()], [200, 'prometheus'])
    assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  }
  const inOpenMetrics = await get({ 'x-mailroom-secret': 'secret', accept: 'application/openmetrics-text' })
  assert.equal(await inOpenMetrics.text(), 'openmetrics')
})

test('other paths and methods are 404', async (t) => {
  const { address } = await open(t)
  for (const path of ['/', '/messages', '/ask/append', '/directory/', '/readyz?x=1', '/healthz/']) {
    assert.equal((await ask(address.port, path)).status, 404, path)
  }
  assert.equal((await ask(address.port, '/livez', { method: 'POST' })).status, 404)
})

test('a node that does not listen or answer in time is a retryable error', async (t) => {
  const { client, server, address } = await open(t)
  await server.close()
  await assert.rejects(client.directoryAt(address, 1000), { code: 'MR_PEER_LOST', retryable: true })
  const silent = createServer(() => {}).listen(0, HOST)
  await once(silent, 'listening')
  t.after(() => {
    silent.closeAllConnections()
    silent.close()
  })
  const { port } = silent.address() as { port: number }
  const asked = client.directoryAt({ host: HOST, port }, 50)
  await assert.rejects(asked, { code: 'MR_DEADLINE_EXPIRED', retryable: true })
})

test('an answer that is no directory of a node with --peers is not retryable', async (t) => {
  const alone = nodeDirectory({ node: 'a', startId: '1', now: 0 }, [
    entryOf('logging-1', { node: 'a', address: null }),
  ])
  const strange = { ...DIRECTORY, actors: [{ ...DIRECTORY.actors[0]!, state: 'asleep' }] } as never
  for (const directory of [alone, strange]) {
    const { client, address } = await open(t, { directory })
    await assert.rejects(client.directoryAt(address, 1000), { code: 'MR_REQUEST_INVALID', retryable: false })
  }
  const other = createServer((_, response) => response.end('<h1>hello</h1>')).listen(0, HOST)
  await once(other, 'listening')
  t.after(() => {
    other.closeAllConnections()
    other.close()
  })
  const { client } = await open(t)
  const { port } = other.address() as { port: number }
  await assert.rejects(client.directoryAt({ host: HOST, port }, 1000), { code: 'MR_REQUEST_INVALID' })
})

test('an address resolves to itself, and a name to all of its addresses', async (t) => {
  const { client } = await open(t)
  assert.deepEqual(await client.addressesOf('127.0.0.7'), ['127.0.0.7'])
  assert.ok((await client.addressesOf('localhost')).length > 0)
  await assert.rejects(client.addressesOf('nobody.invalid'))
})
