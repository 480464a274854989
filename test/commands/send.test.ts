/** `mailroom send` against a node that does what the test says. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { receiptsOf, send } from '../../src/commands/send.ts'
import { type Input, inputOf } from '../../src/commands/send-input.ts'
import { ApiError, Unreachable } from '../../src/http/api-client.ts'
import { isMailroomError } from '../../src/runtime/errors.ts'
import { FakeNode, refusal } from '../support/fake-node.ts'

const NO_FLAGS = { file: null, whole: false, skipEmpty: false }

/** A file of these bytes, as an input. */
function fileOf(context: TestContext, content: string | Buffer, more: Partial<Input> = {}): Input {
  const at = mkdtempSync(join(tmpdir(), 'mailroom-send-'))
  context.after(() => rmSync(at, { recursive: true }))
  const path = join(at, 'lines')
  writeFileSync(path, content)
  return { ...inputOf(undefined, { ...NO_FLAGS, file: path }), ...more } as Input
}

/** What the command writes meanwhile; the test runner writes to the same streams, in bytes. */
async function written(
  context: TestContext,
  work: () => Promise<unknown>,
): Promise<{ out: string; err: string }> {
  const said = { out: '', err: '' }
  const mocks = (['out', 'err'] as const).map((name) => {
    const stream = process[`std${name}`]
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean
    return context.mock.method(stream, 'write', (...args: unknown[]) => {
      if (typeof args[0] !== 'string') return write(...args)
      said[name] += args[0]
      return true
    })
  })
  try {
    await work()
  } finally {
    for (const mock of mocks) mock.mock.restore()
  }
  return said
}

const numbered = (count: number) => Array.from({ length: count }, (_, index) => `text ${index + 1}`)

test('lines are sent in batches, each with its own key, and stored in order', async (context) => {
  const { node, client } = await FakeNode.start(context)
  const lines = numbered(1700)
  const { err } = await written(context, () => send(client, fileOf(context, lines.join('\n')), 'none'))
  assert.equal(node.texts.length, 1700)
  assert.deepEqual(new Set(node.texts), new Set(lines))
  assert.equal(new Set(node.calls.map(({ key }) => key)).size, node.calls.length)
  for (const { key } of node.calls) assert.match(key!, /^[A-Za-z0-9_-]{16,64}$/)
  assert.match(err, /^Sent 1700 messages in \d+\.\d s \(\d+\/s\)\n$/)
})

test('a lost answer: the batch is sent again with the same key and stored once', async (context) => {
  const { node, client } = await FakeNode.start(context)
  node.script = (_, number) => (number % 2 === 1 ? { after: 'lose' } : undefined)
  const { err } = await written(context, () =>
    send(client, fileOf(context, numbered(600).join('\n')), 'none'),
  )
  assert.deepEqual(node.texts.sort(), numbered(600).sort())
  assert.ok(node.calls.length > node.stored.size, 'it did try again')
  assert.equal(err.match(/does not answer/g)?.length, 1, 'reported once')
})

test('send waits for Retry-After, then continues', async (context) => {
  const { node, client } = await FakeNode.start(context)
  const busy = { ...(refusal(503, 'MR_DRAINING', 'draining') as object), headers: { 'retry-after': '1' } }
  node.script = (_, number) => (number === 1 ? (busy as never) : undefined)
  const beganAt = performance.now()
  await written(context, () => send(client, { text: 'patience' }, 'none'))
  assert.ok(performance.now() - beganAt >= 990)
  assert.deepEqual(node.texts, ['patience'])
})

test('errors that a retry cannot mend are not retried', async (context) => {
  const { node, client } = await FakeNode.start(context)
  for (const [status, code] of [
    [401, 'MR_TOKEN_INVALID'],
    [400, 'MR_MESSAGE_INVALID'],
    [422, 'MR_KEY_REUSED'],
  ] as const) {
    node.calls.length = 0
    node.script = () => refusal(status, code, 'no')
    const sent = written(context, () => send(client, { text: 'x' }, 'none'))
    await assert.rejects(sent, (error) => error instanceof ApiError && error.code === code)
    assert.equal(node.calls.length, 1)
  }
})

test('after --timeout send fails and names the lines without an answer', async (context) => {
  const { node, client } = await FakeNode.start(context, { retryMs: 0 })
  node.script = () => 'lose'
  const sent = written(context, () => send(client, fileOf(context, 'a\nb\nc\n'), 'none'))
  await assert.rejects(
    sent,
    (error) =>
      error instanceof Unreachable &&
      /^Lines 1 to 3: The node at .* does not answer any more/.test(error.message),
  )
})

test('a refused message is named by its line', async (context) => {
  const { node, client } = await FakeNode.start(context)
  node.script = () => refusal(400, 'MR_MESSAGE_INVALID', 'Expected [1].text to be something else, got this')
  const input = fileOf(context, '\na\n\n\nb\n', { skipEmpty: true })
  await assert.rejects(
    written(context, () => send(client, input, 'none')),
    /Expected line 5 to be something else/,
  )
})

test('lines before one that cannot be sent are sent', async (context) => {
  const { node, client } = await FakeNode.start(context)
  const input = fileOf(
    context,
    Buffer.concat([Buffer.from('good\nbetter\n'), Buffer.from([0xff, 0x0a]), Buffer.from('never\n')]),
  )
  const said = await written(context, async () => {
    await assert.rejects(
      () => send(client, input, 'none'),
      (error) => isMailroomError(error, 'MR_MESSAGE_INVALID') && /line 3 to be UTF-8/.test(error.message),
    )
  })
  assert.deepEqual(node.texts, ['good', 'better'])
  assert.match(said.err, /^Failed after 2 messages/)
})

test('receipts are printed in the order of the lines', async (context) => {
  const { node, client } = await FakeNode.start(context)
  const lines = numbered(1600)
  const input = fileOf(context, lines.join('\n'))
  const { out } = await written(context, () => send(client, input, 'json'))
  const receipts = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { line: number; id: string })
  assert.deepEqual(
    receipts.map(({ line }) => line),
    lines.map((_, index) => index + 1),
  )
  const byId = new Map(
    [...node.stored.values()].flatMap(({ texts, answer }) =>
      (answer as { id: string }[]).map(({ id }, index) => [id, texts[index]] as const),
    ),
  )
  for (const { line, id } of receipts) assert.equal(byId.get(id), lines[line - 1])
})

test('a text on the command line prints only its id', async (context) => {
  const { client } = await FakeNode.start(context)
  const input: Input = { text: 'hello' }
  const receipts = receiptsOf(input, { json: false, ids: false })
  const said = await written(context, () => send(client, input, receipts))
  assert.deepEqual(said, { out: '0-0\n', err: '' })
})

test('send needs exactly one input', () => {
  const wrong: [string | undefined, Partial<Parameters<typeof inputOf>[1]>][] = [
    [undefined, {}],
    ['text', { file: '/dev/null' }],
    ['-', { file: '/dev/null' }],
    ['-', { whole: true, skipEmpty: true }],
    ['text', { skipEmpty: true }],
  ]
  for (const [text, flags] of wrong) {
    assert.throws(() => inputOf(text, { ...NO_FLAGS, ...flags }), { code: 'MR_CONFIG_INVALID' })
  }
  assert.deepEqual(inputOf('-', NO_FLAGS), { path: '-', totalBytes: 0, whole: false, skipEmpty: false })
  assert.deepEqual(inputOf('text', { ...NO_FLAGS, whole: true }), { text: 'text' })
})
