/** A search passes over batches that lack what is looked for, and finds what looking at each message finds. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { searchLog } from '../../../src/actors/logging/search.ts'
import { systemRandom as random } from '../../../src/runtime/clock.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import { contentOf, storedText } from '../../../src/storage/content.ts'
import { LogWriter } from '../../../src/storage/embedded/log-writer.ts'
import { openEmbedded } from '../../../src/storage/embedded/open.ts'
import { idGenerator, MIN_ID } from '../../../src/storage/ids.ts'
import { PAGE_MAX_BYTES, SEARCH_MAX_COUNT } from '../../../src/storage/limits.ts'
import type { Log, Logged } from '../../../src/storage/ports.ts'
import { Rng } from '../../simulation/rng.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const LANES = 3
const logger = createLogger('silent', {})
const all = { mostCount: SEARCH_MAX_COUNT }

/** A log of these batches, each in the files of its writers. */
async function logOf(context: TestContext, batches: readonly { texts: string[]; writers: number[] }[]) {
  const data = mkdtempSync(join(tmpdir(), 'search-'))
  context.after(() => rmSync(data, { recursive: true }))
  const clock = new FakeClock()
  const nextIds = idGenerator(clock, random)
  const options = { data, laneCount: LANES, clock, random, logger, retentionMs: 3_600_000 }
  const writers = [1, 2].map(
    (writer) =>
      new LogWriter({ ...options, writer, onBroken: assert.ifError, headroom: 0, segmentAgeMs: 60_000 }),
  )
  const messages: { id: string; text: string }[] = []
  for (const [index, { texts, writers: numbers }] of batches.entries()) {
    const ids = nextIds(texts.length)
    const batch = {
      lane: index % LANES,
      messages: texts.map((text, place) => ({ id: ids[place]!, text })),
      deadlineAt: clock.monotonic() + 60_000,
    }
    for (const number of numbers) await writers[number - 1]!.append(batch)
    messages.push(...batch.messages)
    clock.step(index % 2)
  }
  for (const writer of writers) writer.close()
  const { log, close } = openEmbedded(options)
  context.after(close)
  return { data, log, clock, messages }
}

/** Everything that a search finds, over as many calls as it takes. */
async function found(
  log: Log,
  clock: FakeClock,
  order: 'before' | 'after',
  search: { contains?: string; source?: string },
) {
  const ids: string[] = []
  let place: { before?: string; after?: string } = order === 'after' ? { after: MIN_ID } : {}
  for (;;) {
    const part = await searchLog(log, clock, { ...place, limit: 7 }, { ...all, ...search })
    ids.push(...part.items.map(({ id }) => id))
    if (part.isEnd) return ids
    place = { [order]: part.last! }
  }
}

test('it finds what looking at each finds, both ways, whatever the batches and files', async (context) => {
  const rng = new Rng(7)
  const textOf = () => {
    const text = rng.pick(['hay', 'a needle', '😀 needl', '"source":"github"', '\0needle', 'n'.repeat(3000)])
    return rng.pick([text, text, storedText({ source: rng.pick(['github', 'form']), text })])
  }
  const batches = Array.from({ length: 120 }, () => ({
    texts: Array.from({ length: rng.pick([1, 1, 3, 250]) }, textOf),
    writers: rng.pick([[1], [2], [1, 2]]),
  }))
  const { log, clock, messages } = await logOf(context, batches)
  for (const search of [
    { contains: 'needle' },
    { contains: '😀' },
    { contains: 'no text has it' },
    { source: 'github' },
    { source: 'form', contains: 'needle' },
    { source: 'nobody' },
  ]) {
    const wanted = messages.filter(({ text }) => {
      const content = contentOf(text)
      return (
        (search.source === undefined || content.source === search.source) &&
        (search.contains === undefined || content.text!.includes(search.contains))
      )
    })
    const ids = wanted.map(({ id }) => id).sort()
    assert.deepEqual(await found(log, clock, 'after', search), ids)
    assert.deepEqual(await found(log, clock, 'before', search), ids.reverse())
  }
})

test('a batch that lacks it gives one message without a text; pages of such batches are bounded in bytes', async (context) => {
  const large = 'x'.repeat(PAGE_MAX_BYTES / 4)
  const batches = Array.from({ length: 9 }, () => ({ texts: [large], writers: [1] }))
  const { log, messages } = await logOf(context, [...batches, { texts: ['a', 'b', 'c'], writers: [1] }])
  const pages: Logged[][] = []
  let after = MIN_ID
  for (;;) {
    const page = await log.page({ after, limit: 100 }, ['needle'])
    if (page.length === 0) break
    pages.push(page)
    after = page.at(-1)!.id
  }
  assert.deepEqual(
    pages.map((page) => page.length),
    [4, 4, 2],
  )
  assert.ok(pages.flat().every(({ text }) => text === ''))
  assert.equal(after, messages.at(-1)!.id)
})

test('a batch that is damaged in one file is found in the other', async (context) => {
  const { data, log, clock, messages } = await logOf(context, [{ texts: ['a needle'], writers: [1, 2] }])
  const [name] = readdirSync(data).filter((each) => /^log-1\..*db$/.test(each))
  const file = new DatabaseSync(join(data, name!))
  const { body } = file.prepare('SELECT body FROM batch').get() as { body: Uint8Array }
  const broken = Buffer.from(Buffer.from(body).toString('latin1').replace('needle', 'nEEdle'), 'latin1')
  file.prepare('UPDATE batch SET body = ?').run(broken)
  file.close()
  for (const order of ['after', 'before'] as const)
    assert.deepEqual(await found(log, clock, order, { contains: 'needle' }), [messages[0]!.id])
})
