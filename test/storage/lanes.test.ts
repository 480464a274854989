import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { assignLanes } from '../../src/storage/lanes.ts'

const laneCount = fc.integer({ min: 1, max: 64 })
const name = fc.oneof(
  fc.integer({ min: 1, max: 64 }).map((number) => `messages-${number}`),
  fc.string({ minLength: 1 }), // Node names are the user's.
)
const names = fc.uniqueArray(name, { minLength: 1, maxLength: 64 })

test('every lane has one holder; holders differ by at most one lane', () => {
  fc.assert(
    fc.property(laneCount, names, (laneCount, names) => {
      const holders = assignLanes(laneCount, names)
      assert.equal(holders.length, laneCount)
      const shares = names.map((name) => holders.filter((holder) => holder === name).length)
      assert.equal(
        shares.reduce((sum, share) => sum + share),
        laneCount,
      )
      assert.ok(Math.max(...shares) - Math.min(...shares) <= 1)
    }),
  )
})

test('holders do not depend on the order in which actors are given', () => {
  const shuffled = names.chain((names) =>
    fc.tuple(
      fc.constant(names),
      fc.shuffledSubarray(names, { minLength: names.length, maxLength: names.length }),
    ),
  )
  fc.assert(
    fc.property(laneCount, shuffled, (laneCount, [names, others]) => {
      assert.deepEqual(assignLanes(laneCount, names), assignLanes(laneCount, others))
    }),
    {
      examples: [
        [
          2,
          [
            ['a-1', 'a-01'],
            ['a-01', 'a-1'],
          ],
        ],
      ],
    },
  )
})

test('actors are in the order of their numbers', () => {
  assert.deepEqual(assignLanes(3, ['messages-10', 'messages-9', 'messages-1']), [
    'messages-1',
    'messages-9',
    'messages-10',
  ])
})

test('without messages actors no lane has a holder', () => {
  assert.deepEqual(assignLanes(16, []), [])
})
