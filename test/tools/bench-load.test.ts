/** The load generator of the benches, against servers in this process. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createRawServer } from 'node:net'
import { text } from 'node:stream/consumers'
import test, { type TestContext } from 'node:test'
import { Generator } from '../../bench/lib/load.ts'
import { mustEqual, Tally } from '../../bench/lib/texts.ts'

const LOAD = { connections: 3, seconds: 0.1 }

async function startGenerator(context: TestContext): Promise<Generator> {
  const generator = await Generator.start()
  context.after(() => generator.end())
  return generator
}

/** Answers each post with this status. @returns Its port, what it got, and the keys it got. */
async function listen(context: TestContext, status: number) {
  const got = new Tally()
  const keys = new Set<string>()
  const server = createServer(async (request, response) => {
    const key = request.headers['idempotency-key'] as string | undefined
    if (key !== undefined) keys.add(key)
    got.add((JSON.parse(await text(request)) as { text: string }).text)
    response.statusCode = status
    response.end('{"id":"1"}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  return { port: (server.address() as AddressInfo).port, got, keys }
}

test('the generator counts exactly what the server got', async (context) => {
  const { port, got, keys } = await listen(context, 201)
  const generator = await startGenerator(context)
  const sum = new Tally()
  for (const size of [100, 5000]) {
    const { acknowledged, p50Ms, p99Ms, generatorCpuUs } = await generator.run({ port, ...LOAD, size })
    sum.join(acknowledged)
    assert.ok(acknowledged.count >= LOAD.connections && p50Ms > 0 && p99Ms >= p50Ms && generatorCpuUs > 0)
  }
  assert.equal(keys.size, 0)
  mustEqual('the server', sum, got)
})

test('with keys, every post has one of its own', async (context) => {
  const { port, got, keys } = await listen(context, 201)
  const { acknowledged } = await (await startGenerator(context)).run({ port, ...LOAD, keyed: true })
  assert.equal(keys.size, acknowledged.count)
  assert.equal(got.count, acknowledged.count)
})

test('a run fails when a post is not answered 201', async (context) => {
  const { port } = await listen(context, 429)
  const generator = await startGenerator(context)
  await assert.rejects(generator.run({ port, ...LOAD }), /answered 429/)
})

test('a run fails when the server closes a connection', async (context) => {
  const server = createRawServer((socket) => socket.once('data', () => socket.destroy())).listen(
    0,
    '127.0.0.1',
  )
  await once(server, 'listening')
  context.after(() => server.close())
  const { port } = server.address() as AddressInfo
  await assert.rejects(
    (await startGenerator(context)).run({ port, ...LOAD }),
    /closed a connection|ECONNRESET/,
  )
})

test('a run fails when an answer does not say its length', async (context) => {
  const server = createServer((_, response) => {
    response.statusCode = 201
    response.write('{')
    response.end('}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  const { port } = server.address() as AddressInfo
  await assert.rejects((await startGenerator(context)).run({ port, ...LOAD }), /no Content-Length/)
})

test('an answer in pieces is one answer', async (context) => {
  const head = 'HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n'
  let got = 0
  const server = createRawServer((socket) => {
    socket.setNoDelay(true)
    socket.on('data', () => {
      got++
      socket.write(head)
      setTimeout(() => socket.write('{"id":"1"}'), 5)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const { acknowledged, p50Ms } = await (await startGenerator(context)).run({ port, ...LOAD })
  assert.equal(acknowledged.count, got)
  assert.ok(p50Ms >= 4)
})
