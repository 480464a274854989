/** The index of keys: it answers in the place of segments, and is never needed for the right answer. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemRandom as random } from '../../../src/runtime/clock.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import { LogWriter } from '../../../src/storage/embedded/log-writer.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const HOUR_MS = 3_600_000
const logger = createLogger('silent', {})

/** A writer that ends each segment after one batch, and what posts to it. */
function bench(context: TestContext) {
  const data = mkdtempSync(join(tmpdir(), 'key-index-'))
  context.after(() => rmSync(data, { recursive: true }))
  const clock = new FakeClock()
  const nextId = idGenerator(clock, random)
  const options = { data, clock, logger, writer: 1, onBroken: assert.ifError, headroom: 0 }
  const open = () => new LogWriter({ ...options, segmentAgeMs: 0, keyRetentionMs: 2 * HOUR_MS })
  const post = async (writer: LogWriter, key: string, hash = 'same') => {
    const [id] = nextId(1) as [string]
    const deadlineAt = clock.monotonic() + 3000
    const batch = { lane: 0, messages: [{ id, text: 'a text' }], key: { value: key, hash }, deadlineAt }
    const [receipt] = await writer.append(batch)
    clock.step(1)
    return receipt!
  }
  const files = (pattern: RegExp) =>
    readdirSync(data)
      .filter((name) => pattern.test(name))
      .sort()
  return { data, clock, open, post, files }
}

/** Posts some keys, and moves all but the last into the index. @returns The first answers. */
async function indexed({ open, post }: ReturnType<typeof bench>) {
  const writer = open()
  const first = new Map<string, string>()
  for (const key of ['a', 'b', 'c', 'd']) first.set(key, (await post(writer, key)).id)
  await writer.indexKeys()
  return { writer, first }
}

test('a key is known by the index, when its segment is gone, and over restarts', async (context) => {
  const system = bench(context)
  const { writer, first } = await indexed(system)
  const older = system.files(/^log-1\.[1-3]\.db$/)
  assert.equal(older.length, 3)
  for (const name of older) rmSync(join(system.data, name))
  for (const [key, id] of first) assert.deepEqual(await system.post(writer, key), { id, replayed: true })
  await assert.rejects(system.post(writer, 'b', 'another'), { code: 'MR_KEY_REUSED' })
  writer.close()
  const again = system.open()
  context.after(() => again.close())
  for (const [key, id] of first) assert.deepEqual(await system.post(again, key), { id, replayed: true })
})

test('an index that is not there, or damaged, is made anew of the segments', async (context) => {
  const system = bench(context)
  const { writer, first } = await indexed(system)
  writer.close()
  for (const spoil of [rmSync, (path: string) => writeFileSync(path, 'spoilt')]) {
    for (const name of system.files(/^keys-/)) spoil(join(system.data, name))
    const again = system.open()
    for (const [key, id] of first) assert.deepEqual(await system.post(again, key), { id, replayed: true })
    await again.indexKeys()
    assert.deepEqual(system.files(/^keys-.*\.db$/), ['keys-1.1.db'])
    for (const [key, id] of first) assert.deepEqual(await system.post(again, key), { id, replayed: true })
    again.close()
  }
})

test('a key ends after its retention, and its file goes when all in it have', async (context) => {
  const system = bench(context)
  const { writer, first } = await indexed(system)
  context.after(() => writer.close())
  await system.clock.advance(1.5 * HOUR_MS)
  const later = await system.post(writer, 'later')
  await system.post(writer, 'and so its segment is ended')
  await writer.indexKeys()
  await system.clock.advance(0.6 * HOUR_MS)
  await writer.indexKeys()
  const second = await system.post(writer, 'a')
  assert.notEqual(second.id, first.get('a'))
  assert.equal(second.replayed, false)
  assert.deepEqual(await system.post(writer, 'later'), { id: later.id, replayed: true })
  assert.deepEqual(system.files(/^keys-.*\.db$/), ['keys-1.2.db'])
})
