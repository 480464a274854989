import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { HAND_MAX_BYTES, PAGE_MAX_BYTES } from '../../src/storage/limits.ts'
import { firstBytes, mergeById } from '../../src/storage/paging.ts'

const order = fc.constantFrom('ascending', 'descending')
const source = fc.uniqueArray(fc.integer({ min: 100, max: 400 }), { maxLength: 120 })
/** What texts an id has: of nothing, of a part of a page, of more than a page. */
const TEXTS = ['', 'x'.repeat(PAGE_MAX_BYTES / 20), 'x'.repeat(PAGE_MAX_BYTES + 1)]

test('a merged page equals sorting everything, each id once, up to the text that reaches its bytes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(source, { maxLength: 6 }),
      fc.integer({ min: 1, max: 200 }),
      order,
      fc.constantFrom(undefined, 1, 2),
      fc.integer({ min: 1, max: 20 }),
      async (numbers, limit, order, atOnce, seldom) => {
        const upward = order === 'ascending' ? 1 : -1
        const sort = (ids: number[]) => ids.sort((a, b) => (a - b) * upward)
        const itemOf = (id: number) => ({
          id: String(id),
          text: TEXTS[id % seldom === 0 ? (id / seldom) % 3 : 0]!,
        })
        const sources = numbers.map((own) => {
          const items = sort([...own]).map(itemOf)
          return async (cursor: string | undefined, count: number) => {
            const left = items.filter(
              ({ id }) => cursor === undefined || (upward === 1 ? id > cursor : id < cursor),
            )
            return firstBytes(left.slice(0, count), PAGE_MAX_BYTES)
          }
        })
        const merged = await mergeById(sources, { limit, order, ...(atOnce && { atOnce }) })
        const all = sort([...new Set(numbers.flat())]).slice(0, limit)
        const expected = firstBytes(all.map(itemOf), PAGE_MAX_BYTES)
        assert.deepEqual(
          merged.map(({ id }) => id),
          expected.map(({ id }) => id),
        )
      },
    ),
  )
})

test('a merged page reads little more than a page from all sources together', async () => {
  let read = 0
  const endless = (offset: number) => (cursor: string | undefined, count: number) => {
    read += count
    const from = cursor === undefined ? 1_000_000 : Number(cursor)
    const idOf = (index: number) => String(from + (index + 1) * 16 + offset)
    return Array.from({ length: count }, (_, index) => ({ id: idOf(index), text: '' }))
  }
  const sources = Array.from({ length: 16 }, (_, offset) => endless(offset))
  assert.equal((await mergeById(sources, { limit: 1000, order: 'ascending' })).length, 1000)
  assert.ok(read < 4000, `read ${read}`)
})

test('what is kept of many sources is bounded, and read again when its turn comes', async () => {
  const large = 'x'.repeat(HAND_MAX_BYTES / 8)
  const firsts = ['a', 'b', 'c', 'd', 'e', 'f']
  const reads = firsts.map(() => 0)
  let [running, most] = [0, 0]
  const sources = firsts.map((first, number) => async (cursor: string | undefined, count: number) => {
    most = Math.max(most, ++running)
    await new Promise(setImmediate)
    running--
    // The first message of one source is gone when it is read again.
    const isGone = first === 'e' && reads[number]! > 0
    reads[number]!++
    const items = [
      { id: first, text: '' },
      { id: `z${first}`, text: large },
    ]
    return items
      .filter(({ id }) => !(isGone && id === 'e') && (cursor === undefined || id > cursor))
      .slice(0, count)
  })
  const page = await mergeById(sources, { limit: 100, order: 'ascending', atOnce: 2 })
  assert.deepEqual(
    page.map(({ id }) => id),
    ['a', 'b', 'c', 'd', 'f', 'za'],
  )
  assert.equal(most, 2)
  // Two sources' texts are kept; the others are let go when others come.
  assert.ok(
    reads.every((count) => count <= 2) && reads.filter((count) => count === 2).length >= 4,
    reads.join(),
  )
})

test('a source that fails fails the page', async () => {
  const sources = [() => [{ id: 'a', text: '' }], () => Promise.reject(new Error('away'))]
  await assert.rejects(mergeById(sources, { limit: 10, order: 'ascending' }), { message: 'away' })
})
