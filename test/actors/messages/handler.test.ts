import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type FromHandler,
  type Handler,
  HandlerHost,
  handlerMessage,
  loadHandler,
} from '../../../src/actors/messages/handler.ts'
import { storedText } from '../../../src/storage/content.ts'

const MESSAGE = { id: '01HZX3V4Q8K9T2W5R7Y6B0C1D1', text: 'hello' }

/** Calls a handler once, as call 7. */
function call(handler: Handler) {
  const sent: FromHandler[] = []
  const host = new HandlerHost(handler, (message) => sent.push(message))
  host.receive({ kind: 'run', run: 7, message: MESSAGE, attempt: 2 })
  const abort = () => host.receive({ kind: 'abort', run: 7, name: 'TimeoutError', why: 'too long' })
  return { host, sent, abort }
}

const ended = (error: string | null, more = {}) => ({
  ...{ kind: 'ended', run: 7 },
  failure: error === null ? null : { error, ...more },
})

test('a handler is given the message, the attempt and a signal; what it returns is not sent', async () => {
  const seen: unknown[] = []
  const { sent } = call((message, { attempt, signal }) => {
    seen.push(message, attempt, signal.aborted)
    return 'x'.repeat(1e6) as never
  })
  await sleep()
  assert.deepEqual(sent, [{ kind: 'started', run: 7 }, ended(null)])
  assert.deepEqual(seen, [handlerMessage(MESSAGE), 2, false])
})

test('a throw and a rejection end the call with the error’s text, the cause in it', async () => {
  const cause = new Error('connect ECONNREFUSED')
  for (const [handler, text] of [
    [
      () => {
        throw new RangeError('too far')
      },
      'RangeError: too far',
    ],
    [() => Promise.reject('plain'), 'plain'],
    [
      () => Promise.reject(new TypeError('fetch failed', { cause })),
      'TypeError: fetch failed (Error: connect ECONNREFUSED)',
    ],
  ] as [Handler, string][]) {
    const { sent } = call(handler)
    await sleep()
    assert.deepEqual(sent.at(-1), ended(text))
  }
})

test('any thrown value has a text, of bounded length', async () => {
  const hostile = Object.defineProperty(new Error('no'), 'cause', {
    get() {
      throw new Error('no cause either')
    },
  })
  const values = [undefined, null, Symbol('s'), Object.create(null), { toString: 1, valueOf: 1 }, hostile]
  for (const thrown of [...values, 'x'.repeat(5000)]) {
    const { sent } = call(() => Promise.reject(thrown))
    await sleep()
    const last = sent.at(-1)
    assert.ok(last?.kind === 'ended' && last.failure !== null)
    assert.ok(last.failure.error.length > 0 && last.failure.error.length <= 1000)
  }
})

test('an error says whether and when to try again, and whether what the handler needs is away', async () => {
  for (const [said, expected] of [
    [{ retry: false }, { retry: false }],
    [{ retryAfter: 30 }, { retry: { afterMs: 30_000 } }],
    [
      { retryAfter: 0.5, outage: true },
      { retry: { afterMs: 500 }, isOutage: true },
    ],
    [
      { retry: false, retryAfter: 30, outage: true },
      { retry: false, isOutage: true },
    ],
    [{ retryAfter: Number.POSITIVE_INFINITY }, { retry: { afterMs: Number.MAX_SAFE_INTEGER } }],
    [{ retry: true, outage: 'yes' }, {}],
  ] as const) {
    const { sent } = call(() => Promise.reject(Object.assign(new Error('no'), said)))
    await sleep()
    assert.deepEqual(sent.at(-1), ended('Error: no', expected))
  }
  const { sent } = call(() => Promise.reject({ outage: true, toString: () => 'no error object' }))
  await sleep()
  assert.deepEqual(sent.at(-1), ended('no error object', { isOutage: true }))
})

test('a time to try again that is none is told of in the error', async () => {
  for (const retryAfter of [-1, Number.NaN, '30', null]) {
    const { sent } = call(() => Promise.reject(Object.assign(new Error('no'), { retryAfter })))
    await sleep()
    const why = 'its `retryAfter` was ignored: expected a number of seconds, 0 or more'
    assert.deepEqual(sent.at(-1), ended(`Error: no (${why}, got ${retryAfter})`))
  }
})

test('an abort reaches the signal, with its reason, and is acknowledged', async () => {
  let reason: unknown
  const { sent, abort } = call(
    (_, { signal }) =>
      new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          reason = signal.reason
          reject(new Error('gave up'))
        }),
      ),
  )
  abort()
  await sleep()
  assert.ok(reason instanceof DOMException && reason.name === 'TimeoutError' && reason.message === 'too long')
  assert.deepEqual(sent.slice(1), [{ kind: 'aborted', run: 7 }, ended('Error: gave up')])
})

test('a stray error fails the call it comes from while that runs; else it is only reported', async () => {
  const stray = Promise.withResolvers<HandlerHost>()
  const { host, sent } = call(async () => {
    setTimeout(async () => (await stray.promise).stray(new Error('in a timer')), 0)
    await new Promise(() => {})
  })
  stray.resolve(host)
  await sleep(5)
  assert.deepEqual(sent.at(-1), ended('Error: in a timer'))
  assert.ok(sent[1]?.kind === 'stray' && /Error: in a timer\n +at .*handler.test/.test(sent[1].stack))
  const count = sent.length
  host.stray(undefined)
  assert.deepEqual(sent.slice(count), [{ kind: 'stray', stack: 'undefined', id: null }])
})

test('the default export of a module is loaded; one that does not load is refused, with file and line', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'handler-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const file = (name: string, code: string) => {
    const path = join(directory, name)
    writeFileSync(path, code)
    return path
  }
  const handler = await loadHandler(file('good one.mjs', 'export default () => { throw new Error("mine") }'))
  assert.throws(() => handler(handlerMessage(MESSAGE), { signal: AbortSignal.abort(), attempt: 1 }), {
    message: 'mine',
  })
  const refused: [path: string, message: RegExp][] = [
    [file('number.mjs', 'export default 5'), /got number in .*number\.mjs/],
    [file('none.mjs', 'export const handler = 1'), /got undefined in/],
    [
      file('wrong.mjs', 'const a = 1\nthis is no code'),
      /--handler.*\/wrong\.mjs: SyntaxError.*\/wrong\.mjs:2\)/,
    ],
    [file('wrong one.mjs', '\n\nthis is no code'), /SyntaxError.* \(\/.*\/wrong one\.mjs:3\)/],
    [file('wrong.ts', 'const a: number = 1\nthis is no code'), /SyntaxError.* \(\/.*\/wrong\.ts:2\)/],
    [file('wrong.cjs', '\nconst x = {\n a: 1\n b: 2 }'), /SyntaxError.* \(\/.*\/wrong\.cjs:4\)/],
    [file('outer.mjs', 'import "./wrong.mjs"'), /\/outer\.mjs: SyntaxError.* \(\/.*\/wrong\.mjs:2\)/],
    [file('throws.mjs', '\nnull.x'), /TypeError.* \(\/.*\/throws\.mjs:2\)/],
    [file('words.mjs', 'throw "just words"'), /words\.mjs: just words/],
    [
      file('export.mjs', '\nimport { no } from "./number.mjs"'),
      /SyntaxError.*'no'.* \(\/.*\/export\.mjs:2\)/,
    ],
    [join(directory, 'away.mjs'), /Cannot find module/],
  ]
  for (const [path, message] of refused) {
    await assert.rejects(loadHandler(path), { code: 'MR_CONFIG_INVALID', message })
  }
})

test('a handler is given what the lists show, and the bytes, which JSON leaves out', () => {
  const head = { source: 'orders', type: 'image/png', headers: { 'x-a': 'b' } }
  const message = handlerMessage({ ...MESSAGE, text: storedText({ base64: '/wA=', ...head }) })
  assert.deepEqual(JSON.parse(JSON.stringify(message)), {
    ...{ id: MESSAGE.id, base64: '/wA=', at: '2024-06-08T23:44:50.408Z', ...head },
  })
  assert.deepEqual(message.bytes, Buffer.from([255, 0]))
  assert.deepEqual(handlerMessage(MESSAGE).bytes, Buffer.from('hello'))
})
