/**
 * A million messages through NDJSON streams: how fast they are taken and delivered, whether pages and look-ups cost
 * more than they did at 1,000 and 100,000 messages, how much memory each process takes, and whether both lists hold
 * them all.
 *
 *   npm run bench -- stream                     1,000,000 messages of 400 bytes
 *   npm run bench -- stream 20000 65536         20,000 of 65,536 bytes
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { streamIn } from './lib/bulk.ts'
import { shown } from './lib/figures.ts'
import { SIZE } from './lib/load.ts'
import { Mailroom } from './lib/mailroom.ts'
import { type ReadTimes, readTimes } from './lib/pages.ts'
import { peakMibOf, usageOf } from './lib/processes.ts'
import { save } from './lib/results.ts'

const COUNT = Number(process.argv[2] ?? 1_000_000)
const BYTES = Number(process.argv[3] ?? SIZE)
const STEPS = [1000, 100_000, COUNT].filter((count, index, steps) => index === 2 || count < steps[2]!)
const SLOW_READ_MS = 15_000

interface Step {
  messages: number
  takenPerSecond: number
  deliveredPerSecond: number
  cpuUs: number
  reads: Record<string, ReadTimes>
}

const mailroom = await Mailroom.start()
const idleMib = usageOf(mailroom.pids).pssMib
const steps: Step[] = []
let before = 0
for (const messages of STEPS) {
  steps.push(await step(messages, messages - before))
  before = messages
}
const loadedMib = usageOf(mailroom.pids).pssMib
await bothListsWhole()
await readSlowly()
const peaks = await peaksMib()
await mailroom.end()

const kinds = Object.keys(steps[0]!.reads)
const cell = ({ p50Ms, p99Ms }: ReadTimes) => `${shown(p50Ms, 1)} / ${shown(p99Ms, 1)}`
const [first, last] = [steps[0]!, steps.at(-1)!]
save('stream', {
  tables: [
    {
      caption: `NDJSON, texts of ${shown(BYTES)} bytes`,
      rows: [
        ['messages', 'taken a second', 'delivered a second', 'CPU us a message'],
        ...steps.map(({ messages, takenPerSecond, deliveredPerSecond, cpuUs }) => [
          ...[shown(messages), shown(takenPerSecond), shown(deliveredPerSecond), shown(cpuUs, 1)],
        ]),
      ],
    },
    {
      caption: 'Median / 99th percentile in ms of pages of 100 and look-ups, at so many messages',
      rows: [
        ['', ...STEPS.map((count) => shown(count)), 'ratio of medians'],
        ...kinds.map((kind) => [
          ...[kind, ...steps.map(({ reads }) => cell(reads[kind]!))],
          shown(last.reads[kind]!.p50Ms / first.reads[kind]!.p50Ms, 2),
        ]),
      ],
    },
    {
      caption: `Memory of a node with ${shown(COUNT)} messages, MiB`,
      rows: [
        ['', 'MiB'],
        ['all processes, PSS, idle', shown(idleMib)],
        ['all processes, PSS, after the stream', shown(loadedMib)],
        ...peaks.map(({ name, mib }) => [`${name}, most resident`, shown(mib)]),
      ],
    },
  ],
  ...{ sizeBytes: BYTES, steps, idleMib, loadedMib, peaks },
})

/** Streams `count` messages in, so that there are `messages`, and reads. */
async function step(messages: number, count: number): Promise<Step> {
  const cpuBefore = usageOf(mailroom.pids).cpuSeconds
  const began = performance.now()
  await streamIn(mailroom.url, count, BYTES)
  const takenPerSecond = (count * 1000) / (performance.now() - began)
  await mailroom.untilConsumed(messages)
  const deliveredPerSecond = (count * 1000) / (performance.now() - began)
  const cpuUs = ((usageOf(mailroom.pids).cpuSeconds - cpuBefore) * 1e6) / count
  console.log(
    `${shown(messages)} messages of ${BYTES} bytes: ${shown(takenPerSecond)} a second taken, ${shown(deliveredPerSecond)} delivered, CPU ${shown(cpuUs, 1)} us a message`,
  )
  await readTimes(mailroom) // Warms up.
  const reads = Object.fromEntries(await readTimes(mailroom))
  return { messages, takenPerSecond, deliveredPerSecond, cpuUs, reads }
}

/** The log must hold all; so must the messages actors together, each message once. */
async function bothListsWhole(): Promise<void> {
  const stores = new Map<string, number>()
  while (stores.size < 2) {
    const began = performance.now()
    const { logged, delivered, deliveredTo, bytes } = await readLists()
    if (logged !== COUNT) throw new Error(`${logged} of ${COUNT} in the log`)
    stores.set(deliveredTo, delivered)
    const seconds = (performance.now() - began) / 1000
    console.log(
      `GET /messages: ${shown(logged)} + ${shown(delivered)} of ${deliveredTo}, ${shown(bytes / 2 ** 20 / seconds)} MiB/s`,
    )
  }
  const sum = [...stores.values()].reduce((a, b) => a + b)
  if (sum !== COUNT) throw new Error(`${sum} of ${COUNT} in the stores`)
}

/** Reads both lists without keeping them: ids must ascend. */
async function readLists() {
  const response = await fetch(`${mailroom.url}/messages`)
  const counts = { logged: 0, delivered: 0 }
  let list: keyof typeof counts = 'logged'
  let rest = ''
  let last = ''
  let bytes = 0
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    bytes += chunk.length
    rest += chunk
    let done = 0
    for (const match of rest.matchAll(/"id":"(\w{26})"|"delivered":\[/g)) {
      done = match.index + match[0].length
      if (match[1] === undefined) {
        list = 'delivered'
        last = ''
        continue
      }
      if (match[1] <= last) throw new Error(`${match[1]} after ${last}`)
      last = match[1]
      counts[list]++
    }
    rest = rest.slice(Math.max(done, rest.length - 200))
  }
  const [, deliveredTo = '', partial] = /"deliveredTo":"([^"]+)","partial":(.*)\}$/.exec(rest) ?? []
  if (partial !== '[]') throw new Error(`partial: ${partial}`)
  return { ...counts, deliveredTo, bytes }
}

/** A reader of both lists that takes little at a time: no process may grow meanwhile. */
async function readSlowly(): Promise<void> {
  const endAt = performance.now() + SLOW_READ_MS
  const reader = (await fetch(`${mailroom.url}/messages`)).body!.getReader()
  while (performance.now() < endAt) {
    await reader.read()
    await sleep(20)
  }
  await reader.cancel()
}

/** The most memory that each process has had resident. */
async function peaksMib(): Promise<{ name: string; mib: number }[]> {
  const processes = [{ name: 'primary', pid: mailroom.pids[0] }, ...(await mailroom.actors())]
  return processes.map(({ name, pid }) => ({ name, mib: peakMibOf(pid) }))
}
