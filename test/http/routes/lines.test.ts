/** POST /messages as NDJSON: a stream in, a stream back. */
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import test from 'node:test'
import { MailroomError } from '../../../src/runtime/errors.ts'
import {
  LINGER_MS,
  READ_STALL_MS,
  STREAM_DRAIN_CHECK_MS,
  STREAM_PATIENCE_MS,
  STREAM_PULSE_MS,
} from '../../../src/runtime/timings.ts'
import { atOf } from '../../../src/storage/ids.ts'
import { lineMaxBytes } from '../../../src/storage/limits.ts'
import { type Api, startApi, until } from '../../support/public-api.ts'

const headers = { 'content-type': 'application/x-ndjson' }

/** A stream that stays open, and the lines that come back. */
async function open({ client }: Api, path = '/messages') {
  const body = new PassThrough()
  const lines: Record<string, unknown>[] = []
  let isOver = false
  let pulses = 0
  let error: unknown
  const response = client.request({ method: 'POST', path, headers, body })
  const reading = response.then(async (answer) => {
    let text = ''
    for await (const piece of answer.body) {
      text += piece
      const whole = text.split('\n')
      text = whole.pop()!
      pulses += whole.filter((line) => line === '').length
      lines.push(...whole.filter((line) => line !== '').map((line) => JSON.parse(line)))
    }
  })
  reading
    .catch((reason) => {
      error = reason
    })
    .finally(() => {
      isOver = true
    })
  return {
    body,
    lines,
    isOver: () => isOver,
    /** Empty lines that came back. */
    pulses: () => pulses,
    error: () => error,
  }
}

function linesOf(text: string): Record<string, unknown>[] {
  assert.ok(text === '' || text.endsWith('\n'))
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

test('every line is answered in order, with its number and id', async (t) => {
  const { ask, facade } = await startApi(t)
  const body = Array.from({ length: 5000 }, (_, index) => `{"text":"line ${index}"}\n`).join('')
  const answer = await ask('POST', '/messages', { headers, body })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers['content-type'], 'application/x-ndjson')
  const lines = linesOf(answer.text)
  assert.equal(lines.length, 5000)
  const textOf = new Map(facade.messages.map(({ id, text }) => [id, text]))
  lines.forEach((line, index) => {
    const id = String(line['id'])
    assert.equal(textOf.get(id), `line ${index}`)
    assert.deepEqual(line, { line: index + 1, id, at: atOf(id) })
  })
})

test('no more than 1,000 lines are stored together, and no more than four batches are in flight', async (t) => {
  const { ask, facade } = await startApi(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  facade.hold = promise
  const answer = ask('POST', '/messages', { headers, body: '{"text":"a"}\n'.repeat(30_000) })
  await until(() => facade.mostAtOnce === 4)
  resolve()
  await answer
  assert.equal(facade.messages.length, 30_000)
  assert.ok(Math.max(...facade.batches.map(({ length }) => length)) <= 1000)
  assert.equal(facade.mostAtOnce, 4)
})

test('a line is answered before the next is sent', async (t) => {
  const api = await startApi(t)
  const stream = await open(api)
  for (let count = 1; count <= 3; count++) {
    stream.body.write('{"text":"a"}\n')
    await until(() => stream.lines.length === count)
  }
  stream.body.end()
  await until(stream.isOver)
  assert.equal(stream.error(), undefined)
})

test('the last line needs no line feed, and CR LF is as good', async (t) => {
  const { ask, facade } = await startApi(t)
  await ask('POST', '/messages', { headers, body: '{"text":"a"}\r\n{"text":"b"}' })
  assert.deepEqual(
    facade.messages.map(({ text }) => text),
    ['a', 'b'],
  )
})

test('an empty stream has an empty answer', async (t) => {
  const { ask } = await startApi(t)
  const answer = await ask('POST', '/messages', { headers, body: '' })
  assert.deepEqual([answer.status, answer.text], [200, ''])
})

test('an invalid line is refused, and no other', async (t) => {
  const { ask, facade } = await startApi(t)
  const tooLong = Buffer.from(`{"text":"${'x'.repeat(lineMaxBytes(65_536))}"}`)
  const wrong: [Buffer, code: string][] = [
    [Buffer.from('{"text":"a","b":1}'), 'MR_MESSAGE_INVALID'],
    [Buffer.from([0x22, 0xff, 0x22]), 'MR_MESSAGE_INVALID'],
    [Buffer.from('{"text":"a","text":"b"}'), 'MR_MESSAGE_INVALID'],
    [Buffer.from('{"text":"\\udfff"}'), 'MR_MESSAGE_INVALID'],
    [tooLong, 'MR_TOO_LARGE'],
    [Buffer.from(JSON.stringify({ text: 'x'.repeat(65_537) })), 'MR_TOO_LARGE'],
  ]
  const good = Buffer.from('\n{"text":"good"}\n')
  const body = Buffer.concat(wrong.flatMap(([line]) => [line, good]))
  const lines = linesOf((await ask('POST', '/messages', { headers, body })).text)
  assert.equal(lines.length, wrong.length * 2)
  wrong.forEach(([, code], index) => {
    const { line, error } = lines[index * 2] as { line: number; error: Record<string, string> }
    assert.equal(line, index * 2 + 1)
    assert.deepEqual(Object.keys(error), ['code', 'detail', 'outcome'])
    assert.deepEqual([error['code'], error['outcome']], [code, 'none'])
    assert.equal(typeof lines[index * 2 + 1]!['id'], 'string')
  })
  assert.equal(facade.messages.length, wrong.length)
})

test('a line of 512 KiB is read, however it is spaced', async (t) => {
  const { ask, facade } = await startApi(t)
  const body = `${'{"text":"a"}'.padEnd(lineMaxBytes(65_536))}\n`
  await ask('POST', '/messages', { headers, body })
  assert.equal(facade.messages.length, 1)
})

test('with acks=errors only errors are answered, and the counts at the end', async (t) => {
  const { ask } = await startApi(t)
  const body = '{"text":"a"}\n{}\n{"text":"b"}\n'
  const lines = linesOf((await ask('POST', '/messages?acks=errors', { headers, body })).text)
  assert.equal(lines[0]!['line'], 2)
  assert.deepEqual(lines.slice(1), [{ lines: 3, accepted: 2, refused: 1 }])
})

test('acks is refused when it is not errors, or not with NDJSON', async (t) => {
  const { ask } = await startApi(t)
  assert.equal((await ask('POST', '/messages?acks=all', { headers, body: '' })).status, 400)
  const plain = { 'content-type': 'text/plain' }
  assert.equal((await ask('POST', '/messages?acks=errors', { headers: plain, body: 'a' })).status, 400)
})

test('an idempotency key is refused', async (t) => {
  const { ask } = await startApi(t)
  const keyed = { ...headers, 'idempotency-key': 'a'.repeat(16) }
  assert.equal((await ask('POST', '/messages', { headers: keyed, body: '{"text":"a"}\n' })).status, 400)
})

test('lines wait for room in a full mailbox', async (t) => {
  const api = await startApi(t)
  api.facade.fault = new MailroomError('MR_OVERLOADED', { what: 'posts', limit: 1 })
  const stream = await open(api)
  stream.body.end('{"text":"a"}\n')
  await until(() => api.facade.deadlines.length === 1)
  await api.clock.advance(1000)
  assert.ok(api.facade.deadlines.length > 2)
  api.facade.fault = undefined
  await api.clock.advance(1000)
  await until(stream.isOver)
  assert.equal(typeof stream.lines[0]!['id'], 'string')
})

test('lines are refused when the mailbox stays full for 10 s', async (t) => {
  const api = await startApi(t)
  api.facade.fault = new MailroomError('MR_OVERLOADED', { what: 'posts', limit: 1 })
  const stream = await open(api)
  stream.body.end('{"text":"a"}\n{"text":"b"}\n')
  await until(() => api.facade.deadlines.length === 1)
  await api.clock.advance(STREAM_PATIENCE_MS + 1000)
  await until(stream.isOver)
  const codes = stream.lines.map(({ error }) => (error as { code: string }).code)
  assert.deepEqual(codes, ['MR_OVERLOADED', 'MR_OVERLOADED'])
})

test('an unknown outcome is answered as such, and not retried', async (t) => {
  const { ask, facade } = await startApi(t)
  facade.fault = new MailroomError('MR_PEER_LOST', { peer: 'logging-1', reason: 'gone' })
  const lines = linesOf((await ask('POST', '/messages', { headers, body: '{"text":"a"}\n' })).text)
  assert.equal((lines[0]!['error'] as { outcome: string }).outcome, 'unknown')
  assert.equal(facade.deadlines.length, 1)
})

test('while the store is slow, reading stops', async (t) => {
  const api = await startApi(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  api.facade.hold = promise
  const raw = await api.raw()
  raw.say(
    'POST /messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-ndjson\r\n\r\n',
  )
  const text = `${'{"text":"'.padEnd(1000, 'x')}"}\n`.repeat(100)
  const chunk = `${text.length.toString(16)}\r\n${text}\r\n`
  const pump = () => {
    while (raw.socket.writable && raw.socket.write(chunk));
  }
  raw.socket.on('drain', pump)
  pump()
  await until(() => api.facade.mostAtOnce === 4)
  const takenBytes = () => raw.socket.bytesWritten - raw.socket.writableLength
  // The kernel's buffers take some megabytes before the sender feels it.
  for (let before = -1, turns = 0; turns < 500; turns++) {
    if (takenBytes() !== before) turns = 0
    before = takenBytes()
    assert.ok(before < 64e6, 'the sender was never slowed')
    await new Promise((settled) => setImmediate(settled))
  }
  raw.socket.off('drain', pump)
  resolve()
})

test('a stream whose client sends nothing for --keep-alive ends with a line, one that waits for an answer does not', async (t) => {
  const api = await startApi(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  api.facade.hold = promise
  const stream = await open(api)
  stream.body.write('{"text":"a"}\n')
  await until(() => api.facade.mostAtOnce === 1)
  resolve()
  await until(() => stream.lines.length === 1)
  await api.clock.advance(95_000 - 2 * STREAM_DRAIN_CHECK_MS)
  assert.equal(stream.isOver(), false)
  await api.clock.advance(3 * STREAM_DRAIN_CHECK_MS)
  await until(() => stream.lines.length === 2)
  const { line, error } = stream.lines[1] as { line: number; error: { code: string; detail: string } }
  assert.deepEqual([line, error.code], [2, 'MR_REQUEST_TIMEOUT'])
  assert.match(error.detail, /This line and all after it are not stored$/)
  await api.clock.advance(LINGER_MS)
  await until(stream.isOver)
})

test('empty lines are counted but not answered, and keep a quiet stream open in both directions', async (t) => {
  const api = await startApi(t)
  const stream = await open(api)
  stream.body.write('\n\r\n{"text":"a"}\n\n')
  await until(() => stream.lines.length === 1)
  assert.equal(stream.lines[0]!['line'], 3)
  for (let minute = 0; minute < 3; minute++) {
    await api.clock.advance(60_000)
    stream.body.write('\n')
    // Let it arrive before the clock goes on.
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await until(() => stream.pulses() >= 3 * (60_000 / STREAM_PULSE_MS) - 1)
  stream.body.end('{"text":"b"}\n')
  await until(stream.isOver)
  assert.deepEqual([stream.error(), stream.lines.length, stream.lines[1]!['line']], [undefined, 2, 8])
})

/** A client that sends lines until the kernel's buffers are full, and reads nothing. */
async function unread(api: Api) {
  const raw = await api.raw()
  raw.socket.pause()
  raw.say(
    'POST /messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-ndjson\r\n\r\n',
  )
  const text = '{}\n'.repeat(20_000)
  const chunk = `${text.length.toString(16)}\r\n${text}\r\n`
  const full = () => !raw.socket.write(chunk)
  for (let turn = 0; turn < 200 || !full(); turn++) await new Promise((settled) => setImmediate(settled))
  return raw
}

test('a client that sends all before it reads is told after 10 s that the rest is not stored', async (t) => {
  const api = await startApi(t, { level: 'warn' })
  const raw = await unread(api)
  await api.clock.advance(READ_STALL_MS)
  raw.say('0\r\n\r\n')
  await until(() => raw.socket.writableLength === 0)
  raw.socket.resume()
  await until(() => raw.heard.endsWith('\r\n0\r\n\r\n'))
  const lines = raw.heard.split('\n').filter((line) => line.startsWith('{'))
  const { line, error } = JSON.parse(lines.at(-1)!)
  assert.deepEqual([line, error.code, error.outcome], [lines.length, 'MR_ANSWER_UNREAD', 'none'])
  assert.deepEqual([api.logged[0]!['code'], api.logged[0]!['line']], ['MR_ANSWER_UNREAD', line])
  raw.say('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await until(() => raw.heard.endsWith('{"status":"ok"}'))
})

test('a client that neither reads nor sends is disconnected, and the log says so', async (t) => {
  const api = await startApi(t, { level: 'warn' })
  const raw = await unread(api)
  let closed = false
  raw.socket.on('close', () => {
    closed = true
  })
  await api.clock.advance(READ_STALL_MS)
  await until(() => raw.socket.writableLength === 0)
  for (let turn = 0; turn < 3; turn++) await api.clock.advance(READ_STALL_MS)
  raw.socket.resume()
  await until(() => closed)
  assert.match(String(api.logged.at(-1)!['msg']), /neither read nor sent/)
})

test('a client that closes the connection in the middle leaves nothing behind', async (t) => {
  const api = await startApi(t)
  const raw = await api.raw()
  raw.say(
    'POST /messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-ndjson\r\n\r\n',
  )
  raw.say('d\r\n{"text":"a"}\n\r\n4\r\n{"te\r\n')
  await until(() => raw.heard.includes('"line":1'))
  raw.socket.destroy()
  await api.stop()
  assert.equal(api.facade.messages.length, 1)
  assert.deepEqual(api.logged, [])
})

test('a drain answers the lines taken, reports itself in a last line, and ends', async (t) => {
  const api = await startApi(t)
  const stream = await open(api)
  stream.body.write('{"text":"a"}\n{"text":"b"}\n{"text":"half a l')
  await until(() => stream.lines.length === 2)
  api.facade.draining = true
  await api.clock.advance(2 * STREAM_DRAIN_CHECK_MS)
  await until(() => stream.lines.length === 3)
  const { line, error } = stream.lines[2] as { line: number; error: { code: string; outcome: string } }
  assert.deepEqual([line, error.code, error.outcome], [3, 'MR_DRAINING', 'none'])
  await api.clock.advance(1000)
  await until(stream.isOver)
  assert.equal(api.facade.messages.length, 2)
})

test('a short stream sent while draining is taken whole', async (t) => {
  const api = await startApi(t)
  api.facade.draining = true
  const answer = await api.ask('POST', '/messages', { headers, body: '{"text":"a"}\n{"text":"b"}' })
  assert.equal(linesOf(answer.text).length, 2)
  assert.equal(answer.headers['connection'], 'close')
  assert.equal(api.facade.messages.length, 2)
})
