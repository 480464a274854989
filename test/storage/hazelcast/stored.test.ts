/** All that a lane has, while its messages move: whatever happens between two reads, none is missing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MIN_ID } from '../../../src/storage/ids.ts'
import { LANE, LaneBench } from '../../support/lane-bench.ts'

const DEAD = { as: 'dead', reason: 'tried', error: 'Error: no' } as const
const RETRY = { as: 'retry', delayMs: 60_000, error: 'Error: no' } as const

/** What the holder does with a message; the promise settles when it has. */
type Move = (bench: LaneBench, id: string) => Promise<unknown>
const MOVES: Record<string, Move> = {
  'is started': ({ queue }, id) => queue.start(LANE, [id]),
  'is started, and delivered': async ({ queue }, id) => {
    await queue.start(LANE, [id])
    await queue.settle(LANE, [{ id, as: 'done' }])
  },
  'is started, and retried': async ({ queue }, id) => {
    await queue.start(LANE, [id])
    await queue.settle(LANE, [{ id, ...RETRY }])
  },
  'is delivered': ({ queue }, id) => queue.settle(LANE, [{ id, as: 'done' }]),
  'is dead': ({ queue }, id) => queue.settle(LANE, [{ id, ...DEAD }]),
  'is dead, and replayed': async ({ queue }, id) => {
    await queue.settle(LANE, [{ id, ...DEAD }])
    await queue.replay(LANE, [id])
  },
}
/** From there on, the same and what follows. */
const LATER_MOVES: Record<string, [first: Move, then: Move]> = {
  'that was started is delivered': [MOVES['is started']!, MOVES['is delivered']!],
  'that was started is dead': [MOVES['is started']!, MOVES['is dead']!],
  'that was dead is replayed': [MOVES['is dead']!, ({ queue }, id) => queue.replay(LANE, [id])],
  'that was retried is dead, and replayed': [
    MOVES['is started, and retried']!,
    MOVES['is dead, and replayed']!,
  ],
}
const READS = 12
/** A batch leaves `pending` with its last message. */
const BATCHES = [[['a', 'b', 'c']], [['a'], ['b'], ['c']]]

/** What `stored` answers when the middle one of three messages moves just before the n-th read. */
async function storedWhile(
  move: Move,
  first: Move | undefined,
  read: number,
  batches: readonly string[][],
): Promise<(string | null)[]> {
  const bench = new LaneBench()
  await bench.hold()
  const ids: string[] = []
  for (const batch of batches) ids.push(...(await bench.accept(...batch)))
  await bench.claim()
  if (first !== undefined) await bench.run(first(bench, ids[1]!))
  let reads = 0
  bench.beforeRead = async () => {
    if (reads++ !== read) return
    bench.beforeRead = async () => {}
    await move(bench, ids[1]!)
  }
  const stored = await bench.run(bench.queue.stored(LANE, { after: MIN_ID, limit: 10 }))
  assert.deepEqual(
    stored.map(({ id }) => id),
    ids,
    `before read ${read}`,
  )
  return stored.map(({ text }) => text)
}

for (const [what, [first, move]] of [
  ...Object.entries(MOVES).map(([what, move]) => [`a message ${what}`, [undefined, move]] as const),
  ...Object.entries(LATER_MOVES).map(([what, moves]) => [`a message ${what}`, moves] as const),
] as const) {
  test(`nothing is missing while ${what}`, async () => {
    for (const batches of BATCHES)
      for (let read = 0; read < READS; read++)
        assert.deepEqual(
          await storedWhile(move, first, read, batches),
          ['a', 'b', 'c'],
          `before read ${read}`,
        )
  })
}

test('a message whose dead letter is purged has no text, whatever was read before', async () => {
  const purge: Move = ({ queue }, id) => queue.purge(LANE, [id])
  for (const batches of BATCHES)
    for (let read = 0; read < READS; read++) {
      const [first, text, third] = await storedWhile(purge, MOVES['is dead'], read, batches)
      assert.deepEqual([first, third], ['a', 'c'])
      assert.ok(text === null || text === 'b')
    }
})
