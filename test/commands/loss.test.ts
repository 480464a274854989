/** `mailroom loss` against a node that does what the test says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runHere } from '../support/command.ts'
import { FakeNode, type Reply, refusal } from '../support/fake-node.ts'

const LOSSES = [
  { store: 'log', detail: 'the log is gone' },
  { store: 'queue', detail: 'the queue, too' },
]
const answer = (losses: object[]): Reply => ({ status: 200, body: { losses } })

for (const [flags, losses, code, stdout] of [
  [[], LOSSES, 1, 'the log is gone\nthe queue, too\n'],
  [[], [], 0, 'There is no loss\n'],
  [['--json'], LOSSES, 1, `${JSON.stringify(LOSSES)}\n`],
  [['--json'], [], 0, '[]\n'],
  [['--confirm'], LOSSES, 0, 'Confirmed: the log is gone\nConfirmed: the queue, too\n'],
  [['--confirm'], [], 0, 'There is no loss to confirm\n'],
  [['--confirm', '--json'], LOSSES, 0, `${JSON.stringify(LOSSES)}\n`],
] as const) {
  test(`loss ${flags.join(' ')} of ${losses.length}: ${code}`, async (t) => {
    const { node } = await FakeNode.start(t)
    node.script = () => answer([...losses])
    const ended = await runHere(['loss', ...flags, '--url', node.url])
    assert.deepEqual([ended.code, ended.stdout, ended.stderr], [code, stdout, ''])
    const isConfirming = flags.some((flag) => flag === '--confirm')
    assert.deepEqual(
      node.calls.map(({ method, path }) => `${method} ${path}`),
      [isConfirming ? 'POST /loss/confirm' : 'GET /loss'],
    )
  })
}

test('a confirmation is repeated while a cluster is away, and when its answer was lost', async (t) => {
  const { node } = await FakeNode.start(t)
  const answers: Reply[] = [refusal(503, 'MR_STORE_UNAVAILABLE', 'away'), 'lose', answer([])]
  node.script = () => answers.shift()
  const { code, stdout } = await runHere(['loss', '--confirm', '--url', node.url])
  assert.deepEqual([code, stdout, node.calls.length], [0, 'There is no loss to confirm\n', 3])
})
