/** Webhooks to the real program: GitHub's own payloads, signed by its own library, and a file of sources that changes. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { sign } from '@octokit/webhooks-methods'
import { run, runHere } from '../support/command.ts'
import type { Item } from '../support/running-system.ts'
import { System } from '../support/system.ts'

const require = createRequire(import.meta.url)
const SECRET = "It's a Secret to Everybody"

const payloads = (require('@octokit/webhooks-examples') as { name: string; examples: unknown[] }[]).flatMap(
  ({ name, examples }) => examples.map((example) => ({ name, body: JSON.stringify(example) })),
)

const digestOf = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex')

/** A handler that writes down what it was given. */
const NOTING = `
import { createHash } from 'node:crypto'
import { appendFileSync } from 'node:fs'
export default ({ id, bytes, type, headers }) => {
  const digest = createHash('sha256').update(bytes).digest('hex')
  appendFileSync(process.env.NOTES, JSON.stringify([digest, type, headers['x-github-event']]) + '\\n')
}`

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'mailroom-inbox-'))
  context.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function deliver(system: System, { name, body }: { name: string; body: string }, delivery: string) {
  const headers = {
    ...{ 'content-type': 'application/json', 'x-github-event': name, 'x-github-delivery': delivery },
    'x-hub-signature-256': await sign(SECRET, body),
  }
  for (;;) {
    try {
      const response = await fetch(`${system.url}/in/github`, { method: 'POST', headers, body })
      if (response.status === 200) return ((await response.json()) as { id: string }).id
      assert.ok([429, 503, 504].includes(response.status), await response.text())
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error // Else the connection ended with a facade.
    }
  }
}

test('GitHub’s payloads, each sent four times while actors are killed, are stored once, byte for byte', async (context) => {
  const path = folder(context)
  writeFileSync(join(path, 'handler.mjs'), NOTING)
  const flags = ['--sources', 'examples/github.json', '--handler', join(path, 'handler.mjs'), '--facade', '2']
  const env = { GITHUB_WEBHOOK_SECRET: SECRET, NOTES: join(path, 'notes') }
  const system = await System.start(context, flags, { env })
  const sent = payloads.map((payload, index) => ({ ...payload, delivery: `delivery-${index}` }))
  const ids = new Map<string, Set<string>>()
  for (const role of ['facade', 'logging', 'messages', undefined]) {
    for (let from = 0; from < sent.length; from += 40) {
      if (from === 120 && role !== undefined) {
        const actors = await system.actors()
        process.kill(actors.find((actor) => actor.role === role)!.pid, 'SIGKILL')
      }
      const part = sent.slice(from, from + 40)
      await Promise.all(
        part.map(async (one) => {
          const id = await deliver(system, one, one.delivery)
          ids.set(one.delivery, (ids.get(one.delivery) ?? new Set()).add(id))
        }),
      )
    }
  }
  assert.ok(sent.length > 300)
  assert.deepEqual(
    [...ids.values()].filter((set) => set.size > 1),
    [],
  )
  await system.until('all is delivered', async () => {
    const lists = await system.lists()
    return [...lists.stores.values()].flat().length >= sent.length
  })
  const { logged, stores } = await system.lists()
  const shown = (items: (Item & { headers?: Record<string, string> })[]) =>
    items.map(({ text, headers }) => `${headers?.['x-github-delivery']} ${digestOf(text)}`).sort()
  const expected = sent.map(({ delivery, body }) => `${delivery} ${digestOf(body)}`).sort()
  assert.deepEqual(shown(logged), expected)
  assert.deepEqual(shown([...stores.values()].flat()), expected)
  const notes = readFileSync(env.NOTES, 'utf8').trim().split('\n')
  // A handler runs at least once.
  const wanted = sent.map(({ name, body }) => JSON.stringify([digestOf(body), 'application/json', name]))
  assert.deepEqual([...new Set(notes)].sort(), [...new Set(wanted)].sort())
  for (const text of [system.output, JSON.stringify(logged)]) {
    assert.ok(!text.includes(SECRET) && !text.includes('sha256='), 'no secret and no signature is shown')
  }
})

test('a file of sources is read again with the facades; a wrong one is refused, and the last good one stays', async (context) => {
  const file = join(folder(context), 'sources.json')
  const declare = (sources: object | string) =>
    writeFileSync(file, typeof sources === 'string' ? sources : JSON.stringify(sources))
  declare({ first: { verify: 'none' } })
  const system = await System.start(context, ['--sources', file])
  const statusOf = async (source: string) =>
    (await fetch(`${system.url}/in/${source}`, { method: 'POST', body: 'x' })).status
  const restart = (...roles: string[]) => run(['restart', ...roles, '--url', system.url])
  assert.deepEqual([await statusOf('first'), await statusOf('second')], [200, 404])

  declare({ second: { verify: 'none' } })
  assert.equal((await restart('facade')).code, 0)
  assert.deepEqual([await statusOf('first'), await statusOf('second')], [404, 200])

  declare({ second: { verify: 'nine' }, 'Third!': { verify: 'none' } })
  const refused = await restart()
  assert.equal(refused.code, 1)
  const restarts = (await system.actors()).map((actor) => `${actor.role} ${actor.restarts}`)
  assert.deepEqual(
    [...new Set(restarts)],
    ['facade 1', 'logging 0', 'messages 0'],
    'of all roles, none is restarted',
  )
  assert.match(refused.stderr, /second\.verify: expected one of github, /)
  assert.match(refused.stderr, /"Third!"/)
  const [facade] = (await system.actors()).filter(({ role }) => role === 'facade')
  process.kill(facade!.pid, 'SIGKILL')
  await system.until('the facade is back', async () => (await statusOf('second').catch(() => 0)) === 200)
})

test('a file of sources that is wrong ends the start with 78, and names every mistake', async (context) => {
  const file = join(folder(context), 'sources.json')
  writeFileSync(
    file,
    '{"a":{"verify":"github","secret":"hunter2-hunter2"},"b":{"verify":"hmac","secret":"env:MISSING"}}',
  )
  const ended = await run([
    'start',
    '--sources',
    file,
    '--port',
    '0',
    '--data',
    join(folder(context), 'data'),
  ])
  assert.equal(ended.code, 78)
  for (const mistake of [/a\.secret/, /b\.header/, /MISSING/]) assert.match(ended.stderr, mistake)
  assert.ok(!ended.stderr.includes('hunter2'))
})

test('mailroom try: the real program takes a sample of every scheme, and a second one is another message', async (context) => {
  const path = folder(context)
  const secret = 'env:SECRET'
  const declared = {
    ...Object.fromEntries(
      ['github', 'gitlab', 'stripe', 'shopify', 'slack', 'token'].map((verify) => [
        verify,
        { verify, secret },
      ]),
    ),
    meta: { verify: 'meta', secret, verifyToken: secret },
    standard: { verify: 'standard', secret: 'env:STANDARD' },
    timed: {
      ...{ verify: 'hmac', secret, header: 'X-Signature', timestamp: 'header:X-Time' },
      signed: '{timestamp}.{body}',
    },
    form: { verify: 'none', types: ['application/x-www-form-urlencoded'] },
  }
  const file = join(path, 'sources.json')
  writeFileSync(file, JSON.stringify(declared))
  const env = { SECRET, STANDARD: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' }
  const system = await System.start(context, ['--sources', file], { env })
  const tried = { env: { ...env, MAILROOM_URL: system.url, MAILROOM_SOURCES: file } }
  for (const source of Object.keys(declared)) {
    const { code, stdout, stderr } = await runHere(['try', source], tried)
    assert.equal(code, 0, stdout + stderr)
    const id = /\/messages\/(\w{26})\?wait=30'/.exec(stderr)?.[1]
    const message = await system.get<{ source: string; state: string }>(`/messages/${id}?wait=10`)
    assert.deepEqual([message.source, message.state], [source, 'delivered'])
  }
  await runHere(['try', 'github'], tried)
  const { items } = await system.get<{ items: object[] }>('/log?limit=100')
  assert.equal(items.length, Object.keys(declared).length + 1)
})
