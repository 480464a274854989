/** Log lines to a destination that is full, closed or stands still: nobody dies of one, and nobody waits for one. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { freePort } from '../../tools/free-port.ts'
import { RunningSystem } from '../support/running-system.ts'
import { fill, smallDisk } from '../support/small-disk.ts'
import { System } from '../support/system.ts'

const DROPPED = /[0-9]+ log lines were dropped/
/** Lines of 1,000 characters that one message makes its handler print: all of a test's are more than all buffers take. */
const LINES = 300

function directory(context: Pick<TestContext, 'after'>): string {
  const path = mkdtempSync(join(tmpdir(), 'mailroom-logs-'))
  context.after(() => rmSync(path, { recursive: true }))
  return path
}

/** Flags of a node whose handler prints 300 kB for each message. */
function noisy(context: Pick<TestContext, 'after'>): string[] {
  const handler = join(directory(context), 'handler.mjs')
  const line = "'x'.repeat(990) + ' of handler'"
  writeFileSync(handler, `export default () => { for (let n = 0; n < ${LINES}; n++) console.log(${line}) }`)
  return ['--logging', '1', '--messages', '1', '--handler', handler]
}

async function assertDelivers(system: RunningSystem): Promise<void> {
  for (let n = 0; n < 5; n++) {
    const { id } = await system.send<{ id: string }>('POST', '/messages', { text: `${n}` })
    const { state } = await system.get<{ state: string }>(`/messages/${id}?wait=20`)
    assert.equal(state, 'delivered', `message ${n}`)
  }
}

/** Asserts that posts, deliveries, supervision and `/readyz` are as ever, while more is printed than any buffer takes. */
async function assertGoesOn(system: RunningSystem): Promise<void> {
  const before = await system.actors()
  await assertDelivers(system)
  const killed = before.find(({ name }) => name === 'messages-1')!
  process.kill(killed.pid, 'SIGKILL')
  await system.until('messages-1 is replaced', async () => {
    const { pid, state } = await system.actor('messages-1')
    return pid !== killed.pid && state === 'ready'
  })
  // The killed worker took its lines and their count along. Nothing takes these.
  await assertDelivers(system)
  const after = await system.actors()
  const pids = (actors: typeof after) =>
    actors.filter(({ name }) => name !== 'messages-1').map(({ pid }) => pid)
  assert.deepEqual(pids(after), pids(before))
  assert.equal((await fetch(`${system.url}/readyz`)).status, 200)
}

/** Asserts that a log has whole lines only, and ends with the reason of the end. */
function assertWhole(log: string): void {
  const lines = log.trimEnd().split('\n')
  for (const line of lines) {
    if (!/^x{990} of handler$/.test(line)) assert.doesNotThrow(() => JSON.parse(line), line)
  }
  assert.match(lines.at(-1)!, /drained/)
}

async function assertDrains(system: System): Promise<void> {
  system.kill('SIGTERM')
  assert.deepEqual(await system.exited, [0, null], system.output)
}

describe('log lines', { concurrency: 2 }, () => {
  test('log lines go to a file on the disk that is full: dropped, counted, and told once there is room', async (context) => {
    const disk = smallDisk(context, 2)
    if (disk === undefined) return
    const [log, filling] = [join(disk, 'mailroom.log'), join(disk, 'filling')]
    const stdout = openSync(log, 'w')
    context.after(() => closeSync(stdout))
    const system = await System.start(context, noisy(context), { stdout })
    fill(filling)
    await assertGoesOn(system)
    rmSync(filling)
    await system.until('the count is logged', async () => DROPPED.test(readFileSync(log, 'utf8')))
    await assertDrains(system)
    assertWhole(readFileSync(log, 'utf8'))
  })

  test('a reader of stdout that stands still: all goes on, and what it reads later is whole lines and a count', async (context) => {
    const fifo = join(directory(context), 'fifo')
    execFileSync('mkfifo', [fifo])
    const reader = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK)
    context.after(() => closeSync(reader))
    const stdout = openSync(fifo, constants.O_WRONLY)
    const system = await System.start(context, noisy(context), { stdout })
    closeSync(stdout)
    await assertGoesOn(system)
    let log = ''
    const read = () => {
      const bytes = Buffer.alloc(64 * 1024)
      try {
        for (;;) log += bytes.toString('utf8', 0, readSync(reader, bytes))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      }
    }
    await system.until('the count is logged', async () => {
      read()
      return DROPPED.test(log)
    })
    await assertDrains(system)
    read()
    assertWhole(log)
  })

  test('a socket as stdout whose reader stands still, then closes: all goes on', async (context) => {
    const system = await System.start(context, noisy(context))
    system.primary.stdout!.pause()
    await assertGoesOn(system)
    system.primary.stdout!.destroy()
    await assertGoesOn(system)
    await assertDrains(system)
  })

  test('a terminal that stands still (Ctrl-S): all goes on, and it ends', async (context) => {
    const port = await freePort()
    const system = new RunningSystem(`http://127.0.0.1:${port}`)
    const flags = ['--port', `${port}`, '--data', directory(context), ...noisy(context)]
    const terminal = onTerminal(flags)
    const exited = once(terminal, 'exit')
    let shown = ''
    const show = (text: string) => {
      shown += text
    }
    terminal.stdout.setEncoding('utf8').on('data', show)
    context.after(() => terminal.kill('SIGKILL'))
    await system.until('it is ready', async () => (await fetch(`${system.url}/readyz`)).ok)
    terminal.stdout.pause()
    await assertGoesOn(system)
    terminal.stdout.resume()
    await system.until('the count is shown', async () => DROPPED.test(shown))
    terminal.stdin.write('\x03')
    assert.deepEqual(await exited, [0, null], shown.slice(-2000))
    assert.match(shown.trimEnd().split('\n').at(-1)!, /drained/)
  })
})

test('on a terminal the log lines are for people, with --json for programs', async (context) => {
  for (const isJson of [false, true]) {
    const flags = [
      '--port',
      `${await freePort()}`,
      '--data',
      directory(context),
      ...(isJson ? ['--json'] : []),
    ]
    const terminal = onTerminal(flags)
    context.after(() => terminal.kill('SIGKILL'))
    const exited = once(terminal, 'exit')
    let shown = ''
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text
      if (text.includes('Mailroom is ready')) terminal.stdin.write('\x03')
    })
    assert.deepEqual(await exited, [0, null], shown)
    const lines = shown.replaceAll('^C', '').split('\r\n').filter(Boolean)
    const isEach = lines.every((line) => line.startsWith('{"level":') && JSON.parse(line).level > 0)
    assert.equal(isEach, isJson, shown)
  }
})

/** `mailroom start` on a terminal. */
function onTerminal(flags: string[]) {
  const command = [process.execPath, new URL('../../src/cli.ts', import.meta.url).pathname, 'start', ...flags]
  // `exec`: a shell that waits for the node would end by Ctrl-C itself, whatever the node's exit code.
  return spawn('script', ['-qec', `exec ${command.join(' ')}`, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, SHELL: '/bin/sh' },
  })
}

test('a file that others write, too: our lines stand between theirs, and none is written over', async (context) => {
  const path = directory(context)
  const cli = new URL('../../src/cli.ts', import.meta.url).pathname
  const script = `echo before; "$0" ${cli} scale nonsense 2>&1; echo "after $?"`
  writeFileSync(join(path, 'out'), '')
  const out = openSync(join(path, 'out'), 'w')
  const child = spawn('sh', ['-c', script, process.execPath], { stdio: ['ignore', out, out] })
  await once(child, 'exit')
  closeSync(out)
  assert.match(
    readFileSync(join(path, 'out'), 'utf8'),
    /^before\nmailroom: .*Expected ROLE=COUNT.*\nafter 78\n$/s,
  )
})
