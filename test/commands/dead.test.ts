/** `mailroom dead` in front of the real API, and against nodes that do what the test says. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { Dead } from '../../src/storage/ports.ts'
import { runHere } from '../support/command.ts'
import { FakeNode, refusal } from '../support/fake-node.ts'
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
  assert.equal(lines[0], `${idOf(1)}  2026-01-01T00:00:00.000Z  5x  "Error: last"  "text 1"`)
  assert.match(lines[1000]!, new RegExp(`^${idOf(1001)} `))
})

test('list shortens long texts and errors and escapes control characters', async (t) => {
  const { dead } = await withLetters(t, 1, { text: `\x1b[2J${'x'.repeat(100)}`, lastError: '\u202eevil\n' })
  const { stdout } = await dead('list')
  assert.equal(stdout.slice(stdout.indexOf('5x')), `5x  "\\u202eevil\\n"  "\\u001b[2J${'x'.repeat(56)}…"\n`)
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

test('replay --all passes over what somebody else replayed, and ends at any other refusal', async (t) => {
  const { node } = await FakeNode.start(t)
  const items = [1, 2, 3].map((number) => ({ id: idOf(number) }))
  let fault = refusal(404, 'MR_NOT_FOUND', 'gone')
  node.script = ({ method, path }) => {
    if (method === 'GET') return { status: 200, body: { items, next: null } }
    return path.includes(idOf(2)) ? fault : { status: 200, body: {} }
  }
  const replayAll = () => runHere(['dead', 'replay', '--all', '--timeout', '0s', '--url', node.url])
  assert.equal((await replayAll()).stdout, '2 messages are pending again\n')
  fault = refusal(503, 'MR_STORE_UNAVAILABLE', 'the queue is away')
  node.calls.length = 0
  const { code, stdout, stderr } = await replayAll()
  assert.deepEqual([code, stdout], [1, ''])
  assert.equal(
    stderr,
    'Failed: 2 of 3 dead letters replayed\nmailroom: the queue is away (MR_STORE_UNAVAILABLE)\n',
  )
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
  const ids = [1, 2, 3].map(idOf)
  const gone = new Set<string>()
  node.script = ({ method, path }, number) => {
    if (method === 'GET') return { status: 200, body: { items: ids.map((id) => ({ id })), next: null } }
    const id = ids.find((one) => path.includes(one))!
    if (gone.has(id)) return refusal(404, 'MR_NOT_FOUND', 'gone')
    gone.add(id)
    return number % 2 === 0 ? 'lose' : { status: 200, body: {} }
  }
  const dead = (...args: string[]) => runHere(['dead', ...args, '--url', node.url])
  const all = await dead('replay', '--all')
  assert.deepEqual([all.code, all.stdout], [0, '3 messages are pending again\n'])
  assert.match(all.stderr, /does not answer any more .*\nTrying again for up to 60 s\n$/)
  gone.clear()
  node.calls.length = 1
  const one = await dead('purge', ids[0]!)
  assert.deepEqual([one.code, node.calls.length], [0, 3])
})

test('a call refused for now is sent again, and the retry is reported once', async (t) => {
  const { node } = await FakeNode.start(t)
  node.script = ({ method, path }, number) => {
    if (number === 1) return refusal(503, 'MR_STORE_UNAVAILABLE', 'messages-1 lacks some of its lanes')
    // The connection was closed as idle when the request was sent.
    if (number === 2) return refusal(408, 'MR_REQUEST_TIMEOUT', 'idle')
    if (method === 'GET') return { status: 200, body: { items: [{ id: idOf(1) }], next: null } }
    return path.includes(idOf(1)) ? { status: 200, body: {} } : undefined
  }
  const { code, stdout, stderr } = await runHere(['dead', 'replay', '--all', '--url', node.url])
  assert.deepEqual([code, stdout], [0, '1 message is pending again\n'])
  assert.equal(
    stderr,
    'messages-1 lacks some of its lanes (MR_STORE_UNAVAILABLE)\nTrying again for up to 60 s\n',
  )
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
    assert.match(shown, /^Delete 2 dead letters\? The messages stay in the log\. \[y\/N\] /)
    assert.match(shown, /Nothing was deleted/)
  }
  const interrupted = await answered('\x03')
  assert.deepEqual([interrupted.code, interrupted.leftCount], [130, 2])
  const { code, shown, leftCount } = await answered('y\n')
  assert.deepEqual([code, leftCount], [0, 0])
  assert.match(shown, /Deleted 2 dead letters; their messages stay in the log/)
})
