/** The real clock: all it promises but exact times, which no test measures. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import test from 'node:test'
import { systemClock as clock } from '../../src/runtime/clock.ts'

const LONG_MS = 3_600_000

/** Runs an expression on the clock in a process of its own, which must end by itself. */
function run(code: string): string {
  const path = new URL('../../src/runtime/clock.ts', import.meta.url).href
  const script = `import { systemClock as clock } from ${JSON.stringify(path)}; ${code}`
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 20_000,
  })
}

test('timers fire in order of their delays; cancelled ones never fire', async () => {
  const fired: string[] = []
  const cancel = clock.after(1, () => fired.push('cancelled'))
  cancel()
  clock.after(1, () => fired.push('first'))
  await new Promise<void>((resolve) => clock.after(20, resolve))
  assert.deepEqual(fired, ['first'])
  cancel()
})

test('a repeating timer fires until it is cancelled', async () => {
  let count = 0
  await new Promise<void>((resolve) => {
    const cancel = clock.every(1, () => {
      if (++count < 3) return
      cancel()
      resolve()
    })
    clock.after(LONG_MS, () => {}, { unref: true })
  })
  await clock.sleep(10)
  assert.equal(count, 3)
})

test('repeating timers of one period fire together; one that another cancels does not fire', async () => {
  const fired: string[] = []
  const cancels: (() => void)[] = []
  await new Promise<void>((resolve) => {
    cancels.push(
      clock.every(7, () => {
        fired.push('first')
        cancels[1]!()
      }),
      clock.every(7, () => fired.push('cancelled')),
      clock.every(7, () => fired.push('last') === 4 && resolve()),
    )
    clock.after(LONG_MS, () => {}, { unref: true })
  })
  assert.deepEqual(fired.slice(0, 4), ['first', 'last', 'first', 'last'])
  for (const cancel of cancels) cancel()
})

test('a sleep ends at once when its signal is or gets aborted, and removes its listener', async () => {
  await clock.sleep(LONG_MS, AbortSignal.abort())
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
  await clock.sleep(1, abort.signal)
  assert.equal(listening, 0)
  const sleeping = clock.sleep(LONG_MS, abort.signal)
  abort.abort()
  await sleeping
})

test('`soon` runs after the pending microtasks', async () => {
  const order: string[] = []
  await new Promise<void>((resolve) => {
    clock.soon(() => {
      order.push('soon')
      resolve()
    })
    Promise.resolve()
      .then(() => order.push('one'))
      .then(() => order.push('two'))
  })
  assert.deepEqual(order, ['one', 'two', 'soon'])
})

test('`every` and `unref` timers do not keep a process alive', () => {
  assert.equal(run(`clock.after(${LONG_MS}, () => {}, { unref: true }); clock.every(1000, () => {})`), '')
  assert.equal(run(`clock.after(5, () => console.log('fired'))`), 'fired\n')
})
