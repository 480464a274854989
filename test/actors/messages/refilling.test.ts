/** What a messages actor waits for, whom it asks, and when it takes a lane for whole. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Refilling } from '../../../src/actors/messages/refilling.ts'
import type { Logging, Messages } from '../../../src/actors/protocol.ts'
import type { JournalReport } from '../../../src/runtime/losses.ts'
import { REDRIVE_AGE_MS, REFILL_CHECK_MS, REFILL_WAIT_MS } from '../../../src/runtime/timings.ts'
import { idAt, idAtPlace, MIN_ID } from '../../../src/storage/ids.ts'
import type { Refill } from '../../../src/storage/journal.ts'
import type { Logged, Range } from '../../../src/storage/ports.ts'
import type { JournaledKey, Outcomes } from '../../../src/storage/records.ts'
import { DirectPeers, entryOf, testContext } from '../../support/actor-context.ts'
import { MemoryJournal } from '../../support/memory-journal.ts'

const LANES = [0, 2]
const BEGAN_AT = Date.UTC(2026, 0, 1)

function report(id: string, more: Partial<JournalReport> = {}): JournalReport {
  return {
    id,
    beganAt: BEGAN_AT,
    beganIn: {},
    wholeIn: 'epoch',
    putBackIn: null,
    since: null,
    done: 0,
    total: 9,
    absent: [],
    ...more,
  }
}

/** A messages actor that holds two of four lanes, both of which lack something. */
class Bench {
  readonly context = testContext({ name: 'messages-1' })
  readonly clock = this.context.clock
  readonly journal = new MemoryJournal('own', BEGAN_AT)
  readonly asked: string[] = []
  readonly put: { lane: number; ids: string[]; delivered: string[] }[] = []
  readonly finished: number[] = []
  readonly refilling: Refilling
  readonly refilled: number[] = []
  readonly log: Logged[] = []
  /** Keys that were made known, and those of each logging actor's journal. */
  readonly keys: string[] = []
  journaledKeys: Record<string, JournaledKey[]> = {}
  /** Called before each page of the log. */
  beforePage = () => {}
  logs: Record<string, JournalReport> = { 'logging-1': report('log') }
  others: Record<string, JournalReport> = { 'messages-1': report('own') }
  /** Of the journal of each messages actor. */
  records: Record<string, Logged[]> = {}

  constructor() {
    const peers = new DirectPeers()
    for (const name of ['messages-1', 'messages-2', 'messages-3']) {
      const records: Messages['records'] = async ({ after }) => {
        this.asked.push(name)
        return (this.records[name] ?? []).filter(({ id }) => id > after)
      }
      peers.actors.set(name, { records })
    }
    for (const name of ['logging-1', 'logging-2', 'logging-3']) {
      const keys: Logging['keys'] = async ({ after }) => {
        this.asked.push(name)
        const own = (this.journaledKeys[name] ?? []).filter(({ batchKey }) => batchKey > after)
        const first = own[0]?.batchKey ?? (after === MIN_ID ? idAt(BEGAN_AT) : null)
        return { keys: own, first, last: own.at(-1)?.batchKey ?? null }
      }
      peers.actors.set(name, { keys })
    }
    const lacking = new Set(LANES)
    const refill: Refill = {
      journal: this.journal,
      lacking: async () => new Map([...lacking].map((lane) => [lane, `stands ${lane}`])),
      put: async (lane, messages, outcomes) => {
        const ids = messages.map(({ id }) => id)
        this.put.push({ lane, ids, delivered: ids.filter((id) => isDelivered(outcomes, id)) })
      },
      putKeys: async (keys) => {
        this.keys.push(...keys.map(({ value }) => value))
      },
      finish: async (lane) => {
        this.finished.push(lane)
        return lacking.delete(lane)
      },
      isLacking: (lane) => lacking.has(lane),
    }
    const page = async ({ after, before = '~', limit }: Range) => {
      if (after === undefined) return this.log.slice(-1)
      this.beforePage()
      return this.log.filter(({ id }) => id > after && id < before).slice(0, limit)
    }
    const logging: Pick<Logging, 'page'> = { page }
    const onRefilled = async (lane: number) => void this.refilled.push(lane)
    this.refilling = new Refilling({
      context: this.context,
      refill,
      peers,
      logging,
      lanes: () => LANES,
      onRefilled,
    })
  }

  /** A message of the log, posted so long ago. */
  logged(lane: number, agoMs: number): string {
    const id = idAtPlace(idAt(this.clock.now() - agoMs), 1)
    this.log.push({ id, lane, text: 'a' })
    this.log.sort((a, b) => (a.id < b.id ? -1 : 1))
    return id
  }

  async pass(ms: number): Promise<void> {
    const entries = [...Object.entries(this.logs), ...Object.entries(this.others)]
    this.context.directory.set(...entries.map(([name, journal]) => entryOf(name, { journal })))
    await this.clock.advance(ms)
  }
}

function isDelivered(outcomes: Outcomes, id: string): boolean {
  return outcomes.of(id)?.is === 'delivered'
}

const ROUND_MS = REFILL_CHECK_MS + REDRIVE_AGE_MS

test('its own lanes are put back from the whole log, with the records of all journals; each journal is asked once', async () => {
  const bench = new Bench()
  bench.logs = { 'logging-1': report('log', { total: 0 }), 'logging-2': report('log') }
  const [mine, foreign, young] = [
    bench.logged(0, -60_000),
    bench.logged(1, -60_001),
    bench.logged(2, -119_000),
  ]
  bench.others = {
    ...{ 'messages-1': report('own'), 'messages-2': report('own'), 'messages-3': report('far') },
  }
  const text = JSON.stringify([{ id: mine, is: 'delivered', count: 1, at: 5, attempts: 1 }])
  bench.records = { 'messages-3': [{ id: idAtPlace(idAt(BEGAN_AT), 1), lane: 0, text }] }
  await bench.clock.advance(120_000)
  await bench.pass(ROUND_MS)
  assert.deepEqual(new Set(bench.asked), new Set(['messages-1', 'messages-3', 'logging-1']))
  const full = bench.put.filter(({ ids }) => ids.length > 0)
  assert.deepEqual(full, [
    { lane: 0, ids: [mine], delivered: [mine] },
    { lane: 2, ids: [young], delivered: [] },
  ])
  assert.ok(!JSON.stringify(bench.put).includes(foreign))
  assert.deepEqual([bench.finished, bench.refilled], [LANES, LANES])
  const { done, total, wholeIn } = bench.refilling.report()
  assert.deepEqual([done, total, wholeIn], [3, 9, ''])
})

test('keys of its lanes are made known from each journal of the log', async () => {
  const bench = new Bench()
  const key = (value: string, lane: number): JournaledKey => ({
    ...{ value, hash: 'h', lane, count: 1, batchKey: idAt(BEGAN_AT + lane) },
  })
  bench.logs = { 'logging-1': report('log'), 'logging-2': report('log'), 'logging-3': report('far') }
  bench.journaledKeys = {
    ...{ 'logging-1': [key('a', 0), key('foreign', 1)], 'logging-2': [key('a', 0)] },
    'logging-3': [key('c', 2)],
  }
  await bench.pass(ROUND_MS)
  assert.deepEqual(bench.keys, ['a', 'c'])
})

test('while a journal of the log is put back, lanes wait', async () => {
  const bench = new Bench()
  bench.logs = { 'logging-1': report('log'), 'logging-2': report('other', { wholeIn: null }) }
  await bench.pass(10 * ROUND_MS)
  assert.deepEqual([bench.asked, bench.finished], [[], []])
  bench.logs['logging-2'] = report('other')
  await bench.pass(ROUND_MS)
  assert.deepEqual(bench.finished, LANES)
})

test('a log that came back empty while it was read makes no lane whole', async () => {
  const bench = new Bench()
  await bench.clock.advance(60_000)
  bench.logged(0, 30_000)
  bench.beforePage = () => {
    bench.context.directory.set(
      entryOf('logging-1', { journal: report('log', { wholeIn: 'another' }) }),
      entryOf('messages-1', { journal: report('own') }),
    )
  }
  await bench.pass(ROUND_MS)
  assert.deepEqual(bench.finished, [])
  bench.beforePage = () => {}
  await bench.clock.advance(ROUND_MS)
  assert.deepEqual(bench.finished, LANES)
})

test('a journal that any node knows, and that is not there, is waited for; not for ever', async () => {
  const bench = new Bench()
  bench.others = {
    'messages-1': report('own'),
    'messages-2': report('far', { absent: [{ id: 'away', node: 'node-b' }] }),
  }
  await bench.pass(REFILL_WAIT_MS - ROUND_MS)
  assert.deepEqual(bench.asked, [])
  await bench.pass(2 * ROUND_MS)
  assert.deepEqual(bench.finished, LANES)
})

test('it is not waited for once it is there', async () => {
  const bench = new Bench()
  bench.journal.seen([{ id: 'away', node: 'node-b' }])
  bench.others = { 'messages-1': report('own', { absent: bench.journal.others() }) }
  await bench.pass(2 * ROUND_MS)
  assert.equal(bench.asked.length, 0)
  bench.others = { 'messages-1': report('own'), 'messages-2': report('away') }
  await bench.pass(ROUND_MS)
  assert.deepEqual(bench.finished, LANES)
  assert.ok(bench.asked.includes('messages-2'))
})

test('an actor that restarts is waited for, with what only its journal has', async () => {
  const bench = new Bench()
  bench.others = { 'messages-1': report('own'), 'messages-2': report('far', { beganAt: null }) }
  await bench.pass(0)
  const own = entryOf('messages-1', { journal: report('own') })
  const log = entryOf('logging-1', { journal: report('log') })
  const restarting = entryOf('messages-2', { journal: report('far'), state: 'restarting' })
  bench.context.directory.set(log, own, restarting)
  await bench.clock.advance(2 * ROUND_MS)
  assert.equal(bench.asked.length, 0)
  bench.others['messages-2'] = report('far')
  await bench.pass(ROUND_MS)
  assert.deepEqual(bench.finished, LANES)
  assert.ok(bench.asked.includes('messages-2'))
})

test('what a node with another clock has posted is put back as well; what is posted meanwhile is left alone', async () => {
  const bench = new Bench()
  await bench.clock.advance(120_000)
  const [behind, ahead] = [bench.logged(0, 110_000), bench.logged(0, -3_600_000)]
  let pages = 0
  bench.beforePage = () => {
    if (++pages === 3) bench.logged(0, -3_500_000) // The second look begins.
  }
  const key = { value: 'a', hash: 'h', lane: 0, count: 1, batchKey: behind }
  bench.journaledKeys = { 'logging-1': [key] }
  await bench.pass(2 * ROUND_MS)
  assert.deepEqual(bench.finished, LANES)
  assert.deepEqual(
    bench.put.flatMap(({ ids }) => ids),
    [behind, ahead],
  )
})
