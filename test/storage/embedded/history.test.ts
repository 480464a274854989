/** What lies in the log's older segments costs the work of today nothing: counted are statements and looks at files. */
import assert from 'node:assert/strict'
import fs, { mkdtempSync, rmSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StatementSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { systemRandom as random } from '../../../src/runtime/clock.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import { LANES_POLL_MS } from '../../../src/runtime/timings.ts'
import { LogWriter } from '../../../src/storage/embedded/log-writer.ts'
import { openEmbedded } from '../../../src/storage/embedded/open.ts'
import { idGenerator, MIN_ID } from '../../../src/storage/ids.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const LANE = 0
const logger = createLogger('silent', {})
const clock = new FakeClock()
const nextId = idGenerator(clock, random)
const [FEW, MANY] = [3, 200]
const WRITER = { writer: 1, onBroken: assert.ifError, headroom: 0 }

function keyed(name: string) {
  const [id] = nextId(1) as [string]
  clock.step(1)
  const key = { value: `key ${name}`, hash: 'of the request' }
  return { lane: LANE, messages: [{ id, text: `text ${name}` }], key, deadlineAt: clock.monotonic() + 60_000 }
}

/** A directory with so many ended segments, each of one keyed message that is delivered. */
async function history(context: TestContext, count: number) {
  const data = mkdtempSync(join(tmpdir(), 'history-'))
  context.after(() => rmSync(data, { recursive: true }))
  const options = { data, laneCount: 1, clock, random, logger, retentionMs: 3_600_000 }
  const writer = new LogWriter({ ...options, ...WRITER, segmentAgeMs: 0 })
  const batches = Array.from({ length: count }, (_, n) => keyed(`${n}`))
  for (const batch of batches) await writer.append(batch)
  writer.close()
  const messages = openEmbedded(options)
  await messages.queue.hold(LANE)
  for (let left = count; left > 0; ) {
    const claimed = await messages.queue.claim(LANE, count, 0)
    await messages.queue.settle(
      LANE,
      claimed.map(({ id }) => ({ id, as: 'done' })),
    )
    left -= claimed.length
  }
  await messages.close()
  return { options, ids: batches.map(({ messages }) => messages[0]!.id) }
}

/** Statements run and looks at files while `work` is done. */
async function countOf(context: TestContext, work: () => unknown): Promise<number> {
  const mocks = [
    ...(['get', 'all', 'iterate', 'run'] as const).map((name) =>
      context.mock.method(StatementSync.prototype, name),
    ),
    ...(['statSync', 'existsSync', 'openSync', 'readdirSync'] as const).map((name) =>
      context.mock.method(fs, name),
    ),
  ]
  syncBuiltinESMExports()
  await work()
  const count = mocks.reduce((sum, { mock }) => sum + mock.callCount(), 0)
  for (const { mock } of mocks) mock.restore()
  syncBuiltinESMExports()
  return count
}

/** What each kind of work counts, once all that it opens is open. */
async function counts(context: TestContext, segments: number): Promise<Record<string, number>> {
  const { options, ids } = await history(context, segments)
  const writer = new LogWriter({ ...options, ...WRITER, segmentAgeMs: 3_600_000 })
  const messages = openEmbedded(options)
  await messages.queue.hold(LANE)
  let posted = 0
  const post = () => writer.append(keyed(`new ${++posted}`))
  await post()
  await writer.indexKeys()
  const works: Record<string, () => unknown> = {
    'a keyed post': post,
    'a claim': async () => {
      messages.queue.wake(LANE)
      const claimed = await messages.queue.claim(LANE, 9, 0)
      const settlements = claimed.map(({ id }) => ({ id, as: 'done' as const }))
      await messages.queue.settle(LANE, settlements)
    },
    'the newest page': () => messages.log.page({ limit: 2 }),
    'the oldest page': () => messages.log.page({ after: MIN_ID, limit: 2 }),
    'a page behind an id': () => messages.log.page({ after: ids.at(-3)!, limit: 2 }),
    'a page of the list': () => messages.queue.delivered(LANE, { limit: 2 }),
    'a look-up': () => messages.log.get(ids[1]!),
    'a look of an idle lane': async () => {
      const claim = messages.queue.claim(LANE, 9, 2 * LANES_POLL_MS)
      await clock.advance(2 * LANES_POLL_MS)
      await messages.queue.depth(LANE)
      assert.deepEqual(await claim, [])
    },
  }
  const found: Record<string, number> = {}
  for (const [name, work] of Object.entries(works)) {
    for (let round = 0; round < 3; round++) {
      await post()
      await works['a claim']!()
      await work()
    }
    found[name] = await countOf(context, work)
  }
  writer.close()
  await messages.close()
  return found
}

test(`${MANY} segments of the past cost no more than ${FEW}`, async (context) => {
  const [few, many] = [await counts(context, FEW), await counts(context, MANY)]
  for (const [name, count] of Object.entries(many))
    assert.ok(count <= 1.1 * few[name]!, `${name}: ${count} instead of ${few[name]}`)
})
