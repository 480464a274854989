/** What becomes of a lane whose home fails. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Clock, systemRandom as random, systemClock } from '../../../src/runtime/clock.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import { Home, type Run } from '../../../src/storage/embedded/home.ts'
import { LogReader } from '../../../src/storage/embedded/log-reader.ts'
import { openEmbedded } from '../../../src/storage/embedded/open.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import type { Backend } from '../../../src/storage/ports.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const clock = systemClock
const LANE = 0
const ID = '01KDVDNA7W2PEXJCXS565E3201'
const SQLITE = { code: 'ERR_SQLITE_ERROR' }
const IO_ERROR = Object.assign(new Error('disk I/O error'), { ...SQLITE, errcode: 10 })
const FULL = Object.assign(new Error('database or disk is full'), { ...SQLITE, errcode: 13 })

/** The queue of a new data directory, its only lane held. */
async function held(context: TestContext, clock: Clock = systemClock) {
  const data = mkdtempSync(join(tmpdir(), 'embedded-'))
  const logger = createLogger('silent', {})
  const backend = openEmbedded({ data, laneCount: 1, clock, random, logger, retentionMs: 3_600_000 })
  context.after(async () => {
    await backend.close()
    rmSync(data, { recursive: true })
  })
  await backend.queue.hold(LANE)
  return backend.queue
}

/** The same, and the backend of the logging actor that writes the log. */
async function withWriter(context: TestContext, segmentAgeMs = 3_600_000) {
  const data = mkdtempSync(join(tmpdir(), 'embedded-'))
  const options = optionsOf(data)
  const logging = openEmbedded({ ...options, writer: 1, retentionMs: 8 * segmentAgeMs })
  const backend = openEmbedded(options)
  const { queue } = backend
  context.after(async () => {
    await Promise.all([logging.close(), backend.close()])
    rmSync(data, { recursive: true })
  })
  await queue.hold(LANE)
  return { data, backend, queue, logging }
}

function optionsOf(data: string) {
  const logger = createLogger('silent', {})
  return { data, laneCount: 1, clock, random, logger, retentionMs: 3_600_000 }
}

/** Writes fail with this until it is restored. */
function failWrites({ mock }: TestContext, error: Error): { restore(): void } {
  return mock.method(Home.prototype, 'commit', () => Promise.reject(error)).mock
}

test('after a failed write the lane is not used until it is taken again', async (context) => {
  const queue = await held(context)
  const failing = failWrites(context, IO_ERROR)
  await assert.rejects(queue.purge(LANE, [ID]), IO_ERROR)
  failing.restore()
  await assert.rejects(queue.claim(LANE, 1, 0), IO_ERROR)
  await assert.rejects(queue.purge(LANE, [ID]), IO_ERROR)
  await assert.rejects(queue.depth(LANE), IO_ERROR)
})

test('a waiting consumer learns at once that its lane has failed', async (context) => {
  const queue = await held(context)
  const claimed = queue.claim(LANE, 1, 60_000)
  failWrites(context, IO_ERROR)
  await Promise.all([assert.rejects(queue.replay(LANE, [ID]), IO_ERROR), assert.rejects(claimed, IO_ERROR)])
})

test('a lane whose list could not be synced is out of use at once', async (context) => {
  const queue = await held(context)
  const claimed = queue.claim(LANE, 1, 60_000)
  context.mock.method(Home.prototype, 'sync', () => Promise.reject(IO_ERROR))
  await assert.rejects(claimed, IO_ERROR)
  await assert.rejects(queue.delivered(LANE, { limit: 1 }), IO_ERROR)
})

test('a full disk does not fail the lane', async (context) => {
  const queue = await held(context)
  const failing = failWrites(context, FULL)
  await assert.rejects(queue.purge(LANE, [ID]), { code: 'MR_STORE_UNAVAILABLE' })
  failing.restore()
  assert.deepEqual(await queue.claim(LANE, 1, 0), [])
  assert.equal(await queue.purge(LANE, [ID]), 0)
})

test('a claim that the home fails leaves its messages to a later one', async (context) => {
  const { backend, queue, logging } = await withWriter(context)
  const message = { id: ID, text: 'one' }
  await logging.log.append({ lane: LANE, messages: [message], deadlineAt: clock.monotonic() + 3000 })
  const damaged = Object.assign(new Error('database disk image is malformed'), { ...SQLITE, errcode: 11 })
  const knowing = context.mock.method(Home.prototype, 'known', () => {
    throw damaged
  }).mock
  await assert.rejects(queue.claim(LANE, 1, 0))
  assert.doesNotMatch(backend.damaged().join(), /log-1/, 'the log is not damaged')
  knowing.restore()
  await queue.release(LANE)
  await queue.hold(LANE)
  assert.equal((await queue.claim(LANE, 1, 0))[0]?.id, ID)
})

test('a claim takes all rows of a file, and of a batch in two files one copy', async (context) => {
  const { queue, logging, data } = await withWriter(context)
  const second = openEmbedded({ ...optionsOf(data), writer: 2 })
  context.after(() => second.close())
  const nextId = idGenerator(clock, random)
  const batches = Array.from({ length: 200 }, () => nextId(2).map((id) => ({ id, text: `text of ${id}` })))
  const deadlineAt = clock.monotonic() + 3000
  const append = ({ log }: Backend, some: typeof batches) =>
    Promise.all(some.map((messages) => log.append({ lane: LANE, messages, deadlineAt })))
  const claimAll = async () => {
    const ids: string[] = []
    for (;;) {
      const claimed = await queue.claim(LANE, 1000, 0)
      if (claimed.length === 0) return ids
      ids.push(...claimed.map(({ id }) => id))
      await queue.settle(
        LANE,
        claimed.map(({ id }) => ({ id, as: 'done' })),
      )
    }
  }
  const idsOf = (some: typeof batches) => some.flat().map(({ id }) => id)
  await append(logging, batches.slice(0, 150))
  assert.deepEqual(await claimAll(), idsOf(batches.slice(0, 150)))
  await append(second, batches)
  assert.deepEqual(await claimAll(), idsOf(batches.slice(150)))
})

test('what a commit that failed had listed is listed by the next one', async (context) => {
  const { queue, logging } = await withWriter(context)
  const id = idGenerator(clock, random)(1)[0]!
  const message = { id, text: 'one' }
  await logging.log.append({ lane: LANE, messages: [message], deadlineAt: clock.monotonic() + 3000 })
  await queue.claim(LANE, 1, 0)
  const { deliver } = Home.prototype
  const failing = context.mock.method(Home.prototype, 'deliver', function (this: Home, run: Run) {
    deliver.call(this, run)
    throw FULL
  }).mock
  const settle = () => queue.settle(LANE, [{ id, as: 'done' }])
  await assert.rejects(settle(), { code: 'MR_STORE_UNAVAILABLE' })
  failing.restore()
  await settle()
  assert.deepEqual(
    (await queue.delivered(LANE, { limit: 1 })).map(({ text }) => text),
    ['one'],
  )
})

test('an idle lane does not read its files until one has changed, and then needs no wake-up', async (context) => {
  const { queue, logging } = await withWriter(context)
  const reads = context.mock.method(LogReader.prototype, 'sizesOf').mock
  const poll = () => queue.claim(LANE, 9, 10)
  for (let round = 0; round < 3; round++) assert.deepEqual(await poll(), [])
  const callCount = reads.callCount()
  for (let round = 0; round < 20; round++) {
    assert.deepEqual(await poll(), [])
    await queue.depth(LANE)
  }
  assert.equal(reads.callCount(), callCount)
  const message = { id: ID, text: 'one' }
  await logging.log.append({ lane: LANE, messages: [message], deadlineAt: clock.now() + 3000 })
  let claimed: { id: string }[] = []
  while (claimed.length === 0) claimed = await poll()
  assert.deepEqual(
    claimed.map(({ id }) => id),
    [ID],
  )
})

test('an ended segment that is settled is not read by claims again, and its texts are still in the list', async (context) => {
  const { backend, queue, logging } = await withWriter(context, 1)
  const nextId = idGenerator(clock, random)
  const reads = context.mock.method(LogReader.prototype, 'sizesOf').mock
  const append = async (id: string) => {
    await logging.log.append({
      ...{ lane: LANE, messages: [{ id, text: `text of ${id}` }], deadlineAt: clock.monotonic() + 3000 },
    })
    let claimed: { id: string }[] = []
    while (claimed.length === 0) claimed = await queue.claim(LANE, 9, 10)
    await queue.settle(LANE, [{ id, as: 'done' }])
    await queue.claim(LANE, 9, 0)
    await clock.sleep(5) // The segment is older than a millisecond: the next append ends it.
  }
  const ids = Array.from({ length: 6 }, () => nextId(1)[0]!)
  for (const id of ids) await append(id)
  const before = reads.callCount()
  await queue.claim(LANE, 9, 0)
  const files = reads.calls.slice(before).map(({ this: reader }) => (reader as LogReader).file)
  assert.ok(files.length <= 2, `${files.length} of ${ids.length} segments read`)
  const listed = await queue.delivered(LANE, { limit: 9 })
  assert.deepEqual(
    listed.map(({ id, text }) => [id, text]),
    ids.toReversed().map((id) => [id, `text of ${id}`]),
  )
  for (const id of ids) assert.equal((await backend.log.get(id))?.text, `text of ${id}`)
  assert.equal(await backend.log.get(nextId(1)[0]!), undefined)
})

test('an idle claim ends with its wake-up, also when there is nothing, so that a lane is released at once', async (context) => {
  const { queue } = await withWriter(context)
  const claim = queue.claim(LANE, 9, 3_600_000)
  await clock.sleep(20)
  queue.wake(LANE)
  assert.deepEqual(await claim, [])
})

test('a claim that waits finds a message whose wake-up was lost', async (context) => {
  const { queue, logging } = await withWriter(context)
  const claim = queue.claim(LANE, 9, 3_600_000)
  const message = { id: ID, text: 'one' }
  await logging.log.append({ lane: LANE, messages: [message], deadlineAt: clock.monotonic() + 3000 })
  assert.deepEqual(
    (await claim).map(({ id }) => id),
    [ID],
  )
})

test('a claim waits at least half its time for a message, whenever it begins', async (context) => {
  const clock = new FakeClock()
  const queue = await held(context, clock)
  await clock.advance(59_999) // Other lanes end their waits of a minute now.
  let isOver = false
  const claim = queue.claim(LANE, 9, 60_000).then((claimed) => {
    isOver = true
    return claimed
  })
  await clock.advance(29_000)
  assert.equal(isOver, false)
  await clock.advance(31_000)
  assert.deepEqual(await claim, [])
})

test('a damaged file takes no room from the other lanes, however often it is read', async (context) => {
  const data = mkdtempSync(join(tmpdir(), 'embedded-'))
  const logger = createLogger('silent', {})
  const options = { data, laneCount: 2, clock, random, logger, retentionMs: 3_600_000 }
  const append = async (lane: number, writer: number) => {
    const logging = openEmbedded({ ...options, writer })
    const [id] = idGenerator(clock, random)(1)
    const messages = [{ id: id!, text: 'x'.repeat(1024 * 1024) }]
    await logging.log.append({ lane, messages, deadlineAt: clock.monotonic() + 3000 })
    await logging.close()
  }
  await append(0, 1)
  await append(1, 2)
  const path = join(data, 'log-1.1.db')
  const bytes = readFileSync(path)
  // A page in the middle of the text: it begins with the number of the next one.
  const page = Math.floor((bytes.indexOf('x'.repeat(4096)) + 512 * 1024) / 4096) * 4096
  writeFileSync(path, bytes.fill(0xff, page, page + 4))
  const backend = openEmbedded(options)
  context.after(async () => {
    await backend.close()
    rmSync(data, { recursive: true })
  })
  await backend.queue.hold(0)
  await backend.queue.hold(1)
  for (let count = 0; count < 50; count++) assert.deepEqual(await backend.queue.claim(0, 9, 0), [])
  assert.match(backend.damaged().join(), /log-1\.1\.db/)
  assert.equal((await backend.queue.claim(1, 9, 0)).length, 1)
})

test('new messages are claimed beside large ones that are due again, however many these are', async (context) => {
  const { queue, logging } = await withWriter(context)
  const nextId = idGenerator(clock, random)
  const append = async (text: string) => {
    const [id] = nextId(1)
    await logging.log.append({
      ...{ lane: LANE, messages: [{ id: id!, text }], deadlineAt: clock.monotonic() + 3000 },
    })
    return id!
  }
  for (let count = 0; count < 40; count++) {
    const id = await append('x'.repeat(1024 * 1024))
    let claimed: { id: string }[] = []
    while (claimed.length === 0) claimed = await queue.claim(LANE, 1, 10, 0)
    await queue.start(LANE, [id])
    await queue.settle(LANE, [{ id, as: 'retry', delayMs: 0, error: 'away' }])
  }
  const due = await queue.claim(LANE, 64, 0, 32)
  assert.ok(due.length > 8)
  assert.ok(due.every(({ starts }) => starts === 1))
  const id = await append('new')
  assert.deepEqual(
    (await queue.claim(LANE, 64 - due.length, 1000, 32 - due.length)).map((message) => message.id),
    [id],
  )
})
