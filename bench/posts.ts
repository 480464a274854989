/**
 * Acknowledged single POSTs per second at 64 keep-alive connections: Mailroom, durable, side by side with a
 * bare Koa server that stores nothing. The same generator drives both, in turns; the figure is the ratio.
 *
 *   npm run bench
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import autocannon from 'autocannon'

const CONNECTIONS = 64
const ROUNDS = 3
const ROUND_SECONDS = 8
const TEXT = 'x'.repeat(400)

interface Candidate {
  name: string
  url: string
  process: ChildProcess
  perSecond: number[]
  acknowledged: number
  p99Ms: number[]
}

const data = mkdtempSync(join(tmpdir(), 'mailroom-bench-'))
const source = (path: string) => new URL(path, import.meta.url).pathname
const candidates = [
  await begin('bare Koa', (port) => [source('bare-koa.ts'), port]),
  await begin('Mailroom', (port) => [
    source('../src/cli.ts'),
    'start',
    '--port',
    port,
    '--data',
    data,
    '--log-level',
    'warn',
  ]),
]
try {
  console.log(
    `${cpus()[0]?.model} x ${cpus().length}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
  )
  for (const candidate of candidates) await measure(candidate, 2)
  for (let round = 1; round <= ROUNDS; round++) {
    for (const candidate of candidates) {
      const { perSecond, p99Ms } = await measure(candidate, ROUND_SECONDS)
      candidate.perSecond.push(perSecond)
      candidate.p99Ms.push(p99Ms)
      console.log(
        `round ${round}  ${candidate.name.padEnd(9)} ${Math.round(perSecond)} acknowledged/s, p99 ${p99Ms} ms`,
      )
    }
  }
  const [bare, mailroom] = candidates as [Candidate, Candidate]
  await verify(mailroom)
  const ratios = mailroom.perSecond.map((perSecond, round) => perSecond / bare.perSecond[round]!)
  console.log(
    `Mailroom / bare Koa: ${ratios.map((ratio) => ratio.toFixed(2)).join(', ')}; median ${median(ratios).toFixed(2)}`,
  )
} finally {
  for (const candidate of candidates) {
    candidate.process.kill('SIGTERM')
    await once(candidate.process, 'exit')
  }
  rmSync(data, { recursive: true })
}

async function begin(name: string, args: (port: string) => string[]): Promise<Candidate> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  const child = spawn(process.execPath, args(String(port)), { stdio: ['ignore', 'ignore', 'inherit'] })
  const url = `http://127.0.0.1:${port}`
  const answers = async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.status
  while (![200, 404].includes((await answers()) ?? 0)) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return { name, url, process: child, perSecond: [], acknowledged: 0, p99Ms: [] }
}

/** Drives one candidate. Anything but a 201 makes the figure worthless, so it ends the run. */
async function measure(candidate: Candidate, seconds: number): Promise<{ perSecond: number; p99Ms: number }> {
  const result = await autocannon({
    ...{ url: `${candidate.url}/messages`, connections: CONNECTIONS, duration: seconds, method: 'POST' },
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text: TEXT }),
  })
  if (result.non2xx > 0 || result.errors > 0) {
    throw new Error(`${candidate.name}: ${result.non2xx} not 2xx, ${result.errors} errors`)
  }
  candidate.acknowledged += result['2xx']
  return { perSecond: result['2xx'] / result.duration, p99Ms: result.latency.p99 }
}

/** Every message that was acknowledged must be in the log, once, with its text. */
async function verify({ url, acknowledged }: Candidate): Promise<void> {
  const ids = new Set<string>()
  let path: string | null = '/log?limit=1000'
  while (path !== null) {
    const page = (await (await fetch(url + path)).json()) as {
      items: { id: string; text: string }[]
      next: string | null
    }
    for (const { id, text } of page.items) {
      if (text !== TEXT || ids.has(id)) throw new Error(`${id} is wrong in the log`)
      ids.add(id)
    }
    path = page.next
  }
  // The generator ends its connections with requests under way: stored, though it did not hear of it.
  const unheard = ids.size - acknowledged
  if (unheard < 0 || unheard > CONNECTIONS * (ROUNDS + 1)) {
    throw new Error(`${acknowledged} were acknowledged, ${ids.size} are in the log`)
  }
  console.log(`all ${acknowledged} acknowledged messages are in the log`)
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}
