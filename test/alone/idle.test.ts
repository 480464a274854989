/** What a node takes that has nothing to do. `bench/idle.ts` measures it; here is a bound that it never comes near. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cpuSecondsOf } from '../support/cpu.ts'
import { System, sleep } from '../support/system.ts'

const WINDOW_SECONDS = 3
/** After the start, code is compiled and garbage is collected for a while. */
const WINDOWS = 8
const MAX_PERCENT = 2

test('a node without work takes under 2 % of a core, also with 256 lanes', async (context) => {
  const system = await System.start(context, ['--lanes', '256'])
  const pids = [system.primary.pid!, ...(await system.actors()).map(({ pid }) => pid)]
  const used = () => pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0)
  const percents: number[] = []
  do {
    const before = used()
    await sleep(WINDOW_SECONDS * 1000)
    percents.push((100 * (used() - before)) / WINDOW_SECONDS)
  } while (percents.at(-1)! >= MAX_PERCENT && percents.length < WINDOWS)
  assert.ok(percents.at(-1)! < MAX_PERCENT, `took ${percents.map((percent) => percent.toFixed(1))} %`)
})
