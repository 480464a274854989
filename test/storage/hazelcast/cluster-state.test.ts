import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MemberMemory, MemberReport } from '../../../src/storage/hazelcast/cluster.ts'
import { type ClusterFacts, clusterStateOf } from '../../../src/storage/hazelcast/cluster-state.ts'

const FACTS: ClusterFacts = {
  ...{ store: 'queue', name: 'queue', givenCount: 3, missing: undefined },
  ...{ heldBytes: 1, limitBytes: 2, warnings: [] },
}
const MEMORY: MemberMemory = { heapBytes: 9, usedBytes: 3, ownedBytes: 1, copies: 2, partitionCount: 10 }
const HEALTH: NonNullable<MemberReport['health']> = {
  ...{ seenCount: 3, isSafe: true, migrationCount: 0, nodeState: 'ACTIVE', clusterState: 'ACTIVE' },
}

/** Three members that are well, the last one with changes. */
function reports(change: Partial<MemberReport> = {}): MemberReport[] {
  const well = (address: string) => ({ address, memory: MEMORY, health: HEALTH })
  return [well('a:1'), well('b:1'), { ...well('c:1'), ...change }]
}

test('a cluster is safe when all members are there, answer, and say so', () => {
  const { safe, problems, warnings, members } = clusterStateOf(FACTS, reports())
  assert.deepEqual([safe, problems, warnings], [true, [], []])
  assert.deepEqual(members[0], {
    ...{ address: 'a:1', state: 'active', safe: true, partitions: 10, migrations: 0 },
    ...{ heapBytes: 9, usedBytes: 3 },
  })
})

for (const [what, change, problem] of [
  ['does not answer', { health: null, memory: null }, "c:1 does not answer Hazelcast's health check"],
  ['reports no metrics', { memory: null }, 'c:1 reports no metrics'],
  ['sees another number', { health: { ...HEALTH, seenCount: 2 } }, 'c:1 sees 2 members instead of 3'],
  ['still copies', { health: { ...HEALTH, isSafe: false } }, /c:1 .*clusterSafe is false/],
  ['has migrations', { health: { ...HEALTH, migrationCount: 25 } }, 'c:1 has 25 migrations waiting'],
  ['leaves', { health: { ...HEALTH, nodeState: 'PASSIVE' } }, 'c:1 is passive'],
  ['is frozen', { health: { ...HEALTH, clusterState: 'FROZEN' } }, 'c:1 is in a cluster that is frozen'],
  ['has just joined', { memory: { ...MEMORY, partitionCount: 0 } }, 'c:1 holds no partition yet'],
] as const) {
  test(`a cluster is not safe while one member ${what}`, () => {
    const { safe, problems } = clusterStateOf(FACTS, reports(change))
    assert.equal(safe, false)
    assert.equal(problems.length, 1)
    if (typeof problem === 'string') assert.deepEqual(problems, [problem])
    else assert.match(problems[0]!, problem)
  })
}

test('a cluster with fewer members than addresses is not safe; with more it is', () => {
  const [first, second] = reports().map((report) => ({ ...report, health: { ...HEALTH, seenCount: 2 } }))
  assert.deepEqual(clusterStateOf(FACTS, [first!, second!]).problems, ['it has 2 of 3 members'])
  assert.equal(clusterStateOf({ ...FACTS, givenCount: 1 }, reports()).safe, true)
})

test('a cluster that is away is not safe, and says why', () => {
  const { safe, problems, members } = clusterStateOf({ ...FACTS, missing: 'not connected' }, [])
  assert.deepEqual([safe, problems, members], [false, ['not connected'], []])
})

test('a single member is safe, with a warning', () => {
  const [one] = reports().map((report) => ({ ...report, health: { ...HEALTH, seenCount: 1 } }))
  const { safe, warnings } = clusterStateOf({ ...FACTS, givenCount: 1 }, [one!])
  assert.deepEqual([safe, warnings], [true, ['it has one member: what it holds is lost when that ends']])
})
