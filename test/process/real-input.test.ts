/**
 * What people really send: webhook bodies and the list of strings that break programs. Every byte comes back,
 * in both lists, whichever way it went in.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { run } from '../support/command.ts'
import type { Item } from '../support/running-system.ts'
import { System } from '../support/system.ts'

const require = createRequire(import.meta.url)
const TEXT_MAX_BYTES = 65_536

/** Webhook bodies as a server receives them: on one line. */
const hooks = (require('@octokit/webhooks-examples') as { examples: unknown[] }[]).flatMap(({ examples }) =>
  examples.map((example) => JSON.stringify(example)),
)
/** The same as people keep them in files: indented. */
const indented = hooks.map((hook) => JSON.stringify(JSON.parse(hook), null, 4))
const naughty = require('big-list-of-naughty-strings') as string[]
const naughtyFile = readFileSync(require.resolve('big-list-of-naughty-strings/blns.txt'))
/** Everything that is a message: not empty, not too large. */
const texts = [...hooks, ...naughty.filter((text) => text !== '')]
const lines = texts.filter((text) => !text.includes('\n'))

/** A function that posts a body and reads the answer. */
function poster({ url }: System) {
  return async (type: string, body: string): Promise<{ status: number; text: string }> => {
    const response = await fetch(`${url}/messages`, {
      method: 'POST',
      headers: { 'content-type': type },
      body,
    })
    return { status: response.status, text: await response.text() }
  }
}

/** Waits until as many messages are delivered, then compares both lists with what was sent. */
async function comesBack(system: System, sent: readonly string[]): Promise<void> {
  await system.until('all is delivered', async () => {
    const actors = await system.actors()
    return (
      actors.reduce((sum, { role, handled }) => sum + (role === 'messages' ? handled : 0), 0) >= sent.length
    )
  })
  const { logged, stores } = await system.lists()
  const expected = sent.toSorted()
  const textsOf = (items: Item[]) => items.map(({ text }) => text).sort()
  // Compared one by one: a difference of megabytes is no message for people.
  for (const found of [textsOf(logged), textsOf([...stores.values()].flat())]) {
    assert.equal(found.length, expected.length)
    for (const [index, text] of expected.entries()) assert.equal(found[index], text)
  }
}

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'mailroom-input-'))
  context.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('the samples have the properties that the tests need', () => {
  assert.ok(hooks.length > 300 && naughty.length > 450)
  assert.equal(lines.length, texts.length, 'all fit on a line')
  assert.ok(indented.some((text) => text.includes('\n')))
})

test('webhook bodies and naughty strings are read back byte for byte, however they were posted', async (context) => {
  const system = await System.start(context, ['--log-level', 'warn', '--max-message', '64KiB'])
  const post = poster(system)
  for (let from = 0; from < texts.length; from += 50) {
    const part = texts.slice(from, from + 50)
    const items = part.map((text) => ({ text }))
    const answers = await Promise.all([
      ...part.map((text) => post('text/plain', text)),
      ...items.map((item) => post('application/json', JSON.stringify(item))),
      ...halves(items).map((half) => post('application/json', JSON.stringify(half))),
    ])
    for (const { status, text } of answers) assert.equal(status, 201, text.slice(0, 500))
  }
  const ndjson = texts.map((text) => `${JSON.stringify({ text })}\n`).join('')
  const answers = (await post('application/x-ndjson', ndjson)).text.trimEnd().split('\n')
  assert.equal(answers.filter((line) => JSON.parse(line).id !== undefined).length, texts.length)
  await comesBack(system, [...texts, ...texts, ...texts, ...texts])
})

test('webhook bodies and naughty strings are read back byte for byte after mailroom send', async (context) => {
  const system = await System.start(context, ['--log-level', 'warn', '--max-message', '64KiB'])
  const at = folder(context)
  const url = ['--url', system.url]
  const file = join(at, 'lines.txt')
  writeFileSync(file, `${lines.join('\n')}\n`)
  const fromFile = await run(['send', '--file', file, '--ids', ...url])
  assert.equal(fromFile.code, 0, fromFile.stderr)
  assert.equal(fromFile.stdout.trimEnd().split('\n').length, lines.length)

  const fromInput = await run(['send', '-', ...url], { input: lines.join('\n') })
  assert.equal(fromInput.code, 0, fromInput.stderr)

  const raw = await run(['send', '-', '--skip-empty', ...url], { input: naughtyFile })
  assert.equal(raw.code, 0, raw.stderr)

  const largest = indented
    .filter((text) => Buffer.byteLength(text) <= TEXT_MAX_BYTES)
    .sort(byLength)
    .at(-1)!
  writeFileSync(file, largest)
  const wholes = [
    await run(['send', '--whole', '--file', file, ...url]),
    await run(['send', '--whole', '-', ...url], { input: naughtyFile }),
  ]
  for (const whole of wholes) assert.equal(whole.code, 0, whole.stderr)

  const rawLines = naughtyFile
    .toString()
    .split('\n')
    .filter((line) => line !== '')
  await comesBack(system, [...lines, ...lines, ...rawLines, largest, naughtyFile.toString()])
})

test('texts that are too large or empty are refused by name and store nothing', async (context) => {
  const system = await System.start(context, ['--log-level', 'warn', '--max-message', '64KiB'])
  const post = poster(system)
  const large = JSON.stringify(hooks.map((hook) => JSON.parse(hook)).slice(0, 20))
  assert.ok(Buffer.byteLength(large) > TEXT_MAX_BYTES)
  for (const body of [large, ...indented.filter((text) => Buffer.byteLength(text) > TEXT_MAX_BYTES)]) {
    const plain = await post('text/plain', body)
    assert.deepEqual([plain.status, JSON.parse(plain.text).code], [413, 'MR_TOO_LARGE'])
    const json = await post('application/json', JSON.stringify({ text: body }))
    assert.deepEqual([json.status, JSON.parse(json.text).code], [413, 'MR_TOO_LARGE'])
  }
  for (const args of [['-'], ['-', '--whole']]) {
    const sent = await run(['send', ...args, '--url', system.url], { input: large })
    assert.equal(sent.code, 1)
    assert.match(sent.stderr, /larger than 65536 bytes/)
  }
  const empty = await post('text/plain', '')
  assert.deepEqual([empty.status, JSON.parse(empty.text).code], [400, 'MR_MESSAGE_INVALID'])
  await comesBack(system, [])
})

function byLength(a: string, b: string): number {
  return Buffer.byteLength(a) - Buffer.byteLength(b)
}

/** An array of fifty large bodies is more than one call may bring. */
function halves<T>(items: readonly T[]): T[][] {
  const middle = Math.ceil(items.length / 2)
  return [items.slice(0, middle), items.slice(middle)].filter((half) => half.length > 0)
}
