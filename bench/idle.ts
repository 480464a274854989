/**
 * The CPU time of a node that has nothing to do, of all its processes together: with default settings, and with 256
 * lanes and the files of 20 logging actors.
 *
 *   npm run bench:idle              measures 60 s each, 10 s after the start
 *   npm run bench:idle -- 20        20 s each
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuSecondsOf } from '../test/support/cpu.ts'
import { begin, end, machine, mailroom, type Running } from './mailroom.ts'

const SECONDS = Number(process.argv[2] ?? 60)
const SETTLE_SECONDS = 10
const LANES = ['--lanes', '256']
const MESSAGES = 6000

console.log(machine())
await inDirectory(async (data) => {
  await measure('default settings', data)
})
await inDirectory(async (data) => {
  await withHistory(data)
  await measure('256 lanes, 20 log files', data, ...LANES)
})

async function inDirectory(work: (data: string) => Promise<void>): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), 'mailroom-bench-'))
  try {
    await work(data)
  } finally {
    rmSync(data, { recursive: true })
  }
}

/** Leaves delivered messages in the files of 20 logging actors. */
async function withHistory(data: string): Promise<void> {
  const running = await begin(mailroom(data, ...LANES, '--logging', '20'))
  try {
    for (let sent = 0; sent < MESSAGES; sent += 20) await post(running, 20)
    while (logFilesOf(data) < 20) await post(running, 20)
    await delivered(running)
  } finally {
    await end(running)
  }
}

async function post({ url }: Running, count: number): Promise<void> {
  const body = JSON.stringify(Array.from({ length: count }, () => ({ text: 'x'.repeat(50) })))
  const headers = { 'Content-Type': 'application/json' }
  const posts = Array.from({ length: 10 }, () => fetch(`${url}/messages`, { method: 'POST', headers, body }))
  for (const { status } of await Promise.all(posts)) if (status !== 201) throw new Error(`answered ${status}`)
}

async function delivered({ url }: Running): Promise<void> {
  const isPending = async () => {
    const actors = (await (await fetch(`${url}/actors`)).json()) as { waiting?: number }[]
    return actors.some(({ waiting = 0 }) => waiting > 0)
  }
  do await sleep(1000)
  while (await isPending())
}

function logFilesOf(data: string): number {
  return readdirSync(data).filter((name) => /^log-.*\.db$/.test(name)).length
}

async function measure(what: string, data: string, ...flags: string[]): Promise<void> {
  const running = await begin(mailroom(data, ...flags))
  try {
    await sleep(SETTLE_SECONDS * 1000)
    const actors = (await (await fetch(`${running.url}/actors`)).json()) as { name: string; pid: number }[]
    const processes = [{ name: 'primary', pid: running.process.pid! }, ...actors]
    const before = processes.map(({ pid }) => cpuSecondsOf(pid))
    await sleep(SECONDS * 1000)
    const used = processes.map(({ pid }, index) => cpuSecondsOf(pid) - before[index]!)
    const percent = (seconds: number) => `${((100 * seconds) / SECONDS).toFixed(2)} %`
    const all = used.reduce((sum, seconds) => sum + seconds, 0)
    const load = loadavg().map((value) => value.toFixed(1))
    console.log(`${what}: ${percent(all)} of a core over ${SECONDS} s (load ${load.join(' ')})`)
    for (const [index, { name }] of processes.entries()) console.log(`  ${name}: ${percent(used[index]!)}`)
  } finally {
    await end(running)
  }
}
