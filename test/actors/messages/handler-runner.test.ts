import assert from 'node:assert/strict'
import test from 'node:test'
import type { Handler } from '../../../src/actors/messages/handler.ts'
import { invalidHandler } from '../../../src/actors/messages/handler.ts'
import type { HandlerRunner } from '../../../src/actors/messages/handler-runner.ts'
import type { Run } from '../../../src/actors/messages/runner.ts'
import {
  HANDLER_ABORT_GRACE_MS,
  HANDLER_LOAD_MS,
  HANDLER_RESTART_MAX_MS,
} from '../../../src/runtime/timings.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'
import { type ChildHere, spawnHere, startRunner } from '../../support/handler-here.ts'

const TIMEOUT_MS = 30_000

/** A runner whose processes the test steers. */
class Bench {
  readonly clock = new FakeClock()
  readonly children: ChildHere[] = []
  /** What the next process loads. */
  next: Handler | Error = () => new Promise(() => {})
  changes = 0
  runner!: HandlerRunner
  readonly abort = new AbortController()
  /** What was begun, in order. */
  readonly started: string[] = []

  async start(): Promise<this> {
    const spawn = spawnHere(() => this.next, this.children)
    const onChange = () => this.changes++
    this.runner = await startRunner(() => {}, { clock: this.clock, spawn, timeoutMs: TIMEOUT_MS, onChange })
    return this
  }

  /** Begins a run. `end` is set when it has ended. */
  run(text: string, { isAlone = false } = {}): { end?: Run } {
    const outcome: { end?: Run } = {}
    const message = { id: text, text, at: '' }
    const onStart = () => this.started.push(text)
    const options = { attempt: 1, isAlone, abort: this.abort.signal, onStart }
    void this.runner.run(message, options).then((end) => {
      outcome.end = end
    })
    return outcome
  }

  alive(): boolean[] {
    return this.children.map((child) => child.isAlive())
  }
}

const back = (isSuspect: boolean) => ({ as: 'back', isSuspect })
const untilAborted: Handler = (_, { signal }) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

test('a process that blocks is ended after the timeout: the fault of its message, when it served no other', async () => {
  const bench = await new Bench().start()
  const { clock, children } = bench
  const alone = bench.run('blocks')
  await settle()
  children[0]!.block()
  await clock.advance(TIMEOUT_MS + HANDLER_ABORT_GRACE_MS - 1)
  assert.deepEqual([alone.end, bench.alive()], [undefined, [true]], 'not judged before its timeout is over')
  await clock.advance(1)
  const error = 'The handler blocked its process for 30 s'
  assert.deepEqual(alone.end, { as: 'failed', error, isSuspect: true, isDeath: true })
  assert.deepEqual(bench.alive(), [false, true])
})

test('of a process that blocks while it has several messages, all are given back and suspect; those not begun are not', async () => {
  const bench = await new Bench().start()
  const { clock, children } = bench
  const first = bench.run('first')
  await clock.advance(10_000)
  const second = bench.run('second')
  await settle()
  children[0]!.block()
  const third = bench.run('third')
  await clock.advance(20_000 + HANDLER_ABORT_GRACE_MS)
  assert.deepEqual(first.end, undefined, 'the second one is within its timeout')
  await clock.advance(10_000)
  assert.deepEqual([first.end, second.end, third.end], [back(true), back(true), back(false)])
})

test('a message that waits behind others that compute is not judged', async () => {
  const bench = await new Bench().start()
  const { clock, children } = bench
  bench.run('computes')
  await settle()
  children[0]!.block()
  const queued = bench.run('queued')
  await clock.advance(TIMEOUT_MS - 1)
  assert.equal(queued.end, undefined)
})

test('a process that died takes nobody’s attempt when it had served another message', async () => {
  const bench = await new Bench().start()
  bench.next = async ({ text }) => {
    if (text !== 'fine') await new Promise(() => {})
  }
  bench.children[0]!.die('died')
  await settle()
  bench.run('fine')
  await settle()
  const innocent = bench.run('innocent')
  await settle()
  bench.children[1]!.die('died of what an earlier message left')
  await settle()
  assert.deepEqual(innocent.end, back(true))
  const alone = bench.run('kills', { isAlone: true })
  await settle()
  bench.children.at(-1)!.die('died of it')
  await settle()
  assert.deepEqual(alone.end, { as: 'failed', error: 'died of it', isSuspect: true, isDeath: true })
})

test('after a stray error another process loads the handler; then the old one finishes its calls and is ended', async () => {
  const bench = await new Bench().start()
  bench.next = untilAborted
  const { children, clock } = bench
  const running = bench.run('runs on')
  await settle()
  bench.next = invalidHandler('mended')
  children[0]!.stray(new Error('stray'))
  await settle()
  assert.match(String(bench.runner.missing()), /mended/)
  assert.deepEqual([running.end, bench.alive()[0]], [undefined, true], 'the old one serves on')
  bench.next = untilAborted
  await clock.advance(HANDLER_RESTART_MAX_MS)
  assert.deepEqual(bench.runner.missing(), [])
  assert.equal(bench.changes, 2)
  assert.equal(children[0]!.isAlive(), true)
  await clock.advance(TIMEOUT_MS + HANDLER_ABORT_GRACE_MS)
  assert.ok(running.end!.as === 'failed')
  assert.deepEqual([children[0]!.isAlive(), bench.alive().filter(Boolean).length], [false, 1])
})

test('a stray error of a message that still runs fails it; the others run on', async () => {
  const bench = new Bench()
  bench.next = async ({ text }) => {
    if (text === 'astray') setTimeout(() => bench.children[0]!.stray(new Error('in a timer')), 0)
    await new Promise(() => {})
  }
  await bench.start()
  const [mate, astray] = [bench.run('mate'), bench.run('astray')]
  await new Promise((resolve) => setTimeout(resolve, 5))
  await settle()
  assert.deepEqual(astray.end, { as: 'failed', error: 'Error: in a timer', isSuspect: false })
  assert.equal(mate.end, undefined)
  await bench.runner.close()
  assert.deepEqual(bench.alive(), [false, false])
  assert.deepEqual(mate.end, back(false))
})

test('a handler that does not load any more is tried again, at most every 5 s, and named', async () => {
  const bench = await new Bench().start()
  const { children, clock, runner } = bench
  bench.next = invalidHandler('a module without a mistake')
  children[0]!.die('died')
  await clock.advance(60_000)
  assert.match(String(runner.missing()), /`--handler`.* to be a module without a mistake/)
  const { length } = children
  assert.ok(length > 10 && length < 25, `${length} starts`)
  let isReady = false
  void runner.ready().then(() => {
    isReady = true
  })
  assert.deepEqual(bench.run('meanwhile').end, undefined)
  await settle()
  assert.equal(isReady, false)
  bench.next = async () => {}
  await clock.advance(HANDLER_RESTART_MAX_MS)
  assert.deepEqual([isReady, runner.missing()], [true, []])
  const run = bench.run('now')
  await settle()
  assert.deepEqual(run.end, { as: 'done' })
})

test('a handler that does not load in time, or ends its process meanwhile, does not start', async () => {
  const bench = new Bench()
  const spawn = spawnHere(() => new Promise(() => {}) as never, bench.children)
  const never = startRunner(() => {}, {
    clock: bench.clock,
    spawn: (listener) => spawn({ ...listener, onMessage() {} }),
  })
  const refused = assert.rejects(never, { code: 'MR_CONFIG_INVALID', message: /loads within 20 s/ })
  await bench.clock.advance(HANDLER_LOAD_MS)
  await refused
  const dying = startRunner(() => {}, {
    clock: bench.clock,
    spawn: ({ onExit }) => {
      queueMicrotask(() => onExit('ended with exit code 3'))
      return { send() {}, kill() {} }
    },
  })
  await assert.rejects(dying, { code: 'MR_CONFIG_INVALID', message: /exit code 3/ })
})

test('a drain gives back a message whose process is still loading or whose handler ignores it', async () => {
  const bench = await new Bench().start()
  const ignores = bench.run('ignores')
  await settle()
  const alone = bench.run('alone', { isAlone: true })
  bench.abort.abort()
  await settle()
  assert.deepEqual(alone.end, back(true))
  await bench.clock.advance(HANDLER_ABORT_GRACE_MS)
  assert.deepEqual(ignores.end, back(true))
})

test('a run begins when its handler is called: not while its process loads, not while another call computes', async () => {
  const bench = await new Bench().start()
  bench.next = async () => {}
  const alone = bench.run('alone', { isAlone: true })
  assert.deepEqual(bench.started, [])
  bench.run('beside')
  await settle()
  assert.deepEqual(bench.started, ['beside', 'alone'], 'it was asked for first, and begins last')
  assert.deepEqual(alone.end, { as: 'done' })
  bench.children[0]!.block()
  bench.run('behind one that computes')
  await settle()
  assert.equal(bench.started.length, 2)
})
