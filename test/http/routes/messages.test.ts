/** POST /messages with one message or a batch. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { POST_DEADLINE_MS } from '../../../src/runtime/timings.ts'
import { contentOf } from '../../../src/storage/content.ts'
import { atOf } from '../../../src/storage/ids.ts'
import { startApi, until } from '../../support/public-api.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
const TEXT_TYPE = { 'content-type': 'text/plain' }
const KEY = { 'idempotency-key': 'abcdefgh-ABCD_0123' }

test('a message in JSON is accepted, with its place', async (t) => {
  const { ask, facade, clock } = await startApi(t)
  const answer = await ask('POST', '/messages', { headers: JSON_TYPE, body: '{"text":"hello"}' })
  const { id } = facade.messages[0]!
  assert.equal(answer.status, 201)
  assert.deepEqual(answer.json, { id, at: atOf(id) })
  assert.equal(answer.headers['location'], `/messages/${id}`)
  assert.deepEqual(facade.deadlines, [clock.monotonic() + POST_DEADLINE_MS])
})

test('the bare text is accepted as text/plain, with or without charset=utf-8', async (t) => {
  const { ask, facade } = await startApi(t)
  for (const type of ['text/plain', 'text/plain; charset=utf-8', 'Text/Plain;charset="UTF-8"']) {
    assert.equal(
      (await ask('POST', '/messages', { headers: { 'content-type': type }, body: 'é' })).status,
      201,
    )
  }
  assert.deepEqual(
    facade.messages.map(({ text }) => text),
    ['é', 'é', 'é'],
  )
})

const FAITHFUL = ['\u0000', '\uFEFFafter a BOM', '<script>', '"\\u0041', '\r\n', '😀', ' ', '{"text":1}']

test('valid text is stored byte for byte', async (t) => {
  const { ask, facade } = await startApi(t)
  for (const text of FAITHFUL) {
    await ask('POST', '/messages', { headers: TEXT_TYPE, body: text })
    await ask('POST', '/messages', { headers: JSON_TYPE, body: JSON.stringify({ text }) })
    await ask('POST', '/messages', { headers: JSON_TYPE, body: JSON.stringify([{ text }]) })
  }
  assert.deepEqual(
    facade.messages.map(({ text }) => contentOf(text).text),
    FAITHFUL.flatMap((text) => [text, text, text]),
  )
})

test('a batch is stored whole and in order', async (t) => {
  const { ask, facade } = await startApi(t)
  const body = JSON.stringify(Array.from({ length: 1000 }, (_, index) => ({ text: `${index}` })))
  const answer = await ask('POST', '/messages', { headers: JSON_TYPE, body })
  assert.equal(answer.status, 201)
  assert.equal(facade.batches.length, 1)
  assert.deepEqual(
    answer.json,
    facade.messages.map(({ id }) => ({ id, at: atOf(id) })),
  )
})

test('a text of 65,536 bytes is accepted, one of 65,537 is too large', async (t) => {
  const { ask, facade } = await startApi(t)
  const fits = `${'é'.repeat(32_767)}ab`
  for (const [text, status] of [
    [fits, 201],
    [`${fits}c`, 413],
  ] as const) {
    assert.equal((await ask('POST', '/messages', { headers: TEXT_TYPE, body: text })).status, status)
    const one = await ask('POST', '/messages', { headers: JSON_TYPE, body: JSON.stringify({ text }) })
    assert.equal(one.status, status)
    const many = await ask('POST', '/messages', { headers: JSON_TYPE, body: JSON.stringify([{ text }]) })
    assert.equal(many.status, status)
  }
  assert.equal(facade.messages.length, 3)
})

test('a JSON body of 1 MiB is read, one byte more is too large', async (t) => {
  const { ask, facade } = await startApi(t)
  const body = '{"text":"a"}'.padEnd(1024 * 1024)
  assert.equal((await ask('POST', '/messages', { headers: JSON_TYPE, body })).status, 201)
  assert.equal((await ask('POST', '/messages', { headers: JSON_TYPE, body: `${body} ` })).status, 413)
  assert.equal(facade.messages.length, 1)
})

const REFUSED: [why: string, body: string, where: string][] = [
  ['nothing', '', 'the body'],
  ['not JSON', '{"text":', 'the body'],
  ['a BOM before JSON', '\uFEFF{"text":"a"}', 'the body'],
  ['a string', '"a"', 'the message'],
  ['null', 'null', 'the message'],
  ['no text', '{}', 'text'],
  ['a number as text', '{"text":1e400}', 'text'],
  ['an empty text', '{"text":""}', 'text'],
  ['a lone surrogate', '{"text":"\\ud800"}', 'text'],
  ['an unknown field', '{"text":"a","txet":"b"}', 'the message'],
  ['__proto__', '{"text":"a","__proto__":{"text":"b"}}', 'the message'],
  ['the same key twice', '{"text":"a","text":"b"}', 'the message'],
  ['the same key twice in disguise', '{"text":"a","\\u0074ext":"b"}', 'the message'],
  ['deep nesting', `${'['.repeat(10_000)}${']'.repeat(10_000)}`, '[0]'],
  ['deep nesting inside', `{"text":${'['.repeat(10_000)}${']'.repeat(10_000)}}`, 'text'],
  ['an empty batch', '[]', 'the body'],
  ['too large a batch', JSON.stringify(Array(1001).fill({ text: 'a' })), 'the body'],
  ['a bad item', '[{"text":"a"},{"text":2}]', '[1].text'],
  ['an empty item', '[{"text":"a"},{"text":""}]', '[1].text'],
  ['an unknown field in an item', '[{"text":"a"},{"text":"a","b":1}]', '[1]'],
  ['a key twice in an item', '[{"text":"a"},{"text":"a","text":"b"}]', 'the body'],
]

for (const [why, body, where] of REFUSED) {
  test(`refuses ${why}, and names the place`, async (t) => {
    const { ask, facade } = await startApi(t)
    const answer = await ask('POST', '/messages', { headers: JSON_TYPE, body })
    assert.equal(answer.status, 400)
    assert.equal(answer.headers['content-type'], 'application/problem+json')
    assert.equal(answer.json.code, 'MR_MESSAGE_INVALID')
    assert.equal(answer.json.outcome, 'none')
    assert.equal(answer.json.errors[0].where, where)
    assert.equal(facade.messages.length, 0)
  })
}

test('refuses bytes that are not UTF-8, in either type', async (t) => {
  const { ask, facade } = await startApi(t)
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
    const inJson = Buffer.concat([Buffer.from('{"text":"'), Buffer.from(bytes), Buffer.from('"}')])
    assert.equal(
      (await ask('POST', '/messages', { headers: TEXT_TYPE, body: Buffer.from(bytes) })).status,
      400,
    )
    assert.equal((await ask('POST', '/messages', { headers: JSON_TYPE, body: inJson })).status, 400)
  }
  assert.equal(facade.messages.length, 0)
})

test('refuses other types, other charsets and every content encoding', async (t) => {
  const { ask, facade } = await startApi(t)
  const refused: Record<string, string>[] = [
    {},
    { 'content-type': 'application/xml' },
    { 'content-type': 'application/jsonx' },
    { 'content-type': 'text/plain; charset=latin1' },
    { ...JSON_TYPE, 'content-encoding': 'gzip' },
    { ...JSON_TYPE, 'content-encoding': 'identity' },
  ]
  for (const headers of refused) {
    const answer = await ask('POST', '/messages', { headers, body: '{"text":"a"}' })
    assert.equal(answer.status, 415)
    assert.equal(answer.json.code, 'MR_TYPE_UNSUPPORTED')
  }
  assert.equal(facade.messages.length, 0)
})

test('a repeat with the same key is answered as the first time, in JSON or text/plain', async (t) => {
  const { ask, facade } = await startApi(t)
  const first = await ask('POST', '/messages', { headers: { ...JSON_TYPE, ...KEY }, body: '{"text":"a"}' })
  const again = await ask('POST', '/messages', { headers: { ...TEXT_TYPE, ...KEY }, body: 'a' })
  assert.equal(first.headers['idempotent-replayed'], undefined)
  assert.equal(again.headers['idempotent-replayed'], 'true')
  assert.equal(again.status, 201)
  assert.deepEqual(again.json, first.json)
  assert.equal(again.headers['location'], first.headers['location'])
  assert.equal(facade.messages.length, 1)
})

test('a key covers a batch whole, and one message is not a batch of one', async (t) => {
  const { ask, facade } = await startApi(t)
  const post = (body: string) => ask('POST', '/messages', { headers: { ...JSON_TYPE, ...KEY }, body })
  const first = await post('[{"text":"a"},{"text":"b"}]')
  assert.deepEqual((await post('[ {"text":"a"}, {"text":"b"} ]')).json, first.json)
  for (const other of ['[{"text":"ab"}]', '[{"text":"a"}]', '{"text":"a"}', '[{"text":"b"},{"text":"a"}]']) {
    const answer = await post(other)
    assert.equal(answer.status, 422)
    assert.equal(answer.json.code, 'MR_KEY_REUSED')
  }
  assert.equal(facade.messages.length, 2)
})

test('a key whose first request still runs is answered 409 with Retry-After', async (t) => {
  const { ask, facade, server } = await startApi(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  facade.hold = promise
  const first = fetch(`http://127.0.0.1:${server.port}/messages`, {
    method: 'POST',
    headers: { ...TEXT_TYPE, ...KEY },
    body: 'a',
  })
  await until(() => facade.mostAtOnce === 1)
  const second = await ask('POST', '/messages', { headers: { ...TEXT_TYPE, ...KEY }, body: 'a' })
  assert.equal(second.status, 409)
  assert.equal(second.json.code, 'MR_KEY_BUSY')
  assert.equal(second.json.outcome, 'unknown')
  assert.match(String(second.headers['retry-after']), /^[1-3]$/)
  resolve()
  assert.equal((await first).status, 201)
})

const KEYS: [header: string, got: string][] = [
  ['', '0 characters'],
  ['a'.repeat(256), '256 characters'],
  [`"${'a'.repeat(256)}"`, '256 characters'],
  ['a b', '" " as character 2'],
  ['aé', '"é" as character 2'],
  ['"a b"', '" " as character 2'],
  ['""', '0 characters'],
  ['"', 'a quoted string with a stray quote or backslash'],
  ['"a"b"', 'a quoted string with a stray quote or backslash'],
  ['"a\\n"', 'a quoted string with a stray quote or backslash'],
  ['"a\\"', 'a quoted string with a stray quote or backslash'],
  ['"a", "a"', 'a quoted string with a stray quote or backslash'],
]

test('refuses keys that are empty, too long or of other characters, and names which', async (t) => {
  const { ask, facade } = await startApi(t)
  for (const [key, got] of KEYS) {
    const headers = { ...TEXT_TYPE, 'idempotency-key': Buffer.from(key, 'latin1').toString('latin1') }
    const answer = await ask('POST', '/messages', { headers, body: 'a' })
    assert.equal(answer.status, 400, key)
    const expected = '1 to 255 visible ASCII characters, bare or in double quotes'
    assert.deepEqual(answer.json.errors, [{ where: 'Idempotency-Key', expected, got }])
  }
  assert.equal(facade.messages.length, 0)
})

const SPELLINGS: [bare: string, quoted: string][] = [
  ['a', '"a"'],
  ['order-17', '"order-17"'],
  ['evt:1234.5', '"evt:1234.5"'],
  ['a\\b', '"a\\\\b"'],
  ['a"b', '"a\\"b"'],
  ["!#$%&'()*+,/:;<=>?@[]^_`{|}~", '"!#$%&\'()*+,/:;<=>?@[]^_`{|}~"'],
  ['k'.repeat(255), `"${'k'.repeat(255)}"`],
]

test('a key in quotes is the same key as the bare one', async (t) => {
  const { ask, facade } = await startApi(t)
  for (const [bare, inQuotes] of SPELLINGS) {
    const post = (key: string) =>
      ask('POST', '/messages', { headers: { ...TEXT_TYPE, 'idempotency-key': key }, body: 'a' })
    const first = await post(bare)
    const again = await post(inQuotes)
    assert.deepEqual([first.status, again.status, again.json], [201, 201, first.json], bare)
    assert.equal(again.headers['idempotent-replayed'], 'true')
  }
  assert.equal(facade.messages.length, SPELLINGS.length)
})

test('of a body with many faults five are named and the rest counted, however large it is', async (t) => {
  const { ask, facade } = await startApi(t)
  const many = (count: number, one: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => one(index)).join()
  const long = 'k'.repeat(5000)
  const bodies: [body: string, named: number, more: number | undefined, detail: RegExp][] = [
    [`[${many(1000, () => '{}')}]`, 5, 995, /; and 995 more$/],
    [`[${many(1000, () => `{"text":"a",${many(80, (n) => `"${n}":1`)}}`)}]`, 5, 995, /"4" and 75 more; /],
    [`{"text":"a",${many(100_000, (n) => `"${n}":1`)}}`, 1, undefined, /"4" and 99995 more$/],
    [`{"text":"a",${many(200, (n) => `"${n}${long}":1`)}}`, 1, undefined, /"0k{63}…", .* and 195 more$/],
    [`[${many(300_000, () => '1')}]`, 1, undefined, /got 300000$/],
    [`[${many(6, () => '1')}]`, 5, 1, /; and 1 more$/],
    [`[${many(5, () => '1')}]`, 5, undefined, /got a number$/],
  ]
  for (const [body, named, more, detail] of bodies) {
    const answer = await ask('POST', '/messages', { headers: JSON_TYPE, body })
    assert.equal(answer.status, 400)
    assert.match(answer.json.detail, detail)
    assert.deepEqual([answer.json.errors.length, answer.json.moreErrors], [named, more])
    assert.ok(answer.text.length < 6000, `${answer.text.length} characters`)
  }
  assert.equal(facade.messages.length, 0)
})

const LONG = 'x'.repeat(10_000)
const QUOTING: [method: string, path: string, headers: Record<string, string>][] = [
  ['POST', '/messages', { 'content-type': LONG }],
  ['POST', '/messages', { 'content-type': 'text/plain', 'content-encoding': LONG }],
  ['POST', '/messages', { 'content-type': 'text/plain', 'idempotency-key': LONG }],
  ['POST', `/messages?${LONG}=1`, { 'content-type': 'text/plain' }],
  ['POST', `/messages?acks=${LONG}`, { 'content-type': 'application/x-ndjson' }],
  ['GET', `/messages?limit=${LONG}`, {}],
  ['GET', `/messages/${LONG}`, {}],
  ['GET', `/log?after=${LONG}`, {}],
  ['PATCH', `/messages/${LONG}`, {}],
  ['PUT', `/actors/${LONG}`, { 'content-type': 'application/json' }],
  ['GET', `/${LONG}`, {}],
  ['GET', '/log', { host: LONG }],
  ['GET', '/log', { host: 'localhost', origin: LONG }],
]

test('no error repeats more than a little of what the client sent', async (t) => {
  const { ask } = await startApi(t)
  for (const [method, path, headers] of QUOTING) {
    const body = method === 'POST' || method === 'PUT' ? 'a' : null
    const { status, text } = await ask(method, path, { headers, body })
    assert.ok(status >= 400 && status < 500, `${method} ${path.slice(0, 20)}: ${status}`)
    assert.ok(text.length < 1000, `${method} ${path.slice(0, 20)}: ${text.length} characters`)
  }
})

test('refusals of the facade are answered with their status, outcome and Retry-After', async (t) => {
  const { ask, facade } = await startApi(t)
  const full = { mailbox: 'facade-1', depth: 1, capacity: 1, unit: 'messages' as const }
  const cases: [MailroomError, status: number, outcome: string, retries: boolean][] = [
    [new MailroomError('MR_MAILBOX_FULL', full), 503, 'none', true],
    [new MailroomError('MR_OVERLOADED', { what: 'posts', limit: 1 }), 429, 'none', true],
    [new MailroomError('MR_STORE_UNAVAILABLE', { store: 'log', reason: 'away' }), 503, 'none', true],
    [new MailroomError('MR_PEER_LOST', { peer: 'logging-1', reason: 'gone' }), 503, 'unknown', true],
    [new MailroomError('MR_DEADLINE_EXPIRED', { what: 'append', deadlineMs: 3000 }), 504, 'unknown', false],
  ]
  for (const [fault, status, outcome, retries] of cases) {
    facade.fault = fault
    const answer = await ask('POST', '/messages', { headers: TEXT_TYPE, body: 'a' })
    assert.equal(answer.status, status)
    assert.equal(answer.json.code, fault.code)
    assert.equal(answer.json.outcome, outcome)
    assert.equal(answer.headers['retry-after'] !== undefined, retries)
  }
})

test('a bug is answered without its message, and logged with its stack', async (t) => {
  const { ask, facade, logged } = await startApi(t)
  facade.fault = new TypeError('secret words')
  const answer = await ask('POST', '/messages', {
    headers: { ...TEXT_TYPE, 'x-request-id': 'trace-1' },
    body: 'a',
  })
  assert.equal(answer.status, 500)
  assert.equal(answer.json.code, 'MR_INTERNAL')
  assert.equal(answer.json.outcome, 'unknown')
  assert.doesNotMatch(answer.text, /secret/)
  assert.equal(logged[0]?.['requestId'], 'trace-1')
  assert.match(JSON.stringify(logged[0]), /secret words.*at /)
})
