/** Requests to the real program in every spelling: admitted, refused and answered by the same rules. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { IN_FLIGHT_MAX, IN_FLIGHT_MIN } from '../../src/http/overload.ts'
import { OVERLOAD_WINDOW_MS } from '../../src/runtime/timings.ts'
import { System, sleep } from '../support/system.ts'

const POST = 'POST /messages HTTP/1.1\r\nHost: localhost\r\n'
const HELLO = `${POST}Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello`

/** A connection, and what it has answered. */
interface Wire {
  socket: Socket
  heard: string
}

function open(system: System, bytes: string): Wire {
  const wire = { socket: connect(system.port, '127.0.0.1'), heard: '' }
  wire.socket.setEncoding('latin1').on('error', () => {})
  wire.socket.on('data', (text) => {
    wire.heard += text
  })
  wire.socket.write(bytes)
  return wire
}

/** The status and the body of the answer to these bytes. */
async function say(system: System, bytes: string): Promise<{ status: number; body: string }> {
  const wire = open(system, bytes)
  await answered(wire)
  wire.socket.destroy()
  return { status: statusOf(wire), body: wire.heard.slice(wire.heard.indexOf('\r\n\r\n') + 4) }
}

/** Waits until the answers on these connections have arrived; each is JSON. */
async function answered(...wires: Wire[]): Promise<void> {
  for (const wire of wires) {
    while (!wire.heard.includes('}')) {
      await once(wire.socket, 'data', { signal: AbortSignal.timeout(20_000) })
    }
  }
}

const statusOf = ({ heard }: Wire) => Number(/^HTTP\/1.1 (\d+)/.exec(heard)?.[1])

/** How many of `count` posts at once, each on a connection of its own, get each status. */
async function burst(system: System, count: number): Promise<Record<string, number>> {
  const wires = Array.from({ length: count }, () => open(system, HELLO))
  await answered(...wires)
  const statuses: Record<string, number> = {}
  for (const wire of wires) {
    statuses[statusOf(wire)] = (statuses[statusOf(wire)] ?? 0) + 1
    wire.socket.destroy()
  }
  return statuses
}

const bodyOf = (type: string) => `Content-Type: ${type}\r\nContent-Length: 12\r\n\r\n{"text":"a"}`

/** Spellings of a post of one message or a batch: the request line, and what follows Host. */
const POSTS: readonly (readonly [head: string, rest: string])[] = [
  ['POST /messages', bodyOf('text/plain')],
  ['POST /messages?', bodyOf('text/plain')],
  ['POST /messages?acks=errors', bodyOf('text/plain')],
  ['POST http://localhost/messages', bodyOf('text/plain')],
  ['POST HTTP://LOCALHOST:8080/messages?', bodyOf('application/json ; charset=UTF-8')],
  ['POST /%6dess%61ges', bodyOf('APPLICATION/JSON')],
  ['POST http://localhost/%6Dessages', bodyOf('application/x-ndjsonx')],
  ['POST /messages', bodyOf('image/png')],
  ['POST /messages', bodyOf('application/json, application/x-ndjson')],
  ['POST /messages', 'Content-Type: text/plain\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n'],
  ['POST /messages', `Expect: 100-Continue\r\n${bodyOf('text/plain')}`],
]
const STREAM_TYPES = ['application/x-ndjson', 'Application/X-NDJSON', 'application/x-ndjson ; charset=UTF-8']

test('requests, however they are spelt', async (t) => {
  const system = await System.start(t)

  await t.test('a thousand posts at once are taken by an idle node, whoever else is connected', async (t) => {
    const slow = [
      open(system, `${POST}Content-Type: text/plain\r\nContent-Length: 6\r\n\r\nslow`),
      open(system, `${POST}Content-Type: text/plain\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n`),
      open(system, `${POST}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`),
      // Answers behind one that is not ready cannot be sent.
      open(system, `GET /messages/${'0'.repeat(26)}?wait=30 HTTP/1.1\r\nHost: localhost\r\n\r\n${HELLO}`),
      open(system, `${POST}Content-Type: Application/X-NDJSON;a=b\r\nTransfer-Encoding: chunked\r\n\r\n`),
    ]
    t.after(() => {
      for (const { socket } of slow) socket.destroy()
    })
    await sleep(OVERLOAD_WINDOW_MS + 200)
    // The promise is of bursts that are over within two seconds: on a busy machine it may take a few to have one.
    for (let tries = 0; ; tries++) {
      const beganAt = performance.now()
      const statuses = await burst(system, 1000)
      if (performance.now() - beganAt > 2 * OVERLOAD_WINDOW_MS && tries < 10) {
        await sleep(OVERLOAD_WINDOW_MS + 200)
        continue
      }
      assert.deepEqual(statuses, { 201: 1000 })
      break
    }
    slow[0]!.socket.write('ly')
    await system.until('the slow post is answered too', async () => statusOf(slow[0]!) === 201)
  })

  await t.test('during overload every spelling of a post is refused, and of a stream is taken', async () => {
    const logging = (await system.actors()).filter(({ role }) => role === 'logging')
    // Nobody stores, and nobody ends those who do not answer.
    const stopped = [system.primary.pid!, ...logging.map(({ pid }) => pid)]
    for (const pid of stopped) process.kill(pid, 'SIGSTOP')
    const held: Wire[] = []
    try {
      while (!held.some((wire) => statusOf(wire) === 429)) {
        const waiting = held.filter(({ heard }) => heard === '')
        const count = Math.max(1, IN_FLIGHT_MAX + 1 - waiting.length)
        held.push(...Array.from({ length: count }, () => open(system, HELLO)))
        await sleep(50)
      }
      const posts = POSTS.map(([head, rest]) => `${head} HTTP/1.1\r\nHost: localhost\r\n${rest}`)
      const streams = STREAM_TYPES.map(
        (type) => `${POST}Content-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1\n\r\n0\r\n\r\n`,
      )
      const answers = await Promise.all([...posts, ...streams].map((bytes) => say(system, bytes)))
      for (const [index, { status }] of answers.entries()) {
        assert.equal(status, index < posts.length ? 429 : 200, [...posts, ...streams][index])
      }
    } finally {
      for (const pid of stopped) process.kill(pid, 'SIGCONT')
      for (const { socket } of held) socket.destroy()
    }
    await system.until('overload is over', async () => (await say(system, HELLO)).status === 201)
  })

  await t.test('a path that is spelt otherwise is not this path, to admission and router alike', async () => {
    for (const path of [
      '/messages/',
      '//messages',
      '/Messages',
      '/./messages',
      '/messages%2F',
      '/messages;a',
    ]) {
      const { status } = await say(system, HELLO.replace('/messages', path))
      assert.ok([400, 404, 405].includes(status), `${path}: ${status}`)
    }
  })

  await t.test('a bad body of 1 MiB is answered with five places and a count', async () => {
    const keys = Array.from({ length: 110_000 }, (_, index) => `"${index.toString(36)}":1`).join()
    const bodies = [`{${keys}}`, `{"text":"a",${keys}}`, `[{${keys}}]`, `[${'{},'.repeat(999)}{}]`]
    for (const body of bodies) {
      const response = await fetch(`${system.url}/messages`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body,
      })
      const text = await response.text()
      assert.equal(response.status, 400)
      assert.ok(text.length < 4000, `${text.length} bytes`)
      assert.ok(JSON.parse(text).errors.length <= 5)
      assert.match(text, /and \d+ more/)
      const lines = await fetch(`${system.url}/messages`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/x-ndjson' },
        body: body.slice(0, 500_000).replace(/,"[^"]*"?:?1?$/, '}'),
      })
      assert.ok((await lines.text()).length < 4000)
    }
    const { body } = await say(
      system,
      `GET /actors/${'x'.repeat(10_000)}/messages HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    )
    assert.ok(body.length < 1000, body)
  })

  await t.test(
    'Idempotency-Key: "order-17" and order-17 are one key, as are all of visible ASCII',
    async () => {
      const keys: [bare: string, inQuotes: string][] = [
        ['order-17', '"order-17"'],
        ['8e03978e-40d5-43e8-bc93-6894a57f9324', '"8e03978e-40d5-43e8-bc93-6894a57f9324"'],
        ['evt:1.2_3', '"evt:1.2_3"'],
        ['a\\"b', '"a\\\\\\"b"'],
        ['x', '"x"'],
        ['~'.repeat(255), `"${'~'.repeat(255)}"`],
      ]
      for (const [bare, inQuotes] of keys) {
        const post = async (key: string, body: string) => {
          const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key }
          const response = await fetch(`${system.url}/messages`, { method: 'POST', headers, body })
          return { status: response.status, text: await response.text() }
        }
        const first = await post(inQuotes, '[{"text":"pay"}]')
        assert.equal(first.status, 201, first.text)
        assert.deepEqual(await post(bare, '[{"text":"pay"}]'), first)
        assert.equal((await post(bare, '[{"text":"pay twice"}]')).status, 422)
      }
    },
  )

  await t.test('health is answered whatever the Host, or without one', async () => {
    for (const path of ['/livez', '/readyz', 'http://mailroom/readyz']) {
      for (const host of ['Host: mailroom\r\n', 'Host: mail.example:8443\r\n', 'Host:\r\n', '']) {
        const { status } = await say(system, `GET ${path} HTTP/1.1\r\n${host}\r\n`)
        assert.equal(status, 200, path + host)
      }
    }
  })
})

test('pages of other sites, and names that point here by DNS rebinding', async (t) => {
  const flags = ['--host', '0.0.0.0', '--open', '--allowed-hosts', 'mail.example, *.b.example']
  const system = await System.start(t, flags)
  const answer = (headers: Record<string, string>, path = '/messages') =>
    new Promise<[number | undefined, string | undefined]>((resolve, reject) => {
      const asked = request(system.url + path, { headers }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk) => {
          text += chunk
        })
        response.on('end', () => resolve([response.statusCode, JSON.parse(text).code]))
      })
      asked.on('error', reject).end()
    })

  await t.test('with --open the Origin must be the Host', async () => {
    const host = `127.0.0.1:${system.port}`
    assert.deepEqual(await answer({ host, origin: `http://${host}` }), [200, undefined])
    for (const origin of [
      'http://evil.example',
      'http://127.0.0.1:1',
      `http://localhost:${system.port}`,
      'null',
    ]) {
      assert.deepEqual(await answer({ host, origin }), [403, 'MR_FORBIDDEN'], origin)
      const options = { method: 'POST', headers: { 'Content-Type': 'text/plain', Origin: origin } }
      for (const path of ['/messages', '/actors/messages/restart']) {
        const response = await fetch(system.url + path, {
          ...options,
          body: path === '/messages' ? 'a' : null,
        })
        assert.equal(response.status, 403)
      }
    }
    for (const site of ['cross-site', 'same-site']) {
      assert.deepEqual(await answer({ host, 'sec-fetch-site': site }), [403, 'MR_FORBIDDEN'])
    }
    assert.equal((await system.get<{ logged: unknown[] }>('/messages')).logged.length, 0)
  })

  await t.test('a name that is not in --allowed-hosts is refused with a code of its own', async () => {
    for (const host of ['evil.example', 'mail.example.evil.example', 'b.example', '127.0.0.1.evil.example']) {
      assert.deepEqual(await answer({ host }), [403, 'MR_HOST_FORBIDDEN'], host)
      assert.equal((await answer({ host }, '/livez'))[0], 200)
    }
    for (const host of [
      'mail.example',
      'Mail.Example:8443',
      'a.b.example',
      'localhost',
      '192.168.1.7:8080',
    ]) {
      assert.deepEqual(await answer({ host }), [200, undefined], host)
    }
  })
})

test('callers without the token take no place of those with it', async (t) => {
  const token = 'a-token-of-sixteen'
  const system = await System.start(t, ['--token', token])
  const strangers: Wire[] = []
  // Each is answered 401 at once, and for up to a second what it still sends is read.
  for (let wave = 0; wave < 2; wave++) {
    for (let count = 0; count < 2 * IN_FLIGHT_MIN; count++) {
      strangers.push(open(system, `${POST}Content-Type: text/plain\r\nContent-Length: 6\r\n\r\nslow`))
    }
    await sleep(0.6 * OVERLOAD_WINDOW_MS)
  }
  const authorized = HELLO.replace('\r\n\r\n', `\r\nAuthorization: Bearer ${token}\r\n\r\n`)
  const wires = Array.from({ length: 500 }, () => open(system, authorized))
  await answered(...wires)
  assert.deepEqual([...new Set(wires.map(statusOf))], [201])
  await answered(...strangers)
  assert.deepEqual([...new Set(strangers.map(statusOf))], [401])
  for (const { socket } of [...wires, ...strangers]) socket.destroy()
})
