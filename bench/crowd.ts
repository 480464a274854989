/**
 * Whether single posts and small reads suffer from what others do: 50 posts a second and ten pages a second, alone and
 * beside a crowd in a process of its own. Every post must be taken.
 *
 *   npm run bench -- crowd [seconds of each, 10]
 *
 *   lists    100 clients read both lists of 200,000 messages, again and again
 *   streams  four NDJSON streams that do not end
 *   waits    1,000 clients wait for messages that are not delivered (?wait=30)
 *   letters  20 clients read 900 dead letters of 60 KiB, again and again
 */
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { streamIn } from './lib/bulk.ts'
import { startScript } from './lib/child.ts'
import { percentile, shown } from './lib/figures.ts'
import { Mailroom } from './lib/mailroom.ts'
import { peakMibOf } from './lib/processes.ts'
import { save } from './lib/results.ts'

/** What a crowd is asked: to begin, or to stop. */
export type CrowdQuestion =
  | { kind: 'gets' | 'streams'; port: number; count: number; paths: string[] }
  | { kind: 'stop' }

/** What a crowd did. */
export interface Crowded {
  /** Requests answered whole with success. */
  doneCount: number
  bytes: number
  /** Other ends, with their numbers. */
  refusals: Record<string, number>
}

const SECONDS = Number(process.argv[2] ?? 10)
const POSTS_PER_SECOND = 50
const PAGE_PAUSE_MS = 100
const LISTED = 200_000
const LETTERS = 900
const LETTER_BYTES = 60 * 1024
const WAITED = 20
const HANDLER = new URL('./lib/crowd-handler.js', import.meta.url).pathname

const rows: string[][] = [
  ['beside', 'posts p50 / p99 / max, ms', 'refused', 'pages p50 / p99, ms', 'crowd refused', 'MiB/s'],
]
const found: object[] = []

const plain = await Mailroom.start()
await streamIn(plain.url, LISTED, 400)
await plain.untilConsumed(LISTED)
await beside('nobody', plain)
await beside('lists', plain, { kind: 'gets', count: 100, paths: ['/messages'] })
await beside('streams', plain, { kind: 'streams', count: 4, paths: [] })
const plainMib = await peaksOf(plain)
await plain.end()

const handling = await Mailroom.start(['--handler', HANDLER, '--handler-timeout', '1d'])
for (let index = 0; index < LETTERS; index++) await post(handling, `dead ${index} `.padEnd(LETTER_BYTES, 'x'))
const waited = await Promise.all(
  Array.from({ length: WAITED }, (_, index) => post(handling, `stuck ${index}`)),
)
while ((await handling.get<{ items: unknown[] }>('/dead?limit=1000')).items.length < LETTERS) await sleep(500)
await beside('waits', handling, {
  ...{ kind: 'gets', count: 1000, paths: waited.map((id) => `/messages/${id}?wait=30`) },
})
await beside('letters', handling, { kind: 'gets', count: 20, paths: ['/dead?limit=1000'] })
const handlingMib = await peaksOf(handling)
await handling.end()

save('crowd', {
  tables: [
    { caption: `${POSTS_PER_SECOND} posts a second, ${SECONDS} s each`, rows },
    {
      caption: 'Most resident of a process, MiB',
      rows: [
        ['', 'MiB'],
        ['with lists and streams', shown(plainMib)],
        ['with waits and letters', shown(handlingMib)],
      ],
    },
  ],
  ...{ seconds: SECONDS, found, plainMib, handlingMib },
})

async function beside(
  name: string,
  mailroom: Mailroom,
  crowd?: Omit<Exclude<CrowdQuestion, { kind: 'stop' }>, 'port'>,
): Promise<void> {
  const { child } = await startScript(new URL('./lib/crowd-child.ts', import.meta.url))
  if (crowd !== undefined) await child.ask({ ...crowd, port: mailroom.port })
  await sleep(crowd === undefined ? 0 : 2000)
  let isOver = false
  const pages = readPages(mailroom, () => isOver)
  const { tookMs, refusedCount } = await postSteadily(mailroom, name)
  isOver = true
  const pageMs = (await pages).sort((a, b) => a - b)
  const crowded = crowd === undefined ? undefined : await child.ask<Crowded>({ kind: 'stop' })
  await child.end()
  const cells = (values: readonly number[], shares: readonly number[]) =>
    shares.map((share) => shown(percentile(values, share), 1)).join(' / ')
  const refusals = Object.values(crowded?.refusals ?? {}).reduce((sum, count) => sum + count, 0)
  rows.push([
    ...[name, cells(tookMs, [0.5, 0.99, 1]), shown(refusedCount), cells(pageMs, [0.5, 0.99])],
    crowded === undefined ? '-' : shown(refusals),
    crowded === undefined ? '-' : shown(crowded.bytes / 2 ** 20 / SECONDS),
  ])
  console.log(rows.at(-1)!.join('   '))
  found.push({
    name,
    postsMs: [0.5, 0.99, 1].map((share) => percentile(tookMs, share)),
    refusedCount,
    crowded,
  })
}

/** Posts at a steady rate, whatever becomes of those before. @returns How long each took that was taken, in ms, sorted. */
async function postSteadily(
  mailroom: Mailroom,
  name: string,
): Promise<{ tookMs: number[]; refusedCount: number }> {
  const tookMs: number[] = []
  let refusedCount = 0
  const agent = new Agent({ keepAlive: true })
  const one = (text: string): Promise<void> =>
    new Promise((resolve) => {
      const began = performance.now()
      const headers = { 'content-type': 'text/plain', 'content-length': text.length }
      const end = (isTaken: boolean) => {
        if (isTaken) tookMs.push(performance.now() - began)
        else refusedCount++
        resolve()
      }
      request({ host: '127.0.0.1', port: mailroom.port, path: '/messages', method: 'POST', headers, agent })
        .on('response', (response) => response.resume().on('end', () => end(response.statusCode === 201)))
        .on('error', () => end(false))
        .end(text)
    })
  const posts: Promise<void>[] = []
  const began = performance.now()
  for (let count = 0; count < SECONDS * POSTS_PER_SECOND; count++) {
    await sleep(Math.max(0, began + (count * 1000) / POSTS_PER_SECOND - performance.now()))
    posts.push(one(`${name} ${count} `.padEnd(400, 'x')))
  }
  await Promise.all(posts)
  agent.destroy()
  return { tookMs: tookMs.sort((a, b) => a - b), refusedCount }
}

/** Reads the head of the log and the newest of both lists, in turns. @returns How long each took, in ms. */
async function readPages(mailroom: Mailroom, isOver: () => boolean): Promise<number[]> {
  const took: number[] = []
  while (!isOver()) {
    const began = performance.now()
    await mailroom.get(took.length % 2 === 0 ? '/log?limit=100' : '/messages?limit=100')
    took.push(performance.now() - began)
    await sleep(PAGE_PAUSE_MS)
  }
  return took
}

async function post(mailroom: Mailroom, text: string): Promise<string> {
  const response = await fetch(`${mailroom.url}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text }),
  })
  if (response.status !== 201) throw new Error(`A post was answered ${response.status}`)
  return ((await response.json()) as { id: string }).id
}

async function peaksOf(mailroom: Mailroom): Promise<number> {
  const pids = [...mailroom.pids, ...(await mailroom.actors()).map(({ pid }) => pid)]
  return Math.max(...pids.map(peakMibOf))
}
