/** More posts than can be served: what is refused is refused in words and stores nothing, the rest is kept. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { IN_FLIGHT_MAX } from '../../src/http/overload.ts'
import { assertNothingWrong } from '../support/checker.ts'
import { Load } from '../support/load.ts'
import { offer } from '../support/open-loop.ts'
import { System } from '../support/system.ts'

const MEMORY_MAX_KB = 512 * 1024
const CLIENTS = 4 * IN_FLIGHT_MAX
const REFUSALS = 2000

test('overload: refused posts store nothing, acknowledged messages are kept, memory is bounded', async (context) => {
  const system = await System.start(context)
  const { history, refused, badRefusals } = await offer({
    port: system.port,
    perSecond: undefined,
    connectionsMax: CLIENTS,
    textOf: (count) => `overload ${count}`.padEnd(400, '.'),
    until: (offered, elapsedMs) => offered.refused.size >= REFUSALS || elapsedMs > 60_000,
  })
  assert.ok(refused.size >= REFUSALS, `${refused.size} refused, ${history.acknowledged.size} acknowledged`)
  assert.deepEqual(badRefusals, [])
  assert.deepEqual(history.failures, [])

  const after = new Load(context, system.url, { label: 'after' })
  await after.more(500)
  const { attempted, acknowledged, failures } = await after.stop()
  assert.deepEqual(failures, [], 'it is as if nothing had been')

  for (const text of attempted) history.attempted.add(text)
  for (const [id, text] of acknowledged) history.acknowledged.set(id, text)
  const { logged } = await assertNothingWrong(system, history)
  assert.deepEqual(
    logged.filter(({ text }) => refused.has(text)),
    [],
  )
  for (const { name, pid, restarts } of await system.actors()) {
    assert.equal(restarts, 0, name)
    if (process.platform !== 'linux') continue
    const peakKb = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
    assert.ok(peakKb < MEMORY_MAX_KB, `${name} took ${peakKb} kB at its peak`)
  }
})
