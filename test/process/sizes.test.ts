/** Messages of the largest size, on the real program: in, through a handler, and out, byte for byte. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { run } from '../support/command.ts'
import { System } from '../support/system.ts'

const MiB = 1024 * 1024
const MOST_BYTES = 25 * MiB

/** Text of so many bytes, with characters of one, two, three and four bytes, and some that JSON escapes. */
function textOf(bytes: number): string {
  const unit = '{"a": "é€😀\\n"}\n'
  const text = unit.repeat(Math.floor(bytes / Buffer.byteLength(unit)))
  return text + 'x'.repeat(bytes - Buffer.byteLength(text))
}

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'mailroom-sizes-'))
  context.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Posts a body, once; with a key again until it is known to be stored: a machine that is busy may need more than 3 s. */
async function post({ url }: System, type: string, body: string, key?: string) {
  for (;;) {
    const response = await fetch(`${url}/messages`, {
      method: 'POST',
      headers: { 'content-type': type, ...(key !== undefined && { 'idempotency-key': key }) },
      body,
    })
    const text = await response.text()
    if (key === undefined || response.status < 500) return { status: response.status, text }
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
}

/** A message once it is delivered. */
async function delivered({ url }: System, id: string): Promise<{ text: string; state: string }> {
  for (;;) {
    const response = await fetch(`${url}/messages/${id}?wait=30`)
    const found = (await response.json()) as { text: string; state: string }
    if (response.status === 200 && found.state !== 'queued') return found
  }
}

test('a text of 25 MiB is taken, handled, listed and shown, byte for byte; one byte more is refused', async (context) => {
  const directory = folder(context)
  const handler = join(directory, 'handler.mjs')
  writeFileSync(
    handler,
    `import { createHash } from 'node:crypto'
    import { appendFileSync } from 'node:fs'
    export default (message, { attempt }) => {
      if (attempt === 1) throw new Error('once more')
      appendFileSync(${JSON.stringify(join(directory, 'seen'))}, message.bytes.length + ' ' + createHash('sha256').update(message.bytes).digest('hex') + '\\n')
    }`,
  )
  const system = await System.start(context, ['--max-message', '25MiB', '--handler', handler])
  const text = textOf(MOST_BYTES)
  const answer = await post(system, 'text/plain', text, 'first')
  assert.equal(answer.status, 201, answer.text)
  const { id } = JSON.parse(answer.text) as { id: string }
  assert.ok((await delivered(system, id)).text === text)
  const lists = (await (await fetch(`${system.url}/messages`)).json()) as Record<
    'logged' | 'delivered',
    { text: string }[]
  >
  assert.ok(lists.logged[0]?.text === text)
  assert.ok(lists.delivered.every((message) => message.text === text))
  const log = (await (await fetch(`${system.url}/log`)).json()) as { items: { text: string }[] }
  assert.ok(log.items[0]?.text === text)
  const digest = createHash('sha256').update(text).digest('hex')
  assert.equal(readFileSync(join(directory, 'seen'), 'utf8'), `${MOST_BYTES} ${digest}\n`)

  const larger = await post(system, 'text/plain', `${text}x`)
  assert.equal(larger.status, 413)
  assert.match(larger.text, /The text is larger than 26214400 bytes/)
  const escaped = await post(system, 'application/json', JSON.stringify({ text: `${text}x` }))
  assert.equal(escaped.status, 413)
  assert.match(escaped.text, /text is larger than 26214400 bytes/)
  assert.equal(
    (await post(system, 'application/json', JSON.stringify([{ text }, { text: 'small' }]), 'second')).status,
    201,
  )
  // Of control characters each takes six bytes between actors.
  assert.equal((await post(system, 'text/plain', '\u0001'.repeat(MOST_BYTES), 'third')).status, 201)
})

test('by default a text has 1 MiB, in a line and a file, too; what is larger is named with the limit', async (context) => {
  const system = await System.start(context, [])
  const text = textOf(MiB)
  const lines = ['small', text, `${text}x`, 'y'.repeat(2 * MiB), 'after'].map((each) =>
    JSON.stringify({ text: each }),
  )
  const { text: answers } = await post(system, 'application/x-ndjson', lines.join('\n'))
  const [first, second, third, fourth, fifth] = answers
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { id?: string; error?: { code: string; detail: string } })
  assert.ok((await delivered(system, second!.id!)).text === text)
  assert.ok(first!.id !== undefined && fifth!.id !== undefined)
  assert.deepEqual([third!.error?.code, fourth!.error?.code], ['MR_TOO_LARGE', 'MR_TOO_LARGE'])
  assert.match(third!.error!.detail, /text is larger than 1048576 bytes/)
  assert.match(fourth!.error!.detail, /The line is larger than 2097152 bytes/)

  const file = join(folder(context), 'lines')
  const line = text.replaceAll('\n', ' ')
  writeFileSync(file, `small\n${line}\nsmall\n${line}x\n`)
  const sent = await run(['send', '--file', file, '--url', system.url])
  assert.notEqual(sent.code, 0)
  assert.match(sent.stderr, /line 4 is larger than 1048576 bytes/)
  assert.match(sent.stderr, /3 messages/)
})

const LETTERS = 900
const LETTER_BYTES = 60 * 1024
/** A process takes some 60 to 110 MiB without them; all of them have 53 MiB, and 90 more as JSON in an answer. */
const PAGE_MEMORY_MAX_KB = 300 * 1024

test('a page of 900 dead letters of 60 KiB is whole, eight at a time, and no process holds them all', async (context) => {
  const handler = join(folder(context), 'handler.mjs')
  writeFileSync(handler, "export default () => { throw new Error('no') }")
  const system = await System.start(context, ['--handler', handler, '--attempts', '1', '--messages', '2'])
  const text = 'x'.repeat(LETTER_BYTES)
  const posted = new Set<string>()
  const batch = JSON.stringify(Array.from({ length: 10 }, () => ({ text })))
  while (posted.size < LETTERS) {
    const { status, text: answer } = await post(system, 'application/json', batch, `letters-${posted.size}`)
    assert.equal(status, 201, answer)
    for (const { id } of JSON.parse(answer)) posted.add(id)
  }
  await system.until('all are dead', async () => {
    const counts = (await system.actors()).map(({ dead = 0 }) => dead)
    return counts.reduce((sum, count) => sum + count, 0) === LETTERS
  })
  const processes = [{ name: 'primary', pid: system.primary.pid! }, ...(await system.actors())]
  for (const { pid } of processes) writeFileSync(`/proc/${pid}/clear_refs`, '5') // The peak is measured anew.
  const page = () => system.get<{ items: { id: string; text: string }[] }>('/dead?limit=1000')
  for (const { items } of await Promise.all(Array.from({ length: 8 }, page))) {
    assert.deepEqual(new Set(items.map(({ id }) => id)), posted)
    assert.ok(items.every((item) => item.text === text))
  }
  for (const { name, pid } of processes) {
    const peakKb = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
    assert.ok(peakKb < PAGE_MEMORY_MAX_KB, `${name} took ${peakKb} kB at its peak`)
  }
})
