/** A post with an idempotency key whose first try died between its writes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from '../../../src/runtime/logger.ts'
import { FIRST_RUN_MS, POST_DEADLINE_MS } from '../../../src/runtime/timings.ts'
import { openHazelcast } from '../../../src/storage/hazelcast/open.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import type { LaneBatch } from '../../../src/storage/ports.ts'
import { SimProcess } from '../../simulation/process.ts'
import { Rng } from '../../simulation/rng.ts'
import { Scheduler } from '../../simulation/scheduler.ts'
import { SimCluster } from '../../simulation/sim-cluster.ts'

test('a repeat takes the steps of the first once more: the same ids, the same lane', async () => {
  const scheduler = new Scheduler()
  const machine = { name: 'a', clockOffsetMs: 0, boot: 1 }
  const process = new SimProcess(scheduler, 'facade-1', machine, new Rng(1))
  const { clock } = process
  const { queue } = openHazelcast({
    queue: new SimCluster('queue', scheduler, new Rng(2), {}).connect(process),
    ...{ owner: 'facade-1', laneCount: 16, retentionMs: 3_600_000 },
    ...{ clock, random: () => 0.5, logger: createLogger('silent', {}) },
  })
  const nextIds = idGenerator(clock, () => 0.5)
  const seen: LaneBatch[] = []
  const post = async (value: string) => {
    const messages = nextIds(2).map((id) => ({ id, text: 'hello' }))
    const batch = { messages, key: { value, hash: 'h' }, deadlineAt: clock.monotonic() + POST_DEADLINE_MS }
    const died = queue.accept(batch, async (given) => {
      seen.push(given)
      throw new Error('died')
    })
    let settled = false
    const end = () => {
      settled = true
    }
    died.then(end, end)
    while (!settled) await scheduler.pass(10)
    await assert.rejects(died, { message: 'died' })
  }
  const keys = Array.from({ length: 20 }, (_, index) => `key-of-a-client-${index}`)
  for (const key of keys) await post(key)
  await scheduler.pass(FIRST_RUN_MS)
  for (const key of keys) await post(key)
  const stepsOf = (batches: LaneBatch[]) => batches.map(({ lane, messages }) => ({ lane, messages }))
  assert.deepEqual(stepsOf(seen.slice(keys.length)), stepsOf(seen.slice(0, keys.length)))
})
