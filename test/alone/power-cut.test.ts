/**
 * Power cuts on the real SQLite: everything that the real program writes is recorded, with its syncs. The data directory
 * is then rebuilt as it may be after a power cut at hundreds of points of the record, and each is opened and judged.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/runtime/clock.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import { HOME_SYNC_MS } from '../../src/runtime/timings.ts'
import { MIN_ID } from '../../src/storage/ids.ts'
import { openJournal } from '../../src/storage/journal/open.ts'
import { diceOf } from '../nemesis/dice.ts'
import { check, NOTHING_WRONG } from '../support/checker.ts'
import { History } from '../support/history.ts'
import { aftermathOf } from '../support/power-cut/aftermath.ts'
import { RecordedDisk, type Remains, stepsOf, toldStep } from '../support/power-cut/disk.ts'
import { FIVE_ATTEMPTS, System, sleep } from '../support/system.ts'

const RECORDER = new URL('../support/power-cut/recorder.c', import.meta.url).pathname
const JOURNAL = new URL('../support/power-cut/journal-child.ts', import.meta.url).pathname
const JOURNAL_RUN_MS = 8000
const JOURNAL_POINTS = 150
const LANES = 4
const LOGGING = 2
const RETENTION_MS = 60_000
const CLIENTS = 8
const PAUSE_MS = 30
/** Segments end after an eighth of the retention: two do. */
const RUN_MS = 17_000
const POINTS = 250
const REMAINS: Remains[] = ['nothing', 'all', 'the first part', 'any part']
const HANDLER = `export default async ({ text }) => {
  if (text.startsWith('bad')) throw new Error('no')
  if (text.includes('slow')) await new Promise((resolve) => setTimeout(resolve, 200))
}`

/** What the test wrote into the record when it had been told it. `at`: ms since 1970. */
type Told = { at: number } & (
  | { what: 'acknowledged'; id: string; text: string; key?: string }
  | { what: 'handled'; id: string }
  | { what: 'purging'; id: string }
  | { what: 'purged'; id: string }
)

const compiler = spawnSync('cc', ['--version']).status === 0
const skip = !compiler && process.env['CI'] !== 'true' && 'needs a C compiler (cc)'

for (const withHandler of [false, true]) {
  test(`after a power cut at any point nothing acknowledged is lost, ${withHandler ? 'with' : 'without'} a handler`, {
    skip,
  }, async (context) => {
    const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31))
    context.diagnostic(`SEED=${seed}`)
    const random = diceOf(seed)
    const { trace, attempted } = await recorded(context, withHandler, random)
    const steps = stepsOf(readFileSync(trace))
    const toldCount = steps.filter(({ kind }) => kind === 'told').length
    assert.ok(toldCount > 500, `${toldCount} told`)
    const firstTold = steps.findIndex(({ kind }) => kind === 'told')
    const points = Array.from(
      { length: POINTS },
      () => firstTold + Math.floor(random() * (steps.length - firstTold)),
    )
    points.push(steps.length)
    points.sort((a, b) => a - b)
    const disk = new RecordedDisk()
    const told: Told[] = []
    let done = 0
    for (const [index, point] of points.entries()) {
      for (; done < point; done++) {
        const step = steps[done]!
        disk.add(step)
        if (step.kind === 'told') told.push(JSON.parse(step.data.toString()) as Told)
      }
      const remains = REMAINS[index % REMAINS.length]!
      const data = join(mkdtempSync(join(tmpdir(), 'power-cut-')), 'data')
      mkdirSync(data)
      disk.writeTo(data, remains, random)
      await judge(data, {
        told,
        attempted,
        what: `point ${point} of ${steps.length}, ${remains} of the unsynced, SEED=${seed}`,
      })
      rmSync(join(data, '..'), { recursive: true })
    }
    context.diagnostic(`${points.length} points of ${steps.length} steps, ${toldCount} told`)
  })
}

test('after a power cut at any point a journal has what was durable, all else that is 2 s old, and the time of its beginning', {
  skip,
}, async (context) => {
  const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31))
  context.diagnostic(`SEED=${seed}`)
  const random = diceOf(seed)
  const place = mkdtempSync(join(tmpdir(), 'recorded-'))
  context.after(() => rmSync(place, { recursive: true, force: true }))
  const [trace, data] = [join(place, 'trace'), join(place, 'data')]
  mkdirSync(data)
  writeFileSync(trace, '')
  const env = { LD_PRELOAD: recorderIn(place), RECORDED_DIRECTORY: data, RECORDED_TRACE: trace }
  const child = spawn(process.execPath, [JOURNAL, data, trace], { env: { ...process.env, ...env } })
  await sleep(JOURNAL_RUN_MS)
  child.kill('SIGKILL')
  const steps = stepsOf(readFileSync(trace))
  const firstTold = steps.findIndex(({ kind }) => kind === 'told')
  assert.ok(firstTold > 0, 'something was written')
  const disk = new RecordedDisk()
  const told: { id: string; text: string; isDurable: boolean; at: number }[] = []
  const every = Math.ceil((steps.length - firstTold) / JOURNAL_POINTS)
  for (const [index, step] of steps.entries()) {
    disk.add(step)
    if (step.kind === 'told') told.push(JSON.parse(step.data.toString()))
    if (index < firstTold || (index - firstTold) % every !== 0) continue
    const remains = REMAINS[((index - firstTold) / every) % REMAINS.length]!
    const left = mkdtempSync(join(tmpdir(), 'power-cut-'))
    disk.writeTo(left, remains, random)
    const found = await journalIn(left)
    const settledAt = told.at(-1)!.at - 2 * HOME_SYNC_MS
    const lost = told.filter(({ id, text, isDurable, at }) => {
      return (isDurable || at < settledAt) && found.texts.get(id) !== text
    })
    const what = `step ${index} of ${steps.length}, ${remains} of the unsynced, SEED=${seed}`
    assert.deepEqual([lost, found.damaged], [[], []], what)
    assert.ok(found.beganAt !== null && found.beganAt <= told[0]!.at, `${what}: it has no beginning`)
    rmSync(left, { recursive: true })
  }
  context.diagnostic(`${steps.length} steps, ${told.length} told`)
  assert.ok(told.filter(({ isDurable }) => !isDurable).length > 50)
})

async function journalIn(data: string) {
  const journal = openJournal({
    ...{ data, laneCount: LANES, retentionMs: 24 * 60 * 60 * 1000, maxMessageBytes: 1024 * 1024 },
    ...{ clock: systemClock, logger: createLogger('silent', {}), epochs: () => ({}) },
    onBroken: (error) => assert.fail(error as Error),
  })
  try {
    const texts = new Map<string, string>()
    for (let after = MIN_ID; ; ) {
      const page = await journal.page({ after, limit: 1000 })
      for (const { id, text } of page) texts.set(id, text)
      if (page.length === 0) return { texts, damaged: journal.damaged(), beganAt: journal.beganAt }
      after = page.at(-1)!.id
    }
  } finally {
    journal.close()
  }
}

/** Opens what a power cut left, and judges it by what the test had been told before. */
async function judge(
  data: string,
  { told, attempted, what }: { told: readonly Told[]; attempted: ReadonlySet<string>; what: string },
): Promise<void> {
  const history = new History()
  for (const text of attempted) history.attempted.add(text)
  const ids = { handled: new Set<string>(), purging: new Set<string>(), purged: new Set<string>() }
  const keys: string[] = []
  for (const one of told) {
    if (one.what === 'acknowledged') {
      history.acknowledge(one.id, one.text, one.at)
      if (one.key !== undefined) keys.push(one.key)
    } else ids[one.what].add(one.id)
  }
  const now = told.at(-1)!.at
  const found = await aftermathOf(data, {
    laneCount: LANES,
    writers: LOGGING,
    now,
    retentionMs: RETENTION_MS,
  })
  try {
    assert.deepEqual(found.damaged, [], what)
    const nothing = new Set<string>()
    const excused = { logged: nothing, delivered: nothing, repeated: nothing, purged: ids.purging }
    assert.deepEqual(check(history, found, { excused }), NOTHING_WRONG, what)
    const delivered = new Set(
      [...found.stores].flatMap(([name, items]) =>
        name.startsWith('lane') ? items.map(({ id }) => id) : [],
      ),
    )
    assert.deepEqual(
      [...ids.handled].filter((id) => !delivered.has(id)),
      [],
      `${what}: handled, and to be handled again`,
    )
    const shown = new Set([...delivered, ...found.waiting, ...found.dead!])
    assert.deepEqual(
      [...ids.purged].filter((id) => shown.has(id)),
      [],
      `${what}: purged, and back`,
    )
    for (const key of keys.slice(-3)) assert.ok(await found.knows(key), `${what}: ${key} is forgotten`)
  } finally {
    await found.close()
  }
}

/** Compiles the recorder. @returns Its path. */
function recorderIn(place: string): string {
  const recorder = join(place, 'recorder.so')
  const flags = ['-shared', '-fPIC', '-O2', '-o', recorder, RECORDER, '-ldl']
  const { status, stderr } = spawnSync('cc', flags, { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  return recorder
}

/** Runs the program under load, with kills, and records what it does. */
async function recorded(context: TestContext, withHandler: boolean, random: () => number) {
  const place = mkdtempSync(join(tmpdir(), 'recorded-'))
  context.after(() => rmSync(place, { recursive: true, force: true }))
  const [trace, data, handler] = ['trace', 'data', 'handler.mjs'].map((name) => join(place, name)) as [
    string,
    string,
    string,
  ]
  const recorder = recorderIn(place)
  mkdirSync(data)
  writeFileSync(handler, HANDLER)
  writeFileSync(trace, '')
  const flags = [
    '--lanes',
    String(LANES),
    '--logging',
    String(LOGGING),
    '--messages',
    '2',
    '--retention',
    `${RETENTION_MS / 1000}s`,
  ]
  if (withHandler) flags.push('--handler', handler, ...FIVE_ATTEMPTS)
  const env = { LD_PRELOAD: recorder, RECORDED_DIRECTORY: data, RECORDED_TRACE: trace }
  const system = await System.start(context, flags, { data, env })
  const tell = (what: Told) => appendFileSync(trace, toldStep(what))
  const attempted = new Set<string>()
  const endAt = Date.now() + RUN_MS
  let count = 0

  const client = async () => {
    while (Date.now() < endAt) {
      await sleep(random() * 2 * PAUSE_MS)
      const texts = random() < 0.1 ? Array.from({ length: 10 }, () => `text ${++count}`) : [`text ${++count}`]
      if (withHandler && random() < 0.05) texts[0] = `bad ${count}`
      if (withHandler && random() < 0.1) texts[0] = `slow ${count}`
      for (const text of texts) attempted.add(text)
      const key = random() < 0.3 ? `key-${count}` : undefined
      const response = await fetch(`${system.url}/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(key !== undefined && { 'idempotency-key': key }) },
        body: JSON.stringify(texts.length > 1 ? texts.map((text) => ({ text })) : { text: texts[0] }),
      }).catch(() => undefined)
      if (response?.status !== 201) {
        await response?.text().catch(() => {})
        continue
      }
      const receipts = [(await response.json()) as { id: string } | { id: string }[]].flat()
      for (const [index, { id }] of receipts.entries())
        tell({
          what: 'acknowledged',
          at: Date.now(),
          id,
          text: texts[index]!,
          ...(key !== undefined && { key: `${key}` }),
        })
      if (withHandler && random() < 0.2) await look(receipts[0]!.id)
    }
  }
  const look = async (id: string) => {
    const found = await system.get<{ state: string }>(`/messages/${id}?wait=1`).catch(() => undefined)
    if (found?.state === 'delivered') tell({ what: 'handled', at: Date.now(), id })
  }
  const purger = async () => {
    while (Date.now() < endAt) {
      await sleep(300)
      const { items } = await system
        .get<{ items: { id: string }[] }>('/dead?limit=3')
        .catch(() => ({ items: [] }))
      const [first, second] = items
      if (first !== undefined) {
        tell({ what: 'purging', at: Date.now(), id: first.id })
        const gone = await system.send('DELETE', `/dead/${first.id}`).then(
          () => true,
          () => false,
        )
        if (gone) tell({ what: 'purged', at: Date.now(), id: first.id })
      }
      if (second !== undefined) await system.send('POST', `/dead/${second.id}/replay`).catch(() => {})
    }
  }
  const killer = async () => {
    for (const name of ['messages-1', 'logging-1', 'logging-2']) {
      await sleep(RUN_MS / 4)
      process.kill((await system.actor(name)).pid, 'SIGKILL')
    }
  }
  await Promise.all([...Array.from({ length: CLIENTS }, client), purger(), killer()])
  system.kill('SIGKILL')
  await system.exited
  await system.workersEnded()
  return { trace, attempted }
}
