/** The real program on real Hazelcast members against the nemesis, for one deal. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onMembers } from '../support/members.ts'
import { hazelcastArena } from './hazelcast.ts'
import { nemesis } from './nemesis.ts'
import { emptyRow, tableOf } from './table.ts'

const SEED = Math.floor(Math.random() * 2 ** 31)
/** A deal takes about four minutes; how long depends on the seed. */
const DEAL_MS = 400_000

onMembers(() => {
  test('on Hazelcast, under every fault nothing acknowledged is lost, shows twice or is torn', {
    timeout: DEAL_MS,
  }, async (context) => {
    context.diagnostic(`seed ${SEED}`)
    const rows = await nemesis(context, { begin: hazelcastArena, pairs: 1, seed: SEED, minutes: 0 })
    for (const line of tableOf(rows).split('\n')) context.diagnostic(line)
    for (const [name, { wrong, injected }] of rows) {
      assert.ok(injected >= 1, name)
      assert.deepEqual(wrong, emptyRow().wrong, name)
    }
  })
})
