/** What every client command does about a node that is away, refuses, or is none: one sentence, exit code 1. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { CLIENT_COMMANDS, DEAD_COMMANDS } from '../../src/commands/client-commands.ts'
import { MIN_ID } from '../../src/storage/ids.ts'
import { freePort } from '../../tools/free-port.ts'
import { run, runHere } from '../support/command.ts'
import { FakeNode, type Reply, refusal } from '../support/fake-node.ts'
import { startApi } from '../support/public-api.ts'

const TOKEN = 'a-token-of-sixteen-characters'
const COMMANDS = [
  ['scale', 'messages=1'],
  ['restart'],
  ['restart', 'facade'],
  ['status'],
  ['cluster'],
  ['status', '--json'],
  ['send', 'x'],
  ['pause'],
  ['resume'],
  ['redeliver', MIN_ID],
  ['redrive'],
  ['loss'],
  ['tail'],
  ['loss', '--confirm'],
  ['dead', 'list'],
  ['dead', 'list', '--json'],
  ['dead', 'groups'],
  ['dead', 'show', MIN_ID],
  ['dead', 'replay', MIN_ID],
  ['dead', 'replay', '--all'],
  ['dead', 'purge', MIN_ID],
  ['dead', 'purge', '--all', '--yes'],
]

const ANSWERS: [what: string, reply: Reply, told: string][] = [
  [
    'a refusal is printed in the words of the API',
    refusal(503, 'MR_DRAINING', 'The node is draining'),
    'The node is draining (MR_DRAINING)',
  ],
  [
    'a wrong token: the error does not show it',
    refusal(401, 'MR_TOKEN_INVALID', 'A token is needed'),
    'Expected `--token` or MAILROOM_TOKEN to be a token of the node (MR_TOKEN_INVALID)',
  ],
  [
    'an answer that is not from Mailroom is quoted',
    { status: 502, body: 'Bad gateway' },
    String.raw`Expected an answer of Mailroom, got 502 "\"Bad gateway\""`,
  ],
]

test('the table of this file has every client command', () => {
  const names = (of: { usage: string }[]) => of.map(({ usage }) => usage.split(' ')[0])
  const tried = (at: number) => new Set(COMMANDS.map((words) => words[at]))
  // `try` shows a refusal as it is, `tail` goes on: they have tests of their own.
  const others = ['try', 'tail']
  for (const name of names(CLIENT_COMMANDS)) assert.ok(tried(0).has(name) || others.includes(name!), name)
  for (const name of names(DEAD_COMMANDS)) assert.ok(tried(1).has(name), name)
})

for (const [what, reply, told] of ANSWERS) {
  test(what, async (t) => {
    const { node } = await FakeNode.start(t)
    node.script = () => reply
    await Promise.all(COMMANDS.map((words) => failsWith(words, node.url, told)))
    for (const { authorization } of node.calls) assert.equal(authorization, `Bearer ${TOKEN}`)
  })
}

test('an unreachable node: the error says how to start one', async () => {
  const url = `http://127.0.0.1:${await freePort()}`
  const told = `Nothing answers at ${url} (ECONNREFUSED): is Mailroom running? Start it with: mailroom start`
  await Promise.all(COMMANDS.map((words) => failsWith(words, url, told)))
  const { code, stdout, stderr } = await run(['status', '--url', url])
  assert.deepEqual([code, stdout, stderr], [1, '', `mailroom: ${told}\n`])
})

test('closed or full standard streams: the exit code is still right, and a full standard output is named', async (t) => {
  const { server } = await startApi(t)
  const shell = async (line: string) => {
    const command = `mailroom() { ${process.execPath} src/cli.ts "$@" --url http://127.0.0.1:${server.port}; }; ${line}`
    const child = spawn('bash', ['-c', `set -o pipefail; ${command}`], { stdio: ['ignore', 'pipe', 'pipe'] })
    const [[code], stderr] = await Promise.all([once(child, 'close'), text(child.stderr)])
    return { code, stderr }
  }
  const expected: [line: string, code: number, stderr: RegExp][] = [
    ['mailroom send - <&-', 0, /^Sent 0 messages/],
    ['mailroom send x <&- >&-', 0, /^$/],
    ['mailroom status 2>&-', 0, /^$/],
    ['mailroom dead list 2>/dev/full', 0, /^$/],
    ['echo x | mailroom send - 2>/dev/full', 0, /^$/],
    ['mailroom dead show - 2>/dev/full', 1, /^$/],
    ['mailroom status >/dev/full', 1, /^mailroom: Standard output cannot be written: ENOSPC/],
    ['mailroom status | true', 141, /^$/],
    ['mailroom dead list 2>&1 | true', 0, /^$/],
  ]
  await Promise.all(
    expected.map(async ([line, code, stderr]) => {
      const ended = await shell(line)
      assert.equal(ended.code, code, `${line}: ${ended.stderr}`)
      assert.match(ended.stderr, stderr, line)
    }),
  )
})

test('every refusal ends a command with code 1 and its words', async (t) => {
  const refusals = [
    [403, 'MR_FORBIDDEN'],
    [429, 'MR_OVERLOADED'],
    [503, 'MR_STORE_UNAVAILABLE'],
    [504, 'MR_DEADLINE_EXPIRED'],
  ] as const
  const nodes = await Promise.all(refusals.map(() => FakeNode.start(t)))
  for (const [index, [status, code]] of refusals.entries()) {
    nodes[index]!.node.script = () => refusal(status, code, 'No')
  }
  await Promise.all(
    COMMANDS.map((words, index) => {
      const at = index % refusals.length
      return failsWith(words, nodes[at]!.node.url, `No (${refusals[at]![1]})`)
    }),
  )
})

async function failsWith(words: readonly string[], url: string, told: string): Promise<void> {
  const { code, stdout, stderr } = await runHere([
    ...words,
    '--url',
    url,
    '--token',
    TOKEN,
    '--timeout',
    '0s',
  ])
  assert.deepEqual([code, stdout], [1, ''], words.join(' '))
  const said = stderr.split('\n').filter((line) => !line.startsWith('Restarting '))
  const shown = words.includes('--json') ? [`mailroom: ${JSON.parse(said[0]!).detail}`, ''] : said
  assert.deepEqual(shown, [`mailroom: ${told}`, ''], words.join(' '))
}
