/** The row of the fault table: one slow logging actor, 2 s an answer. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { LoggingPool } from '../../../src/actors/facade/logging-pool.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { APPEND_ATTEMPT_MS, POST_DEADLINE_MS } from '../../../src/runtime/timings.ts'
import { DirectPeers, entryOf, testContext } from '../../support/actor-context.ts'
import { percentile } from '../../support/open-loop.ts'

const NAMES = ['logging-1', 'logging-2', 'logging-3']
const USUAL_MS = 10
const SLOW_MS = 2000
/** One batch per this time. */
const PERIOD_MS = 5

test('one slow logging actor, 2 s an answer: within 2 s p99 is back under 1.5 times what it was', async () => {
  const context = testContext()
  const { clock } = context
  context.directory.set(...NAMES.map((name) => entryOf(name)))
  const peers = new DirectPeers()
  let slow: string | undefined
  for (const name of NAMES) {
    const append = async () => {
      await clock.sleep(name === slow ? SLOW_MS : USUAL_MS)
      return []
    }
    peers.actors.set(name, { append, page: async () => [] })
  }
  const logging = peers.logging.bind(peers)
  // As over HTTP: an attempt ends at its timeout.
  peers.logging = (address: string, timeoutMs = SLOW_MS) => {
    const actor = logging(address)
    const expired = async () => {
      await clock.sleep(timeoutMs)
      throw new MailroomError('MR_DEADLINE_EXPIRED', { what: 'append', deadlineMs: timeoutMs })
    }
    return { ...actor, append: (batch) => Promise.race([actor.append(batch, null), expired()]) }
  }
  const pool = new LoggingPool(context, peers)
  const took: { sentAt: number; ms: number }[] = []
  const failures: unknown[] = []
  const post = async () => {
    const sentAt = clock.monotonic()
    await pool.append({ messages: [], lane: 0, deadlineAt: clock.monotonic() + POST_DEADLINE_MS })
    took.push({ sentAt, ms: clock.monotonic() - sentAt })
  }
  const load = async (seconds: number) => {
    for (let sent = 0; sent < (seconds * 1000) / PERIOD_MS; sent++) {
      post().catch((error) => failures.push(error))
      await clock.advance(PERIOD_MS)
    }
  }
  await load(5)
  const beganAt = clock.monotonic()
  slow = 'logging-2'
  await load(30)
  await clock.advance(SLOW_MS)

  const timesOf = (from: number, to: number) => {
    const sent = took.filter(({ sentAt }) => sentAt >= from && sentAt < to)
    return sent.map(({ ms }) => ms).sort((a, b) => a - b)
  }
  const p99 = (from: number, to: number) => percentile(timesOf(from, to), 0.99)
  assert.deepEqual(failures, [])
  assert.ok(timesOf(beganAt, beganAt + 1000).at(-1)! >= APPEND_ATTEMPT_MS, 'it was noticed')
  const before = p99(0, beganAt - USUAL_MS)
  const after = p99(beganAt + 2000, beganAt + 30_000)
  assert.ok(after <= 1.5 * before, `p99 from ${before} to ${after} ms`)
})
