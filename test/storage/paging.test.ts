import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { HAND_MAX_BYTES, PAGE_MAX_BYTES } from '../../src/storage/limits.ts'
import { ascending, descending, firstBytes, mergeById, readAhead, walk } from '../../src/storage/paging.ts'
import { FakeClock } from '../support/fake-clock.ts'

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

const LETTERS = [...'abcdefghij'].map((id) => ({ id }))
const upward = ascending(async ({ after, limit }) => LETTERS.filter(({ id }) => id > after).slice(0, limit))
const downward = descending(async ({ before, limit }) =>
  LETTERS.filter(({ id }) => id < before)
    .reverse()
    .slice(0, limit),
)

/** What a walk gives, part by part, and where another would go on. */
async function walked(...args: Parameters<typeof walk<string, { id: string }>>) {
  const parts: string[] = []
  let rest: string | null = ''
  for await (const { items, next } of walk(...args)) {
    parts.push(items.map(({ id }) => id).join(''))
    rest = next
  }
  return [parts.join(' '), rest]
}

test('a walk goes through a list part by part, upward and downward; an empty part is the end', async () => {
  assert.deepEqual(await walked(upward, '', { partCount: 4 }), ['abcd efgh ij ', null])
  assert.deepEqual(await walked(downward, 'h', { partCount: 4 }), ['gfed cba ', null])
})

test('a walk ends with its count, or the part that reaches its bytes, and says where to go on', async () => {
  assert.deepEqual(await walked(upward, 'b', { partCount: 3, count: 5 }), ['cde fg', 'g'])
  const bytes = { max: 14, of: ({ id }: { id: string }) => (id === 'd' ? 12 : 1) }
  assert.deepEqual(await walked(upward, '', { partCount: 2, bytes }), ['ab cd', 'd'])
})

test('a walk goes on behind a part without items, when its source has looked on', async () => {
  const sparse = async (after: string, count: number) => {
    const { items, next } = await upward(after, count)
    return { items: items.filter(({ id }) => id === 'f'), next }
  }
  assert.deepEqual(await walked(sparse, '', { partCount: 2 }), ['  f   ', null])
})

test('a walk lets other work be done between two parts, and begins none after its time', async () => {
  const clock = new FakeClock()
  let others = 0
  const slow = async (after: string, count: number) => {
    setImmediate(() => others++)
    await clock.advance(40)
    return upward(after, count)
  }
  assert.deepEqual(await walked(slow, '', { partCount: 2, turn: { clock, ms: 100 } }), ['ab cd ef', 'f'])
  assert.equal(others, 3)
})

test('parts that are read ahead come in order, one read while the one before is used; an error comes in its turn', async () => {
  const read: number[] = []
  async function* parts() {
    for (const part of [1, 2, 3]) {
      read.push(part)
      if (part === 3) throw new Error('the third')
      yield part
    }
  }
  const used: [part: number, read: number][] = []
  const use = async () => {
    for await (const part of readAhead(parts())) {
      await new Promise(setImmediate)
      used.push([part, read.at(-1)!])
    }
  }
  await assert.rejects(use(), /the third/)
  assert.deepEqual(used, [
    [1, 2],
    [2, 3],
  ])
})
