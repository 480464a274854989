import assert from 'node:assert/strict'
import test from 'node:test'
import { searchLog } from '../../../src/actors/logging/search.ts'
import { SEARCH_SLICE_MS } from '../../../src/runtime/timings.ts'
import { contentOf, storedText } from '../../../src/storage/content.ts'
import { idGenerator, MIN_ID } from '../../../src/storage/ids.ts'
import { PAGE_MAX_BYTES, SEARCH_MAX_COUNT } from '../../../src/storage/limits.ts'
import type { Log, Range } from '../../../src/storage/ports.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** A log of these texts, whose pages take `pageMs` each. */
function logOf(texts: readonly string[], pageMs = 0) {
  const clock = new FakeClock()
  const ids = idGenerator(clock, () => 0.5)
  const messages = texts.map((text) => ({ id: ids(1)[0]!, text, lane: 0 }))
  const reads: Range[] = []
  const log: Pick<Log, 'page'> = {
    async page(range) {
      reads.push(range)
      if (pageMs > 0) await clock.sleep(pageMs)
      const { before, after, limit } = range
      const inside = messages.filter(({ id }) => id > (after ?? '') && id < (before ?? '~'))
      return (after === undefined ? inside.reverse() : inside).slice(0, limit)
    },
  }
  return { clock, log, ids: messages.map(({ id }) => id), reads }
}

const all = { mostCount: SEARCH_MAX_COUNT }

test('a text is found as it is written, in bodies alone, and in both directions', async () => {
  const github = storedText({ source: 'github', headers: { 'x-a': 'needle' }, text: 'hay' })
  const form = storedText({ source: 'form', base64: Buffer.from('needle').toString('base64') })
  const taken = storedText({ source: 'github', text: 'a needle' })
  const { log, clock, ids } = logOf(['needle', 'Needle', github, form, taken, 'need.e', 'the needle'])
  const found = async (range: Range, contains: string, source?: string) => {
    const { items } = await searchLog(log, clock, range, {
      ...all,
      contains,
      ...(source !== undefined && { source }),
    })
    return items.map(({ id }) => ids.indexOf(id))
  }
  assert.deepEqual(await found({ limit: 9 }, 'needle'), [6, 4, 0])
  assert.deepEqual(await found({ after: MIN_ID, limit: 9 }, 'needle'), [0, 4, 6])
  assert.deepEqual(await found({ after: ids[0]!, limit: 1 }, 'needle'), [4])
  assert.deepEqual(await found({ before: ids[6]!, limit: 9 }, 'needle'), [4, 0])
  assert.deepEqual(await found({ limit: 9 }, 'needle', 'github'), [4])
  const { items } = await searchLog(log, clock, { limit: 9 }, { ...all, source: 'form' })
  assert.deepEqual(items, [{ id: ids[3], text: form }], 'whole when no preview is asked for')
})

test('a preview has whole characters, whole groups of Base64, no headers, and the length of all', async () => {
  const bytes = Buffer.from([255, 254, 253, 252, 251])
  const texts = [
    'a😀é😀b',
    '',
    storedText({ source: 'github', type: 'text/plain', headers: { 'x-a': 'b' }, text: 'abcdef' }),
    storedText({ source: 'form', base64: bytes.toString('base64') }),
    storedText({ text: '\0nul' }),
  ]
  const { log, clock } = logOf(texts)
  const previews = async (characters: number) => {
    const { items } = await searchLog(log, clock, { after: MIN_ID, limit: 9 }, { ...all, characters })
    return items.map(({ text, bytes }) => ({ ...contentOf(text), bytes }))
  }
  const origin = { source: 'github', type: 'text/plain' }
  assert.deepEqual(await previews(2), [
    { text: 'a😀', bytes: 12 },
    { text: '', bytes: 0 },
    { text: 'ab', ...origin, bytes: 6 },
    { base64: '', source: 'form', bytes: 5 },
    { text: '\0n', bytes: 4 },
  ])
  assert.deepEqual((await previews(4))[0], { text: 'a😀é😀', bytes: 12 })
  assert.deepEqual((await previews(7))[3], { base64: '//79', source: 'form', bytes: 5 })
  assert.deepEqual((await previews(0))[0], { text: '', bytes: 12 })
  assert.deepEqual((await previews(1000))[2], { text: 'abcdef', ...origin, bytes: 6 })
})

test('a search that finds nothing ends after so many messages, and says how far it looked', async () => {
  const { log, clock, ids, reads } = logOf(Array.from({ length: 1200 }, (_, index) => `${index}`))
  const search = { contains: 'absent', mostCount: 600 }
  const first = await searchLog(log, clock, { limit: 1 }, search)
  assert.deepEqual(first, { items: [], looked: 600, last: ids[600], isEnd: false })
  assert.ok(reads.every(({ limit }) => limit <= 250))
  const second = await searchLog(log, clock, { before: first.last!, limit: 1 }, { ...search, mostCount: 601 })
  assert.deepEqual(second, { items: [], looked: 600, last: ids[0], isEnd: true })
  const none = await searchLog(log, clock, { before: ids[0]!, limit: 1 }, search)
  assert.deepEqual(none, { items: [], looked: 0, last: null, isEnd: true })
})

test('a search of a slow log ends when its time is over', async () => {
  const { log, clock, ids } = logOf(
    Array.from({ length: 2000 }, (_, index) => `${index}`),
    SEARCH_SLICE_MS / 2,
  )
  const searching = searchLog(log, clock, { after: MIN_ID, limit: 9 }, { ...all, contains: 'absent' })
  await clock.advance(SEARCH_SLICE_MS)
  assert.deepEqual(await searching, { items: [], looked: 500, last: ids[499], isEnd: false })
})

test('an answer ends with the text that fills it', async () => {
  const { log, clock, ids } = logOf(Array.from({ length: 5 }, () => 'x'.repeat(PAGE_MAX_BYTES / 2)))
  const whole = await searchLog(log, clock, { after: MIN_ID, limit: 9 }, { ...all, contains: 'x' })
  assert.deepEqual([whole.items.length, whole.last, whole.isEnd], [2, ids[1], false])
  const cut = await searchLog(
    log,
    clock,
    { after: MIN_ID, limit: 9 },
    { ...all, contains: 'x', characters: 3 },
  )
  assert.deepEqual([cut.items.length, cut.isEnd], [5, true])
})
