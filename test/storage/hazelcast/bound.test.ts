import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { BOUND_CHECK_MS } from '../../../src/runtime/timings.ts'
import { Bound, limitOf } from '../../../src/storage/hazelcast/bound.ts'
import type { MemberMemory } from '../../../src/storage/hazelcast/cluster.ts'
import { IDLE_MEMBER_BYTES } from '../../../src/storage/limits.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const MiB = 2 ** 20

/** A member with this much room for what is held, and for as much again. */
function member(roomMiB: number, ownedMiB = 0, copies = 2): MemberMemory {
  const heapBytes = IDLE_MEMBER_BYTES + 2 * roomMiB * MiB
  return { heapBytes, usedBytes: 0, ownedBytes: ownedMiB * MiB, copies, partitionCount: 10 }
}

async function boundOn(reports: () => (MemberMemory | null)[], writerCount = 1) {
  const clock = new FakeClock()
  const cluster = { memory: async () => reports() }
  const bound = new Bound({ store: 'log', cluster, writerCount: () => writerCount, clock })
  await bound.refresh()
  const pass = () => clock.advance(BOUND_CHECK_MS)
  return { bound, pass }
}

test('up to three members hold together what the smallest of them could hold alone', () => {
  assert.equal(limitOf([member(10, 0, 1)]), 10 * MiB)
  assert.equal(limitOf([member(10), member(20)]), 10 * MiB)
  assert.equal(limitOf([member(10), member(20), member(20)]), 10 * MiB)
})

test('five members have room for two copies of everything when one is lost', () => {
  const five = Array.from({ length: 5 }, () => member(10))
  assert.equal(limitOf(five), 20 * MiB)
})

test('a heap smaller than what an idle member takes has no room', () => {
  assert.equal(limitOf([{ ...member(0), heapBytes: MiB }]), 0)
})

test('a cluster is refused, with figures and outcome none, when its members hold as much as they may', async () => {
  let owned = 3
  const { bound, pass } = await boundOn(() => Array.from({ length: 3 }, () => member(10, owned)))
  bound.check()
  assert.deepEqual(bound.missing(), [])
  owned = 4
  await pass()
  const sentence = /the log's Hazelcast cluster is full: it holds about 12 MiB of the 10 MiB/
  assert.match(bound.missing().join(), sentence)
  assert.throws(
    () => bound.check(),
    (error) => error instanceof MailroomError && error.outcome === 'none' && sentence.test(error.message),
  )
  owned = 5
  await pass()
  assert.throws(() => bound.checkAdmitted(), { outcome: 'none' })
  owned = 3.6 // A little over 10 MiB: what was admitted before is stored.
  await pass()
  assert.throws(() => bound.check())
  bound.checkAdmitted()
  owned = 1
  await pass()
  bound.check()
})

test('what was added since the last report but one counts, in bytes, for each writer', async () => {
  const { bound, pass } = await boundOn(() => [member(10)], 3)
  const text = '信'.repeat(MiB) // 3 MiB
  bound.added(text)
  assert.deepEqual(bound.missing(), [])
  bound.added(text)
  assert.equal(bound.missing().length, 1)
  await pass()
  assert.equal(bound.missing().length, 1)
  await pass()
  assert.deepEqual(bound.missing(), [])
})

test('a member that does not answer is taken to hold what it held', async () => {
  let reports: (MemberMemory | null)[] = [member(10, 5), member(10, 6)]
  const { bound, pass } = await boundOn(() => reports)
  reports = [member(10, 5), null]
  await pass()
  assert.equal(bound.heldBytes, 11 * MiB)
})

test('without reports nothing is refused', async () => {
  const { bound } = await boundOn(() => [])
  bound.check()
  assert.deepEqual([bound.heldBytes, bound.limitBytes], [null, null])
})
