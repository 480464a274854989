/**
 * The CPU time of a node that has nothing to do, of all its processes together: with default settings, and with 256
 * lanes and the files of 20 logging actors.
 *
 *   npm run bench -- idle              measures 60 s each, 10 s after the start
 *   npm run bench -- idle 20           20 s each
 */
import { readdirSync } from 'node:fs'
import { loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { removeDirectory, temporaryDirectory } from './lib/child.ts'
import { shown } from './lib/figures.ts'
import { Mailroom } from './lib/mailroom.ts'
import { usageOf } from './lib/processes.ts'
import { save } from './lib/results.ts'

const SECONDS = Number(process.argv[2] ?? 60)
const SETTLE_SECONDS = 10
const LANES = ['--lanes', '256']
const LOG_FILES = 20
const MESSAGES = 6000

const figures: { what: string; process: string; percentOfCore: number }[] = []
await inDirectory((data) => measure('default settings', data))
await inDirectory(async (data) => {
  await withHistory(data)
  await measure(`256 lanes, ${LOG_FILES} log files`, data, ...LANES)
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

/** Leaves delivered messages in the files of 20 logging actors. */
async function withHistory(data: string): Promise<void> {
  const mailroom = await Mailroom.start([...LANES, '--logging', String(LOG_FILES)], data)
  let posted = 0
  while (posted < MESSAGES || logFilesOf(data) < LOG_FILES) posted += await post(mailroom, 20)
  await mailroom.untilConsumed(posted)
  await mailroom.end()
}

/** Ten posts at once. @returns Messages posted. */
async function post({ url }: Mailroom, count: number): Promise<number> {
  const body = JSON.stringify(Array.from({ length: count }, () => ({ text: 'x'.repeat(50) })))
  const headers = { 'Content-Type': 'application/json' }
  const posts = Array.from({ length: 10 }, () => fetch(`${url}/messages`, { method: 'POST', headers, body }))
  for (const { status } of await Promise.all(posts)) if (status !== 201) throw new Error(`answered ${status}`)
  return 10 * count
}

function logFilesOf(data: string): number {
  return readdirSync(data).filter((name) => /^log-.*\.db$/.test(name)).length
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
