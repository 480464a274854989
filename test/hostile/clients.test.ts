/** Clients that are slow, silent, too large or gone, against the real program; all of them at once. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { System, sleep } from '../support/system.ts'
import { framed, get, head, LINES, post, TEXT } from './case.ts'
import { Unharmed } from './unharmed.ts'
import { type Answer, Wire } from './wire.ts'

const PATIENCE_MS = 30_000
const CHUNKED = ['Transfer-Encoding', 'chunked'] as const
const LARGE_BYTES = 100_000_000
/** Enough that no buffer between here and there holds it. */
const OLD = Array.from({ length: 300 }, (_, n) => `${n} `.padEnd(65_000, 'o'))

describe('hostile clients', { concurrency: 32 }, () => {
  let system: System
  let unharmed: Unharmed
  const done: (() => Promise<void>)[] = []
  before(async () => {
    system = await System.start({ after: (work) => done.push(work as () => Promise<void>) })
    unharmed = await Unharmed.before(system, OLD)
  })
  after(async () => {
    try {
      await unharmed.assert()
    } finally {
      for (const work of done) await work()
    }
  })

  const open = () => Wire.open(system.port)

  /** The one answer, as a problem. */
  const problemOn = async (wire: Wire, status: number, code: string) => {
    await wire.until(() => wire.answers().length > 0, PATIENCE_MS)
    const [answer] = wire.answers() as [Answer?]
    assert.ok(answer !== undefined, `no answer; ${wire.error}`)
    const problem = JSON.parse(answer.body) as Record<string, unknown>
    assert.deepEqual([answer.status, problem['code'], problem['outcome']], [status, code, 'none'])
  }

  const isClosed = async (wire: Wire, waitMs: number) => {
    const since = performance.now()
    assert.ok(await wire.until(() => wire.isClosed, waitMs), `still open after ${waitMs} ms`)
    return performance.now() - since
  }

  /** Says `what` bit by bit until the connection ends. */
  const dribble = async (wire: Wire, what: string, pauseMs: number) => {
    for (let at = 0; !wire.isClosed; at = (at + 1) % what.length) {
      wire.say(what[at]!)
      await sleep(pauseMs)
    }
  }

  /** Sends pieces for as long as they are taken; how many bytes that were. */
  const pour = async (wire: Wire, piece: string | Buffer, upToBytes: number) => {
    let sentBytes = 0
    while (sentBytes < upToBytes && !wire.isClosed && wire.answers().length === 0) {
      if (!wire.socket.write(piece)) {
        await Promise.race([new Promise((resolve) => wire.socket.once('drain', resolve)), sleep(100)])
      }
      sentBytes += piece.length
    }
    return sentBytes
  }

  for (const [what, begin] of [
    ['a head that stops in its first line', 'GET /li'],
    ['a head that stops after Host', 'GET /livez HTTP/1.1\r\nHost: localhost\r\n'],
  ] as const) {
    test(`${what} is refused with 408 after 10 s`, async () => {
      const wire = await open()
      wire.say(begin)
      await problemOn(wire, 408, 'MR_REQUEST_TIMEOUT')
      await isClosed(wire, 3000)
    })
  }

  test('a head that comes a byte at a time is refused with 408, however long it goes on', async () => {
    const wire = await open()
    wire.say('GET /livez HTTP/1.1\r\nHost: localhost\r\n')
    void dribble(wire, 'X-A: a\r\n', 100)
    await problemOn(wire, 408, 'MR_REQUEST_TIMEOUT')
  })

  test('a connection that says nothing at all is closed', async () => {
    await isClosed(await open(), PATIENCE_MS)
  })

  test('five hundred connections that say nothing leave room for others', async () => {
    const wires = await Promise.all(Array.from({ length: 500 }, open))
    const wire = await open()
    wire.say(get('/livez'))
    assert.ok(await wire.until(() => wire.answers()[0]?.status === 200, PATIENCE_MS))
    for (const one of wires) one.socket.destroy()
    await wire.end(5000)
  })

  test('a body that stops is refused with 408 after 10 s', async () => {
    const wire = await open()
    wire.say(framed([['Content-Length', '10']], 'half'))
    await problemOn(wire, 408, 'MR_REQUEST_TIMEOUT')
  })

  test('a body that comes a byte at a time is refused with 408', async () => {
    const wire = await open()
    wire.say(framed([['Content-Length', '60000']], ''))
    void dribble(wire, 'slow', 50)
    await problemOn(wire, 408, 'MR_REQUEST_TIMEOUT')
  })

  test('a chunked body that never ends is refused with 408', async () => {
    const wire = await open()
    wire.say(framed([CHUNKED], ''))
    while (!wire.isClosed && wire.answers().length === 0) {
      wire.say('1\r\ns\r\n')
      await sleep(100)
    }
    await problemOn(wire, 408, 'MR_REQUEST_TIMEOUT')
  })

  test('100 MB declared are refused before a byte is sent', async () => {
    const wire = await open()
    wire.say(framed([['Content-Length', String(LARGE_BYTES)]], ''))
    await problemOn(wire, 413, 'MR_TOO_LARGE')
    await isClosed(wire, 5000)
  })

  test('100 MB declared, and sent all the same, are refused and not taken', async () => {
    const wire = await open()
    wire.say(framed([['Content-Length', String(LARGE_BYTES)]], ''))
    await pour(wire, Buffer.alloc(65_536, 'x'), LARGE_BYTES)
    await problemOn(wire, 413, 'MR_TOO_LARGE')
  })

  test('100 MB in chunks are refused as soon as they are too many', async () => {
    const wire = await open()
    wire.say(framed([CHUNKED], ''))
    const sentBytes = await pour(wire, `10000\r\n${'x'.repeat(65_536)}\r\n`, LARGE_BYTES)
    await problemOn(wire, 413, 'MR_TOO_LARGE')
    assert.ok(sentBytes < LARGE_BYTES / 2, `${sentBytes} bytes were taken`)
  })

  test('100 MB in one chunk are refused as soon as they are too many', async () => {
    const wire = await open()
    wire.say(framed([CHUNKED], `${LARGE_BYTES.toString(16)}\r\n`))
    await pour(wire, Buffer.alloc(65_536, 'x'), LARGE_BYTES)
    await problemOn(wire, 413, 'MR_TOO_LARGE')
  })

  test('100 MB packed to 100 kB by gzip are not unpacked', async () => {
    const wire = await open()
    wire.say(post(TEXT, gzipSync(Buffer.alloc(LARGE_BYTES)), [['Content-Encoding', 'gzip']]))
    await problemOn(wire, 415, 'MR_TYPE_UNSUPPORTED')
  })

  test('a line of 100 MB is refused as one line, and the next one taken', async () => {
    const wire = await open()
    wire.say(head('POST /messages HTTP/1.1', [['Content-Type', LINES], CHUNKED]))
    await pour(wire, `10000\r\n${'x'.repeat(65_536)}\r\n`, LARGE_BYTES)
    const last = '\n{"text":"after 100 MB"}\n'
    unharmed.stores(['after 100 MB'])
    wire.say(`${last.length.toString(16)}\r\n${last}\r\n0\r\n\r\n`)
    await wire.until(() => wire.answers().length > 0, PATIENCE_MS)
    const [first, second] = wire
      .answers()[0]!
      .body.split('\n')
      .map((line) => line && JSON.parse(line))
    assert.deepEqual([first.error.code, first.line, second.line], ['MR_TOO_LARGE', 1, 2])
    await wire.end(5000)
  })

  test('a stream of bad lines whose client reads no answer is cut after 10 s without progress', async () => {
    const wire = await open()
    wire.socket.pause()
    wire.say(head('POST /messages HTTP/1.1', [['Content-Type', LINES], CHUNKED]))
    const lines = '{}\n'.repeat(10_000)
    const chunk = `${lines.length.toString(16)}\r\n${lines}\r\n`
    const broken = new Promise((resolve) => wire.socket.once('error', resolve).once('close', resolve))
    let ended = false
    void broken.then(() => {
      ended = true
    })
    while (!ended) {
      const isRoom = wire.socket.write(chunk)
      await (isRoom ? sleep(0) : Promise.race([broken, sleep(100)]))
      assert.ok(wire.socket.bytesWritten < LARGE_BYTES * 10, 'it goes on for ever')
    }
  })

  for (const path of ['/messages', '/log?limit=1000', '/actors/messages-1/messages?limit=1000']) {
    test(`a reader of ${path} that takes nothing is cut after 10 s`, async () => {
      const wire = await open()
      wire.socket.pause()
      wire.say(get(path))
      // What is in the kernel's buffers is still to be had; the rest is not, and that shows only to a reader.
      await sleep(12_500)
      wire.socket.resume()
      await isClosed(wire, 5000)
      assert.deepEqual(wire.answers(), [], 'the answer is cut short')
    })
  }

  test('a client that closes its half without waiting for its answer is taken for gone', async () => {
    const wire = await open()
    unharmed.mayStore(['half closed'])
    wire.say(post(TEXT, 'half closed'))
    wire.socket.end()
    await isClosed(wire, 5000)
  })

  for (const [what, says] of [
    ['its head', head('POST /messages HTTP/1.1', [['Content-Type', TEXT]]).subarray(0, -2)],
    ['its body', framed([['Content-Length', '10']], 'half')],
    ['a chunk', framed([CHUNKED], 'a\r\nhalf')],
    ['a line', framed([CHUNKED], '9\r\n{"text":"')],
  ] as const) {
    test(`a client that closes its half in the middle of ${what} stores nothing`, async () => {
      const wire = await open()
      wire.say(says)
      wire.socket.end()
      await isClosed(wire, 5000)
      assert.ok(wire.answers().every(({ status }) => status >= 400))
    })

    test(`clients that reset the connection in the middle of ${what} store nothing`, async () => {
      for (let count = 0; count < 20; count++) {
        const wire = await open()
        wire.say(says)
        await sleep(count)
        wire.socket.resetAndDestroy()
      }
    })
  }

  test('clients that reset the connection while they are answered leave the rest alone', async () => {
    for (let count = 0; count < 20; count++) {
      const wire = await open()
      wire.say(get('/messages'))
      await wire.until(() => wire.socket.bytesRead > 0, 5000)
      wire.socket.resetAndDestroy()
    }
  })

  test('a client that waits to be told to go on, and never is let, sends nothing', async () => {
    const wire = await open()
    wire.say(
      framed(
        [
          ['Content-Length', String(LARGE_BYTES)],
          ['Expect', '100-continue'],
        ],
        '',
      ),
    )
    await problemOn(wire, 413, 'MR_TOO_LARGE')
  })

  test('a hundred streams that say nothing are let in, the next is refused, posts go on', async () => {
    const begin = head('POST /messages HTTP/1.1', [['Content-Type', LINES], CHUNKED])
    const wires = await Promise.all(Array.from({ length: 110 }, open))
    for (const wire of wires) wire.say(begin)
    const refusals = () => wires.filter((wire) => wire.answers()[0]?.status === 429)
    assert.ok(await wires[0]!.until(() => refusals().length >= 10, 5000), `${refusals().length} refused`)
    assert.ok(refusals().every((wire) => wire.answers()[0]!.headers['retry-after'] !== undefined))
    unharmed.stores(['beside the streams'])
    const wire = await open()
    wire.say(post(TEXT, 'beside the streams'))
    assert.ok(await wire.until(() => wire.answers()[0]?.status === 201, 5000))
    for (const one of [wire, ...wires]) one.socket.destroy()
  })
})
