/** The command line of the real program: what is typed, what is said, and with which code it ends. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, type TestContext, test } from 'node:test'
import { freePort } from '../../tools/free-port.ts'
import { begin, run, runHere } from '../support/command.ts'
import { FakeNode } from '../support/fake-node.ts'
import { startApi } from '../support/public-api.ts'
import { FIVE_ATTEMPTS, isAlive, System } from '../support/system.ts'

const HANDLER = new URL('../support/handler.ts', import.meta.url).pathname
const ROOT = new URL('../../', import.meta.url).pathname
const QUIET = ['--log-level', 'warn']

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'mailroom-cli-'))
  context.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** All texts of the log, and that each stands there once. */
async function onceEach(system: System, texts: readonly string[]): Promise<void> {
  const { logged } = await system.lists()
  assert.equal(logged.length, texts.length)
  assert.deepEqual(new Set(logged.map(({ text }) => text)), new Set(texts))
}

test('every command has a help with examples', async () => {
  const words = ['', 'start', 'scale', 'restart', 'status', 'send', 'dead']
  const all = [...words, ...['list', 'show', 'replay', 'purge'].map((word) => `dead ${word}`)]
  const helps = await Promise.all(all.map((line) => runHere([...line.split(' ').filter(Boolean), '--help'])))
  for (const [index, { code, stdout, stderr }] of helps.entries()) {
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /^mailroom /)
    assert.match(stdout, new RegExp(`Examples:\n  mailroom ${all[index]}`))
  }
  assert.match((await run([])).stdout, /Commands:/)
  assert.match((await run(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/)
})

test('a wrong command line names each problem and what was expected, and exits with code 78', async () => {
  const expected: [args: string[], ...words: RegExp[]][] = [
    [['sned', 'x'], /got "sned"; did you mean `send`\?/],
    [
      ['--bogus'],
      /one of start, scale, restart, status, cluster, send, tail, redeliver, pause, resume, redrive, try, loss, dead/,
    ],
    [['dead'], /one of list, groups, show, replay, purge/],
    [['dead', 'lst'], /did you mean `list`\?/],
    [['dead', 'show'], /Expected more words after `mailroom dead show`/],
    [['dead', 'replay'], /an id or `--all`, got neither/],
    [['restart', 'all'], /one of facade, logging, messages, got "all"/],
    [['scale', 'messages=0', 'loging=1', 'x'], /"messages=0"/, /"loging=1"/, /"x"/],
    [['scale', 'messages=1', 'messages=2'], /one order for each role/],
    [['send', 'a', 'b'], /"b" is one word too many/],
    [['send'], /Expected a text, - for standard input, or `--file`/],
    [
      ['send', 'x', '--fiel', 'y', '--timeout', '5', '--url', 'z'],
      /`--fiel`.*`--file`/,
      /`--timeout` to be a duration/,
      /`--url`/,
    ],
    [
      ['status', '--watch=maybe', '--no-json'],
      /`--watch` to be true or false, got "maybe"/,
      /`--no-json` is not/,
    ],
    [
      ['start', 'here', '--facade', '0.5', '--open=si', '--prot', '1'],
      /"here"/,
      /`--facade`/,
      /`--open`/,
      /`--port`/,
    ],
  ]
  const check = async ([args, ...words]: (typeof expected)[number]) => {
    const { code, stdout, stderr } = await runHere(args)
    assert.deepEqual([code, stdout], [78, ''], args.join(' '))
    for (const word of words) assert.match(stderr, word)
    assert.doesNotMatch(stderr, /\n\s+at /, 'no stack')
  }
  await Promise.all(expected.map(check))
  for (const args of [['start'], ['status']]) {
    const { code, stderr } = await run([...args, '--bogus'], { env: { MAILROOM_LANSE: '3' } })
    assert.equal(code, 78)
    assert.match(stderr, /`--bogus` is not a flag of this command\n.*`MAILROOM_LANSE`.*`MAILROOM_LANES`/)
  }
})

test('a shell completes commands and flags', async () => {
  const { code, stdout, stderr } = await run(['completion'])
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout, /mailroom --get-yargs-completions/)
  const completed = async (...words: string[]) =>
    (await run(['--get-yargs-completions', 'mailroom', ...words])).stdout.trim().split('\n')
  assert.ok((await completed('')).includes('redrive'))
  assert.ok((await completed('dead', '')).includes('purge'))
  const flags = await completed('start', '--')
  for (const flag of ['--handler-timeout', '--log-level']) assert.ok(flags.includes(flag), flag)
  const surplus = await run(['completion', 'bash', '--ids'])
  assert.equal(surplus.code, 78)
  assert.match(surplus.stderr, /`--ids` is not a flag.*\n.*"bash" is one word too many/)
})

test('a missing or wrong token is refused; the right one is taken from the flag or the variable', async (context) => {
  const token = 'a-token-of-sixteen-characters'
  const { server } = await startApi(context, { token })
  const url = `http://127.0.0.1:${server.port}`
  const hello = ['send', 'hello', '--url', url]
  for (const wrong of [[], ['--token', `${token}x`]]) {
    const { code, stdout, stderr } = await run([...hello, ...wrong])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(
      stderr,
      /Expected `--token` or MAILROOM_TOKEN to be a token of the node \(MR_TOKEN_INVALID\)/,
    )
    assert.ok(!stderr.includes(token))
  }
  assert.equal((await run([...hello, '--token', token])).code, 0)
  assert.equal((await run(hello, { env: { MAILROOM_TOKEN: token } })).code, 0)
  assert.equal((await run(['status', '--url', url, '--token', token])).code, 0)
})

test('Ctrl-C during send prints the number of acknowledged messages; the shell sees the signal', async (context) => {
  const { node } = await FakeNode.start(context)
  const input = new PassThrough()
  const { child, ended } = begin(['send', '-', '--url', node.url], { input })
  input.write('one\ntwo\nthr')
  while (node.texts.length < 2)
    await once(child.stderr!, 'data', { signal: AbortSignal.timeout(50) }).catch(() => {})
  // Acknowledged is what the command has heard of: ids come a moment after they are stored.
  await new Promise((resolve) => setTimeout(resolve, 200))
  child.kill('SIGINT')
  const { signal, stderr } = await ended
  assert.equal(signal, 'SIGINT')
  assert.equal(stderr, 'Interrupted: 2 messages acknowledged; some more may have been stored\n')
  assert.deepEqual(node.texts, ['one', 'two'])
})

test('a closed pipe ends dead list with code 141', async (context) => {
  const { node } = await FakeNode.start(context)
  const letter = {
    id: 'X',
    text: 'x'.repeat(500),
    deadAt: 'then',
    attempts: 5,
    reason: 'no',
    lastError: 'no',
  }
  node.script = () => ({ status: 200, body: { items: Array(1000).fill(letter), next: '/dead?limit=1000' } })
  const { child, ended } = begin(['dead', 'list', '--url', node.url])
  // The test itself cuts its output off.
  ended.catch(() => {})
  child.stdout!.once('data', () => child.stdout!.destroy())
  await once(child, 'exit')
  assert.equal(child.exitCode, 141)
})

test('an unreachable node is reported in one line', async () => {
  const port = await freePort()
  for (const args of [
    ['status'],
    ['dead', 'list'],
    ['scale', 'messages=1'],
    ['send', 'x', '--timeout', '0s'],
  ]) {
    const { code, stdout, stderr } = await run([...args, '--url', `http://127.0.0.1:${port}`])
    assert.deepEqual([code, stdout], [1, ''])
    assert.equal(
      stderr,
      `mailroom: Nothing answers at http://127.0.0.1:${port} (ECONNREFUSED): is Mailroom running? Start it with: mailroom start\n`,
    )
  }
})

/** These wait more than they work; the one that waits longest is first. */
describe('with a node', { concurrency: 2 }, () => {
  test('status, scale, restart, send and dead work on a running node', async (context) => {
    const system = await System.start(context, [...QUIET, '--handler', HANDLER, ...FIVE_ATTEMPTS])
    const env = { MAILROOM_URL: system.url }
    const mailroom = (...args: string[]) => run(args, { env })
    const deadIds = async () =>
      (await system.get<{ items: { id: string }[] }>('/dead')).items.map(({ id }) => id)

    const { stdout: table, code } = await mailroom('status')
    assert.equal(code, 0)
    assert.match(table, /^Ready\n\nACTOR +STATE/)
    assert.equal(table.trimEnd().split('\n').length, 3 + 6)

    // It is tried for 7 s, meanwhile the other commands run.
    const bad = (await mailroom('send', 'throw')).stdout.trim()

    assert.ok((await run(['status'], { env: { ...env, FORCE_COLOR: '1' } })).stdout.includes('\x1b['))
    const plain = await run(['status'], { env: { ...env, NO_COLOR: '1' } })
    assert.ok(!plain.stdout.includes('\x1b['))
    assert.equal(JSON.parse((await mailroom('status', '--json')).stdout).length, 6)

    const scaled = await mailroom('scale', 'messages=3', 'logging=1')
    assert.equal(scaled.code, 0, scaled.stderr)
    assert.match(scaled.stdout, /messages-3 +ready/)
    assert.doesNotMatch(scaled.stdout, /logging-2/)
    const { pid } = await system.actor('messages-1')
    assert.equal((await mailroom('restart', 'messages')).code, 0)
    assert.notEqual((await system.actor('messages-1')).pid, pid)

    await system.until('it is dead', async () => (await deadIds()).includes(bad))
    assert.equal(JSON.parse((await mailroom('dead', 'list', '--json')).stdout).id, bad)
    assert.match((await mailroom('dead', 'list')).stdout, new RegExp(`^${bad}  .*  5x  .*  "throw"\n$`))
    const shown = JSON.parse((await mailroom('dead', 'show', bad)).stdout)
    assert.deepEqual([shown.id, shown.text, shown.attempts], [bad, 'throw', 5])
    const [, group = ''] = /^ +1 {2}([0-9a-f]{16}) /.exec((await mailroom('dead', 'groups')).stdout) ?? []
    const other = await mailroom('dead', 'replay', '--all', '--group', '0'.repeat(16))
    assert.equal(other.stdout, '0 messages are pending again\n')
    const replayed = await mailroom('dead', 'replay', '--all', '--group', group)
    assert.equal(replayed.stdout, '1 message is pending again\n')

    const dashes = await mailroom('send', '--json', '--', '--throw')
    const { line, id } = JSON.parse(dashes.stdout)
    assert.equal(line, 1)
    assert.equal((await system.get<{ text: string }>(`/messages/${id}`)).text, '--throw')

    await system.until('it is dead again', async () => (await deadIds()).includes(bad))
    assert.equal((await mailroom('dead', 'purge', bad)).code, 0)
    const none = await mailroom('dead', 'list')
    assert.deepEqual([none.stdout, none.stderr], ['', 'There are no dead letters\n'])
    const gone = await mailroom('dead', 'show', bad)
    assert.deepEqual(
      [gone.code, gone.stderr],
      [1, `mailroom: There is no dead letter ${bad} (MR_NOT_FOUND)\n`],
    )
  })

  test('a node is killed and restarted during send: every line is stored once', async (context) => {
    const system = await System.start(context, QUIET)
    const file = join(folder(context), 'lines')
    const texts = Array.from({ length: 30_000 }, (_, index) => `line ${index} ${'x'.repeat(50)}`)
    writeFileSync(file, texts.join('\n'))
    const { ended } = begin(['send', '--file', file, '--url', system.url])
    await system.until(
      'some are stored',
      async () => (await system.get<{ items: [] }>('/log?limit=1')).items.length > 0,
    )
    system.kill()
    await system.exited
    await system.begin()
    const { code, stderr } = await ended
    assert.equal(code, 0, stderr)
    assert.match(stderr, /Trying again for up to 60 s\nSent 30000 messages/)
    await onceEach(system, texts)
  })

  test('a start that fails says why and leaves no process', async (context) => {
    const system = await System.start(context, QUIET)
    const at = folder(context)
    writeFileSync(join(at, 'five.mjs'), 'export default 5')
    const start = (...args: string[]) => run(['start', '--log-level', 'silent', ...args])

    const busy = await start('--port', String(system.port), '--data', join(at, 'a'))
    assert.equal(busy.code, 78)
    assert.match(
      busy.stderr,
      /`--port` to be free, but something listens on port \d+ of 127\.0\.0\.1 already/,
    )

    const second = await start('--port', '0', '--data', system.data)
    assert.equal(second.code, 1)
    const holder = `in use by the Mailroom on ${system.url} (process ${system.primary.pid})`
    assert.equal(
      second.stderr,
      `mailroom: ${system.data} is ${holder}: end that, or start with another --data\n`,
    )

    const unwritable = await start('--port', '0', '--data', join(at, 'five.mjs'))
    assert.equal(unwritable.code, 78)
    assert.match(unwritable.stderr, /`--data` to be a directory that can be written, got EEXIST/)

    const handler = await start('--port', '0', '--data', join(at, 'b'), '--handler', join(at, 'five.mjs'))
    assert.equal(handler.code, 78)
    assert.match(
      handler.stderr,
      /`--handler`.* to be a module whose default export is a function, got number/,
    )
    const { workers } = JSON.parse(readFileSync(join(at, 'b', 'node.json'), 'utf8')) as { workers: number[] }
    assert.deepEqual(workers.filter(isAlive), [])
  })

  test('SIGTERM to npm and Ctrl-C drain npm start and leave no process', async (context) => {
    for (const way of ['SIGTERM to npm', 'Ctrl-C'] as const) {
      const data = folder(context)
      const port = await freePort()
      const flags = ['--port', String(port), '--data', data, '--log-level', 'info']
      const npm = spawn('npm', ['start', '--', ...flags], {
        cwd: ROOT,
        detached: true,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let output = ''
      npm.stdout!.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
      const exited = once(npm, 'exit')
      while (!output.includes('Mailroom is ready'))
        await once(npm.stdout!, 'data', { signal: AbortSignal.timeout(30_000) })
      const { pid, workers } = JSON.parse(readFileSync(join(data, 'node.json'), 'utf8')) as {
        pid: number
        workers: number[]
      }
      assert.ok(isAlive(pid) && workers.length === 6)
      // A terminal's Ctrl-C is a SIGINT to the whole group.
      if (way === 'Ctrl-C') process.kill(-npm.pid!, 'SIGINT')
      else npm.kill('SIGTERM')
      assert.deepEqual(await exited, [0, null], `${way}\n${output}`)
      assert.match(output, /"msg":"drained"/)
      assert.deepEqual([pid, ...workers].filter(isAlive), [], way)
    }
  })
})
