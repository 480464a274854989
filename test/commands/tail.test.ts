/** `mailroom tail` in front of a node that answers as the test says. */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import test, { type TestContext } from 'node:test'
import { type ServerEvent, serverEvents } from '../../src/commands/server-events.ts'
import { begin, run } from '../support/command.ts'
import { until } from '../support/public-api.ts'

type Answer = (response: ServerResponse, request: IncomingMessage) => void

/** A node whose n-th answer is the n-th of these; requests beyond them hang. */
async function nodeOf(context: TestContext, answers: readonly Answer[]) {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    answers[requests.length - 1]?.(response, request)
  })
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  context.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, server }
}

const frame = (id: string, event: string, data: unknown) =>
  `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`

const streamOf =
  (...frames: string[]): Answer =>
  (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('retry: 1000\nid: 1-a-a\n\n')
    for (const each of frames) response.write(each)
  }

const thenEnd =
  (answer: Answer): Answer =>
  (response, request) => {
    answer(response, request)
    response.end()
  }

const at = '2026-01-01T00:00:00.000Z'
const logged = (id: string, text = id) => ({ id, at, text, bytes: Buffer.byteLength(text) })

test('events are read whatever the pieces of the stream are', async () => {
  const stream = `retry: 1000\nid: 1\n\n:\nid: 2\n\n${frame('3', 'logged', [{ text: 'ä: id: 9\n' }])}${frame('4', 'bye', {})}id: 5\ndata: [`
  for (let size = 1; size < 40; size++) {
    const pieces = async function* () {
      for (let from = 0; from < stream.length; from += size) yield stream.slice(from, from + size)
    }
    const events: ServerEvent[] = []
    for await (const event of serverEvents(pieces())) events.push(event)
    assert.deepEqual(events, [
      { event: undefined, id: '1' },
      { event: undefined, id: '2' },
      { event: 'logged', id: '3', data: [{ text: 'ä: id: 9\n' }] },
      { event: 'bye', id: '4', data: {} },
    ])
  }
})

test('connects again with its cursor after every kind of end, leaves repeats out, and Ctrl-C ends it with 0', async (context) => {
  const refuse: Answer = (response) => {
    response.writeHead(503, { 'retry-after': '0', 'content-type': 'application/problem+json' })
    response.end(JSON.stringify({ code: 'MR_READERS_FULL', detail: 'full', outcome: 'none' }))
  }
  const actor = (state: string) => frame('1-d-d', 'actor', { name: 'facade-1', state, pid: 7, restarts: 1 })
  const { url, requests } = await nodeOf(context, [
    thenEnd(
      streamOf(
        frame('1-b-b', 'logged', [logged('A'), logged('B')]),
        actor('ready'),
        frame('1-c-c', 'lagged', { cursor: '1-c-c' }),
      ),
    ),
    refuse,
    (response, request) => {
      streamOf(frame('1-e-e', 'logged', [logged('B'), logged('C')]), actor('ready'))(response, request)
      setTimeout(() => response.destroy(), 50)
    },
    streamOf(
      actor('draining'),
      frame('1-f-f', 'gap', { detail: 'Messages are gone', oldest: null }),
      frame('1-g-g', 'delivered', [
        { ...logged('C'), deliveredTo: 'messages-1', deliveredAt: at, attempts: 2 },
      ]),
    ),
  ])
  const { child, ended } = begin(['tail', '--url', url, '--json'])
  let said = ''
  child.stdout!.on('data', (data) => {
    said += data
  })
  await until(() => said.includes('"delivered"'))
  child.kill('SIGINT')
  const { code, stdout, stderr } = await ended
  assert.equal(code, 0)
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.deepEqual(
    lines.map(({ event, id, state }) => [event, id ?? state ?? null]),
    [
      ['logged', 'A'],
      ['logged', 'B'],
      ['actor', 'ready'],
      ['logged', 'C'],
      ['actor', 'draining'],
      ['gap', null],
      ['delivered', 'C'],
    ],
  )
  assert.deepEqual(lines[0], { event: 'logged', ...logged('A') })
  assert.deepEqual(
    requests.map(({ headers }) => headers['last-event-id']),
    [undefined, '1-c-c', '1-c-c', '1-d-d'],
  )
  assert.equal(requests[0]!.url, '/events?only=logged%2Cdelivered%2Cdead%2Cactor')
  const notes = stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).note as string)
  assert.equal(notes.length, 5)
  assert.match(notes[2]!, /^Disconnected: /)
  assert.deepEqual(
    [0, 1, 3, 4].map((at) => notes[at]),
    [
      'Disconnected: this command was too far behind. Connecting again',
      ...['Connected again', 'Connected again', 'Some events are missing: "Messages are gone"'],
    ],
  )
})

test('shows a line for people, harmless to a terminal', async (context) => {
  const later = new Date(Date.parse(at) + 2000).toISOString()
  const evil = '\x1b[2J\u202eevil'
  const { url } = await nodeOf(context, [
    streamOf(
      frame('1', 'logged', [logged('A', evil), { ...logged('B'), bytes: 9999 }]),
      frame('1', 'logged', [{ id: 'C', at, base64: '/w==', bytes: 1, type: 'image/png\x07' }]),
      frame('1', 'dead', [{ ...logged('D'), deadAt: later, reason: evil, attempts: 5, lastError: evil }]),
      frame('1', 'delivered', [
        { ...logged('E'), deliveredTo: 'messages-1', deliveredAt: later, attempts: 1 },
      ]),
      frame('1', 'stats', { at: Date.parse(at), accepted: 4, delivered: 3, waiting: 1, dead: 0 }),
    ),
  ])
  const { child, ended } = begin([
    'tail',
    '--url',
    url,
    '--only',
    'logged,dead,delivered,stats',
    '--after',
    '1-a-a',
  ])
  let said = ''
  child.stdout!.on('data', (data) => {
    said += data
  })
  await until(() => said.includes('stats'))
  child.kill('SIGTERM')
  const { code, stdout } = await ended
  assert.equal(code, 0)
  const shown = '"\\u001b[2J\\u202eevil"'
  assert.deepEqual(stdout.trimEnd().split('\n'), [
    `${at}  logged     A  ${shown}`,
    `${at}  logged     B  "B"… (9999 bytes)`,
    `${at}  logged     C  (1 byte, "image/png\\u0007")`,
    `${later}  dead       D  ${shown}, 5 attempts: ${shown}  "D"`,
    `${later}  delivered  E  to messages-1, 1 attempt  "E"`,
    `${at}  stats      4 accepted, 3 delivered, 1 waiting, 0 dead letters`,
  ])
})

test('what became of a message is shown after its `logged`, or after a second without it', async (context) => {
  const delivered = (id: string) => ({
    ...{ ...logged(id), deliveredTo: 'messages-1', deliveredAt: at, attempts: 1 },
  })
  const { url } = await nodeOf(context, [
    streamOf(
      frame('1', 'delivered', [delivered('A'), delivered('B')]),
      frame('1', 'logged', [logged('B'), logged('C')]),
      frame('1', 'delivered', [delivered('C')]),
      frame('1', 'logged', [logged('D')]),
    ),
  ])
  const { child, ended } = begin(['tail', '--url', url, '--only', 'logged,delivered'])
  let said = ''
  child.stdout!.on('data', (data) => {
    said += data
  })
  await until(() => / A /.test(said))
  child.kill('SIGTERM')
  const { code, stdout } = await ended
  assert.equal(code, 0)
  const shown = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ +/).slice(1, 3).join(' '))
  assert.deepEqual(shown, ['logged B', 'delivered B', 'logged C', 'delivered C', 'logged D', 'delivered A'])
})

test('what the node refuses for good, and a node that is not there, end it with 1', async (context) => {
  const { url, server, requests } = await nodeOf(context, [
    (response) => {
      response.writeHead(400, { 'content-type': 'application/problem+json' })
      response.end(
        JSON.stringify({ code: 'MR_REQUEST_INVALID', detail: 'Expected "only" to be …', outcome: 'none' }),
      )
    },
  ])
  const refused = await run(['tail', '--url', url, '--only', 'nothing'])
  assert.deepEqual([refused.code, refused.stdout, requests.length], [1, '', 1])
  assert.match(refused.stderr, /Expected "only" to be … \(MR_REQUEST_INVALID\)/)
  server.close()
  server.closeAllConnections()
  const absent = await run(['tail', '--url', url])
  assert.equal(absent.code, 1)
  assert.match(absent.stderr, /is Mailroom running\?/)
  const bad = await run(['tail', '--after', 'not a cursor'])
  assert.equal(bad.code, 78)
  assert.match(bad.stderr, /`--after` to be a cursor of GET \/events/)
})
