/**
 * What three times too much does to Mailroom: peak, overload and recovery in one run on one data directory, by
 * one generator, so that the figures are ratios of each other. Posts are sent at their times, whatever becomes of
 * those before; an acknowledgement counts from when its post was due, a refusal from when it was sent.
 *
 *   node bench/overload.ts [seconds of overload, 20]
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Offered, offer, percentile } from '../test/support/open-loop.ts'
import { freePort } from '../tools/free-port.ts'

const SECONDS = Number(process.argv[2] ?? 20)
const PEAK_CONNECTIONS = 64
const OVERLOAD_CONNECTIONS = 4000

const data = mkdtempSync(join(tmpdir(), 'mailroom-overload-'))
const port = await freePort()
const cli = new URL('../src/cli.ts', import.meta.url).pathname
const flags = ['start', '--port', String(port), '--data', data, '--log-level', 'warn']
const child: ChildProcess = spawn(process.execPath, [cli, ...flags], {
  stdio: ['ignore', 'ignore', 'inherit'],
})
const ids: string[] = []
try {
  await until(async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok)
  console.log(`${cpus()[0]?.model} x ${cpus().length}, Node ${process.version}`)
  await run('warm up', undefined, 3, PEAK_CONNECTIONS)
  const first = await run('peak', undefined, 8, PEAK_CONNECTIONS)
  const half = await run('half of it', rateOf(first) / 2, 5, OVERLOAD_CONNECTIONS)
  const overload = await run('overload', rateOf(first) * 3, SECONDS, OVERLOAD_CONNECTIONS)
  const after = await run('half again', rateOf(first) / 2, 10, OVERLOAD_CONNECTIONS)
  const last = await run('peak again', undefined, 8, PEAK_CONNECTIONS)
  const peak = (rateOf(first) + rateOf(last)) / 2
  console.log(`goodput / peak: ${(rateOf(overload) / peak).toFixed(2)}`)
  console.log(`p99 after / before: ${(p99(after) / p99(half)).toFixed(2)}`)
  console.log(`largest process: ${await largestMb()} MiB`)
  await verify()
} finally {
  child.kill('SIGTERM')
  await once(child, 'exit')
  rmSync(data, { recursive: true })
}

async function run(
  name: string,
  perSecond: number | undefined,
  seconds: number,
  connectionsMax: number,
): Promise<Offered> {
  const offered = await offer({
    ...{ port, perSecond, connectionsMax },
    textOf: (count) => `${name} ${count} `.padEnd(400, 'x'),
    until: (_, elapsedMs) => elapsedMs >= seconds * 1000,
  })
  const { history, refused, badRefusals, unsentCount, acknowledgedMs, refusedMs, lateMs } = offered
  for (const id of history.acknowledged.keys()) ids.push(id)
  const times = (sorted: readonly number[]) =>
    [0.5, 0.99, 1].map((share) => Math.round(percentile(sorted, share))).join('/')
  console.log(
    `${name.padEnd(11)} ${perSecond === undefined ? '' : `${Math.round(perSecond)} due/s, ${Math.round(unsentCount / seconds)} had no client, sent ${times(lateMs)} ms late; `}` +
      `${Math.round(rateOf(offered))} acknowledged/s in ${times(acknowledgedMs)} ms (p50/p99/max), ` +
      `${Math.round(refused.size / seconds)} refused/s in ${times(refusedMs)} ms, ` +
      `${badRefusals.length} badly, ${history.failures.length} failed ${[...new Set(history.failures.map(({ how }) => how))].join()}`,
  )
  return offered
}

/** Acknowledged a second, without the first and the last second. */
function rateOf({ perSecond }: Offered): number {
  const whole = perSecond.slice(1, -1)
  return whole.reduce((sum, count) => sum + (count ?? 0), 0) / whole.length
}

function p99({ acknowledgedMs }: Offered): number {
  return percentile(acknowledgedMs, 0.99)
}

/** The largest any process has been. */
async function largestMb(): Promise<number> {
  const actors = (await (await fetch(`http://127.0.0.1:${port}/actors`)).json()) as { pid: number }[]
  const peaks = [child.pid!, ...actors.map(({ pid }) => pid)].map((pid) =>
    Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]),
  )
  return Math.round(Math.max(...peaks) / 1024)
}

/** Every acknowledged message is in the log. */
async function verify(): Promise<void> {
  const logged = new Set<string>()
  for (let path: string | null = '/log?limit=1000'; path !== null; ) {
    const page = (await (await fetch(`http://127.0.0.1:${port}${path}`)).json()) as {
      items: { id: string }[]
      next: string | null
    }
    for (const { id } of page.items) logged.add(id)
    path = page.next
  }
  const lost = ids.filter((id) => !logged.has(id))
  if (lost.length > 0) throw new Error(`${lost.length} of ${ids.length} acknowledged are not in the log`)
  console.log(`all ${ids.length} acknowledged messages are in the log`)
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds().catch(() => false))) {
    if (child.exitCode !== null) throw new Error(`Mailroom ended with ${child.exitCode}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
