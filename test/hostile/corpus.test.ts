/** The corpus against the real program: every case its answer, nothing stored but what it says, nobody hurt. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { System } from '../support/system.ts'
import type { Case } from './case.ts'
import { CORPUS } from './corpus/all.ts'
import { INBOX_SECRET } from './corpus/inbox.ts'
import { Unharmed } from './unharmed.ts'
import { type Answer, Wire } from './wire.ts'

const ANSWER_MS = 30_000
const OLD = [
  'an old message',
  '\uFEFFold, with a byte order mark',
  '<script>old</script>',
  'o'.repeat(65_536),
]

describe('hostile input', { concurrency: 24 }, () => {
  let system: System
  let unharmed: Unharmed
  const done: (() => Promise<void>)[] = []
  before(async () => {
    system = await System.start(
      { after: (work) => done.push(work as () => Promise<void>) },
      ['--sources', 'test/hostile/sources.json'],
      { env: { INBOX_SECRET } },
    )
    unharmed = await Unharmed.before(system, OLD)
  })
  after(async () => {
    try {
      await unharmed.assert()
    } finally {
      for (const work of done) await work()
    }
  })

  for (const [topic, cases] of Object.entries(CORPUS)) {
    for (const one of cases) {
      test(`${topic}: ${one.name} is answered ${outcomeOf(one)}`, async () => {
        unharmed.stores(one.stores ?? [])
        check(one, await answersTo(system.port, one))
      })
    }
  }
})

/** Says a case's bytes, and hears everything that comes of them. */
async function answersTo(port: number, { says, answers }: Case): Promise<Answer[]> {
  const wire = await Wire.open(port)
  wire.say(says)
  const all = await wire.until(() => wire.answers().length >= answers.length, ANSWER_MS)
  // Whoever has heard enough says goodbye; a smuggled request would be answered before the server does.
  await wire.end(ANSWER_MS)
  const heard = wire.answers()
  assert.ok(all, `${heard.length} of ${answers.length} answers; ${wire.error}`)
  return heard
}

function check(one: Case, heard: readonly Answer[]): void {
  const last = heard.at(-1)!
  assert.deepEqual(
    heard.map(({ status }) => status),
    one.answers,
    last.body,
  )
  for (const { headers } of heard) {
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.ok(headers['x-request-id'], 'it has an id')
    assert.ok(!('x-injected' in headers) && !('set-cookie' in headers), 'nothing is injected')
  }
  if (one.lines !== undefined) assert.deepEqual(linesOf(last), one.lines)
  if (one.code === undefined) return
  assert.equal(last.headers['content-type'], 'application/problem+json')
  const { code, status, outcome, requestId } = JSON.parse(last.body) as Record<string, unknown>
  assert.deepEqual(
    { code, status, outcome, requestId },
    { code: one.code, status: last.status, outcome: 'none', requestId: last.headers['x-request-id'] },
  )
}

function linesOf({ body }: Answer): string[] {
  const lines = body.split('\n').slice(0, -1)
  return lines.map((line, index) => {
    const { line: number, error } = JSON.parse(line) as { line: number; error?: { code: string } }
    assert.equal(number, index + 1)
    return error?.code ?? 'stored'
  })
}

function outcomeOf({ answers, code }: Case): string {
  const statuses = answers.length > 9 ? `${answers.length} times` : answers.join(' and ')
  return code === undefined ? statuses : `${statuses} ${code}`
}
