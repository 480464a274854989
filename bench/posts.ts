/**
 * Acknowledged single POSTs per second at 64 keep-alive connections: Mailroom, durable, side by side with a
 * bare Koa server that stores nothing. The same generator drives both, in turns; the figure is the ratio.
 *
 *   npm run bench
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import autocannon from 'autocannon'
import { begin, end, machine, mailroom, median, type Running } from './mailroom.ts'

const CONNECTIONS = 64
const ROUNDS = 3
const ROUND_SECONDS = 8
const TEXT = 'x'.repeat(400)

interface Candidate extends Running {
  name: string
  perSecond: number[]
  acknowledged: number
  p99Ms: number[]
}

const data = mkdtempSync(join(tmpdir(), 'mailroom-bench-'))
const bareKoa = new URL('bare-koa.ts', import.meta.url).pathname
const candidates: Candidate[] = [
  { name: 'bare Koa', ...(await begin((port) => [bareKoa, port])), ...nothingYet() },
  { name: 'Mailroom', ...(await begin(mailroom(data))), ...nothingYet() },
]
try {
  console.log(machine())
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
  for (const candidate of candidates) await end(candidate)
  rmSync(data, { recursive: true })
}

function nothingYet(): Pick<Candidate, 'perSecond' | 'acknowledged' | 'p99Ms'> {
  return { perSecond: [], acknowledged: 0, p99Ms: [] }
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
