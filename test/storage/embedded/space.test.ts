/** Room on the disk comes back, and with it goes what is expired, delivered or purged: no file has it any more. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock as clock, systemRandom as random } from '../../../src/runtime/clock.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import { Home } from '../../../src/storage/embedded/home.ts'
import { openEmbedded } from '../../../src/storage/embedded/open.ts'
import { Reserve } from '../../../src/storage/embedded/reserve.ts'
import { removeOldSegments } from '../../../src/storage/embedded/retention.ts'
import { openToRead } from '../../../src/storage/embedded/sqlite.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import { WAL_MAX_BYTES } from '../../../src/storage/limits.ts'

const LANE = 0
const HOUR_MS = 3_600_000
const logger = createLogger('silent', {})

function directory(context: TestContext): string {
  const data = mkdtempSync(join(tmpdir(), 'space-'))
  context.after(() => rmSync(data, { recursive: true }))
  return data
}

/** Names of the files that hold a text. */
function filesWith(data: string, text: string): string[] {
  return readdirSync(data).filter((name) => readFileSync(join(data, name)).includes(text))
}

test('the last segment of a writer that was scaled away is removed when old, and its name is not used again', async (context) => {
  const data = directory(context)
  const options = { data, laneCount: 1, clock, random, logger, retentionMs: HOUR_MS }
  const [second, messages] = [openEmbedded({ ...options, writer: 2 }), openEmbedded(options)]
  const twoHoursAgo = idGenerator({ ...clock, now: () => clock.now() - 2 * HOUR_MS }, random)
  const [id] = twoHoursAgo(1) as [string]
  const deadlineAt = clock.monotonic() + 3000
  await second.log.append({ lane: LANE, messages: [{ id, text: 'an expired text' }], deadlineAt })
  await messages.queue.hold(LANE)
  await messages.queue.claim(LANE, 9, 1000)
  const remove = () => removeOldSegments({ ...options, writer: 1, current: 'log-1.1.db' })
  await second.close()
  remove()
  assert.deepEqual(filesWith(data, 'an expired text').length > 0, true, 'it is not delivered yet')
  await messages.queue.settle(LANE, [{ id, as: 'done' }])
  await messages.close()
  remove()
  assert.deepEqual(filesWith(data, 'an expired text'), [])
  const logs = () => readdirSync(data).filter((name) => /^log-2\.\d+\.db$/.test(name))
  assert.deepEqual(logs(), ['log-2.2.db'])
  const again = openEmbedded({ ...options, writer: 2 })
  await again.log.append({
    ...{ lane: LANE, messages: [{ id: twoHoursAgo(1)[0]!, text: 'another' }] },
    deadlineAt: clock.monotonic() + 3000,
  })
  assert.deepEqual(logs(), ['log-2.2.db'])
  remove()
  assert.deepEqual(logs(), ['log-2.2.db'], 'its writer runs')
  await again.close()
})

test('a home has no text of a message that was delivered or purged', async (context) => {
  const data = directory(context)
  const path = join(data, 'home-0.db')
  const home = new Home(path, clock, HOUR_MS)
  context.after(() => home.close())
  const nextId = idGenerator(clock, random)
  const hands = Array.from({ length: 40 }, (_, index) => ({
    ...{ id: nextId(1)[0]!, text: `a secret ${'x'.repeat(500)} ${index}`, file: 'file', seq: index + 1 },
  }))
  const [first] = hands as [(typeof hands)[number]]
  await home.commit(() => {
    for (const hand of hands) home.start(hand)
  })
  await home.commit(() => {
    home.settle(first, { id: first.id, as: 'dead', reason: 'a reason', error: 'an error' })
    for (const hand of hands.slice(1)) home.settle(hand, { id: hand.id, as: 'done' })
  })
  assert.ok(filesWith(data, 'a secret').length > 0, 'a dead letter has its text')
  await home.commit(() => home.purge(first.id))
  home.checkpoint()
  assert.deepEqual(filesWith(data, 'a secret'), [])
})

test('a home gives room back once its records are older than the retention', async (context) => {
  const path = join(directory(context), 'home-0.db')
  let now = clock.now()
  const home = new Home(path, { ...clock, now: () => now, ago: (ms) => now - ms }, HOUR_MS)
  context.after(() => home.close())
  const nextId = idGenerator({ ...clock, now: () => now }, random)
  await home.commit(() => {
    for (let seq = 1; seq <= 30_000; seq++) home.deliver({ id: nextId(1)[0]!, count: 1, file: 'file', seq })
  })
  home.checkpoint()
  const peak = statSync(path).size
  assert.ok(peak > 1_000_000, `${peak}`)
  now += 2 * HOUR_MS
  let isMore = true
  while (isMore) {
    await home.commit(() => {
      isMore = home.removeOld()
    })
  }
  while (home.giveBack());
  assert.ok(statSync(path).size < peak / 8, `${statSync(path).size} of ${peak} bytes`)
})

test('a home gives the room of purged letters back, however young they are', async (context) => {
  const path = join(directory(context), 'home-0.db')
  const home = new Home(path, clock, HOUR_MS)
  context.after(() => home.close())
  const nextId = idGenerator(clock, random)
  const hands = Array.from({ length: 100 }, (_, index) => ({
    ...{ id: nextId(1)[0]!, text: 'x'.repeat(60_000), file: 'file', seq: index + 1 },
  }))
  await home.commit(() => {
    for (const hand of hands) {
      home.start(hand)
      home.settle(hand, { id: hand.id, as: 'dead', reason: 'a reason', error: 'an error' })
    }
  })
  home.checkpoint()
  while (home.giveBack());
  const peak = statSync(path).size
  assert.ok(peak > 6_000_000, `${peak}`)
  assert.equal(home.hasOld(), false)
  await home.commit(() => {
    for (const { id } of hands) home.purge(id)
  })
  assert.equal(home.hasOld(), true)
  while (home.giveBack());
  assert.ok(statSync(path).size < peak / 8, `${statSync(path).size} of ${peak} bytes`)
  assert.equal(home.hasOld(), false)
})

test('a write-ahead log that a foreign reader made long is emptied when that reader has gone', async (context) => {
  const path = join(directory(context), 'home-0.db')
  const home = new Home(path, clock, HOUR_MS)
  context.after(() => home.close())
  const nextId = idGenerator(clock, random)
  const write = async (count: number) => {
    for (let seq = 1; seq <= count; seq++) {
      const hand = { id: nextId(1)[0]!, text: 'x'.repeat(60_000), file: 'file', seq }
      await home.commit(() => home.start(hand), false)
    }
  }
  const size = () => statSync(`${path}-wal`).size
  const reader = openToRead(path, ({ database }) => database)
  reader.exec('BEGIN; SELECT count(*) FROM file')
  await write(800)
  home.checkpoint()
  assert.ok(size() > 2 * WAL_MAX_BYTES, `${size()}`)
  reader.exec('COMMIT')
  reader.close()
  home.checkpoint()
  assert.equal(size(), 0)
  await write(800)
  assert.ok(size() < 2 * WAL_MAX_BYTES, `${size()}`)
})

test('a reserve that was left unfinished gives its room back, though the disk is too full for another one', async (context) => {
  const data = directory(context)
  writeFileSync(join(data, 'reserve.new'), Buffer.alloc(1024))
  const endless = Number.MAX_SAFE_INTEGER
  await new Reserve(data, endless, clock).keep()
  assert.deepEqual(readdirSync(data), [])
})
