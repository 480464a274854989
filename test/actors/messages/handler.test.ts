import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { type Handler, loadHandler, runHandler } from '../../../src/actors/messages/handler.ts'
import { HANDLER_ABORT_GRACE_MS } from '../../../src/runtime/timings.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'

const MESSAGE = { id: '01HZX3V4Q8K9T2W5R7Y6B0C1D1', text: 'hello', at: '2026-01-01T00:00:00.000Z' }
const TIMEOUT_MS = 30_000

/** Runs a handler once; the test may advance the clock or abort. */
function run(handler: Handler, { abort = new AbortController() } = {}) {
  const clock = new FakeClock()
  const options = { attempt: 2, timeoutMs: TIMEOUT_MS, abort: abort.signal, clock }
  return { clock, abort, ended: runHandler(handler, MESSAGE, options) }
}

const untilAborted: Handler = (_, { signal }) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

test('a handler is given the message, the attempt and a signal', async () => {
  const seen: unknown[] = []
  const { ended } = run((message, { attempt, signal }) => void seen.push(message, attempt, signal.aborted))
  assert.deepEqual(await ended, { as: 'done' })
  assert.deepEqual(seen, [MESSAGE, 2, false])
})

test('a throw and a rejection fail the run, with the error’s text', async () => {
  const sync = run(() => {
    throw new RangeError('too far')
  })
  assert.deepEqual(await sync.ended, { as: 'failed', error: 'RangeError: too far', isHung: false })
  assert.deepEqual(await run(async () => Promise.reject('plain')).ended, {
    as: 'failed',
    error: 'plain',
    isHung: false,
  })
})

test('the cause of an error is part of its text', async () => {
  const cause = new Error('connect ECONNREFUSED')
  const { ended } = run(() => Promise.reject(new TypeError('fetch failed', { cause })))
  assert.deepEqual(await ended, {
    as: 'failed',
    error: 'TypeError: fetch failed (Error: connect ECONNREFUSED)',
    isHung: false,
  })
})

test('any thrown value has a text, of bounded length', async () => {
  for (const thrown of [undefined, null, Symbol('s'), Object.create(null), { toString: 1, valueOf: 1 }]) {
    const end = await run(async () => Promise.reject(thrown)).ended
    assert.ok(end.as === 'failed' && end.error.length > 0)
  }
  const long = await run(async () => Promise.reject('x'.repeat(5000))).ended
  assert.ok(long.as === 'failed' && long.error.length === 1000)
})

test('a handler over its timeout is aborted and has failed', async () => {
  let reason: unknown
  const { clock, ended } = run(async (_, { signal }) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    reason = signal.reason
    throw new Error('gave up')
  })
  await clock.advance(TIMEOUT_MS - 1)
  assert.equal(reason, undefined)
  await clock.advance(1)
  assert.deepEqual(await ended, { as: 'failed', error: 'Handler timeout of 30000 ms', isHung: false })
  assert.equal((reason as unknown as DOMException).name, 'TimeoutError')
})

test('a handler that ends well within the grace after its timeout is done', async () => {
  const { clock, ended } = run(
    (_, { signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
  )
  await clock.advance(TIMEOUT_MS)
  assert.deepEqual(await ended, { as: 'done' })
})

test('a handler that ignores its signal is hung after the grace period', async () => {
  const { clock, ended } = run(() => new Promise(() => {}))
  let end: unknown
  void ended.then((run) => {
    end = run
  })
  await clock.advance(TIMEOUT_MS + HANDLER_ABORT_GRACE_MS - 1)
  assert.equal(end, undefined)
  await clock.advance(1)
  assert.deepEqual(end, { as: 'failed', error: 'Handler timeout of 30000 ms', isHung: true })
})

test('a drain aborts a run; a handler that succeeds all the same is done', async () => {
  const first = run(untilAborted)
  await settle()
  first.abort.abort()
  assert.deepEqual(await first.ended, { as: 'aborted', isHung: false })
  const second = run(
    (_, { signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
  )
  second.abort.abort()
  assert.deepEqual(await second.ended, { as: 'done' })
})

test('a run that begins after the abort is aborted', async () => {
  const abort = new AbortController()
  abort.abort()
  const { clock, ended } = run(() => new Promise(() => {}), { abort })
  await clock.advance(HANDLER_ABORT_GRACE_MS)
  assert.deepEqual(await ended, { as: 'aborted', isHung: true })
})

test('a run removes its listener from the signal', async () => {
  const abort = new AbortController()
  let listening = 0
  const { addEventListener, removeEventListener } = abort.signal
  abort.signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listening++
    addEventListener.apply(abort.signal, args)
  }
  abort.signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listening--
    removeEventListener.apply(abort.signal, args)
  }
  await run(async () => {}, { abort }).ended
  await run(async () => Promise.reject(new Error('no')), { abort }).ended
  assert.equal(listening, 0)
})

test('the default export of a module is loaded; a module without one is refused, with its path', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'handler-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const file = (name: string, code: string) => {
    const path = join(directory, name)
    writeFileSync(path, code)
    return path
  }
  const handler = await loadHandler(file('good one.mjs', 'export default () => { throw new Error("mine") }'))
  assert.throws(() => handler(MESSAGE, { signal: AbortSignal.abort(), attempt: 1 }), { message: 'mine' })
  const refused: [path: string, message: RegExp][] = [
    [file('number.mjs', 'export default 5'), /got number in .*number\.mjs/],
    [file('none.mjs', 'export const handler = 1'), /got undefined in/],
    [file('wrong.mjs', 'this is no code'), /--handler.*wrong\.mjs: SyntaxError/],
    [file('throws.mjs', 'throw "just words"'), /throws\.mjs: just words/],
    [join(directory, 'away.mjs'), /Cannot find module/],
  ]
  for (const [path, message] of refused) {
    await assert.rejects(loadHandler(path), { code: 'MR_CONFIG_INVALID', message })
  }
})
