/** Requests nobody means well with: each gets its 4xx as a problem, nothing is stored, the next one works. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import test, { type TestContext } from 'node:test'
import { Connections } from '../../src/http/connections.ts'
import { answerParseErrors } from '../../src/http/parse-errors.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { BODY_TIMEOUT_MS, POST_DEADLINE_MS } from '../../src/runtime/timings.ts'
import { type Api, Raw, startApi, until } from '../support/public-api.ts'

const MIB = 1024 * 1024
const HEAD = 'POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n'

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

/** The status, headers and body of the one answer heard. */
function read(heard: string) {
  const [head = '', body = ''] = heard.replace(CONTINUE, '').split('\r\n\r\n')
  const [status = '', ...headers] = head.split('\r\n')
  const pairs = headers.map((line) => line.toLowerCase().split(': ') as [string, string])
  return { status: Number(status.split(' ')[1]), headers: Object.fromEntries(pairs), body }
}

async function assertRefused(api: Api, raw: Raw, expected: number): Promise<void> {
  await until(() => {
    const { headers, body } = read(raw.heard)
    return body !== '' && body.length >= Number(headers['content-length'])
  })
  const { status, headers, body } = read(raw.heard)
  assert.equal(status, expected, raw.heard)
  assert.equal(headers['content-type'], 'application/problem+json')
  assert.equal(headers['x-content-type-options'], 'nosniff')
  const problem = JSON.parse(body)
  assert.deepEqual([problem.status, problem.outcome], [expected, 'none'])
  assert.equal(problem.requestId, headers['x-request-id'])
  assert.equal(api.facade.messages.length, 0)
  assert.equal((await api.ask('GET', '/livez')).status, 200)
}

const MALFORMED: [why: string, bytes: string | Buffer, status: number][] = [
  ['not HTTP at all', '\x16\x03\x01\x02\x00\x01\x00', 400],
  ['an unknown method', 'BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
  ['no Host', 'GET /log HTTP/1.1\r\n\r\n', 400],
  ['two Hosts', 'GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n', 400],
  [
    'Content-Length and Transfer-Encoding',
    `${HEAD}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na`,
    400,
  ],
  ['two Content-Lengths', `${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, 400],
  ['a negative Content-Length', `${HEAD}Content-Length: -1\r\n\r\n`, 400],
  ['an unknown Transfer-Encoding', `${HEAD}Transfer-Encoding: gzip\r\n\r\n`, 400],
  ['a bad chunk size', `${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
  ['a bare CR in a header', 'GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\rb: c\r\n\r\n', 400],
  ['a folded header', 'GET /livez HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n', 400],
  ['a NUL in a header', 'GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n', 400],
  ['a space before a colon', 'GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n', 400],
  ['a head of 20 KB', `GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
  ['3,000 headers', `GET /livez HTTP/1.1\r\nHost: localhost\r\n${'X-Name: value\r\n'.repeat(3000)}\r\n`, 431],
  ['3,000 tiny headers', `GET /livez HTTP/1.1\r\nHost: localhost\r\n${'a:\r\n'.repeat(3000)}\r\n`, 400],
  ['a path of 20 KB', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 431],
  ['another expectation', `${HEAD}Expect: a miracle\r\nContent-Length: 1\r\n\r\na`, 400],
  ['CONNECT', 'CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n', 405],
  ['a traversing path', 'GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n', 404],
  ['an encoded traversing path', 'GET /messages/%2e%2e%2f HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
  ['a broken escape', 'GET /messages/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
  ['an asterisk', 'GET * HTTP/1.1\r\nHost: localhost\r\n\r\n', 404],
  ['a trailing slash', 'GET /livez/ HTTP/1.1\r\nHost: localhost\r\n\r\n', 404],
  ['another case', 'GET /LIVEZ HTTP/1.1\r\nHost: localhost\r\n\r\n', 404],
  ['a body on GET', 'GET /log HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na', 400],
  ['100 MB declared', `${HEAD}Content-Length: 100000000\r\n\r\n`, 413],
  ['100 MB declared, asking first', `${HEAD}Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n`, 413],
  ['gzip', `${HEAD}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08`, 415],
  ['an id with line breaks in its escape', 'GET /dead/%0d%0aX:%201 HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
]

for (const [why, bytes, status] of MALFORMED) {
  test(`${why} is refused with ${status}`, async (t) => {
    const api = await startApi(t)
    const raw = await api.raw()
    raw.say(bytes)
    await assertRefused(api, raw, status)
  })
}

test('a body of 100 MB in chunks is refused before it is read whole, and the connection closed', async (t) => {
  const api = await startApi(t)
  const raw = await api.raw()
  raw.say(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`)
  const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`
  for (let count = 0; count < 3; count++) raw.say(chunk)
  await assertRefused(api, raw, 413)
  assert.equal(read(raw.heard).headers['connection'], 'close')
  assert.equal(raw.isOver, false)
  await api.clock.advance(1000)
  await until(() => raw.isOver)
})

test('a client that sends Expect: 100-continue gets 100 Continue', async (t) => {
  const api = await startApi(t)
  const raw = await api.raw()
  raw.say(`${HEAD}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`)
  await until(() => raw.heard === CONTINUE)
  raw.say('hello')
  await until(() => raw.heard.includes('201 Created'))
  assert.equal(api.facade.messages[0]!.text, 'hello')
})

test('a body has a second more for each MiB that it announces, or has brought', async (t) => {
  const maxMessageBytes = 4 * MIB
  for (const isAnnounced of [true, false]) {
    const api = await startApi(t, { maxMessageBytes })
    const raw = await api.raw()
    const head = isAnnounced ? `Content-Length: ${3 * MIB}` : 'Transfer-Encoding: chunked'
    raw.say(`${HEAD}${head}\r\nExpect: 100-continue\r\n\r\n`)
    await until(() => raw.heard === CONTINUE)
    const part = 'x'.repeat(MIB)
    const says = isAnnounced ? part : `${MIB.toString(16)}\r\n${part}\r\n`
    for (let second = 0; second < 2; second++) raw.say(says)
    await until(() => raw.socket.writableLength === 0)
    await new Promise((resolve) => setTimeout(resolve, 100))
    await api.clock.advance(isAnnounced ? 12_999 : 11_999)
    assert.equal(raw.heard, CONTINUE)
    await api.clock.advance(1)
    await assertRefused(api, raw, 408)
  }
})

test('the deadline of a post begins at the end of its body', async (t) => {
  const api = await startApi(t)
  const raw = await api.raw()
  raw.say(`${HEAD}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`)
  await until(() => raw.heard === CONTINUE)
  await api.clock.advance(8000)
  raw.say('hello')
  await until(() => raw.heard.includes('201 Created'))
  assert.deepEqual(api.facade.deadlines, [api.clock.monotonic() + POST_DEADLINE_MS])
})

test('a body that does not arrive is refused with 408 after 10 s', async (t) => {
  const api = await startApi(t)
  const raw = await api.raw()
  raw.say(`${HEAD}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`)
  await until(() => raw.heard === CONTINUE)
  raw.say('hel')
  await api.clock.advance(BODY_TIMEOUT_MS)
  await assertRefused(api, raw, 408)
})

test('a client that closes the connection in the middle of a body leaves nothing behind', async (t) => {
  const api = await startApi(t)
  const raw = await api.raw()
  raw.say(`${HEAD}Content-Length: 5\r\n\r\nhel`)
  raw.socket.end()
  await until(() => raw.isOver)
  await api.stop()
  assert.deepEqual([api.facade.messages, api.logged], [[], []])
})

test('a body in chunks of one byte is put together', async (t) => {
  const api = await startApi(t)
  const raw = await api.raw()
  raw.say(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`)
  const text = 'é'.repeat(10_000)
  const pieces = [...Buffer.from(text)].map((byte) => Buffer.from([0x31, 13, 10, byte, 13, 10]))
  raw.say(Buffer.concat([...pieces, Buffer.from('0\r\n\r\n')]))
  await until(() => raw.heard.includes('201 Created'))
  assert.equal(api.facade.messages[0]!.text, text)
})

test('script in a text comes back as JSON that no browser renders as a page', async (t) => {
  const { ask } = await startApi(t)
  await ask('POST', '/messages', {
    headers: { 'content-type': 'text/plain' },
    body: '<script>alert(1)</script>',
  })
  const { headers } = await ask('GET', '/messages')
  assert.equal(headers['content-type'], 'application/json')
  assert.equal(headers['x-content-type-options'], 'nosniff')
})

const REQUEST_IDS: [given: string, kept: boolean][] = [
  ['abc-123', true],
  ['x'.repeat(128), true],
  ['x'.repeat(129), false],
  ['a b', false],
  ['é', false],
]

for (const [given, kept] of REQUEST_IDS) {
  test(`X-Request-Id "${given.slice(0, 8)}" of ${given.length} is ${kept ? 'kept' : 'replaced'}`, async (t) => {
    const { ask } = await startApi(t)
    const { headers } = await ask('GET', '/livez', { headers: { 'x-request-id': given } })
    assert.equal(headers['x-request-id'] === given, kept)
    assert.match(String(headers['x-request-id']), /^[\x21-\x7e]{1,128}$/)
  })
}

test('requests are logged at level debug, with their id and no text', async (t) => {
  const { ask, logged } = await startApi(t, { level: 'debug' })
  const headers = { 'content-type': 'text/plain', 'x-request-id': 'trace-1' }
  await ask('POST', '/messages', { headers, body: 'secret' })
  const { requestId, method, path, status } = logged.find(({ msg }) => msg === 'request')!
  assert.deepEqual([requestId, method, path, status], ['trace-1', 'POST', '/messages', 201])
  assert.doesNotMatch(JSON.stringify(logged), /secret/)
})

async function refusingServer(t: TestContext) {
  const server = createServer({ headersTimeout: 50, connectionsCheckingInterval: 10 })
  const options = { clock: systemClock, random: () => 0.5, keepAliveMs: 1000, passOn: () => assert.fail() }
  answerParseErrors(server, new Connections(server, options))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return new Raw(connect((server.address() as AddressInfo).port, '127.0.0.1'))
}

test('a head that does not arrive is refused with 408', async (t) => {
  const raw = await refusingServer(t)
  raw.say('GET /livez HTTP/1.1\r\nHo')
  await until(() => raw.isOver)
  const { status, headers, body } = read(raw.heard)
  assert.equal(status, 408)
  assert.equal(headers['content-type'], 'application/problem+json')
  assert.equal(JSON.parse(body).code, 'MR_REQUEST_TIMEOUT')
})
