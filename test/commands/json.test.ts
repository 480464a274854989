/** `--json` on every command: one JSON document, or one a line, and nothing else; notes and errors are JSON, too. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { CLIENT_COMMANDS, DEAD_COMMANDS } from '../../src/commands/client-commands.ts'
import { MIN_ID } from '../../src/storage/ids.ts'
import { freePort } from '../../tools/free-port.ts'
import { type Ended, runHere } from '../support/command.ts'
import { type Call, FakeNode, type Reply, refusal } from '../support/fake-node.ts'

const ACTOR = {
  ...{ name: 'facade-1', role: 'facade', node: 'here', pid: 1, state: 'ready', restarts: 0 },
  ...{ mailbox: { depth: 0, capacity: 1, refused: 0 }, handled: 0 },
}
const GROUP = {
  ...{ group: '5f4dcc3b5aa765d6', reason: 'handler failed', error: 'Error: # ms', count: 3, example: MIN_ID },
  ...{ oldestAt: '2026-01-01', newestAt: '2026-01-02' },
}
const LETTER = {
  ...{ id: MIN_ID, text: 'a', at: '2026-01-01T00:00:00.000Z', reason: 'r', attempts: 1 },
  ...{ firstError: 'e', lastError: 'e', deadAt: '2026-01-01T00:00:00.000Z' },
}
const RECEIPT = { id: MIN_ID, at: '2026-01-01T00:00:00.000Z' }
const CLUSTERS = { safe: true, clusters: [] }
const LOSS = { store: 'log', detail: 'The log has lost about 3 messages' }

/** What a command is given after its name, what the node answers, and what is then printed, line by line. */
interface Row {
  given?: string[]
  answers: unknown[]
  printed: unknown[]
  code?: number
}

/** Command, as it is typed -> rows. A command that is new has to be entered here. */
const COMMANDS: Record<string, Row[]> = {
  scale: [{ given: ['messages=1'], answers: [[ACTOR]], printed: [[ACTOR]] }],
  restart: [
    { given: ['facade'], answers: [[ACTOR]], printed: [[ACTOR]] },
    { answers: [[], [], [ACTOR]], printed: [[ACTOR]] },
  ],
  // Asked for both at once, in no order.
  status: [{ answers: [[ACTOR], [ACTOR]], printed: [[ACTOR]] }],
  cluster: [{ answers: [CLUSTERS], printed: [CLUSTERS] }],
  send: [{ given: ['x'], answers: [[RECEIPT]], printed: [{ line: 1, ...RECEIPT }] }],
  redeliver: [
    {
      given: [MIN_ID],
      answers: [{ id: MIN_ID, state: 'delivered' }],
      printed: [{ id: MIN_ID, state: 'delivered' }],
    },
  ],
  pause: [{ answers: [{ paused: true }], printed: [{ paused: true }] }],
  resume: [{ answers: [{ paused: false }], printed: [{ paused: false }] }],
  redrive: [
    {
      answers: [
        { checked: 2, redriven: 1, next: null },
        { checked: 1, next: null },
      ],
      printed: [{ checked: 2, redriven: 1 }],
    },
  ],
  try: [
    {
      given: ['shop', '--sources', 'SOURCES'],
      answers: [RECEIPT],
      printed: [{ request: {}, answer: { status: 200, location: null, body: JSON.stringify(RECEIPT) } }],
    },
  ],
  loss: [
    { answers: [{ losses: [LOSS] }], printed: [[LOSS]], code: 1 },
    { given: ['--confirm'], answers: [{ losses: [] }], printed: [[]] },
  ],
  'dead list': [{ answers: [{ items: [LETTER, LETTER], next: null }], printed: [LETTER, LETTER] }],
  'dead groups': [
    {
      answers: [
        { groups: [GROUP], next: '/dead/groups?lane=1&after=0' },
        { groups: [{ ...GROUP, count: 2, newestAt: '2026-02-01' }], next: null },
      ],
      printed: [{ ...GROUP, count: 5, newestAt: '2026-02-01' }],
    },
  ],
  'dead show': [{ given: [MIN_ID], answers: [LETTER], printed: [LETTER] }],
  'dead replay': [
    { given: [MIN_ID], answers: [{}], printed: [{ id: MIN_ID, state: 'queued' }] },
    {
      given: ['--all', '--group', GROUP.group],
      answers: [{ checked: 2, replayed: 2, next: null }],
      printed: [{ replayed: 2, atLeast: false }],
    },
  ],
  'dead purge': [
    { given: [MIN_ID], answers: [{}], printed: [{ id: MIN_ID, state: 'purged' }] },
    {
      given: ['--all', '--yes'],
      answers: [{ checked: 2, purged: 2, next: null }],
      printed: [{ purged: 2, atLeast: false }],
    },
  ],
}

const rows = Object.entries(COMMANDS).flatMap(([command, ofIt]) =>
  ofIt.map(({ given = [], ...row }) => ({ words: [...command.split(' '), ...given], ...row })),
)

/** Runs a command with `--json` against a node. */
async function runJson(t: TestContext, words: string[], script: FakeNode['script']): Promise<Ended> {
  const { node } = await FakeNode.start(t)
  node.script = script
  const at = mkdtempSync(join(tmpdir(), 'mailroom-'))
  t.after(() => rmSync(at, { recursive: true }))
  const file = join(at, 'sources.json')
  writeFileSync(file, JSON.stringify({ shop: { verify: 'none' } }))
  const args = words.map((word) => (word === 'SOURCES' ? file : word))
  return runHere([...args, '--json', '--timeout', '0s'], { env: { MAILROOM_URL: node.url } })
}

/** Lines, each of which is JSON. */
function jsonOf(lines: string): Record<string, unknown>[] {
  return lines.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
}

test('the table of this file has every client command', () => {
  const nameOf = ({ usage }: { usage: string }) => usage.split(' ')[0]!
  const expected = [...CLIENT_COMMANDS.map(nameOf), ...DEAD_COMMANDS.map((one) => `dead ${nameOf(one)}`)]
  // `tail` ends at a signal only: it has tests of its own.
  assert.deepEqual([...Object.keys(COMMANDS), 'tail'].sort(), expected.sort())
})

for (const { words, answers, printed, code = 0 } of rows) {
  test(`mailroom ${words.join(' ')} --json prints JSON and nothing else`, async (t) => {
    const script = (_: Call, number: number): Reply => ({ status: 200, body: answers[number - 1] })
    const ended = await runJson(t, words, script)
    const shown = jsonOf(ended.stdout)
    // The sample that is sent is new each time.
    if (words[0] === 'try') shown[0]!['request'] = {}
    assert.deepEqual([ended.code, shown], [code, printed])
    for (const note of jsonOf(ended.stderr)) assert.deepEqual(Object.keys(note), ['note'])
  })

  test(`mailroom ${words.join(' ')} --json tells a refusal as JSON`, async (t) => {
    const ended = await runJson(t, words, () => refusal(403, 'MR_ROLE_FORBIDDEN', 'No'))
    assert.equal(ended.code, 1)
    if (words[0] === 'try') {
      const [{ answer } = {}] = jsonOf(ended.stdout)
      assert.equal((answer as { status: number }).status, 403)
      return
    }
    assert.equal(ended.stdout, '')
    const error = jsonOf(ended.stderr).at(-1)!
    const detail = String(error['detail'])
    assert.match(detail, /\bNo \(MR_ROLE_FORBIDDEN\)/)
    assert.deepEqual(error, { code: 'MR_ROLE_FORBIDDEN', status: 403, outcome: 'unknown', detail })
  })

  test(`mailroom ${words.join(' ')} --json tells a wrong flag as JSON`, async (t) => {
    const ended = await runJson(t, [...words, '--nonsense'], () => 'lose')
    assert.deepEqual([ended.code, ended.stdout], [78, ''])
    const [error, ...more] = jsonOf(ended.stderr)
    const { detail, ...rest } = error!
    assert.deepEqual([rest, more], [{ code: 'MR_CONFIG_INVALID', outcome: 'none' }, []])
    assert.match(String(detail), /`--nonsense` is not a flag of this command/)
  })
}

test('a node that is not there is told as JSON, whichever way it is asked for', async () => {
  const url = `http://127.0.0.1:${await freePort()}`
  const ask = (args: string[], env: Record<string, string> = {}) =>
    runHere(['status', '--url', url, '--timeout', '0s', ...args], { env })
  for (const ended of [
    await ask(['--json']),
    await ask(['--json=true']),
    await ask([], { MAILROOM_JSON: '1' }),
    await ask(['--json'], { MAILROOM_JSON: 'false' }),
  ]) {
    assert.deepEqual([ended.code, ended.stdout], [1, ''])
    const [error] = jsonOf(ended.stderr)
    assert.equal(error!['code'], 'UNREACHABLE')
  }
  for (const ended of [await ask([]), await ask(['--json=false'], { MAILROOM_JSON: '1' })]) {
    assert.match(ended.stderr, /^mailroom: Nothing answers at /)
  }
})

test('a text after -- is no flag', async () => {
  const ended = await runHere(['send', '--timeout', '0s', '--url', 'http://127.0.0.1:1', '--', '--json'])
  assert.match(ended.stderr, /^mailroom: Nothing answers at /)
})

test('with --json nobody is asked before all dead letters are deleted', async (t) => {
  const ended = await runJson(t, ['dead', 'purge', '--all'], () => 'lose')
  assert.equal(ended.code, 78)
  assert.match(
    String(jsonOf(ended.stderr)[0]!['detail']),
    /`--yes` to be given with `--all`: with `--json` nobody/,
  )
})

test('completion and start have --json, too', async () => {
  const plain = await runHere(['completion'])
  const ended = await runHere(['completion', '--json'])
  assert.equal(ended.code, 0)
  const [{ script } = {}] = jsonOf(ended.stdout)
  assert.equal(`${script}\n`, plain.stdout)
  assert.match(String(script), /mailroom/)
  const start = await runHere(['start', '--json', '--port', 'x'])
  assert.deepEqual([start.code, start.stdout], [78, ''])
  assert.equal(jsonOf(start.stderr)[0]!['code'], 'MR_CONFIG_INVALID')
})
