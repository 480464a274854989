/** What every client command does about a node that is away, refuses, or is none: one sentence, exit code 1. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLIENT_COMMANDS, DEAD_COMMANDS } from '../../src/commands/client-commands.ts'
import { MIN_ID } from '../../src/storage/ids.ts'
import { freePort } from '../../tools/free-port.ts'
import { run } from '../support/command.ts'
import { FakeNode, type Reply, refusal } from '../support/fake-node.ts'

const TOKEN = 'a-token-of-sixteen-characters'
const COMMANDS = [
  ['scale', 'messages=1'],
  ['restart'],
  ['restart', 'facade'],
  ['status'],
  ['status', '--json'],
  ['send', 'x'],
  ['redrive'],
  ['dead', 'list'],
  ['dead', 'list', '--json'],
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
    "Expected `--token` or MAILROOM_TOKEN to be the node's token (MR_TOKEN_INVALID)",
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
  for (const name of names(CLIENT_COMMANDS)) assert.ok(tried(0).has(name), name)
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
})

async function failsWith(words: readonly string[], url: string, told: string): Promise<void> {
  const { code, stdout, stderr } = await run([...words, '--url', url, '--token', TOKEN, '--timeout', '0s'])
  assert.deepEqual([code, stdout], [1, ''], words.join(' '))
  const said = stderr.split('\n').filter((line) => !line.startsWith('Restarting '))
  assert.deepEqual(said, [`mailroom: ${told}`, ''], words.join(' '))
}
