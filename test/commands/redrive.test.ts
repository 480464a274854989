/** `mailroom redrive` against a node that does what the test says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MIN_ID } from '../../src/storage/ids.ts'
import { runHere } from '../support/command.ts'
import { FakeNode, type Reply, refusal } from '../support/fake-node.ts'

const page = (checked: number, redriven: number, next: string | null): Reply => ({
  status: 200,
  body: { checked, redriven, next },
})
const ofQueue = (checked: number): Reply => ({
  status: 200,
  body: { checked, restored: 0, lost: 0, next: null },
})
const NEXT = `/log/redrive?limit=1000&after=${MIN_ID}`

test('redrive goes through all pages and adds up their counts', async (t) => {
  const { node } = await FakeNode.start(t)
  node.script = (_, number) => [page(1000, 7, NEXT), page(30, 1, null), ofQueue(1030)][number - 1]
  const { code, stdout, stderr } = await runHere(['redrive', '--url', node.url])
  assert.deepEqual([code, stderr], [0, ''])
  assert.equal(stdout, 'Checked 1030 messages of the log, put 8 back into the queue\n')
  assert.deepEqual(
    node.calls.map(({ method, path }) => `${method} ${path}`),
    ['POST /log/redrive', `POST ${NEXT}`, 'POST /log/redrive?lane=0'],
  )
})

test('redrive then goes through the lanes, and says what it put back into the log, and what remains lost', async (t) => {
  const { node } = await FakeNode.start(t)
  const next = `/log/redrive?limit=1000&lane=3&after=${MIN_ID}`
  const answers = (lost: number): Record<string, object> => ({
    '/log/redrive': { checked: 12, redriven: 0, next: null },
    '/log/redrive?lane=0': { checked: 1000, restored: 150, lost, next },
    [next]: { checked: 30, restored: 4, lost: 0, next: null },
  })
  for (const [lost, line] of [
    [0, 'No message of the queue remains lost from the log'],
    [
      3,
      '3 messages of the queue remain lost from the log: purged as dead letters, their texts were in the log only',
    ],
  ] as const) {
    node.script = ({ path }) => ({ status: 200, body: answers(lost)[path] })
    const { code, stdout } = await runHere(['redrive', '--url', node.url])
    assert.equal(code, 0)
    assert.deepEqual(stdout.trim().split('\n'), [
      'Checked 12 messages of the log: the queue has lost none',
      'Checked 1030 messages of the queue, put 154 back into the log',
      line,
    ])
  }
  const json = await runHere(['redrive', '--json', '--url', node.url])
  assert.deepEqual(JSON.parse(json.stdout), { checked: 12, redriven: 0, restored: 154, lost: 3 })
})

test('redrive retries a page that is refused or whose answer is lost', async (t) => {
  const { node } = await FakeNode.start(t)
  const answers: Reply[] = [
    refusal(503, 'MR_STORE_UNAVAILABLE', 'the queue is away'),
    page(3, 3, NEXT),
    'lose',
    page(2, 0, null),
    ofQueue(5),
  ]
  node.script = () => answers.shift()
  const { code, stdout } = await runHere(['redrive', '--json', '--url', node.url])
  assert.deepEqual([code, JSON.parse(stdout)], [0, { checked: 5, redriven: 3 }])
  assert.deepEqual(
    node.calls.map(({ path }) => path),
    ['/log/redrive', '/log/redrive', NEXT, NEXT, '/log/redrive?lane=0'],
  )
})

test('a refusal that a retry cannot mend ends redrive', async (t) => {
  const { node } = await FakeNode.start(t)
  node.script = () => refusal(401, 'MR_TOKEN_INVALID', 'no')
  const { code, stdout, stderr } = await runHere(['redrive', '--url', node.url])
  assert.deepEqual([code, stdout, node.calls.length], [1, '', 1])
  assert.match(stderr, /MR_TOKEN_INVALID/)
})

test('redrive says how far it came when it ends early', async (t) => {
  const { node } = await FakeNode.start(t)
  node.script = (_, number) =>
    number === 1 ? page(1000, 7, NEXT) : refusal(503, 'MR_STORE_UNAVAILABLE', 'the queue is full')
  const { code, stdout, stderr } = await runHere(['redrive', '--timeout', '0s', '--url', node.url])
  assert.deepEqual([code, stdout], [1, ''])
  const done = 'Stopped after 1000 messages of the log, with 7 put back into the queue; run it again to go on'
  assert.equal(stderr, `${done}\nmailroom: the queue is full (MR_STORE_UNAVAILABLE)\n`)
})

test('redrive says so when the queue has lost nothing', async (t) => {
  const { node } = await FakeNode.start(t)
  node.script = ({ path }) => (path.includes('lane') ? ofQueue(1) : page(1, 0, null))
  const { stdout } = await runHere(['redrive', '--since', MIN_ID, '--url', node.url])
  assert.equal(stdout, 'Checked 1 message of the log: the queue has lost none, there is nothing to do\n')
  assert.deepEqual(
    node.calls.map(({ path }) => path),
    [`/log/redrive?after=${MIN_ID}`, `/log/redrive?lane=0&since=${MIN_ID}`],
  )
})

test('redrive --since with a bad id sends no request', async (t) => {
  const { node } = await FakeNode.start(t)
  const { code, stderr } = await runHere(['redrive', '--since', 'yesterday', '--url', node.url])
  assert.deepEqual([code, node.calls.length], [78, 0])
  assert.match(stderr, /--since.*a message id.*"yesterday"/)
})

test('the help of redrive warns that handlers may run again, and has examples', async () => {
  const { code, stdout } = await runHere(['redrive', '--help'])
  assert.equal(code, 0)
  assert.match(stdout, /handlers may\s+run AGAIN/)
  assert.match(stdout, /mailroom redrive --since[\s\S]*\b[0-9A-HJKMNP-TV-Z]{26}\b/)
})
