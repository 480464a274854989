import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { mergeById } from '../../src/storage/paging.ts'

const order = fc.constantFrom('ascending', 'descending')
const source = fc.uniqueArray(fc.integer({ min: 100, max: 400 }), { maxLength: 120 })

test('a merged page equals sorting everything, each id once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(source, { maxLength: 6 }),
      fc.integer({ min: 1, max: 200 }),
      order,
      fc.constantFrom(undefined, 1, 3),
      async (numbers, limit, order, most) => {
        const upward = order === 'ascending' ? 1 : -1
        const sort = (ids: number[]) => ids.sort((a, b) => (a - b) * upward)
        const sources = numbers.map((own) => {
          const items = sort([...own]).map((id) => ({ id: String(id) }))
          return async (cursor: string | undefined, count: number) =>
            items
              .filter(({ id }) => cursor === undefined || (upward === 1 ? id > cursor : id < cursor))
              .slice(0, Math.min(count, most ?? count))
        })
        const merged = await mergeById(sources, limit, order, { mayBeShort: most !== undefined })
        const expected = sort([...new Set(numbers.flat())])
          .slice(0, limit)
          .map(String)
        assert.deepEqual(
          merged.map(({ id }) => id),
          expected,
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
    return Array.from({ length: count }, (_, index) => ({ id: String(from + (index + 1) * 16 + offset) }))
  }
  const sources = Array.from({ length: 16 }, (_, offset) => endless(offset))
  assert.equal((await mergeById(sources, 1000, 'ascending')).length, 1000)
  assert.ok(read < 4000, `read ${read}`)
})

test('a source that fails fails the page', async () => {
  const sources = [() => [{ id: 'a' }], () => Promise.reject(new Error('away'))]
  await assert.rejects(mergeById(sources, 10, 'ascending'), { message: 'away' })
})
