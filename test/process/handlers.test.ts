/** Handlers that do what handlers should not: only their own messages fail, and all else goes on. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Lists } from '../support/running-system.ts'
import { childrenOf, FIVE_ATTEMPTS, isAlive, System } from '../support/system.ts'

const HANDLER = new URL('../support/handler.ts', import.meta.url).href
const GOOD = `export { default } from ${JSON.stringify(HANDLER)}\n`

interface Found {
  state: string
  attempts: number
}

interface Letter {
  id: string
  attempts: number
  reason: string
  lastError: string
}

test('handlers that compute, fail astray, write and hang', async (context) => {
  const { system, file } = await start(context, ['--handler-concurrency', '32'])
  const worker = await system.actor('messages-1')

  await context.test(
    'a handler that computes for 4 s is not judged; its list is read meanwhile',
    async () => {
      const { id } = await post(system, 'compute 4000')
      await system.until('it computes', async () => system.output.includes('computes in'))
      let reads = 0
      for (let found = await find(system, id); found.state === 'queued'; found = await find(system, id)) {
        const { deliveredTo, partial } = await system.get<Lists>('/messages?limit=1')
        assert.deepEqual([deliveredTo, partial], ['messages-1', []])
        reads++
      }
      assert.ok(reads >= 3, `${reads} reads`)
      assert.deepEqual(await find(system, id), { state: 'delivered', attempts: 1 })
    },
  )

  await context.test(
    'a stray error is logged with its stack; it opens no breaker and costs nobody an attempt',
    async () => {
      const innocents: string[] = []
      const bombs: string[] = []
      for (const verb of [
        'throw-later',
        'reject-later',
        'throw-later',
        'catch-all',
        'throw-later',
        'throw-later',
      ]) {
        const bomb = await post(system, verb)
        const innocent = await post(system, 'wait 200')
        bombs.push(bomb.id)
        innocents.push(bomb.id, innocent.id)
        await find(system, innocent.id, 10)
      }
      for (const id of innocents)
        assert.deepEqual(await find(system, id, 10), { state: 'delivered', attempts: 1 })
      const expected = [
        new RegExp(`"id":"${bombs[0]}","stack":"Error: a stray error`),
        /Error: a stray error\\n +at .*support\/handler\.ts/,
        /Error: a stray rejection\\n +at .*support\/handler\.ts/,
      ]
      await system.until('they are logged', async () => expected.every((words) => words.test(system.output)))
    },
  )

  await context.test(
    'whatever it throws, returns, reads or writes, it is only its message’s affair, and the log stays lines of JSON',
    async () => {
      await post(system, 'complain')
      const complaint = /"level":40,.*"from":"handler","msg":"a complaint on stderr"/
      await system.until('stderr is logged', async () => complaint.test(system.output))
      const odd = ['return', 'read-stdin', 'no-newline', 'flood']
      for (const text of odd) {
        const { id } = await post(system, text)
        assert.deepEqual(await find(system, id, 10), { state: 'delivered', attempts: 1 }, text)
      }
      await system.until('the flood is counted', async () => system.output.includes('writes too many lines'))
      const lines = system.output.split('\n').slice(1, -1)
      for (const line of lines) JSON.parse(line)
      assert.ok(
        lines.some((line) => line.includes('{\\"flood\\":')),
        'its lines are texts of log lines',
      )
    },
  )

  await context.test('a handler that takes more memory than there is ends only its process', async () => {
    const { id } = await post(system, 'out-of-memory')
    const isLogged = async () => /"error":"The handler's process ended with SIGABRT"/.test(system.output)
    await system.until('it has failed', isLogged)
    assert.ok((await find(system, id)).attempts >= 1)
    const healthy = await post(system, 'healthy')
    assert.equal((await find(system, healthy.id, 10)).state, 'delivered')
  })

  await context.test('while 20 messages hang, a healthy one waits seconds', async () => {
    const texts = Array.from({ length: 20 }, () => ({ text: 'wait-for-signal' }))
    await system.send('POST', '/messages', texts)
    const beganAt = Date.now()
    const { id } = await post(system, 'healthy')
    assert.equal((await find(system, id, 10)).state, 'delivered')
    assert.ok(Date.now() - beganAt < 5000, `${Date.now() - beganAt} ms`)
  })

  const { pid, restarts } = await system.actor('messages-1')
  assert.deepEqual({ pid, restarts }, { pid: worker.pid, restarts: 0 }, 'its worker lives')

  await context.test('a handler that blocks does not outlive the worker of its actor', async () => {
    const { id } = await post(system, 'compute 25000')
    const computing = () => pidsIn(system.output, /computes in (\d+)/g)
    const before = computing().length
    await system.until('it computes', async () => computing().length > before)
    const handler = computing().at(-1)!
    process.kill(worker.pid, 'SIGKILL')
    await system.until('its process has ended', async () => !isAlive(handler), 5000)
    await system.until('the actor is back', async () => (await find(system, id)).state === 'queued')
  })

  await context.test(
    'a handler that does not load any more is named, with file and line, at a restart too',
    async () => {
      writeFileSync(file, 'const a = 1\nthis is no code\n')
      // The successor of the worker that was killed may have loaded the file as it was.
      for (const pid of childrenOf((await system.actor('messages-1')).pid)) {
        if (isAlive(pid)) process.kill(pid, 'SIGKILL')
      }
      await system.until('it is named', async () => (await readiness(system)).includes(`(${file}:2)`))
      assert.equal((await fetch(`${system.url}/messages?limit=1`)).status, 200)
      writeFileSync(file, GOOD)
      await system.until('it is ready', async () => (await fetch(`${system.url}/readyz`)).ok)
      const { id } = await post(system, 'mended')
      assert.equal((await find(system, id, 10)).state, 'delivered')
    },
  )
})

test('handlers that end or block their process: dead letters after five attempts, and nobody else is counted', async (context) => {
  const { system } = await start(context, ['--handler-timeout', '500ms', ...FIVE_ATTEMPTS])
  const { pid } = await system.actor('messages-1')
  const failed = 'The handler failed 5 times'
  const died = 'The process that ran its handler died 5 times'
  const expected: [text: string, lastError: RegExp, reason?: string][] = [
    ['compute 60000', /^The handler blocked its process for 500 ms$/, died],
    ['hang', /^Handler timeout of 500 ms, and it ignored its signal$/],
    ['spawn', /^Handler timeout of 500 ms, and it ignored its signal$/],
    ['wait-for-signal', /^Handler timeout of 500 ms$/],
    ['throw-beside', /^Error: a stray error$/],
    ['throw-null', /^null$/],
    ['exit', /^The handler's process ended with exit code 3$/, died],
    ['abort', /^The handler's process ended with SIGABRT$/, died],
    ['die', /^The handler's process ended with SIGKILL$/, died],
  ]
  const poison = await system.send<{ id: string }[]>(
    'POST',
    '/messages',
    expected.map(([text]) => ({ text })),
  )
  const healthy: string[] = []
  let letters: Letter[] = []
  await system.until(
    'all are dead letters',
    async () => {
      const { id } = await post(system, 'wait 20')
      healthy.push(id)
      assert.equal((await find(system, id, 10)).state, 'delivered', 'a healthy one is delivered meanwhile')
      letters = (await system.get<{ items: Letter[] }>('/dead')).items
      return letters.length === expected.length
    },
    120_000,
  )
  for (const [index, [text, lastError, reason = failed]] of expected.entries()) {
    const letter = letters.find(({ id }) => id === poison[index]!.id)!
    assert.match(letter.lastError, lastError, text)
    assert.deepEqual([letter.attempts, letter.reason], [5, reason], text)
  }
  for (const id of healthy) assert.deepEqual(await find(system, id), { state: 'delivered', attempts: 1 })

  // What an earlier message left behind is not the fault of the one that runs.
  const left = await post(system, 'compute-later 60000')
  const innocent = await post(system, 'wait 300')
  for (const { id } of [left, innocent]) {
    assert.deepEqual(await find(system, id, 20), { state: 'delivered', attempts: 1 })
  }
  await post(system, 'disconnect')
  const last = await post(system, 'healthy')
  assert.deepEqual(await find(system, last.id, 20), { state: 'delivered', attempts: 1 })

  const actor = await system.actor('messages-1')
  assert.deepEqual([actor.pid, actor.restarts], [pid, 0], 'its worker lives')
  const spawned = pidsIn(system.output, /spawned (\d+) in/g)
  assert.ok(spawned.length >= 5, 'it spawned in each attempt')
  assert.deepEqual(spawned.filter(isAlive), [], 'what a handler has spawned ended with its attempt')

  await post(system, 'spawn')
  await system.until(
    'it has spawned',
    async () => pidsIn(system.output, /spawned (\d+) in/g).length > spawned.length,
  )
  const left2 = [
    ...pidsIn(system.output, /spawned (\d+) in/g),
    ...pidsIn(system.output, /spawned \d+ in (\d+)/g),
  ]
  system.kill()
  await system.until('nothing outlives the primary', async () => !left2.some(isAlive), 10_000)
})

test('while what a handler needs is away, messages wait, the node says so, and no attempt is used up, by a killed worker neither', async (context) => {
  const { system, file } = await start(context, [])
  const needed = `${file}.needed`
  const texts = Array.from({ length: 30 }, () => ({ text: `needs ${needed}` }))
  const ids = (await system.send<{ id: string }[]>('POST', '/messages', texts)).map(({ id }) => id)
  const told =
    /"status":"ready".*"degraded":\["an outage of the handler since \S+: messages wait, the next probe is at \S+"/
  const isTold = async () => told.test(await readiness(system))
  await system.until('it is told', isTold)
  process.kill((await system.actor('messages-1')).pid, 'SIGKILL')
  await system.until('the actor is back', async () => (await system.actor('messages-1')).restarts === 1)
  await system.until('it is told again', isTold)
  const { outage, lastError } = await system.get<{
    outage: { target: string; why: string }
    lastError: string
  }>(`/messages/${ids[0]}`)
  assert.deepEqual(
    [outage.target, outage.why, lastError],
    ['the handler', 'Error: it is away', 'Error: it is away'],
  )
  writeFileSync(needed, '')
  for (const id of ids) {
    const { state, attempts } = await find(system, id, 30)
    // One start at most was under way when the worker was killed.
    assert.ok(state === 'delivered' && attempts <= 2, `${state} after ${attempts} attempts`)
  }
  await system.until('it is over', async () => !(await readiness(system)).includes('outage'))
  const lines = ['the target is away: messages wait, only probes are sent', 'the target is back']
  for (const line of lines) assert.ok(system.output.includes(line), line)
})

test('a stop costs no attempt: whoever ignores the signal, blocks, or runs beside them', async (context) => {
  const { system } = await start(context, [])
  const texts = ['wait-for-signal', 'hang', 'compute 60000']
  const ids = await Promise.all(texts.map(async (text) => (await post(system, text)).id))
  await system.until('all run', async () => {
    const found = await Promise.all(ids.map((id) => find(system, id)))
    return found.every(({ attempts }) => attempts === 1) && system.output.includes('computes in')
  })
  system.kill('SIGTERM')
  assert.deepEqual(await system.exited, [0, null], system.output)
  const before = system.output.length
  await system.begin()
  await system.until('all run again', async () => {
    const found = await Promise.all(ids.map((id) => find(system, id)))
    return found.every(({ attempts }) => attempts >= 1) && system.output.slice(before).includes('computes in')
  })
  for (const id of ids) assert.deepEqual(await find(system, id), { state: 'queued', attempts: 1 })
})

/** One messages actor with the handler of the tests, in a file that can be broken. */
async function start(context: TestContext, flags: string[]): Promise<{ system: System; file: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'mailroom-handler-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'handler.mjs')
  writeFileSync(file, GOOD)
  const args = ['--messages', '1', '--logging', '1', '--lanes', '2', '--handler', file, ...flags]
  const system = await System.start(context, args, { env: { NODE_OPTIONS: '--max-old-space-size=128' } })
  return { system, file }
}

function post(system: System, text: string): Promise<{ id: string }> {
  return system.send('POST', '/messages', { text })
}

async function find(system: System, id: string, waitSeconds = 0): Promise<Found> {
  const { state, attempts } = await system.get<Found>(`/messages/${id}?wait=${waitSeconds}`)
  return { state, attempts }
}

async function readiness(system: System): Promise<string> {
  return (await fetch(`${system.url}/readyz`)).text()
}

function pidsIn(output: string, pattern: RegExp): number[] {
  return [...output.matchAll(pattern)].map(([, pid]) => Number(pid))
}
