/** A handler that does what the text says, such as `wait 100`; what it does not know is fine. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { Handler } from '../../src/actors/messages/handler.ts'

const handle: Handler = async ({ text = '' }, { signal, attempt }) => {
  const [verb, ms] = text.split(' ')
  if (verb === 'wait') await new Promise((resolve) => setTimeout(resolve, Number(ms)))
  if (verb === 'throw') throw new Error('as the text says')
  if (verb === 'needs' && !existsSync(ms!)) throw Object.assign(new Error('it is away'), { outage: true })
  if (verb === 'fail' && attempt <= Number(ms)) throw new Error(`attempt ${attempt}`)
  if (verb === 'hang') await new Promise(() => {})
  if (verb === 'die') process.kill(process.pid, 'SIGKILL')
  if (verb === 'wait-for-signal') {
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }
  if (verb === 'compute') {
    console.log(`computes in ${process.pid}`)
    for (const endAt = Date.now() + Number(ms); Date.now() < endAt; );
  }
  if (verb === 'compute-later') setTimeout(() => handle({ text: `compute ${ms}` } as never, {} as never), 50)
  if (verb === 'throw-later') setTimeout(throwStray, 50)
  if (verb === 'reject-later') setTimeout(() => Promise.reject(new Error('a stray rejection')), 50)
  if (verb === 'throw-beside') {
    setTimeout(throwStray, 50)
    await new Promise(() => {})
  }
  if (verb === 'spawn') {
    console.log(`spawned ${spawn('sleep', ['987']).pid} in ${process.pid}`)
    await new Promise(() => {})
  }
  if (verb === 'exit') process.exit(3)
  if (verb === 'abort') process.abort()
  if (verb === 'out-of-memory') {
    for (const kept: unknown[] = []; ; ) kept.push(new Array(1_000_000).fill(kept.length))
  }
  if (verb === 'flood') for (let line = 0; line < 50_000; line++) console.log(`{"flood":${line}}`)
  if (verb === 'complain') console.error('a complaint on stderr')
  if (verb === 'no-newline') process.stdout.write('x'.repeat(1_000_000))
  if (verb === 'read-stdin') for await (const _ of process.stdin);
  if (verb === 'return') return 'x'.repeat(10_000_000) as never
  if (verb === 'throw-null') throw null
  if (verb === 'catch-all') process.on('uncaughtException', () => {})
  if (verb === 'disconnect') {
    process.removeAllListeners('message')
    process.disconnect?.()
  }
}

function throwStray(): never {
  throw new Error('a stray error')
}

export default handle
