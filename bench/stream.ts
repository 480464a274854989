/**
 * A million messages through one NDJSON stream: how fast they come in, how much memory each process takes
 * meanwhile, whether pages cost more than they did at 1,000 messages, and whether both lists hold them all.
 *
 *   npm run bench:stream                     1,000,000 messages of 400 bytes
 *   npm run bench:stream -- 20000 65536      20,000 of 65,536 bytes
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { begin, end, machine, mailroom, median } from './mailroom.ts'

const COUNT = Number(process.argv[2] ?? 1_000_000)
const TEXT = 'x'.repeat(Number(process.argv[3] ?? 400))
const FEW = 1000
const PAGE_READS = 40
const SLOW_READ_MS = 15_000

const data = mkdtempSync(join(tmpdir(), 'mailroom-bench-'))
const running = await begin(mailroom(data))
const { url } = running
const peaks = new Map<string, number>()
let phase = 'start'
const watch = setInterval(() => void noteMemory().catch(() => {}), 250)
try {
  console.log(machine())
  await stream(FEW)
  await delivered(FEW)
  await pageTimes() // Warms up.
  const few = await pageTimes()
  phase = 'streaming in'
  const began = performance.now()
  await stream(COUNT - FEW)
  const seconds = (performance.now() - began) / 1000
  console.log(`${COUNT} messages of ${TEXT.length} bytes: ${Math.round((COUNT - FEW) / seconds)} a second`)
  await delivered(COUNT)
  console.log(`all delivered ${((performance.now() - began) / 1000 - seconds).toFixed(1)} s later`)
  phase = 'pages'
  const many = await pageTimes()
  for (const [page, ms] of many) {
    const before = few.get(page)!
    const shown = `${before.toFixed(1)} ms at ${FEW}, ${ms.toFixed(1)} ms at ${COUNT}`
    console.log(`${page.padEnd(26)} ${shown}, ratio ${(ms / before).toFixed(2)}`)
  }
  phase = 'full lists'
  await bothListsWhole()
  phase = 'slow reader'
  await readSlowly()
  console.log('most resident, MiB (VmHWM is the kernel’s own note of it):')
  for (const [name, kib] of [...peaks].sort()) console.log(`  ${name.padEnd(32)} ${Math.round(kib / 1024)}`)
} finally {
  clearInterval(watch)
  await end(running)
  rmSync(data, { recursive: true })
}

/** Streams `count` messages in; every one must be taken. */
async function stream(count: number): Promise<void> {
  const line = `${JSON.stringify({ text: TEXT })}\n`
  const lines = Math.ceil(65_536 / line.length)
  const body = Readable.from(
    (function* () {
      for (let left = count; left > 0; left -= lines) yield line.repeat(Math.min(lines, left))
    })(),
    { objectMode: false },
  )
  const outgoing = request(`${url}/messages?acks=errors`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
  })
  body.pipe(outgoing)
  const { accepted } = JSON.parse((await textOf(outgoing)).trim().split('\n').at(-1)!) as { accepted: number }
  if (accepted !== count) throw new Error(`${accepted} of ${count} were taken`)
}

async function delivered(count: number): Promise<void> {
  const handled = async () =>
    (await actors()).reduce((sum, actor) => sum + (actor.role === 'messages' ? actor.handled : 0), 0)
  while ((await handled()) < count) await new Promise((resolve) => setTimeout(resolve, 100))
}

/** Median ms of each page; in turns, so that what disturbs one disturbs all. */
async function pageTimes(): Promise<Map<string, number>> {
  const head = await ids('/log?limit=1000')
  const oldest = await ids('/log?limit=1000&after=00000000000000000000000000')
  const half = middleOf(oldest[0]!, head[0]!)
  const pages = {
    '/log, head': '/log?limit=100',
    '/log, middle': `/log?limit=100&before=${half}`,
    '/log, tail': `/log?limit=100&before=${oldest[100]}`,
    '/messages': '/messages?limit=100',
  }
  const times = new Map<string, number[]>()
  for (let read = 0; read < PAGE_READS; read++) {
    for (const [page, path] of Object.entries(pages)) {
      const began = performance.now()
      const found = await ids(path)
      if (found.length < 100) throw new Error(`${path}: ${found.length} messages`)
      times.set(page, [...(times.get(page) ?? []), performance.now() - began])
    }
  }
  return new Map([...times].map(([page, ms]) => [page, median(ms)]))
}

/** An id about half way in time: the ten characters of an id that are its instant, counted in base 32. */
function middleOf(low: string, high: string): string {
  const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
  const instant = (id: string) =>
    [...id.slice(0, 10)].reduce((sum, char) => sum * 32 + digits.indexOf(char), 0)
  let middle = Math.ceil((instant(low) + instant(high)) / 2)
  let head = ''
  for (let index = 0; index < 10; index++) {
    head = digits[middle % 32] + head
    middle = Math.floor(middle / 32)
  }
  return head + 'Z'.repeat(16)
}

/** The log must hold all; so must the messages actors together, each message once. */
async function bothListsWhole(): Promise<void> {
  const stores = new Map<string, number>()
  while (stores.size < 2) {
    const began = performance.now()
    const { logged, delivered: list, deliveredTo, bytes } = await readLists()
    if (logged !== COUNT) throw new Error(`${logged} of ${COUNT} in the log`)
    stores.set(deliveredTo, list)
    const seconds = (performance.now() - began) / 1000
    console.log(
      `GET /messages: ${logged} + ${list} of ${deliveredTo}, ${Math.round(bytes / 2 ** 20 / seconds)} MiB/s`,
    )
  }
  const sum = [...stores.values()].reduce((a, b) => a + b)
  if (sum !== COUNT) throw new Error(`${sum} of ${COUNT} in the stores`)
}

/** Reads both lists without keeping them: ids must ascend. */
async function readLists() {
  const response = await fetch(`${url}/messages`)
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

/** A reader of the whole that takes little at a time. */
async function readSlowly(): Promise<void> {
  const endAt = performance.now() + SLOW_READ_MS
  const reader = (await fetch(`${url}/messages`)).body!.getReader()
  while (performance.now() < endAt) {
    await reader.read()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await reader.cancel()
}

async function ids(path: string): Promise<string[]> {
  const text = await (await fetch(url + path)).text()
  return [...text.matchAll(/"id":"(\w{26})"/g)].map(([, id]) => id!)
}

async function actors(): Promise<{ name: string; role: string; pid: number; handled: number }[]> {
  return (await fetch(`${url}/actors`)).json() as never
}

async function noteMemory(): Promise<void> {
  const processes = [{ name: 'primary', pid: running.process.pid! }, ...(await actors())]
  for (const { name, pid } of processes) {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const note = (key: string, field: string) =>
      peaks.set(
        key,
        Math.max(peaks.get(key) ?? 0, Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1])),
      )
    note(`${name}, ${phase}`, 'VmRSS')
    note(`${name}, VmHWM`, 'VmHWM')
  }
}

function textOf(outgoing: ReturnType<typeof request>): Promise<string> {
  return new Promise((resolve, reject) => {
    outgoing.on('error', reject)
    outgoing.on('response', async (response) => {
      let text = ''
      for await (const chunk of response.setEncoding('utf8')) text += chunk
      resolve(text)
    })
  })
}
