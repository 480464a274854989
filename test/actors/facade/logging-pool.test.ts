import assert from 'node:assert/strict'
import test from 'node:test'
import { LoggingPool } from '../../../src/actors/facade/logging-pool.ts'
import type { Logging } from '../../../src/actors/protocol.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import {
  APPEND_ATTEMPT_MS,
  APPEND_PROBE_MS,
  PASS_OVER_MS,
  POST_DEADLINE_MS,
} from '../../../src/runtime/timings.ts'
import type { LaneBatch, Receipt } from '../../../src/storage/ports.ts'
import { DirectPeers, entryOf, lost, testContext } from '../../support/actor-context.ts'
import { settle } from '../../support/fake-clock.ts'

const RECEIPTS: Receipt[] = [{ id: '01HZX3V4Q8K9T2W5R7Y6B0C101', replayed: false }]
const full = () =>
  new MailroomError('MR_MAILBOX_FULL', { mailbox: 'm', depth: 1, capacity: 1, unit: 'messages' })
const never = () => new Promise<never>(() => {})

/** A pool of `count` logging actors; `answers` has what an append to each returns. */
function open(count: number) {
  const context = testContext()
  const names = Array.from({ length: count }, (_, index) => `logging-${index + 1}`)
  context.directory.set(...names.map((name) => entryOf(name)))
  const peers = new DirectPeers()
  const asked: string[] = []
  const lefts: (number | null)[] = []
  const answers = new Map<string, () => Promise<Receipt[]>>()
  for (const name of names) {
    const append: Logging['append'] = (_batch, leftMs) => {
      asked.push(name)
      lefts.push(leftMs)
      return answers.get(name)?.() ?? Promise.resolve(RECEIPTS)
    }
    peers.actors.set(name, { append, page: async () => [] })
  }
  const timeouts: number[] = []
  const logging = peers.logging.bind(peers)
  peers.logging = (address: string, timeoutMs?: number) => {
    timeouts.push(timeoutMs!)
    return logging(address)
  }
  const pool = new LoggingPool(context, peers)
  const batch = (more: Partial<LaneBatch> = {}): LaneBatch => ({
    ...{ messages: [], lane: 0, deadlineAt: context.clock.monotonic() + POST_DEADLINE_MS },
    ...more,
  })
  /** Appends. The object gets `receipts` or `error` when the call ends. */
  const append = (more?: Partial<LaneBatch>) => {
    const call: { receipts?: Receipt[]; error?: MailroomError } = {}
    pool.append(batch(more)).then(
      (receipts) => Object.assign(call, { receipts }),
      (error) => Object.assign(call, { error }),
    )
    return call
  }
  const all = (answer: () => Promise<Receipt[]>) => {
    for (const name of names) answers.set(name, answer)
  }
  return { context, peers, pool, asked, lefts, answers, all, append, timeouts, batch }
}

const KEY = { value: 'key-0123456789abcdef', hash: 'h' }

test('any ready logging actor appends; the others are not asked', async () => {
  const { context, asked, append } = open(3)
  context.directory.set(
    entryOf('logging-1', { state: 'draining' }),
    entryOf('logging-2'),
    entryOf('logging-3', { state: 'restarting', address: null }),
  )
  const calls = Array.from({ length: 10 }, () => append())
  await settle()
  assert.ok(calls.every(({ receipts }) => receipts === RECEIPTS))
  assert.deepEqual([...new Set(asked)], ['logging-2'])
})

test('a lost logging actor costs one failover, and is avoided then', async () => {
  const { answers, asked, append } = open(2)
  answers.set('logging-1', () => Promise.reject(lost('logging-1', 'unknown')))
  for (let round = 0; round < 20; round++) {
    const call = append()
    await settle()
    assert.equal(call.receipts, RECEIPTS)
  }
  assert.equal(asked.filter((name) => name === 'logging-1').length, 1)
})

test('when all are unreachable, the call retries with pauses until its deadline', async () => {
  for (const outcome of ['none', 'unknown'] as const) {
    const { all, asked, append, context } = open(3)
    all(() => Promise.reject(lost('it', outcome)))
    const call = append()
    await context.clock.advance(POST_DEADLINE_MS - 1)
    assert.deepEqual(call, {})
    await context.clock.advance(POST_DEADLINE_MS)
    assert.equal(call.error!.outcome, outcome)
    assert.equal(call.error!.code, outcome === 'none' ? 'MR_PEER_LOST' : 'MR_DEADLINE_EXPIRED')
    assert.ok(asked.length > 30 && asked.length < 1000, `${asked.length} calls`)
  }
})

test('a call waits for a logging actor that is restarting', async () => {
  const { context, append } = open(1)
  context.directory.set(entryOf('logging-1', { state: 'restarting', address: null }))
  const call = append()
  await context.clock.advance(1000)
  assert.deepEqual(call, {})
  context.directory.set(entryOf('logging-1'))
  await context.clock.advance(100)
  assert.equal(call.receipts, RECEIPTS)
})

test('without a logging actor that runs or restarts, a call fails at once', async () => {
  for (const entries of [[], [entryOf('logging-1', { state: 'failed', address: null })]]) {
    const { context, append } = open(1)
    context.directory.set(...entries)
    const call = append()
    await settle()
    assert.deepEqual([call.error!.code, call.error!.outcome], ['MR_STORE_UNAVAILABLE', 'none'])
  }
})

test('a batch with a key goes to logging-1 only, and waits for it', async () => {
  const { answers, asked, append, context } = open(3)
  answers.set('logging-1', () => Promise.reject(lost('logging-1', 'none')))
  const call = append({ key: KEY })
  await context.clock.advance(1000)
  assert.deepEqual(call, {})
  answers.delete('logging-1')
  await context.clock.advance(100)
  assert.equal(call.receipts, RECEIPTS)
  assert.deepEqual([...new Set(asked)], ['logging-1'])
})

test('an actor that refused is not asked again; when all refused, the pool refuses at once', async () => {
  const { answers, all, asked, append } = open(3)
  answers.set('logging-2', () => Promise.reject(full()))
  const calls = Array.from({ length: 20 }, () => append())
  await settle()
  assert.ok(calls.every(({ receipts }) => receipts === RECEIPTS))
  all(() => Promise.reject(full()))
  asked.length = 0
  const call = append()
  await settle()
  assert.deepEqual([call.error!.code, call.error!.outcome], ['MR_MAILBOX_FULL', 'none'])
  assert.deepEqual(asked.sort(), ['logging-1', 'logging-2', 'logging-3'])
})

test('an error after an attempt with unknown outcome has an unknown outcome', async () => {
  const wrong = new MailroomError('MR_KEY_REUSED', { key: 'a-key-of-16-chars' })
  for (const [error, code] of [
    [full(), 'MR_MAILBOX_FULL'],
    [wrong, 'MR_KEY_REUSED'],
  ] as const) {
    const { all, append, asked } = open(2)
    all(() => Promise.reject(asked.length === 1 ? lost('it', 'unknown') : error))
    const call = append()
    await settle()
    assert.deepEqual([call.error!.code, call.error!.outcome], [code, 'unknown'])
  }
})

test('an error that is not retryable is passed on unchanged', async () => {
  const { all, append, asked } = open(3)
  all(() => Promise.reject(new MailroomError('MR_KEY_REUSED', { key: 'k' })))
  const call = append({ key: KEY })
  await settle()
  assert.deepEqual([call.error!.code, call.error!.outcome, asked.length], ['MR_KEY_REUSED', 'none', 1])
  all(() => Promise.reject(new TypeError('a bug')))
  const bug = append()
  await settle()
  assert.ok((bug.error as unknown) instanceof TypeError)
})

test('past its deadline no actor is asked: nothing was stored', async () => {
  const { append, asked, context } = open(2)
  const call = append({ deadlineAt: context.clock.monotonic() })
  await settle()
  assert.deepEqual([call.error!.code, call.error!.outcome], ['MR_DEADLINE_EXPIRED', 'none'])
  assert.deepEqual(asked, [])
})

test('an attempt has its share of the deadline, or what is left of it', async () => {
  const { append, timeouts, all, context } = open(2)
  all(never)
  append()
  append({ deadlineAt: context.clock.monotonic() + 300 })
  await settle()
  assert.deepEqual(timeouts, [APPEND_ATTEMPT_MS, 300])
})

test('a logging actor that failed is probed for a short time while another is well, for a whole attempt when none is', async () => {
  const { context, answers, append, asked, timeouts } = open(2)
  append()
  await settle()
  const preferred = asked[0]!
  const other = preferred === 'logging-1' ? 'logging-2' : 'logging-1'
  answers.set(other, () => Promise.reject(lost(other, 'unknown')))
  while (!asked.includes(other)) {
    append()
    await settle()
  }
  await context.clock.advance(PASS_OVER_MS)
  asked.length = timeouts.length = 0
  while (!asked.includes(other)) {
    append()
    await settle()
  }
  assert.equal(timeouts[asked.indexOf(other)], APPEND_PROBE_MS)
  assert.equal(timeouts[asked.indexOf(preferred)], APPEND_ATTEMPT_MS)
  context.directory.set(entryOf(other))
  asked.length = timeouts.length = 0
  append()
  await settle()
  assert.equal(timeouts[0], APPEND_ATTEMPT_MS)
})

test('reads fail over as appends do', async () => {
  const { pool, peers, context } = open(2)
  const away: Partial<Logging> = {
    page: () => Promise.reject(lost('logging-1', 'unknown')),
    get: () => Promise.reject(lost('logging-1', 'unknown')),
  }
  const there: Partial<Logging> = { page: async () => [], get: async () => undefined }
  peers.actors.set('logging-1', away).set('logging-2', there)
  for (let round = 0; round < 5; round++) {
    const reads = Promise.all([pool.page({ limit: 1 }), pool.get('x')])
    await context.clock.advance(100)
    assert.deepEqual(await reads, [[], undefined])
  }
})

test('a call to another node carries the time left, as its monotonic clock has its own zero', async () => {
  const { context, append, lefts } = open(1)
  append()
  await settle()
  context.directory.set(entryOf('logging-1', { node: 'there' }))
  append()
  await settle()
  assert.deepEqual(lefts, [null, POST_DEADLINE_MS])
})
