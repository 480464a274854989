/** `mailroom dead` in front of the real API, and against nodes that do what the test says. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { type Content, storedText } from '../../src/storage/content.ts'
import type { Dead } from '../../src/storage/ports.ts'
import { begin, runHere } from '../support/command.ts'
import { FakeNode, type Reply, refusal } from '../support/fake-node.ts'
import { startApi } from '../support/public-api.ts'

const DEAD_AT = Date.UTC(2026, 0, 1)
const idOf = (number: number) => `01KAXB5Z7T4N8V2M6Q0R${String(number).padStart(6, '0')}`
const ABSENT = idOf(999_999)

/** An API with so many dead letters. */
async function withLetters(context: TestContext, count: number, more: Partial<Dead> = {}) {
  const { facade, server } = await startApi(context)
  for (let number = 1; number <= count; number++) {
    facade.deadLetters.push({
      ...{ id: idOf(number), text: `text ${number}`, reason: 'The handler failed 5 times', attempts: 5 },
      ...{ firstError: 'Error: first', lastError: 'Error: last', deadAt: DEAD_AT, ...more },
    })
  }
  const url = `http://127.0.0.1:${server.port}`
  const dead = (...args: string[]) => runHere(['dead', ...args], { env: { MAILROOM_URL: url } })
  return { facade, dead, url }
}

test('list shows one letter a line, oldest first, over all pages', async (t) => {
  const { dead } = await withLetters(t, 1001)
  const { code, stdout, stderr } = await dead('list')
  assert.deepEqual([code, stderr], [0, ''])
  const lines = stdout.trimEnd().split('\n')
  assert.equal(lines.length, 1001)
  assert.equal(
    lines[0],
    `${idOf(1)}  2026-01-01T00:00:00.000Z  5x  "The handler failed 5 times"  "Error: last"  "text 1"`,
  )
  assert.match(lines[1000]!, new RegExp(`^${idOf(1001)} `))
})

test('list shortens long texts and errors and escapes control characters', async (t) => {
  const { dead } = await withLetters(t, 1, { text: `\x1b[2J${'x'.repeat(100)}`, lastError: '\u202eevil\n' })
  const { stdout } = await dead('list')
  const reason = '"The handler failed 5 times"'
  const [error, text] = ['"\\u202eevil\\n"', `"\\u001b[2J${'x'.repeat(56)}…"`]
  assert.equal(stdout.slice(stdout.indexOf('5x')), `5x  ${reason}  ${error}  ${text}\n`)
})

test('list --json prints whole letters, one a line', async (t) => {
  const text = 'x'.repeat(100)
  const { dead } = await withLetters(t, 2, { text })
  const { code, stdout } = await dead('list', '--json')
  assert.equal(code, 0)
  const [first, second, ...rest] = stdout.trimEnd().split('\n')
  const { id, at, ...letter } = JSON.parse(first!)
  assert.deepEqual([id, rest], [idOf(1), []])
  assert.match(at, /^\d{4}-.*Z$/)
  assert.deepEqual(letter, {
    ...{ text, reason: 'The handler failed 5 times', attempts: 5, firstError: 'Error: first' },
    ...{ lastError: 'Error: last', deadAt: '2026-01-01T00:00:00.000Z' },
  })
  assert.equal(JSON.parse(second!).id, idOf(2))
})

test('an empty list prints a sentence on stderr, with --json nothing', async (t) => {
  const { dead } = await withLetters(t, 0)
  const told = await dead('list')
  assert.deepEqual([told.code, told.stdout, told.stderr], [0, '', 'There are no dead letters\n'])
  const { code, stdout, stderr } = await dead('list', '--json')
  assert.deepEqual([code, stdout, stderr], [0, '', ''])
})

test('show prints one dead letter as JSON; replay and purge remove one and say so', async (t) => {
  const { facade, dead } = await withLetters(t, 3)
  const shown = await dead('show', idOf(2))
  assert.equal(shown.code, 0)
  assert.match(shown.stdout, /^\{\n {2}"id"/)
  assert.equal(JSON.parse(shown.stdout).text, 'text 2')
  assert.equal((await dead('replay', idOf(2))).stdout, `${idOf(2)} is pending again\n`)
  assert.equal(
    (await dead('purge', idOf(3))).stdout,
    `Deleted dead letter ${idOf(3)}; its message stays in the log\n`,
  )
  assert.deepEqual(
    facade.deadLetters.map(({ id }) => id),
    [idOf(1)],
  )
})

test('show, replay and purge of a missing dead letter exit with code 1', async (t) => {
  const { facade, dead } = await withLetters(t, 1)
  for (const what of ['show', 'replay', 'purge']) {
    const { code, stdout, stderr } = await dead(what, ABSENT)
    assert.deepEqual([code, stdout], [1, ''], what)
    assert.equal(stderr, `mailroom: There is no dead letter ${ABSENT} (MR_NOT_FOUND)\n`)
  }
  assert.equal(facade.deadLetters.length, 1)
})

test('an operand that is not an id is refused and never becomes another path', async (t) => {
  const { facade, dead } = await withLetters(t, 1)
  for (const id of ['../actors', 'a/b', '%2e%2e', '?limit=1']) {
    const { code, stderr } = await dead('purge', id)
    assert.equal(code, 1, id)
    assert.match(stderr, /^mailroom: .*id.*\(MR_REQUEST_INVALID\)\n$/)
  }
  assert.equal(facade.deadLetters.length, 1)
})

test('replay --all makes all pending and prints their number', async (t) => {
  const { facade, dead } = await withLetters(t, 3)
  assert.equal((await dead('replay', '--all')).stdout, '3 messages are pending again\n')
  assert.deepEqual(facade.deadLetters, [])
  const { code, stdout } = await dead('replay', '--all')
  assert.deepEqual([code, stdout], [0, '0 messages are pending again\n'])
})

const NEXT = `/dead/replay?limit=1000&after=${idOf(3)}`
const replayed = (checked: number, replayed: number, next: string | null): Reply => ({
  status: 200,
  body: { checked, replayed, next },
})
const purged = (checked: number, purged: number): Reply => ({
  status: 200,
  body: { checked, purged, next: null },
})

test('replay --all says how far it came when it ends early, and nothing when it did not begin', async (t) => {
  const { node } = await FakeNode.start(t)
  const away = refusal(503, 'MR_STORE_UNAVAILABLE', 'the queue is away')
  node.script = (_, number) => (number === 1 ? replayed(1000, 265, NEXT) : away)
  const replayAll = () => runHere(['dead', 'replay', '--all', '--timeout', '0s', '--url', node.url])
  const { code, stdout, stderr } = await replayAll()
  assert.deepEqual([code, stdout], [1, ''])
  assert.equal(
    stderr,
    'Failed: 265 dead letters replayed, perhaps more; run it again for the rest\nmailroom: the queue is away (MR_STORE_UNAVAILABLE)\n',
  )
  assert.equal((await replayAll()).stderr, 'mailroom: the queue is away (MR_STORE_UNAVAILABLE)\n')
})

test('Ctrl-C of purge --all says how far it came and how to go on', async (t) => {
  const { node } = await FakeNode.start(t)
  node.script = (_, number) => {
    if (number === 1)
      return { status: 200, body: { checked: 1000, purged: 265, next: '/dead/purge?limit=1000' } }
    child.kill('SIGINT')
    return 'hold'
  }
  const { child, ended } = begin(['dead', 'purge', '--all', '--yes', '--url', node.url])
  const { signal, stdout, stderr } = await ended
  assert.deepEqual([signal, stdout], ['SIGINT', ''])
  assert.equal(stderr, 'Interrupted: 265 dead letters deleted, perhaps more; run it again for the rest\n')
})

test('replay and purge --all send their filter, and follow next as it is', async (t) => {
  const { node } = await FakeNode.start(t)
  node.script = ({ path }) => (path === NEXT || path.includes('purge') ? purged(2, 1) : replayed(3, 2, NEXT))
  const filter = ['--source', 'github', '--reason', 'a & b']
  const dead = (...args: string[]) => runHere(['dead', ...args, ...filter, '--url', node.url])
  assert.equal((await dead('replay', '--all')).stdout, '3 messages are pending again\n')
  const query = 'limit=1000&source=github&reason=a+%26+b'
  assert.equal(
    (await dead('purge', '--all', '--yes')).stdout,
    'Deleted 1 dead letter; its message stays in the log\n',
  )
  assert.deepEqual(
    node.calls.map(({ method, path }) => `${method} ${path}`),
    [`POST /dead/replay?${query}`, `POST ${NEXT}`, `POST /dead/purge?${query}`],
  )
})

test('a filter is refused without --all, and a bad one always, before any request', async (t) => {
  const { node } = await FakeNode.start(t)
  for (const [args, expected] of [
    ...[
      ['--source', 'a'],
      ['--reason', 'a'],
      ['--group', '5f4dcc3b5aa765d6'],
    ].map(
      (filter) =>
        [
          ['replay', idOf(1), ...filter],
          /Expected `--source`, `--reason` and `--group` to be given with `--all` only/,
        ] as const,
    ),
    [['replay', '--all', '--group', 'x'], /Expected `--group` to be the name of a group .*, got "x"/],
    [['purge', '--all', '--source', 'A B'], /Expected `--source` to be a name of 1 to 64 .*, got "A B"/],
  ] as const) {
    const { code, stderr } = await runHere(['dead', ...args, '--url', node.url])
    assert.equal(code, 78)
    assert.match(stderr, expected)
  }
  assert.equal(node.calls.length, 0)
})

test('list shows bodies that are no text by size and type, and only those that a filter means', async (t) => {
  const { facade, dead } = await withLetters(t, 4)
  const contents: Content[] = [
    { source: 'photos', type: 'image/png', base64: Buffer.alloc(14, 0xff).toString('base64') },
    { source: 'github', type: 'application/json', text: '{"a":1}' },
    { base64: '/w==' },
  ]
  contents.forEach((content, index) => {
    facade.deadLetters[index]!.text = storedText(content)
  })
  facade.deadLetters[1]!.reason = 'outage'
  const bodies = async (...args: string[]) =>
    [...(await dead('list', ...args)).stdout.matchAll(/"Error: last" {2}(.*)/g)].map(([, body]) => body)
  const [png, json] = ['(14 bytes, "image/png")', '"{\\"a\\":1}"']
  assert.deepEqual(await bodies(), [png, json, '(1 byte)', '"text 4"'])
  assert.deepEqual(await bodies('--source', 'photos'), [png])
  assert.deepEqual(await bodies('--reason', 'out'), [json])
  const none = await dead('list', '--source', 'photos', '--reason', 'out')
  assert.deepEqual([none.stdout, none.stderr], ['', 'There are no such dead letters\n'])
})

test('replay needs either an id or --all, and sends no request without', async (t) => {
  const { node } = await FakeNode.start(t)
  for (const [args, got] of [
    [[], 'neither'],
    [[ABSENT, '--all'], 'both'],
  ] as const) {
    const { code, stderr } = await runHere(['dead', 'replay', ...args, '--url', node.url])
    assert.equal(code, 78)
    assert.match(stderr, new RegExp(`Expected either an id or \`--all\`, got ${got}\n$`))
  }
  assert.equal(node.calls.length, 0)
})

test('a lost answer: replay and purge try again, and what is gone then counts as done', async (t) => {
  const { node } = await FakeNode.start(t)
  node.script = (_, number) => (number === 1 ? 'lose' : refusal(404, 'MR_NOT_FOUND', 'gone'))
  const one = await runHere(['dead', 'purge', idOf(1), '--url', node.url])
  assert.deepEqual([one.code, node.calls.length], [0, 2])
  assert.match(one.stderr, /does not answer any more .*\nTrying again for up to 60 s\n$/)
})

test('a lost answer of a page: it is asked for again, and the number told is the least', async (t) => {
  const { node } = await FakeNode.start(t)
  const answers: Reply[] = [replayed(3, 3, NEXT), 'lose', replayed(2, 1, null)]
  node.script = () => answers.shift()
  const { code, stdout } = await runHere(['dead', 'replay', '--all', '--url', node.url])
  assert.deepEqual([code, stdout], [0, 'At least 4 messages are pending again\n'])
  assert.deepEqual(
    node.calls.map(({ path }) => path),
    ['/dead/replay?limit=1000', NEXT, NEXT],
  )
  answers.push('lose', purged(0, 0))
  const purge = await runHere(['dead', 'purge', '--all', '--yes', '--url', node.url])
  assert.equal(purge.stdout, 'Deleted at least 0 dead letters; their messages stay in the log\n')
})

test('a call refused for now is sent again, and the retry is reported once', async (t) => {
  const { node } = await FakeNode.start(t)
  const refused = (status: number, code: string) => ({
    status,
    body: { status, code, detail: `refused ${code}`, outcome: 'none' },
  })
  node.script = (_, number) => {
    if (number === 1) return refused(503, 'MR_STORE_UNAVAILABLE')
    // The connection was closed as idle when the request was sent.
    if (number === 2) return refused(408, 'MR_REQUEST_TIMEOUT')
    return replayed(1, 1, null)
  }
  const { code, stdout, stderr } = await runHere(['dead', 'replay', '--all', '--url', node.url])
  assert.deepEqual([code, stdout], [0, '1 message is pending again\n'])
  assert.equal(stderr, 'refused MR_STORE_UNAVAILABLE (MR_STORE_UNAVAILABLE)\nTrying again for up to 60 s\n')
})

test('purge --all without a terminal needs --yes, and sends no request without', async (t) => {
  const { facade, dead } = await withLetters(t, 3)
  const refused = await dead('purge', '--all')
  assert.deepEqual([refused.code, facade.deadLetters.length], [78, 3])
  assert.match(refused.stderr, /Expected `--yes` to be given with `--all`: without a terminal/)
  const done = await dead('purge', '--all', '--yes')
  assert.deepEqual([done.code, done.stderr], [0, ''])
  assert.equal(done.stdout, 'Deleted 3 dead letters; their messages stay in the log\n')
  assert.deepEqual(facade.deadLetters, [])
  const none = await dead('purge', '--all', '--yes')
  assert.deepEqual([none.code, none.stdout, none.stderr], [0, '', 'There are no dead letters\n'])
})

test('on a terminal purge --all asks: only y and yes delete, and the end of the input does not', async (t) => {
  const { facade, url } = await withLetters(t, 2)
  const answered = async (typed: string) => {
    const line = `${process.execPath} src/cli.ts dead purge --all --url ${url}`
    const child = spawn('script', ['-qec', line, '/dev/null'], { stdio: 'pipe' })
    const exited = once(child, 'exit')
    let shown = ''
    for await (const piece of child.stdout) {
      if (shown === '') child.stdin.write(typed)
      shown += String(piece)
    }
    const [code] = await exited
    return { code, shown, leftCount: facade.deadLetters.length }
  }
  for (const no of ['n\n', '\n', '\x04']) {
    const { code, shown, leftCount } = await answered(no)
    assert.deepEqual([code, leftCount], [1, 2], shown)
    assert.match(shown, /^Delete all dead letters \(6 now\)\? The messages stay in the log\. \[y\/N\] /)
    assert.match(shown, /Nothing was deleted/)
  }
  const interrupted = await answered('\x03')
  assert.deepEqual([interrupted.code, interrupted.leftCount], [130, 2])
  const { code, shown, leftCount } = await answered('y\n')
  assert.deepEqual([code, leftCount], [0, 0])
  assert.match(shown, /Deleted 2 dead letters; their messages stay in the log/)
})
