/** The embedded backend while clocks are set, and the file that keeps the node's time. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createLogger, type Logger } from '../../../src/runtime/logger.ts'
import { DAY_MS, MINUTE_MS, POST_DEADLINE_MS } from '../../../src/runtime/timings.ts'
import { newestTime, readTime, timeStore } from '../../../src/storage/embedded/clock-file.ts'
import { identityOf } from '../../../src/storage/embedded/guard.ts'
import { openEmbedded } from '../../../src/storage/embedded/open.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import type { Backend } from '../../../src/storage/ports.ts'
import { seeded } from '../../support/actor-context.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const HOUR_MS = 60 * MINUTE_MS
const logger = createLogger('silent', {})
const random = seeded(1)

function folder(context: TestContext): string {
  const data = mkdtempSync(join(tmpdir(), 'mailroom-'))
  context.after(() => rmSync(data, { recursive: true, force: true }))
  return data
}

function open(data: string, clock: FakeClock): Backend {
  return openEmbedded({
    ...{ data, laneCount: 1, clock, random, logger, retentionMs: HOUR_MS, retryMaxMs: MINUTE_MS },
    writer: 1,
  })
}

async function append({ log }: Backend, clock: FakeClock, text: string): Promise<string> {
  const [id] = idGenerator(clock, random)(1) as [string]
  const deadlineAt = clock.monotonic() + POST_DEADLINE_MS
  await log.append({ messages: [{ id, text }], lane: 0, deadlineAt })
  return id
}

test('what was stored before the clock leapt forward is kept for its retention, counted as time passes', async (context) => {
  const [data, clock] = [folder(context), new FakeClock()]
  const backend = open(data, clock)
  context.after(() => backend.close())
  const id = await append(backend, clock, 'before')
  await backend.queue.hold(0)
  const claimed = await backend.queue.claim(0, 1, 0)
  await backend.queue.settle(
    0,
    claimed.map((message) => ({ id: message.id, as: 'done' })),
  )
  clock.leap(30 * DAY_MS)
  const shown = async () => [
    (await backend.log.page({ limit: 9 })).length,
    (await backend.queue.delivered(0, { limit: 9 })).length,
    (await backend.log.get(id)) === undefined ? 0 : 1,
  ]
  await append(backend, clock, 'after')
  await clock.advance(HOUR_MS - MINUTE_MS)
  assert.deepEqual(await shown(), [2, 1, 1])
  await clock.advance(2 * MINUTE_MS)
  assert.deepEqual(await shown(), [0, 0, 0])
})

test('a retry is due after its delay, and after the longest pause at most for a holder whose clock is behind', async (context) => {
  const [data, clock] = [folder(context), new FakeClock()]
  const first = open(data, clock)
  await append(first, clock, 'a')
  await append(first, clock, 'b')
  const retry = async ({ queue }: Backend, delayMs: number) => {
    const [claimed] = await queue.claim(0, 1, 0)
    await queue.settle(0, [{ id: claimed!.id, as: 'retry', delayMs, error: 'e' }])
  }
  await first.queue.hold(0)
  await retry(first, 1000)
  clock.step(-HOUR_MS)
  assert.equal((await first.queue.claim(0, 9, 0))[0]?.text, 'b')
  await clock.advance(999)
  assert.deepEqual(await first.queue.claim(0, 9, 0), [])
  await clock.advance(1)
  assert.equal((await first.queue.claim(0, 9, 0))[0]?.text, 'a')
  clock.step(HOUR_MS)
  await first.close()

  const second = open(data, clock)
  await second.queue.hold(0)
  await retry(second, MINUTE_MS)
  await retry(second, MINUTE_MS)
  await second.close()
  clock.step(-HOUR_MS)
  const third = open(data, clock)
  context.after(() => third.close())
  await third.queue.hold(0)
  assert.deepEqual(await third.queue.claim(0, 9, 0), [])
  await clock.advance(MINUTE_MS)
  assert.equal((await third.queue.claim(0, 9, 0)).length, 2)
})

test('the node’s time is read as it was stored; what is damaged is as if it were not there', (context) => {
  const data = folder(context)
  assert.equal(readTime(data), undefined)
  const time = { at: 1.5, time: 2, pace: 0.5, leaps: [{ to: 3, by: 1 }], isSet: true, boot: 'b' }
  const lines: string[] = []
  const logger = { error: (_: object, line: string) => lines.push(line) } as unknown as Logger
  const store = timeStore(data, identityOf(data), logger)
  assert.equal(store(time), true)
  assert.deepEqual(readTime(data), time)
  for (const damaged of ['', '{}', '[]', JSON.stringify({ ...time, at: null }), '{"at":1']) {
    writeFileSync(join(data, 'clock.json'), damaged)
    assert.equal(readTime(data), undefined, damaged)
  }
  const aside = `${data}-aside`
  context.after(() => rmSync(aside, { recursive: true, force: true }))
  renameSync(data, aside)
  mkdirSync(data)
  assert.deepEqual([store(time), store(time)], [false, false], 'the directory was replaced')
  assert.deepEqual([readdirSync(data), lines], [[], ['clock.json cannot be written']], 'logged once')
  rmSync(data, { recursive: true })
  renameSync(aside, data)
  assert.equal(store(time), true)
})

test('the newest instant of the log is that of all its files; a file that cannot be read has none', async (context) => {
  const [data, clock] = [folder(context), new FakeClock()]
  assert.equal(newestTime(data), undefined)
  const backend = open(data, clock)
  await append(backend, clock, 'a')
  await backend.close()
  writeFileSync(join(data, 'log-7.1.db'), 'not a database')
  assert.equal(newestTime(data), clock.now())
})
