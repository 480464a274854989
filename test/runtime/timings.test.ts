import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Runs Node on the project with a post deadline of 5 s instead of 3 s. */
function withSlowDeadline(args: readonly string[]): { output: string; status: number | null } {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const NODE_OPTIONS = `${env['NODE_OPTIONS'] ?? ''} --import=${ROOT}test/support/slow-post-deadline.ts`
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    ...{ cwd: ROOT, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
    env: { ...env, NODE_OPTIONS },
  })
  return { output: stdout + stderr, status }
}

test('a post deadline of 5 s moves all timings that depend on it', () => {
  const show = "const t = await import('./src/runtime/timings.ts'); console.log(JSON.stringify(t))"
  const { output, status } = withSlowDeadline(['--input-type=module', '--eval', show])
  assert.equal(status, 0, output)
  const { POST_DEADLINE_MS, LOG_READ_DEADLINE_MS, REAPPEND_DEADLINE_MS, ...timings } = JSON.parse(output)
  assert.deepEqual([POST_DEADLINE_MS, LOG_READ_DEADLINE_MS, REAPPEND_DEADLINE_MS], [5000, 5000, 5000])
  assert.ok(timings.APPEND_ATTEMPT_MS * 3 <= POST_DEADLINE_MS)
  assert.ok(timings.CURSOR_DELAY_MS > POST_DEADLINE_MS)
  assert.ok(timings.CLUSTER_CALL_MS < POST_DEADLINE_MS)
  assert.ok(timings.OVERDUE_MS > POST_DEADLINE_MS)
  assert.ok(timings.FIRST_RUN_MS >= POST_DEADLINE_MS + timings.CLUSTER_CALL_MS)
  assert.ok(timings.REDRIVE_AGE_MS > timings.FIRST_RUN_MS)
})

test('with a post deadline of 5 s the tests of the actors, the HTTP API and the storage pass', () => {
  const patterns = ['actors', 'http', 'storage'].map((room) => `test/${room}/**/*.test.ts`)
  const { output, status } = withSlowDeadline(['--test', ...patterns])
  assert.equal(status, 0, output)
  assert.match(output, /ℹ pass \d{3}/)
})

test('with a post deadline of 5 s histories of the simulation keep the promise', () => {
  const { output, status } = withSlowDeadline(['test/simulation/some-histories-child.ts'])
  assert.equal(status, 0, output)
})
