/** Every documented form of every flag, and every example of the help, by the whole program. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { CLIENT_COMMANDS, type ClientCommand, DEAD_COMMANDS } from '../../src/commands/client-commands.ts'
import type { Sources } from '../../src/inbox/source.ts'
import { readSources } from '../../src/inbox/sources.ts'
import { MIN_ID } from '../../src/storage/ids.ts'
import { freePort } from '../../tools/free-port.ts'
import { begin, type Ended, type Options, run, runHere } from '../support/command.ts'
import { headingsOf, pageOf, rowsOf } from '../support/markdown.ts'
import { startApi } from '../support/public-api.ts'

const TOKEN = 'a-token-of-sixteen-characters'
const LETTER = { reason: 'r', attempts: 5, firstError: 'f', lastError: 'l', deadAt: 0 }
/** The id in the examples of the help. */
const EXAMPLE_ID = '01KAXB5Z7T4N8V2M6Q0R3W9C01'

/** Placeholder of a value -> a value it takes. */
const BY_SHAPE: Record<string, string> = {
  ...{ N: '2', PORT: '7001', ADDRESS: '127.0.0.1', TOKEN, SECRET: TOKEN, DURATION: '70s', LEVEL: 'silent' },
  ...{
    NAME: 'name',
    'NAME,…': 'a.example,b.example',
    'HOST:PORT,…': '127.0.0.1:7100',
    'NAME@HOST:PORT,…': 'dev@127.0.0.1:5701',
    ID: MIN_ID,
    TEXT: 'text',
    GROUP: '5f4dcc3b5aa765d6',
    SIZE: '512KiB',
    LIST: 'logged,actor',
    CURSOR: '1-a-a',
    '/PATH': '/mailroom',
  },
  ...{ DIRECTORY: 'data', FILE: 'handler.js', URL: 'http://127.0.0.1:1' },
  'env:NAME': 'file:order.json',
}
/** A source that checks nothing. */
const OPEN = { verify: 'none' }
const BY_FLAG: Record<string, string> = {
  'mailbox-capacity': '5000',
  lanes: '16',
  backend: 'hazelcast',
  journal: 'off',
  sources: 'sources.json',
  'read-token': 'a-token-of-readers',
  'post-token': 'a-token-of-posters',
}

interface Documented {
  flag: string
  variable: string
  /** Undefined for a switch. */
  value: string | undefined
}

/** The sources of the folder's file. */
function sourcesIn(cwd: string): Sources {
  return readSources(join(cwd, 'sources.json'), { env: {}, maxMessageBytes: 1000, mayBeOpen: true })
}

/** The rows of docs/config.md: of `mailroom start`, or of the client commands. */
function documented(isWanted: (heading: string) => boolean): Documented[] {
  const page = pageOf('docs/config.md')
  const rows = headingsOf(page)
    .filter(isWanted)
    .flatMap((heading) => rowsOf(page, heading))
  return rows.flatMap(([typed, variable]) => {
    const [, flag, shape] = /^`--([a-z-]+)(?: (.+))?`$/.exec(typed!) ?? []
    if (flag === undefined) return []
    const value = shape && (BY_FLAG[flag] ?? BY_SHAPE[shape] ?? assert.fail(`no value for ${shape}`))
    return [{ flag, variable: variable!.replaceAll('`', ''), value }]
  })
}

/** The ways to give flags: arguments and variables. @param on What a switch takes after `=`. */
function forms(
  given: readonly Documented[],
  on = ['true'],
): { args: string[]; env: Record<string, string> }[] {
  const switches = (on: string) => given.map(({ flag, value }) => `--${flag}=${value ?? on}`)
  return [
    { args: given.flatMap(({ flag, value }) => [`--${flag}`, ...(value ? [value] : [])]), env: {} },
    ...on.map((one) => ({ args: switches(one), env: {} })),
    { args: [], env: Object.fromEntries(given.map(({ variable, value }) => [variable, value ?? 'true'])) },
  ]
}

/** A folder with the files that examples name. */
function folder(context: TestContext): string {
  const cwd = mkdtempSync(join(tmpdir(), 'mailroom-flags-'))
  context.after(() => rmSync(cwd, { recursive: true, force: true }))
  for (const [name, text] of [
    ['handler.js', 'export default () => {}'],
    ['sources.json', JSON.stringify({ form: OPEN, github: OPEN, stripe: OPEN })],
    ['lines.txt', 'one\ntwo\n'],
    ['order.json', '{\n}\n'],
  ] as const) {
    writeFileSync(join(cwd, name), text)
  }
  return cwd
}

/** A port that is in use on all addresses, so that a start ends there once it has accepted everything else. */
async function busyPort(context: TestContext): Promise<string> {
  const server = createServer().listen(0)
  await once(server, 'listening')
  context.after(() => server.close())
  return String((server.address() as { port: number }).port)
}

/** Runs a command until it has printed something. */
function interrupted(words: string[], options: Options): Promise<Ended> {
  const { child, ended } = begin(words, options)
  child.stdout!.once('data', () => child.kill('SIGINT'))
  return ended
}

async function endsAtPort(args: string[], env: Record<string, string>, cwd: string): Promise<void> {
  const { code, stderr } = await run(['start', ...args], { env, cwd })
  assert.equal(code, 78, stderr)
  // With `--json` it is the same sentence, in an object.
  const told = stderr.startsWith('{') ? `mailroom: ${JSON.parse(stderr).detail}\n` : stderr
  assert.match(
    told,
    /^mailroom: Configuration is invalid:\n.*Expected `--port` to be free.*\n$/,
    args.join(' '),
  )
}

test('mailroom start takes every flag in every documented form', async (context) => {
  const cwd = folder(context)
  BY_FLAG['port'] = await busyPort(context)
  BY_FLAG['internal-port'] = String(await freePort())
  const given = documented((heading) => heading !== 'Client commands')
  assert.ok(given.length > 20)
  // A message is forwarded or handled.
  for (const others of [['forward', 'forward-secret'], ['handler']]) {
    const some = given.filter(({ flag }) => !others.includes(flag))
    await Promise.all(forms(some, ['true', '1']).map(({ args, env }) => endsAtPort(args, env, cwd)))
  }
  const valued = given.filter(({ value }) => value !== undefined)
  const twice = valued.flatMap(({ flag, value }) => [`--${flag}`, value!, `--${flag}=${value}`])
  const { stderr } = await runHere(['start', ...twice], { cwd })
  for (const { flag } of valued)
    assert.match(stderr, new RegExp(`Expected \`--${flag}\` to be given once, got`))
})

test('client commands take every flag in every documented form', async (context) => {
  const cwd = folder(context)
  const inbox = sourcesIn(cwd)
  const { facade, server } = await startApi(context, { token: TOKEN, inbox })
  const url = `http://127.0.0.1:${server.port}`
  const all = documented((heading) => heading === 'Client commands').map((one) =>
    one.flag === 'url' ? { ...one, value: url } : one.flag === 'file' ? { ...one, value: '-' } : one,
  )
  const tried = new Set<string>()
  const check = async (words: string[], flags: string[], expected: RegExp) => {
    const given = all.filter(({ flag }) => [...flags, 'url', 'token', 'timeout'].includes(flag))
    for (const { flag } of given) tried.add(flag)
    for (const { args, env } of forms(given)) {
      facade.deadLetters.push({ id: EXAMPLE_ID, text: 't', ...LETTER })
      const { code, stdout, stderr } = await runHere([...words, ...args], { env, cwd, input: 'one\n\ntwo\n' })
      assert.equal(code, 0, `${words} ${args} ${JSON.stringify(env)} ${stderr}`)
      assert.match(stdout, expected)
    }
  }
  await Promise.all([
    check(['send'], ['file', 'skip-empty', 'json'], /^\{"line":1,"id".*\n\{"line":3,"id".*\n$/),
    check(['send'], ['file', 'whole', 'ids'], /^[0-9A-Z]{26}\n$/),
    check(['redrive'], ['since', 'json'], /^\{"checked":\d+,"redriven":0\}\n$/),
    check(['cluster'], ['wait', 'json'], /^\{"safe":true,"clusters":\[\]\}\n$/),
    check(['loss'], ['confirm', 'json'], /^\[\]\n$/),
    check(['try', 'form'], ['sources'], /\n200 \{"id":/),
  ])
  await check(
    ['dead', 'replay'],
    ['all', 'source', 'reason', 'group'],
    /^\d+ messages? (is|are) pending again\n$/,
  )
  await check(['dead', 'purge'], ['all', 'yes'], /^Deleted \d+ dead letters?; /)
  const followed = all.filter(({ flag }) =>
    ['only', 'after', 'json', 'url', 'token', 'timeout'].includes(flag),
  )
  for (const { args, env } of forms(followed)) {
    const { code, stdout } = await interrupted(['tail', ...args], { env, cwd })
    assert.equal(code, 0)
    assert.match(stdout, /^\{"event":"gap",/)
  }
  const watched = begin(['status', '--watch=true', '--json', '--url', url, '--token', TOKEN])
  for (let lines = 0; lines < 2; lines++) await once(watched.child.stdout!, 'data')
  watched.child.kill('SIGINT')
  await watched.ended
  assert.deepEqual(new Set([...tried, 'watch', 'only', 'after']), new Set(all.map(({ flag }) => flag)))
  const off = ['--json=false', '--watch=0', '--url', url, '--token', TOKEN]
  assert.match((await runHere(['status', ...off])).stdout, /^(Ready|Not ready)/)
})

test('a flag without its value, or with a lone dash as value, is named', async () => {
  for (const [args, expected] of [
    [['send', '--file'], /Expected `--file` to be followed by its value/],
    [['send', '--file', '--json'], /Expected `--file` to be followed by its value/],
    [['send', 'x', '--file', '-'], /Expected either a text or `--file`, got both/],
    [['status', '--url', '-'], /Expected `--url` to be a URL .*, got "-"/],
    [['start', '--port', '-'], /Expected `--port` to be a whole number .*, got "-"/],
    [['start', '--port', '-1'], /Expected `--port` to be a whole number .*, got "-1"/],
    [['start', '--data='], /Expected `--data` to be a path, got ""/],
    [['dead', 'show', '-', '--url', 'x'], /Expected `--url`/],
  ] as [string[], RegExp][]) {
    const { code, stderr } = await runHere(args)
    assert.equal(code, 78, args.join(' '))
    assert.match(stderr, expected, args.join(' '))
  }
})

test('every example of every help runs', async (context) => {
  const cwd = folder(context)
  const { facade, server } = await startApi(context, { inbox: sourcesIn(cwd) })
  const env = {
    MAILROOM_URL: `http://127.0.0.1:${server.port}`,
    MAILROOM_SOURCES: join(cwd, 'sources.json'),
  }
  const runAll = async (commands: readonly ClientCommand[]) => {
    for (const [index, [typed]] of commands.flatMap(({ examples }) => [...examples.entries()])) {
      facade.deadLetters.push({ id: EXAMPLE_ID, text: 't', ...LETTER })
      facade.messages.push({ id: EXAMPLE_ID, text: 'delivered' })
      const words = typed
        .replace(/ \|.*| <.*/, '')
        .match(/"[^"]*"|\S+/g)!
        .map((word) => word.replaceAll('"', ''))
      const options = { env, cwd, input: 'one\n' }
      const isTail = words[0] === 'tail'
      const isEndless = isTail || words.includes('--watch')
      // Each command has one process of its own.
      const { code, stderr } = await (isEndless
        ? interrupted(words, options)
        : index === 0
          ? run(words, options)
          : runHere(words, options))
      // Without a terminal `purge --all` asks nobody.
      const isAsking = typed === 'dead purge --all'
      assert.equal(code, isAsking ? 78 : isEndless && !isTail ? null : 0, `${typed}: ${stderr}`)
    }
  }
  const happening = setInterval(() => {
    for (const topic of ['logged', 'dead'] as const)
      facade.happen(topic, [{ ...LETTER, id: EXAMPLE_ID, text: 't', bytes: 1 }])
  }, 50)
  context.after(() => clearInterval(happening))
  // The examples of dead letters need their id, so one runs after the other.
  await Promise.all([runAll(DEAD_COMMANDS), ...CLIENT_COMMANDS.map((command) => runAll([command]))])
  const port = await busyPort(context)
  const { stdout } = await run(['start', '--help'])
  const lines = stdout.replaceAll(/\n {10,}\S.*/g, '').match(/(?<=^ {2}mailroom start)( --\S+ \S+)*/gm)!
  assert.ok(lines.length >= 4, stdout)
  for (const line of lines) {
    const words = line.split(' ').filter(Boolean)
    // The line with `--token` is wrapped there.
    await endsAtPort(
      words.includes('--host') ? [...words, '--token', TOKEN] : words,
      { MAILROOM_PORT: port },
      cwd,
    )
  }
})
