/** The real program against the nemesis, for one deal: every fault once, in an order of this run's own. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { embeddedArena } from './embedded.ts'
import { nemesis } from './nemesis.ts'
import { emptyRow, tableOf } from './table.ts'

const SEED = Math.floor(Math.random() * 2 ** 31)
/** A deal takes about four minutes; how long depends on the seed. */
const DEAL_MS = 400_000

test('under every fault nothing acknowledged is lost, nothing shows twice, nothing is torn', {
  timeout: DEAL_MS,
}, async (context) => {
  context.diagnostic(`seed ${SEED}`)
  const rows = await nemesis(context, { begin: embeddedArena, pairs: 2, seed: SEED, minutes: 0 })
  for (const line of tableOf(rows).split('\n')) context.diagnostic(line)
  for (const [name, { wrong, injected }] of rows) {
    assert.ok(injected >= 1, name)
    assert.deepEqual(wrong, emptyRow().wrong, name)
  }
})
