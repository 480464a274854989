/**
 * The CPU time of a node that has nothing to do, of all its processes together: with default settings, and with 256
 * lanes and 200 small segments in the log.
 *
 *   npm run bench -- idle              measures 60 s each, 10 s after the start
 *   npm run bench -- idle 20           20 s each
 */
import { loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock as clock, systemRandom as random } from '../src/runtime/clock.ts'
import { createLogger } from '../src/runtime/logger.ts'
import { LogWriter } from '../src/storage/embedded/log-writer.ts'
import { idGenerator } from '../src/storage/ids.ts'
import { removeDirectory, temporaryDirectory } from './lib/child.ts'
import { shown } from './lib/figures.ts'
import { Mailroom } from './lib/mailroom.ts'
import { usageOf } from './lib/processes.ts'
import { save } from './lib/results.ts'

const SECONDS = Number(process.argv[2] ?? 60)
const SETTLE_SECONDS = 10
const LANES = ['--lanes', '256']
const SEGMENTS = 200

const figures: { what: string; process: string; percentOfCore: number }[] = []
await inDirectory((data) => measure('default settings', data))
await inDirectory(async (data) => {
  await withHistory(data)
  await measure(`256 lanes, ${SEGMENTS} small segments`, data, ...LANES)
})
const rows = figures.map(({ what, process, percentOfCore }) => [
  what,
  process,
  `${shown(percentOfCore, 2)} %`,
])
const caption = `CPU of a node without work over ${SECONDS} s, in % of a core`
save('idle', { tables: [{ caption, rows: [['', 'process', 'CPU'], ...rows] }], seconds: SECONDS, figures })

async function inDirectory(work: (data: string) => Promise<void>): Promise<void> {
  const data = temporaryDirectory()
  try {
    await work(data)
  } finally {
    removeDirectory(data)
  }
}

/** Leaves ended segments of delivered messages, one each, in all lanes. */
async function withHistory(data: string): Promise<void> {
  await (await Mailroom.start(LANES, data)).end()
  const options = { data, clock, logger: createLogger('silent', {}), writer: 1, headroom: 0 }
  const onBroken = (error: unknown) => {
    throw error
  }
  const writer = new LogWriter({ ...options, onBroken, segmentAgeMs: 0 })
  const nextIds = idGenerator(clock, random)
  for (let lane = 0; lane < SEGMENTS; lane++) {
    const [id] = nextIds(1) as [string]
    const deadlineAt = clock.monotonic() + 60_000
    await writer.append({ lane, messages: [{ id, text: 'x'.repeat(50) }], deadlineAt })
    await sleep(5) // A segment is old enough when its row is older than now.
  }
  writer.close()
  const mailroom = await Mailroom.start(LANES, data)
  await mailroom.untilConsumed(SEGMENTS)
  await mailroom.end()
}

async function measure(what: string, data: string, ...flags: string[]): Promise<void> {
  const mailroom = await Mailroom.start(flags, data)
  await sleep(SETTLE_SECONDS * 1000)
  const primary = { name: 'all processes', pid: mailroom.pids[0] }
  const processes = [primary, ...(await mailroom.actors())]
  const before = processes.map(({ pid }) => usageOf([pid]).cpuSeconds)
  await sleep(SECONDS * 1000)
  console.log(`${what}: measured at load ${loadavg()[0]!.toFixed(1)}`)
  for (const [index, { name, pid }] of processes.entries()) {
    const percentOfCore = (100 * (usageOf([pid]).cpuSeconds - before[index]!)) / SECONDS
    figures.push({ what, process: name, percentOfCore })
  }
  await mailroom.end()
}
