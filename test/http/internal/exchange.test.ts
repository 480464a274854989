/** Calls over an open exchange, over real HTTP: `HttpPeers` against `serveInternal`, and against servers that fail. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { Methods } from '../../../src/http/internal/calls.ts'
import { HttpPeers } from '../../../src/http/internal/client.ts'
import { EXCHANGE_MAX_CHARACTERS } from '../../../src/http/internal/exchange.ts'
import { serveInternal } from '../../../src/http/internal/server.ts'
import { systemClock as clock } from '../../../src/runtime/clock.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import type { LaneBatch } from '../../../src/storage/ports.ts'

const logger = createLogger('silent', {})
const directory = { actors: () => [], warnings: () => [], onChange: () => () => {} }
const HOUR_MS = 3_600_000

function batchOf(text: string): LaneBatch {
  return { messages: [{ id: '01', text }], deadlineAt: 1, lane: 3 }
}

/** @param timeoutMs Of its calls: long, as a busy machine may take its time. */
async function open(context: TestContext, methods: Methods, timeoutMs = 20_000) {
  const config = { internalHost: '127.0.0.1', maxMessageBytes: 1024 * 1024 }
  const server = await serveInternal({ methods, config, secret: 'secret', clock, logger })
  const peers = new HttpPeers({ secret: 'secret', clock, directory })
  context.after(async () => {
    await peers.close()
    await server.close()
  })
  return { server, logging: peers.logging(server.address, timeoutMs) }
}

/** A server that treats each request as given. */
async function failing(
  context: TestContext,
  treat: (request: IncomingMessage, response: ServerResponse) => void,
) {
  const server = createServer(treat)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const peers = new HttpPeers({ secret: 'secret', clock, directory })
  context.after(async () => {
    await peers.close()
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return peers.logging(`127.0.0.1:${port}`, 300)
}

/** Writes lines of its own to an exchange. @param now The writer's clock when it opens. @returns What came back. */
async function answersTo(address: string, now: number, lines: readonly unknown[][]): Promise<unknown[][]> {
  const asking = request(`http://${address}/exchange`, {
    method: 'POST',
    headers: { 'x-mailroom-secret': 'secret', 'x-mailroom-sent-at': String(now) },
  })
  asking.flushHeaders()
  const [response] = (await once(asking, 'response')) as [IncomingMessage]
  asking.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  let answers = ''
  for await (const chunk of response) answers += chunk
  return answers
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown[])
}

test('a thousand calls at once each get their own answer, in whatever order they end', async (context) => {
  const { logging } = await open(context, {
    append: async ({ messages: [message] }: LaneBatch) => {
      await clock.sleep(Number(message!.text) % 7)
      return [{ id: message!.text, replayed: false }]
    },
  })
  const texts = Array.from({ length: 1000 }, (_, index) => String(index))
  const receipts = await Promise.all(texts.map((text) => logging.append(batchOf(text), null)))
  assert.deepEqual(
    receipts.map(([receipt]) => receipt!.id),
    texts,
  )
})

test('calls share one connection, and a large one has its own', async (context) => {
  const urls: string[] = []
  const logging = await failing(context, (request, response) => {
    urls.push(request.url!)
    if (request.url !== '/exchange') return void response.end('[]')
    response.writeHead(200).flushHeaders()
    request.setEncoding('utf8').on('data', (lines: string) => {
      for (const line of lines.trim().split('\n'))
        response.write(`${JSON.stringify([(JSON.parse(line) as number[])[0], []])}\n`)
    })
  })
  for (let round = 0; round < 5; round++) await logging.append(batchOf('small'), null)
  await logging.append(batchOf('x'.repeat(EXCHANGE_MAX_CHARACTERS)), null)
  assert.deepEqual(urls, ['/exchange', '/ask/append'])
})

test('a call that its caller gave up long ago is refused, also between clocks that are an hour apart', async (context) => {
  let appended = 0
  const { server } = await open(context, {
    append: async () => {
      appended++
      return []
    },
  })
  for (const differenceMs of [0, HOUR_MS, -HOUR_MS]) {
    appended = 0
    const now = clock.monotonic() + differenceMs
    const answers = await answersTo(server.address, now, [
      [1, now, 1000, 'append', []],
      [2, now - 5000, 1000, 'append', []],
    ])
    const late = answers.find(([number]) => number === 2)!
    assert.equal(appended, 1)
    assert.deepEqual(
      answers.find(([number]) => number === 1),
      [1, []],
    )
    const { code, outcome } = late[2] as { code: string; outcome: string }
    assert.deepEqual([code, outcome], ['MR_DEADLINE_EXPIRED', 'none'])
  }
})

test('a call that could not be sent in time has outcome none', async (context) => {
  const logging = await failing(context, () => {})
  await assert.rejects(logging.append(batchOf('a'), null), { code: 'MR_DEADLINE_EXPIRED', outcome: 'none' })
})

test('after a call without any answer, the next one goes over a new exchange', async (context) => {
  let count = 0
  const logging = await failing(context, (request, response) => {
    const isFirst = ++count === 1
    response.writeHead(200).flushHeaders()
    request.on('data', () => {
      if (!isFirst) response.write('[1,[]]\n')
    })
  })
  await assert.rejects(logging.append(batchOf('a'), null), {
    code: 'MR_DEADLINE_EXPIRED',
    outcome: 'unknown',
  })
  await clock.sleep(20)
  assert.deepEqual(await logging.append(batchOf('b'), null), [])
  assert.equal(count, 2)
})

test('one late answer does not break the exchange for others', async (context) => {
  const append = async ({ messages: [message] }: LaneBatch) => {
    if (message!.text === 'late') await clock.sleep(2000)
    return []
  }
  const { logging } = await open(context, { append }, 1500)
  const late = assert.rejects(logging.append(batchOf('late'), null), { outcome: 'unknown' })
  for (let round = 0; round < 50; round++) {
    assert.deepEqual(await logging.append(batchOf('quick'), null), [])
    await clock.sleep(40)
  }
  await late
})

test('an actor that closes answers what it was asked, and is asked no more', async (context) => {
  const gate = Promise.withResolvers<never[]>()
  const { server, logging } = await open(context, { append: () => gate.promise })
  const calls = Array.from({ length: 10 }, () => logging.append(batchOf('a'), null))
  await clock.sleep(50)
  const closed = server.close()
  await clock.sleep(150)
  gate.resolve([])
  assert.deepEqual(await Promise.all(calls), Array(10).fill([]))
  await closed
  await assert.rejects(logging.append(batchOf('a'), null), { code: 'MR_PEER_LOST', outcome: 'none' })
})

test('a line that is not JSON ends its exchange, and nothing else', async (context) => {
  const { server, logging } = await open(context, { append: async () => [] })
  const asking = request(`http://${server.address}/exchange`, {
    method: 'POST',
    headers: { 'x-mailroom-secret': 'secret', 'x-mailroom-sent-at': '0' },
  })
  asking.on('error', () => {})
  asking.write('nonsense\n')
  await once(asking, 'close')
  assert.deepEqual(await logging.append(batchOf('a'), null), [])
})

test('calls that wait hold up neither others nor a close', async (context) => {
  const config = { internalHost: '127.0.0.1', maxMessageBytes: 1024 * 1024 }
  let waitingCount = 0
  const methods = {
    find: (_lane: number, _id: string, waitMs: number) => {
      waitingCount++
      return clock.sleep(waitMs)
    },
    wake: async () => {},
  }
  const server = await serveInternal({ methods, config, secret: 'secret', clock, logger })
  const peers = new HttpPeers({ secret: 'secret', clock, directory })
  context.after(() => server.close())
  const messages = peers.messages(server.address, 20_000)
  const waits = Array.from({ length: 1000 }, () => messages.find(0, 'id', 2000))
  const lost = Promise.all(waits.map((wait) => assert.rejects(wait, { code: 'MR_PEER_LOST' })))
  await messages.wake([1])
  assert.equal(waitingCount, 1000)
  await peers.close()
  await lost
})

test('a call that waits has its time beside the time of a call', async (context) => {
  const { address } = await open(context, {
    find: async (_lane: number, _id: string, waitMs: number) => {
      await clock.sleep(waitMs)
      return { state: 'queued' }
    },
  }).then(({ server }) => server)
  const peers = new HttpPeers({ secret: 'secret', clock, directory })
  context.after(() => peers.close())
  const found = await peers.messages(address, 1000).find(0, 'id', 1500)
  assert.equal(found.state, 'queued')
})
