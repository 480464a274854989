/** `/in/{source}`: who may, what is stored, what is answered. The schemes have tests of their own. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import test from 'node:test'
import { Pool } from 'undici'
import { readSources } from '../../../src/inbox/sources.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { POST_DEADLINE_MS, REFUSAL_LOG_MS, REPEAT_WAIT_MS } from '../../../src/runtime/timings.ts'
import { contentOf } from '../../../src/storage/content.ts'
import { atOf } from '../../../src/storage/ids.ts'
import { startApi, until } from '../../support/public-api.ts'

const SECRET = "It's a Secret to Everybody"

const inbox = readSources('sources.json', {
  env: { SECRET },
  maxMessageBytes: 65_536,
  mayBeOpen: true,
  read: () =>
    Buffer.from(
      JSON.stringify({
        github: { verify: 'github', secret: 'env:SECRET', cloudevents: true },
        orders: { verify: 'hmac', secret: 'env:SECRET', header: 'X-Signature', maxBytes: 100, answer: 202 },
        form: { verify: 'none', types: ['application/x-www-form-urlencoded'], answer: 204, browser: true },
        open: { verify: 'none', dedupe: 'header:X-Id', answer: 201 },
        slack: { verify: 'slack', secret: 'env:SECRET' },
        meta: { verify: 'meta', secret: 'env:SECRET', verifyToken: 'env:SECRET' },
      }),
    ),
})

const sign = (body: string | Buffer) => createHmac('sha256', SECRET).update(body).digest('hex')
const github = (body: string | Buffer, more: Record<string, string> = {}) => ({
  body,
  headers: {
    ...{ 'content-type': 'application/json', 'user-agent': 'GitHub-Hookshot/044aadd' },
    ...{ 'x-github-event': 'push', 'x-github-delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958' },
    'x-hub-signature-256': `sha256=${sign(body)}`,
    ...more,
  },
})

test('a signed body is stored with its source, type and headers, and answered with its id', async (t) => {
  const { ask, facade, clock } = await startApi(t, { inbox, token: 'a token that senders do not have' })
  const answer = await ask('POST', '/in/github?a=b&a=c', github('{"zen":1}'))
  const [{ id, text }] = facade.messages as [{ id: string; text: string }]
  assert.equal(answer.status, 200)
  assert.deepEqual(answer.json, { id, at: atOf(id) })
  assert.equal(answer.headers['location'], `/messages/${id}`)
  assert.deepEqual(contentOf(text), {
    ...{ text: '{"zen":1}', source: 'github', type: 'application/json' },
    headers: {
      'user-agent': 'GitHub-Hookshot/044aadd',
      'x-github-event': 'push',
      'x-github-delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958',
    },
  })
  assert.deepEqual(facade.deadlines, [clock.monotonic() + POST_DEADLINE_MS])
})

test('a signed time is compared with the wall clock: the node’s time may be hours ahead of it', async (t) => {
  const wallAheadMs = -3_600_000
  const { ask, clock } = await startApi(t, { inbox, wallAheadMs })
  const post = (atMs: number) => {
    const time = String(Math.floor(atMs / 1000))
    const headers = { 'x-slack-request-timestamp': time, 'x-slack-signature': `v0=${sign(`v0:${time}:{}`)}` }
    return ask('POST', '/in/slack', { body: '{}', headers })
  }
  assert.equal((await post(clock.now() + wallAheadMs)).status, 200)
  assert.equal((await post(clock.now())).status, 401)
})

test('a repeat has the key of the first, whatever its body; no client has that key', async (t) => {
  const { ask, facade } = await startApi(t, { inbox })
  await ask('POST', '/in/github', github('{"zen":1}'))
  const again = await ask('POST', '/in/github', github('{"zen":2}', { 'x-more': 'a header' }))
  assert.deepEqual([again.status, again.headers['idempotent-replayed']], [200, 'true'])
  const [first, second] = facade.keys
  assert.deepEqual(second, first)
  assert.match(first!.value, /[^\x21-\x7e]/)
  assert.equal(facade.messages.length, 1)
})

test('a repeat waits for its first to end, and then gets 503', async (t) => {
  const { ask, facade, clock } = await startApi(t, { inbox })
  facade.fault = new MailroomError('MR_KEY_BUSY', { key: 'k' })
  let ended = false
  const busy = ask('POST', '/in/github', github('{}')).finally(() => {
    ended = true
  })
  const beganAt = clock.monotonic()
  while (!ended) await clock.advance(10)
  const { status, json } = await busy
  assert.deepEqual([status, json.code, json.outcome], [503, 'MR_REPEAT_BUSY', 'unknown'])
  assert.ok(clock.monotonic() - beganAt >= REPEAT_WAIT_MS)
})

test('bodies of any bytes are stored byte for byte, empty ones too', async (t) => {
  const { ask, facade } = await startApi(t, { inbox })
  const bodies = ['', '\uFEFFafter a mark', 'a=1&b=%00', '\0', 'é😀\r\n', '{"a":1,"a":2}'].map((body) =>
    Buffer.from(body),
  )
  for (const body of bodies) {
    assert.equal((await ask('POST', '/in/open', { body, headers: { 'x-id': `${body.length}` } })).status, 201)
  }
  const binary = Buffer.from([0xff, 0, 10, 0x80])
  assert.equal((await ask('POST', '/in/open', { body: binary, headers: { 'x-id': 'b' } })).status, 201)
  const contents = facade.messages.map(({ text }) => contentOf(text))
  assert.deepEqual(
    contents.map(({ text }) => text),
    [...bodies.map((body) => body.toString()), undefined],
  )
  assert.equal(contents.at(-1)!.base64, binary.toString('base64'))
  assert.deepEqual(Object.keys(contents[0]!), ['text', 'source', 'headers'])
})

test('a head that does not show its source is refused before the body is read, and the log says why', async (t) => {
  const { raw, ask, facade, logged, clock } = await startApi(t, { inbox, level: 'warn' })
  const connection = await raw()
  connection.say(
    'POST /in/github HTTP/1.1\r\nHost: localhost\r\nX-GitHub-Delivery: a\r\nContent-Length: 50000\r\n\r\n',
  )
  await until(() => connection.heard.includes('MR_SIGNATURE_INVALID'))
  assert.match(connection.heard, /^HTTP\/1.1 401 /)
  assert.match(connection.heard, /WWW-Authenticate: Signature/)
  const why = logged.filter(({ source }) => source === 'github')
  assert.deepEqual(
    why.map((line) => line['why']),
    ['x-hub-signature-256 is missing'],
  )
  const given = github('{"zen":1}')
  for (let count = 0; count < 15; count++) await ask('POST', '/in/github', { ...given, body: '{"zen":2}' })
  const wrong = await ask('POST', '/in/github', { ...given, body: '{"zen":2}' })
  assert.deepEqual([wrong.status, wrong.json.outcome], [401, 'none'])
  const lines = () => logged.filter(({ source }) => source === 'github')
  assert.equal(lines().length, 10)
  assert.equal(lines().at(-1)!['why'], 'the signature is not that of the body')
  assert.ok(lines().every(({ requestId }) => requestId !== undefined))
  await clock.advance(REFUSAL_LOG_MS)
  assert.equal(lines().at(-1)!['more'], 7)
  const again = await ask('POST', '/in/github', { ...given, body: '{"zen":2}' })
  assert.equal(lines().at(-1)!['requestId'], again.json.requestId)
  assert.equal(facade.messages.length, 0)
})

test('unknown sources, too large bodies, encodings and other types are refused by name', async (t) => {
  const { ask, facade } = await startApi(t, { inbox })
  for (const path of ['/in/gitlab', '/in/__proto__', '/in/toString', '/in/GITHUB']) {
    const { status, json } = await ask('POST', path, { body: 'x' })
    assert.deepEqual([status, json.code, json.outcome], [404, 'MR_NOT_FOUND', 'none'], path)
  }
  for (const path of ['/in', '/in/', '/in/github/', '/in/a/b']) {
    assert.equal((await ask('POST', path, { body: 'x' })).status, 404, path)
  }
  const large = 'x'.repeat(101)
  const tooLarge = await ask('POST', '/in/orders', { body: large, headers: { 'x-signature': sign(large) } })
  assert.deepEqual([tooLarge.status, tooLarge.json.detail], [413, 'The body is larger than 100 bytes'])
  const zipped = await ask('POST', '/in/github', github('{}', { 'content-encoding': 'gzip' }))
  assert.equal(zipped.status, 415)
  const typed = await ask('POST', '/in/form', { body: '{}', headers: { 'content-type': 'application/json' } })
  assert.match(typed.json.detail, /application\/x-www-form-urlencoded, got "application\/json"/)
  assert.equal(facade.messages.length, 0)
})

test('the answer is the one of the source', async (t) => {
  const { ask } = await startApi(t, { inbox })
  const order = await ask('POST', '/in/orders', { body: 'x', headers: { 'x-signature': sign('x') } })
  assert.equal(order.status, 202)
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const form = await ask('POST', '/in/form', { body: 'a=1', headers })
  assert.deepEqual([form.status, form.text], [204, ''])
})

test('a source without a check keeps out pages of other sites and foreign names, unless it is for them', async (t) => {
  const { ask } = await startApi(t, { inbox })
  const foreign = [
    { origin: 'https://evil.example' },
    { 'sec-fetch-site': 'cross-site' },
    { host: 'evil.example' },
  ]
  for (const headers of foreign) {
    const open = await ask('POST', '/in/open', { body: 'x', headers: { ...headers, 'x-id': '1' } })
    assert.equal(open.status, 403, JSON.stringify(headers))
    const form = await ask('POST', '/in/form', {
      body: 'a=1',
      headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
    })
    assert.equal(form.status, 204)
    assert.equal((await ask('POST', '/in/github', github('{}', headers))).status, 200)
  }
})

test('Slack is answered with its challenge, else with an empty body', async (t) => {
  const { ask, facade, clock } = await startApi(t, { inbox })
  const slack = (body: string) => {
    const time = String(Math.floor(clock.now() / 1000))
    const signature = `v0=${sign(`v0:${time}:${body}`)}`
    return { body, headers: { 'x-slack-signature': signature, 'x-slack-request-timestamp': time } }
  }
  const challenge = await ask('POST', '/in/slack', slack('{"type":"url_verification","challenge":"abc"}'))
  assert.deepEqual([challenge.status, challenge.text, facade.messages.length], [200, 'abc', 0])
  const event = await ask('POST', '/in/slack', slack('{"event_id":"Ev1"}'))
  assert.deepEqual([event.status, event.text, facade.messages.length], [200, '', 1])
})

test('GET is for Meta, OPTIONS for CloudEvents; elsewhere they are not supported', async (t) => {
  const { ask } = await startApi(t, { inbox })
  const query = `hub.mode=subscribe&hub.challenge=abc&hub.verify_token=${encodeURIComponent(SECRET)}`
  const right = await ask('GET', `/in/meta?${query}`)
  assert.deepEqual([right.status, right.text], [200, 'abc'])
  assert.equal((await ask('GET', '/in/meta?hub.mode=subscribe&hub.challenge=abc')).status, 403)
  assert.equal((await ask('GET', '/in/github')).status, 405)
  const asked = await ask('OPTIONS', '/in/github', { headers: { 'webhook-request-origin': 'a.example' } })
  assert.deepEqual([asked.status, asked.headers['webhook-allowed-origin']], [200, 'a.example'])
  assert.equal((await ask('OPTIONS', '/in/meta')).status, 405)
})

test('bodies in hand of all sources without a check have one share; a source with a check has its own', async (t) => {
  const bytes = 22 * 1024 * 1024
  const sources = {
    ...{ one: { verify: 'none' }, other: { verify: 'none' } },
    github: { verify: 'github', secret: 'env:SECRET' },
  }
  const large = readSources('sources.json', {
    ...{ env: { SECRET }, maxMessageBytes: bytes, mayBeOpen: true },
    read: () => Buffer.from(JSON.stringify(sources)),
  })
  const { promise: hold, resolve: letGo } = Promise.withResolvers<void>()
  t.after(() => letGo())
  const { facade, server } = await startApi(t, { inbox: large })
  // `ask` has one connection, on which a post waits for the answer to the one before.
  const pool = new Pool(`http://127.0.0.1:${server.port}`)
  t.after(() => pool.destroy())
  const post = async (path: string, given: { body: string | Buffer; headers?: Record<string, string> }) => {
    const { statusCode, body } = await pool.request({ method: 'POST', path, ...given })
    return { status: statusCode, json: (await body.json()) as Record<string, unknown> }
  }
  facade.hold = hold
  const body = Buffer.alloc(bytes, 'x')
  const held = [post('/in/one', { body }), post('/in/one', { body })]
  await until(() => facade.mostAtOnce === 2)
  let isRefused = false
  const third = post('/in/other', { body }).finally(() => {
    isRefused = true
  })
  await until(() => isRefused || facade.mostAtOnce === 3)
  assert.ok(isRefused, 'sources without a check have more than one share')
  const refused = await third
  assert.deepEqual(
    [refused.status, refused.json['code'], refused.json['outcome']],
    [429, 'MR_OVERLOADED', 'none'],
  )
  held.push(post('/in/github', github(body)))
  await until(() => facade.mostAtOnce === 3)
  letGo()
  assert.deepEqual(
    (await Promise.all(held)).map(({ status }) => status),
    [200, 200, 200],
  )
  assert.equal((await post('/in/other', { body })).status, 200, 'what is stored has left the share')
})
