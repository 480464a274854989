/** Forwarding to real servers on 127.0.0.1. Only time is fake. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { type ForwardOptions, ForwardRunner } from '../../../src/actors/messages/forward.ts'
import type { Run } from '../../../src/actors/messages/runner.ts'
import { systemClock } from '../../../src/runtime/clock.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import { FORWARD_BODY_MS } from '../../../src/runtime/timings.ts'
import { type Content, storedText } from '../../../src/storage/content.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'

const TIMEOUT_MS = 30_000
const ID = '01M883CBZ24SH3582Y6FJ45H01'
const DONE: Run = { as: 'done' }

/** A request as a receiver got it. */
interface Got {
  method: string
  url: string
  headers: IncomingMessage['headers']
  body: Buffer
  /** Requests before it on its connection. */
  before: number
}

/** What a receiver does with a request, when it has its body. */
type Answer = (response: ServerResponse, got: Got) => void

/** A server that keeps what it gets, and answers 204 unless told otherwise. */
class Receiver {
  readonly got: Got[] = []
  /** Connections that were opened, and those that have closed. */
  opened = 0
  closed = 0
  readonly #counts = new WeakMap<Socket, number>()
  answer: Answer
  url = ''

  constructor(answer: Answer) {
    this.answer = answer
  }

  readonly listener: RequestListener = async (request, response) => {
    const { method = '', url = '', headers, socket } = request
    const before = this.#counts.get(socket) ?? 0
    this.#counts.set(socket, before + 1)
    const body = Buffer.concat(await request.toArray())
    const got = { method, url, headers, body, before }
    this.got.push(got)
    this.answer(response, got)
  }

  readonly onConnection = (socket: Socket) => {
    this.opened++
    socket.on('close', () => this.closed++)
  }
}

async function listen(context: TestContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  context.after(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function receive(
  context: TestContext,
  answer: Answer = (response) => response.writeHead(204).end(),
): Promise<Receiver> {
  const receiver = new Receiver(answer)
  const server = createServer(receiver.listener).on('connection', receiver.onConnection)
  receiver.url = `http://127.0.0.1:${await listen(context, server)}/hooks?to=us`
  context.after(() => server.closeAllConnections())
  return receiver
}

/** A server of bytes: what it does with each connection. */
async function accept(context: TestContext, onSocket: (socket: Socket) => void): Promise<string> {
  const port = await listen(context, createTcpServer(onSocket))
  return `http://127.0.0.1:${port}/`
}

class Bench {
  readonly clock = new FakeClock()
  readonly runner: ForwardRunner
  readonly abort = new AbortController()

  constructor(context: TestContext, url: string, options: Partial<ForwardOptions> = {}) {
    const logger = createLogger('silent', {})
    const { clock } = this
    this.runner = new ForwardRunner({
      ...{ url, secret: null, timeoutMs: TIMEOUT_MS, clock, wallClock: clock, logger },
      ...options,
    })
    context.after(() => this.runner.close())
  }

  run(content: Content | string = 'Zürich', attempt = 1): Promise<Run> {
    const text = typeof content === 'string' ? content : storedText(content)
    const options = { attempt, isAlone: false, abort: this.abort.signal, onStart: () => {} }
    return this.runner.run({ id: ID, text }, options)
  }
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await settle()
}

/** Headers as they came, without those that undici adds. */
function sent({ headers }: Got): object {
  const { host, connection, 'content-length': length, ...rest } = headers
  assert.ok(host?.startsWith('127.0.0.1:') && connection === 'keep-alive' && length !== undefined)
  return rest
}

const failed = (error: string, more: object = {}) => ({ as: 'failed', error, isSuspect: false, ...more })
const outage = (error: string, more: object = {}) => failed(error, { ...more, isOutage: true })

test('a text of /messages is posted as UTF-8 text, with its id as key and its attempt', async (context) => {
  const receiver = await receive(context)
  assert.deepEqual(await new Bench(context, receiver.url).run('Zürich', 3), DONE)
  const [got] = receiver.got
  assert.deepEqual([got!.method, got!.url, got!.body], ['POST', '/hooks?to=us', Buffer.from('Zürich')])
  assert.deepEqual(sent(got!), {
    'content-type': 'text/plain; charset=utf-8',
    'idempotency-key': ID,
    'mailroom-attempt': '3',
    'user-agent': 'Mailroom',
  })
})

test('any bytes arrive as they came: binary, empty, a byte order mark, a leading NUL', async (context) => {
  const receiver = await receive(context)
  const bench = new Bench(context, receiver.url)
  const binary = Buffer.from([0, 255, 128, 13, 10])
  const big = 'ä'.repeat(1024 * 1024)
  await bench.run({ source: 'a', type: 'application/x-protobuf', base64: binary.toString('base64') })
  for (const text of ['', '\u{feff}{"a" : 1}\r\n', '\0 head?', big]) await bench.run({ source: 'a', text })
  assert.deepEqual(
    receiver.got.map(({ body }) => body.toString('base64')),
    [binary, '', '\u{feff}{"a" : 1}\r\n', '\0 head?', big].map((body) =>
      Buffer.from(body).toString('base64'),
    ),
  )
  assert.deepEqual(
    receiver.got.map(({ headers }) => headers['content-type']),
    ['application/x-protobuf', undefined, undefined, undefined, undefined],
    'one that came without a type leaves without one',
  )
  assert.equal(receiver.got[1]!.headers['content-length'], '0')
})

test('kept headers are passed on, and never take the place of ours or of the connection’s', async (context) => {
  const receiver = await receive(context)
  const ours = {
    ...{
      'idempotency-key': 'theirs',
      'mailroom-attempt': '99',
      'mailroom-source': 'evil',
      'content-type': 'text/html',
      host: 'evil.test',
    },
    ...{ 'content-length': '1', 'transfer-encoding': 'chunked', connection: 'upgrade', upgrade: 'websocket' },
    ...{ 'keep-alive': 'timeout=1', te: 'trailers', trailer: 'x', expect: '100-continue', Host: 'evil.test' },
  }
  const kept = {
    ...{
      'x-github-event': 'push',
      'user-agent': 'GitHub-Hookshot/1',
      'x-name': 'Zürich',
      'webhook-id': 'msg_1',
    },
    ...{ 'x-empty': '' },
  }
  const headers = { ...ours, ...kept }
  const message = { source: 'github', type: 'application/json', headers, text: '{}' }
  assert.deepEqual(await new Bench(context, receiver.url).run(message), DONE)
  assert.deepEqual(sent(receiver.got[0]!), {
    ...kept,
    ...{ 'content-type': 'application/json', 'idempotency-key': ID, 'mailroom-attempt': '1' },
    'mailroom-source': 'github',
  })
})

test('a header that HTTP cannot carry is left out, and the message is forwarded', async (context) => {
  const receiver = await receive(context)
  const headers = { 'x-split': 'a\r\nx-injected: 1', 'x-wide': '時', 'x y': 'name', 'x-fine': 'fine' }
  const message = { source: 'a', type: 'text/plain\u{2028}', headers, text: '{}' }
  assert.deepEqual(await new Bench(context, receiver.url).run(message), DONE)
  assert.deepEqual(sent(receiver.got[0]!), {
    ...{ 'x-fine': 'fine', 'idempotency-key': ID, 'mailroom-attempt': '1' },
    ...{ 'mailroom-source': 'a', 'user-agent': 'Mailroom' },
  })
})

test('the status decides: done, dead at once, an outage, or the message’s own failure', async (context) => {
  const receiver = await receive(context)
  const bench = new Bench(context, receiver.url)
  const ends: Record<number, Run> = {}
  for (const status of [200, 201, 202, 204, 299, 410, 429, 502, 503, 504]) {
    receiver.answer = (response) => response.writeHead(status).end()
    ends[status] = await bench.run()
  }
  assert.deepEqual(ends, {
    ...{ 200: DONE, 201: DONE, 202: DONE, 204: DONE, 299: DONE },
    410: failed('Answered 410', { retry: false }),
    429: outage('Answered 429'),
    ...{ 502: outage('Answered 502'), 503: outage('Answered 503'), 504: outage('Answered 504') },
  })
  for (const status of [400, 401, 403, 404, 408, 413, 422, 499, 500, 501, 505, 599]) {
    receiver.answer = (response) => response.writeHead(status).end()
    assert.deepEqual(await bench.run(), failed(`Answered ${status}`))
  }
})

test('a redirect is a failure, and is not followed', async (context) => {
  const receiver = await receive(context)
  const bench = new Bench(context, receiver.url)
  for (const status of [301, 302, 303, 307, 308]) {
    receiver.answer = (response) => response.writeHead(status, { Location: '/elsewhere?secret=1' }).end()
    const why = `Answered ${status}: redirects are not followed (Location: /elsewhere)`
    assert.deepEqual(await bench.run(), failed(why))
  }
  receiver.answer = (response) => response.writeHead(304).end()
  assert.deepEqual(await bench.run(), failed('Answered 304: redirects are not followed (Location: none)'))
  assert.deepEqual(new Set(receiver.got.map(({ url }) => url)), new Set(['/hooks?to=us']))
})

test('Retry-After is passed on, in seconds or as a date; what asks for no time is no Retry-After', async (context) => {
  const receiver = await receive(context)
  const bench = new Bench(context, receiver.url)
  const at = (ms: number) => new Date(ms).toUTCString()
  const theirs = Date.UTC(2031, 5, 1)
  const ourNow = bench.clock.now()
  const cases: [headers: Record<string, string>, afterMs: number | undefined][] = [
    [{ 'Retry-After': '120' }, 120_000],
    [{ 'Retry-After': at(theirs + 90_000), Date: at(theirs) }, 90_000],
    [{ 'Retry-After': at(ourNow + 60_000), Date: '' }, 60_000],
    [{ 'Retry-After': at(theirs - 1000), Date: at(theirs) }, undefined],
    ...['0', '-1', '1.5', 'soon', '', 'GMT', '2031-06-01'].map(
      (value): [Record<string, string>, undefined] => [{ 'Retry-After': value }, undefined],
    ),
  ]
  for (const [headers, afterMs] of cases) {
    for (const [status, more] of [
      [503, { isOutage: true }],
      [500, {}],
    ] as const) {
      receiver.answer = (response) => response.writeHead(status, headers).end()
      const retry = afterMs === undefined ? {} : { retry: { afterMs } }
      const expected = failed(`Answered ${status}`, { ...retry, ...more })
      assert.deepEqual(await bench.run(), expected, JSON.stringify(headers))
    }
  }
  receiver.answer = (response) => response.writeHead(410, { 'Retry-After': '5' }).end()
  assert.deepEqual(await bench.run(), failed('Answered 410', { retry: false }))
})

test('1 KiB of an error’s body is told, on one line, without control characters', async (context) => {
  const receiver = await receive(context, (response) => {
    response.writeHead(500).end('\u{1b}[31mbad\u{0}\r\n  day\u{202e}\u{2028}ü\xa0!')
  })
  const bench = new Bench(context, receiver.url)
  assert.deepEqual(await bench.run(), failed('Answered 500: [31mbad day ü !'))
  receiver.answer = (response) => response.writeHead(400).end(`a${'ü'.repeat(5000)}`)
  assert.deepEqual(await bench.run(), failed(`Answered 400: a${'ü'.repeat(511)}`), 'no half character')
  assert.equal(receiver.opened, 1, 'a body of some length is read to its end: its connection lives')
})

test('a receiver that does not answer is an outage at the timeout, and its connection is closed', async (context) => {
  const receiver = await receive(context, () => {})
  const bench = new Bench(context, receiver.url)
  const run = bench.run()
  await until(() => receiver.got.length === 1)
  await bench.clock.advance(TIMEOUT_MS - 1)
  assert.equal(receiver.closed, 0)
  await bench.clock.advance(1)
  assert.deepEqual(await run, outage('No answer within 30000 ms'))
  await until(() => receiver.closed === 1)
})

test('a body that hangs is waited for a moment: the status has decided', async (context) => {
  const receiver = await receive(context)
  const bench = new Bench(context, receiver.url)
  for (const [status, expected] of [
    [200, DONE],
    [500, failed('Answered 500: so far')],
  ] as const) {
    let hasAnswered = false
    receiver.answer = (response) => {
      response.writeHead(status).write('so far', () => {
        hasAnswered = true
      })
    }
    let end: Run | undefined
    const run = bench.run().then((ended) => {
      end = ended
    })
    await until(() => hasAnswered)
    await settle()
    await bench.clock.advance(FORWARD_BODY_MS - 1)
    assert.equal(end, undefined)
    await bench.clock.advance(1)
    await run
    assert.deepEqual(end, expected)
  }
  await until(() => receiver.closed === 2)
})

test('a body that breaks off changes nothing, and its connection is not used again', async (context) => {
  const receiver = await receive(context, (response) => {
    response.writeHead(201, { 'Content-Length': '10' }).write('half', () => response.destroy())
  })
  const bench = new Bench(context, receiver.url)
  assert.deepEqual([await bench.run(), await bench.run()], [DONE, DONE])
  assert.deepEqual([receiver.got.length, receiver.opened], [2, 2])
})

test('an endless body is cut off', async (context) => {
  let written = 0
  const receiver = await receive(context, (response) => {
    response.writeHead(500)
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(1000))) written += 1000
    }
    response.on('drain', more)
    more()
  })
  const end = await new Bench(context, receiver.url).run()
  assert.deepEqual(end, failed(`Answered 500: ${'x'.repeat(1024)}`))
  await until(() => receiver.closed === 1)
  assert.ok(written < 64 * 1024 * 1024, `${written} bytes`)
})

test('a connection is used again, also after errors', async (context) => {
  const receiver = await receive(context)
  const bench = new Bench(context, receiver.url)
  for (const status of [204, 500, 503, 200]) {
    receiver.answer = (response) => response.writeHead(status).end('some text')
    await bench.run()
  }
  assert.deepEqual(
    receiver.got.map(({ before }) => before),
    [0, 1, 2, 3],
  )
})

test('a reset on a reused connection is tried once more at once, as the same attempt', async (context) => {
  const receiver = await receive(context, (response, { before }) => {
    if (before === 0) response.writeHead(204).end()
    else response.destroy()
  })
  const bench = new Bench(context, receiver.url)
  assert.deepEqual([await bench.run('one', 1), await bench.run('two', 7)], [DONE, DONE])
  assert.deepEqual(
    receiver.got.map(({ body, before, headers }) => [String(body), before, headers['mailroom-attempt']]),
    [
      ['one', 0, '1'],
      ['two', 1, '7'],
      ['two', 0, '7'],
    ],
  )
})

test('when that is reset, too, it is an outage', async (context) => {
  const receiver = await receive(context)
  const bench = new Bench(context, receiver.url)
  await Promise.all([bench.run(), bench.run(), bench.run()])
  receiver.answer = (response) => response.destroy()
  assert.deepEqual(await bench.run(), outage('No answer: other side closed'))
  assert.equal(receiver.got.length, 3 + 2, 'once on an idle connection, once on a new one')
})

test('a reset on a new connection is an outage, and is not tried again', async (context) => {
  const receiver = await receive(context, (response) => response.socket!.resetAndDestroy())
  assert.deepEqual(await new Bench(context, receiver.url).run(), outage('No answer: read ECONNRESET'))
  assert.equal(receiver.got.length, 1)
})

test('an idle connection that was closed before is not used', async (context) => {
  const receiver = await receive(context)
  const bench = new Bench(context, receiver.url)
  for (let round = 1; round <= 2; round++) {
    receiver.answer = (response) => response.writeHead(204).end(() => response.socket!.end())
    assert.deepEqual(await bench.run(), DONE)
    await until(() => receiver.closed === round)
  }
  assert.equal(receiver.got.length, 2)
})

test('no connection, no TLS, and an answer that is cut off are outages', async (context) => {
  const gone = createTcpServer()
  const port = await listen(context, gone)
  await new Promise((resolve) => gone.close(resolve))
  const refused = await new Bench(context, `http://127.0.0.1:${port}/`).run()
  assert.deepEqual(refused, outage(`No answer: connect ECONNREFUSED 127.0.0.1:${port}`))
  const unnamed = await new Bench(context, `http://localhost:${port}/`).run()
  assert.match(JSON.stringify(unnamed), /"error":"No answer: .*ECONNREFUSED.*"isOutage":true/)

  const plain = await receive(context)
  const tls = (await new Bench(context, plain.url.replace('http:', 'https:')).run()) as { error: string }
  assert.deepEqual(tls, outage(tls.error))
  assert.match(tls.error, /SSL|TLS/)

  const cut = await accept(context, (socket) => socket.once('data', () => socket.end('HTTP/1.1 200 O')))
  assert.deepEqual(await new Bench(context, cut).run(), outage('No answer: other side closed'))
})

test('an answer that is not HTTP is a failure of the message', async (context) => {
  const url = await accept(context, (socket) => socket.once('data', () => socket.end('SSH-2.0-OpenSSH\r\n')))
  const end = (await new Bench(context, url).run()) as { error: string }
  assert.deepEqual(end, failed(end.error))
  assert.match(end.error, /^No answer: /)
})

test('a drain gives the message back, unless it was answered', async (context) => {
  const receiver = await receive(context, () => {})
  const bench = new Bench(context, receiver.url)
  const hanging = bench.run()
  await until(() => receiver.got.length === 1)
  const answered = bench.run()
  receiver.answer = (response) => response.writeHead(200).write('half an answer')
  await until(() => receiver.got.length === 2)
  await settle()
  bench.abort.abort()
  assert.deepEqual(await hanging, { as: 'back', isSuspect: false })
  assert.deepEqual(await answered, DONE)
  assert.deepEqual(await bench.run(), { as: 'back', isSuspect: false }, 'aborted before it began')
  await until(() => receiver.closed === 2)
  assert.equal(receiver.got.length, 2)
})

test('a signed request is verified by the library of Standard Webhooks, whatever was kept', async (context) => {
  const receiver = await receive(context)
  const headers = {
    'webhook-id': 'msg_1',
    'webhook-timestamp': '1',
    'webhook-signature': 'v1,AAAA',
    'x-a': '1',
  }
  const message = { source: 'a', type: 'application/json', headers, text: '{"a":"Zürich"}' }
  const encoded = `whsec_${Buffer.from('a secret of 24 bytes or so').toString('base64')}`
  const wallClock = systemClock
  for (const [secret, verifier] of [
    [encoded, new Webhook(encoded)],
    ['a plain secret', new Webhook('a plain secret', { format: 'raw' })],
  ] as const) {
    assert.deepEqual(await new Bench(context, receiver.url, { secret, wallClock }).run(message), DONE)
    const got = receiver.got.at(-1)!
    const theirs = got.headers as Record<string, string>
    assert.deepEqual(verifier.verify(got.body, theirs), { a: 'Zürich' })
    assert.deepEqual([theirs['webhook-id'], theirs['x-a']], [ID, '1'])
    assert.throws(() => verifier.verify(Buffer.from('{}'), theirs), /signature/i)
  }
})

test('the signature is over the very bytes, and the time is that of the wall clock', async (context) => {
  const receiver = await receive(context)
  const bench = new Bench(context, receiver.url, {
    secret: 'key',
    wallClock: { now: () => 1_700_000_000_999 },
  })
  const binary = Buffer.from([0, 255, 128])
  await bench.run({ source: 'a', base64: binary.toString('base64') })
  const signed = Buffer.concat([Buffer.from(`${ID}.1700000000.`), binary])
  const { headers } = receiver.got[0]!
  assert.equal(headers['webhook-timestamp'], '1700000000')
  const expected = createHmac('sha256', 'key').update(signed).digest('base64')
  assert.equal(headers['webhook-signature'], `v1,${expected}`)
})

test('32 requests at once, of which further attempts are half; none has to run alone', async (context) => {
  const { runner } = new Bench(context, 'http://127.0.0.1:9/')
  const held: Record<string, number> = { new: 0, retry: 0, alone: 0 }
  for (const share of ['retry', 'alone', 'new'] as const) {
    for (let count = 0; count < 40; count++) void runner.acquire(share).then(() => held[share]!++)
    await settle()
  }
  assert.deepEqual(held, { retry: 16, alone: 0, new: 16 })
  const { runner: other } = new Bench(context, 'http://127.0.0.1:9/')
  let alone = 0
  for (let count = 0; count < 40; count++) void other.acquire('alone').then(() => alone++)
  await settle()
  assert.equal(alone, 16)
})

test('people are shown the URL without its query', (context) => {
  const { runner } = new Bench(context, 'https://example.com:8443/hooks/in?token=secret#part')
  assert.equal(runner.target, 'https://example.com:8443/hooks/in')
})
