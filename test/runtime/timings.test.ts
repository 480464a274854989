import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { DRAIN_MS, OUTPUT_END_MS, STOP_MS } from '../../src/runtime/timings.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Runs Node on the project with a post deadline of 5 s instead of 3 s. */
async function withSlowDeadline(args: readonly string[]): Promise<{ output: string; code: number | null }> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const NODE_OPTIONS = `${env['NODE_OPTIONS'] ?? ''} --import=${ROOT}test/support/slow-post-deadline.ts`
  const child = spawn(process.execPath, args, {
    ...{ cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], env: { ...env, NODE_OPTIONS } },
  })
  const [[code], ...output] = await Promise.all([
    once(child, 'close'),
    text(child.stdout),
    text(child.stderr),
  ])
  return { output: output.join(''), code }
}

test('a node that stops ends within 10 s, though each role takes all its time', () => {
  const perRole = Object.values(STOP_MS).map((stopMs) => stopMs + OUTPUT_END_MS)
  assert.ok(perRole.reduce((sum, ms) => sum + ms) <= DRAIN_MS, `${perRole}`)
})

test('a post deadline of 5 s moves all timings that depend on it', async () => {
  const show = "const t = await import('./src/runtime/timings.ts'); console.log(JSON.stringify(t))"
  const { output, code } = await withSlowDeadline(['--input-type=module', '--eval', show])
  assert.equal(code, 0, output)
  const { POST_DEADLINE_MS, LOG_READ_DEADLINE_MS, REAPPEND_DEADLINE_MS, ...timings } = JSON.parse(output)
  assert.deepEqual([POST_DEADLINE_MS, LOG_READ_DEADLINE_MS, REAPPEND_DEADLINE_MS], [5000, 5000, 5000])
  assert.ok(timings.APPEND_ATTEMPT_MS * 3 <= POST_DEADLINE_MS)
  assert.ok(timings.CURSOR_DELAY_MS > POST_DEADLINE_MS)
  assert.ok(timings.CLUSTER_CALL_MS < POST_DEADLINE_MS)
  assert.ok(timings.OVERDUE_MS > POST_DEADLINE_MS)
  assert.ok(timings.FIRST_RUN_MS >= POST_DEADLINE_MS + timings.CLUSTER_CALL_MS)
  assert.ok(timings.REDRIVE_AGE_MS > timings.FIRST_RUN_MS)
})

describe('with a post deadline of 5 s', { concurrency: 2 }, () => {
  test('with a post deadline of 5 s the tests of the actors, the HTTP API and the storage pass', async () => {
    const patterns = ['actors', 'http', 'storage'].map((room) => `test/${room}/**/*.test.ts`)
    const { output, code } = await withSlowDeadline(['--test', '--test-concurrency=2', ...patterns])
    assert.equal(code, 0, output)
    assert.match(output, /ℹ pass \d{3}/)
  })

  test('with a post deadline of 5 s histories of the simulation keep the promise', async () => {
    const { output, code } = await withSlowDeadline(['test/simulation/some-histories-child.ts'])
    assert.equal(code, 0, output)
  })
})
