/** Calls between actors over real HTTP: `HttpPeers` against `serveInternal`. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type TestContext, test } from 'node:test'
import type { Methods } from '../../../src/http/internal/calls.ts'
import { HttpPeers } from '../../../src/http/internal/client.ts'
import { serveInternal } from '../../../src/http/internal/server.ts'
import { systemClock as clock } from '../../../src/runtime/clock.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { createLogger } from '../../../src/runtime/logger.ts'

const logger = createLogger('silent', {})
const directory = { actors: () => [], warnings: () => [], onChange: () => () => {} }
const batch = { messages: [{ id: '01', text: 'ä\u0000\uFEFF' }], deadlineAt: 1, lane: 3 }

async function open(context: TestContext, methods: Methods, secret = 'secret') {
  const config = { internalHost: '127.0.0.1', maxMessageBytes: 1024 * 1024 }
  const server = await serveInternal({ methods, config, secret: 'secret', clock, logger })
  const peers = new HttpPeers({ secret, clock, directory })
  context.after(async () => {
    await peers.close()
    await server.close()
  })
  return {
    server,
    logging: peers.logging(server.address, 500),
    messages: peers.messages(server.address, 500),
  }
}

test('carries arguments and results as they are', async (context) => {
  const { logging } = await open(context, {
    append: async (given: typeof batch) => [{ id: given.messages[0]!.text, replayed: given.lane === 3 }],
    get: async () => undefined,
  })
  assert.deepEqual(await logging.append(batch, null), [{ id: 'ä\u0000\uFEFF', replayed: true }])
  assert.equal(await logging.get('01'), undefined)
})

test('carries a MailroomError with its code, facts and outcome', async (context) => {
  const details = { store: 'log', reason: 'the disk is full' }
  const { logging } = await open(context, {
    append: async () => {
      throw new MailroomError('MR_STORE_UNAVAILABLE', details, { outcome: 'unknown' })
    },
  })
  await assert.rejects(logging.append(batch, null), {
    code: 'MR_STORE_UNAVAILABLE',
    outcome: 'unknown',
    details,
  })
})

test('any other error becomes MR_INTERNAL, outcome unknown', async (context) => {
  const { logging } = await open(context, {
    append: async () => {
      throw new TypeError('x is not a function')
    },
  })
  await assert.rejects(logging.append(batch, null), { code: 'MR_INTERNAL', outcome: 'unknown' })
})

test('a call that takes too long is aborted, outcome unknown', async (context) => {
  const gate = Promise.withResolvers<never[]>()
  const { logging } = await open(context, { append: () => gate.promise })
  await assert.rejects(logging.append(batch, null), { code: 'MR_DEADLINE_EXPIRED', outcome: 'unknown' })
  gate.resolve([])
})

test('find may take its waitMs longer', async (context) => {
  const found = { state: 'delivered', attempts: 1, deliveredAt: 1 }
  const { messages } = await open(context, {
    find: async () => {
      await clock.sleep(700)
      return found
    },
  })
  assert.deepEqual(await messages.find(1, '01', 1000), found)
})

test('a call to an address without a server has outcome none', async (context) => {
  const { server, logging } = await open(context, {})
  await server.close()
  await assert.rejects(logging.append(batch, null), { code: 'MR_PEER_LOST', outcome: 'none' })
})

test('a connection that breaks in the middle has outcome unknown', async (context) => {
  const { logging } = await (async () => {
    const server = createServer((request, response) => {
      response.writeHead(200).flushHeaders()
      request.on('data', () => request.destroy())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const peers = new HttpPeers({ secret: 'secret', clock, directory })
    context.after(async () => {
      await peers.close()
      server.close()
    })
    const { port } = server.address() as { port: number }
    return { logging: peers.logging(`127.0.0.1:${port}`, 500) }
  })()
  await assert.rejects(logging.append(batch, null), { code: 'MR_PEER_LOST', outcome: 'unknown' })
})

test('a caller without this start’s secret is refused', async (context) => {
  const { logging } = await open(context, { append: async () => [] }, 'another')
  await assert.rejects(logging.append(batch, null), { code: 'MR_PEER_LOST', outcome: 'none' })
})

test('an unknown method is named', async (context) => {
  const { logging } = await open(context, {})
  await assert.rejects(logging.append(batch, null), { code: 'MR_NOT_FOUND', message: /append/ })
})

test('closing waits for calls in flight, then takes no more', async (context) => {
  const gate = Promise.withResolvers<never[]>()
  const { server, logging } = await open(context, { append: () => gate.promise, get: async () => undefined })
  const call = logging.append(batch, null)
  await clock.sleep(50)
  const closed = server.close()
  gate.resolve([])
  assert.deepEqual(await call, [])
  await closed
  await assert.rejects(logging.get('01'), { code: 'MR_PEER_LOST' })
})

test('a call that an idle connection carries to an actor that just began to close is answered', async (context) => {
  const { server, logging } = await open(context, { append: async () => [] })
  for (let round = 0; round < 2; round++) assert.deepEqual(await logging.append(batch, null), [])
  const closed = server.close()
  for (let round = 0; round < 3; round++) assert.deepEqual(await logging.append(batch, null), [])
  await closed
})

test('an internal server listens on the configured host, and reports its address', async (t) => {
  const config = { internalHost: '127.0.0.2', maxMessageBytes: 1024 * 1024 }
  const methods = { append: async () => [] }
  const server = await serveInternal({ methods, config, secret: 'secret', clock, logger })
  const peers = new HttpPeers({ secret: 'secret', clock, directory })
  t.after(async () => {
    await peers.close()
    await server.close()
  })
  assert.match(server.address, /^127\.0\.0\.2:\d+$/)
  assert.deepEqual(await peers.logging(server.address, 500).append(batch, null), [])
  const elsewhere = server.address.replace('127.0.0.2', '127.0.0.1')
  await assert.rejects(peers.logging(elsewhere, 500).append(batch, null), {
    code: 'MR_PEER_LOST',
    outcome: 'none',
  })
})
