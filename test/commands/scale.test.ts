/** `mailroom scale` against nodes that do what the test says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runHere } from '../support/command.ts'
import { FakeNode, refusal } from '../support/fake-node.ts'
import { startApi } from '../support/public-api.ts'

test('scale scales roles in the given order and prints the actors', async (t) => {
  const { facade, server } = await startApi(t)
  const args = ['scale', 'logging=2', 'messages=1', '--url', `http://127.0.0.1:${server.port}`]
  const { code, stdout, stderr } = await runHere(args)
  assert.deepEqual([code, stderr], [0, ''])
  assert.deepEqual(facade.scaled, [
    ['logging', 2],
    ['messages', 1],
  ])
  const lines = stdout.trimEnd().split('\n')
  assert.match(lines[0]!, /^ACTOR +STATE +PID +RESTARTS +MAILBOX +REFUSED +HANDLED +WAITING +OLDEST +DEAD$/)
  assert.match(lines[1]!, /^facade-1 +ready +7 +0 +1\/20000 +2 +3 +- +- +-$/)
  assert.match(lines[2]!, /^messages-1 +draining +7 +0 +1\/20000 +2 +3 +9 +\d+ h +6$/)
  assert.equal(lines.length, 4)
})

test('scale names all bad orders at once and sends no request', async (t) => {
  const { node } = await FakeNode.start(t)
  const wrong = ['messages=0', 'messages=65', 'messages=+2', 'Messages=2', 'queue=2', 'logging', '=1']
  const { code, stdout, stderr } = await runHere(['scale', 'facade=1', ...wrong, '--url', node.url])
  assert.deepEqual([code, stdout, node.calls.length], [78, '', 0])
  for (const order of wrong) assert.ok(stderr.includes(`count from 1 to 64, got "${order}"`), order)
  assert.ok(!stderr.includes('"facade=1"'))
})

test('scale without an order says what it expects', async (t) => {
  const { node } = await FakeNode.start(t)
  const { code, stderr } = await runHere(['scale', '--url', node.url])
  assert.deepEqual([code, node.calls.length], [78, 0])
  assert.match(
    stderr,
    /Expected more words after `mailroom scale` \(0 given, 1 needed\); see mailroom scale --help/,
  )
})

test('a refusal ends scale: earlier orders stay, later ones are not sent', async (t) => {
  const { node } = await FakeNode.start(t)
  node.script = ({ path }) =>
    path === '/actors/facade'
      ? { status: 200, body: [] }
      : refusal(409, 'MR_SCALE_REFUSED', 'There are 16 lanes')
  const args = ['scale', 'facade=2', 'messages=17', 'logging=1', '--url', node.url]
  const { code, stdout, stderr } = await runHere(args)
  assert.deepEqual([code, stdout, stderr], [1, '', 'mailroom: There are 16 lanes (MR_SCALE_REFUSED)\n'])
  assert.deepEqual(
    node.calls.map(({ method, path, body }) => [method, path, body]),
    [
      ['PUT', '/actors/facade', { count: 2 }],
      ['PUT', '/actors/messages', { count: 17 }],
    ],
  )
})
