import assert from 'node:assert/strict'
import test from 'node:test'
import { Consumer } from '../../../src/actors/messages/consumer.ts'
import type { Handler } from '../../../src/actors/messages/handler.ts'
import type { HandlerRunner } from '../../../src/actors/messages/handler-runner.ts'
import { Breaker } from '../../../src/actors/messages/outage.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { Figures } from '../../../src/runtime/figures.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import {
  CLAIM_WAIT_MS,
  DELIVERY_MS,
  HANDLER_ABORT_GRACE_MS,
  HANDLER_GRACE_MS,
  OUTAGE_KNOCK_MS,
  OUTAGE_PAUSE_MAX_MS,
} from '../../../src/runtime/timings.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import { MAX_DEATHS } from '../../../src/storage/limits.ts'
import type { Backend } from '../../../src/storage/ports.ts'
import { seeded } from '../../support/actor-context.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'
import { type ChildHere, spawnHere, startRunner } from '../../support/handler-here.ts'
import { MemoryStore } from '../../support/memory-backend.ts'

const full = () => new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason: 'the disk is full' })

const POLICY = { attempts: 5, retryMinMs: 500, retryMaxMs: 60_000 }
const RETENTION_MS = 3_600_000

/** Consumers of one actor, on a backend in memory. */
class Bench {
  readonly clock = new FakeClock()
  readonly store = new MemoryStore(this.clock)
  readonly backend: Backend = this.store.open()
  readonly figures = new Figures('messages')
  readonly shown: string[] = []
  readonly settled: string[] = []
  readonly failed: string[] = []
  readonly dead: string[] = []
  readonly fatal: unknown[] = []
  /** The processes of the handler, the first one first. */
  readonly children: ChildHere[] = []
  readonly breaker = new Breaker({
    ...{
      target: 'the handler',
      clock: this.clock,
      random: seeded(3),
      actorCount: () => 1,
      actorIndex: () => 0,
    },
    waitingCount: () => this.store.lanes.reduce((sum, { inHand }) => sum + inHand.size, 0),
    onChange: () => {},
  })
  lost = 0
  readonly #runner: Promise<HandlerRunner> | null
  readonly #nextIds = idGenerator(this.clock, seeded(1))

  constructor(handler: Handler | null, slotCount = 1) {
    // No slow start.
    for (let count = 0; count < 10; count++) this.breaker.widen()
    this.#runner =
      handler &&
      startRunner(handler, {
        ...{ clock: this.clock, concurrency: slotCount, timeoutMs: 30_000 },
        spawn: spawnHere(
          (child) => (message, context) => handler(message, { ...context, ...child }),
          this.children,
        ),
      })
  }

  async add(lane: number, ...texts: string[]): Promise<string[]> {
    const ids = this.#nextIds(texts.length)
    const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
    await this.backend.log.append({ messages, lane, deadlineAt: this.clock.monotonic() + 1000 })
    this.backend.queue.wake(lane)
    return ids
  }

  async consume(lane = 0): Promise<Consumer> {
    await this.backend.queue.hold(lane)
    const { clock, backend } = this
    const consumer = new Consumer({
      ...{ lane, queue: backend.queue, clock, random: seeded(5), logger: createLogger('silent', {}) },
      ...{ runner: await this.#runner, breaker: this.breaker, policy: POLICY, retentionMs: RETENTION_MS },
      figures: this.figures,
      onDelivered: async (from, delivered) => {
        for (const { id, text } of delivered) {
          assert.ok(this.store.lanes[from]!.delivered.has(id), 'committed before it is shown')
          this.shown.push(text)
        }
      },
      onFailed: (id, error) => this.failed.push(`${id} ${error}`),
      onSettled: (ids) => this.settled.push(...ids),
      onDead: (_lane, ids) => this.dead.push(...ids),
      onLost: () => this.lost++,
      onFatal: (error) => this.fatal.push(error),
    })
    consumer.run()
    await settle()
    return consumer
  }

  /** Stops a consumer; true when that takes no more than `ms`. */
  async stops(consumer: Consumer, ms: number): Promise<boolean> {
    let stopped = false
    const stopping = consumer.stop(HANDLER_GRACE_MS).then(() => {
      stopped = true
    })
    await this.clock.advance(ms)
    const inTime = stopped
    if (inTime) await stopping
    return inTime
  }

  start(lane: number, id: string) {
    return this.store.lanes[lane]!.started.get(id)
  }
}

/** A handler; each run ends when the test resolves its gate. */
function gated() {
  const runs: { text: string; attempt: number; signal: AbortSignal; gate: PromiseWithResolvers<void> }[] = []
  let running = 0
  const handler: Handler = async ({ text = '' }, { attempt, signal }) => {
    const gate = Promise.withResolvers<void>()
    runs.push({ text, attempt, signal, gate })
    running++
    try {
      await gate.promise
    } finally {
      running--
    }
  }
  return { runs, handler, running: () => running }
}

test('without a handler pending messages are delivered, in order, and reported as settled', async () => {
  const bench = new Bench(null)
  const ids = await bench.add(0, 'a', 'b')
  await bench.consume()
  assert.deepEqual(bench.shown, ['a', 'b'])
  assert.deepEqual(bench.settled, ids)
  await bench.add(0, 'c')
  await bench.clock.advance(DELIVERY_MS - 1)
  assert.deepEqual(bench.shown, ['a', 'b'], 'delivered together with what comes in meanwhile')
  await bench.clock.advance(1)
  assert.deepEqual(bench.shown, ['a', 'b', 'c'])
})

test('what a former holder delivered late is shown with the next claim, and not handled again', async () => {
  const { runs, handler } = gated()
  const bench = new Bench(handler)
  const { queue } = bench.backend
  const [id] = (await bench.add(0, 'late')) as [string]
  const late = { id, text: 'late', deliveredAt: 1, attempts: 1 }
  bench.store.lanes[0]!.delivered.set(id, late)
  const found = [late]
  queue.deliveredByFormerHolder = (lane) => (lane === 0 ? found.splice(0) : [])
  await bench.add(0, 'a')
  await bench.consume()
  assert.deepEqual(bench.shown, ['late'])
  runs[0]!.gate.resolve()
  await settle()
  assert.deepEqual([bench.shown, runs.length], [['late', 'a'], 1])
})

test('a message whose wake-up was lost is found with the next claim', async () => {
  const bench = new Bench(null)
  await bench.consume()
  const { wake } = bench.store.lanes[0]!
  bench.store.lanes[0]!.wake = () => {}
  await bench.add(0, 'a')
  bench.store.lanes[0]!.wake = wake
  await bench.clock.advance(CLAIM_WAIT_MS)
  assert.deepEqual(bench.shown, ['a'])
})

/** A message whose start is being written, until `written` is called. */
async function startUnderWay() {
  const { runs, handler } = gated()
  const bench = new Bench(handler)
  const { promise, resolve } = Promise.withResolvers<void>()
  bench.store.before = async (call) => (call === 'start' ? promise : undefined)
  const [id] = await bench.add(0, 'a')
  const consumer = await bench.consume()
  return { bench, runs, id: id!, consumer, written: () => resolve() }
}

test('a start is counted, durably, before its handler runs', async () => {
  const { bench, runs, id, written } = await startUnderWay()
  assert.equal(runs.length, 0)
  written()
  await settle()
  assert.equal(runs[0]!.attempt, 1)
  const { starts, open } = bench.start(0, id)!
  assert.deepEqual([starts, open], [1, true])
  assert.deepEqual(bench.shown, [])
  runs[0]!.gate.resolve()
  await settle()
  assert.deepEqual(bench.shown, ['a'])
})

test('a poison message is tried five times with backoff, then it is a dead letter; the others are delivered', async () => {
  const attempts: [attempt: number, at: number][] = []
  const bench: Bench = new Bench(({ text }, { attempt }) => {
    if (text !== 'poison') return
    attempts.push([attempt, bench.clock.monotonic()])
    throw new Error(`no ${attempt}`)
  })
  const ids = await bench.add(0, 'a', 'poison', 'b')
  await bench.consume()
  assert.deepEqual(bench.shown, ['a', 'b'])
  await bench.clock.advance(POLICY.retryMaxMs)
  assert.deepEqual(
    attempts.map(([attempt]) => attempt),
    [1, 2, 3, 4, 5],
  )
  for (let index = 1; index < attempts.length; index++) {
    const pauseMs = attempts[index]![1] - attempts[index - 1]![1]
    const capMs = POLICY.retryMinMs * 2 ** (index - 1)
    assert.ok(pauseMs >= capMs / 2 && pauseMs <= capMs, `${pauseMs} of ${capMs} ms`)
  }
  const [letter] = await bench.backend.queue.dead(0, { limit: 9 })
  const { deadAt: _, ...facts } = letter!
  assert.deepEqual(facts, {
    ...{ id: ids[1], text: 'poison', reason: 'The handler failed 5 times', attempts: POLICY.attempts },
    ...{ firstError: 'Error: no 1', lastError: 'Error: no 5' },
  })
  assert.ok(bench.settled.includes(ids[1]!), 'reported as settled')
  const errors = [1, 2, 3, 4, 5].map((attempt) => `${ids[1]} Error: no ${attempt}`)
  assert.deepEqual(bench.failed, errors)
})

test('handlers of all lanes share the slots, and each message runs once', async () => {
  let running = 0
  let most = 0
  const bench = new Bench(async () => {
    most = Math.max(most, ++running)
    await new Promise(setImmediate)
    running--
  }, 3)
  const texts = (lane: number) => Array.from({ length: 200 }, (_, index) => `${lane}:${index}`)
  for (const lane of [0, 1, 2]) {
    await bench.add(lane, ...texts(lane))
    await bench.consume(lane)
  }
  while (bench.shown.length < 600) await settle()
  assert.equal(most, 3)
  assert.deepEqual([...bench.shown].sort(), [0, 1, 2].flatMap(texts).sort())
})

test('a suspect runs in a process of its own, which ends with its attempt', async () => {
  const { runs, handler, running } = gated()
  const bench = new Bench(handler, 4)
  const [id] = await bench.add(0, 'suspect')
  await bench.backend.queue.hold(0)
  await bench.backend.queue.claim(0, 1, 0)
  await bench.backend.queue.start(0, [id!])
  await bench.backend.queue.release(0)
  await bench.add(1, 'a', 'b')
  await bench.consume(1)
  await bench.consume(0)
  assert.equal(running(), 3)
  assert.deepEqual(
    bench.children.map((child) => child.isAlive()),
    [true, true],
  )
  const suspect = runs.find(({ text }) => text === 'suspect')!
  assert.equal(suspect.attempt, 2)
  suspect.gate.resolve()
  await settle()
  assert.deepEqual(bench.shown, ['suspect'])
  assert.deepEqual(
    bench.children.map((child) => child.isAlive()),
    [true, false],
  )
})

test('retries hold at most half of the slots: new messages do not wait for those that hang', async () => {
  const bench = new Bench(
    ({ text }, { signal }) =>
      text === 'hangs'
        ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
        : undefined,
    4,
  )
  await bench.add(0, 'hangs', 'hangs', 'hangs', 'hangs', 'healthy')
  await bench.consume()
  await bench.clock.advance(30_000)
  assert.deepEqual(bench.shown, ['healthy'], 'it waited for the first attempts')
  await bench.clock.advance(1000)
  for (let round = 0; round < 60; round++) {
    await bench.add(0, `healthy ${round}`)
    await bench.clock.advance(1000)
    assert.equal(bench.shown.at(-1), `healthy ${round}`)
  }
})

test('new messages are claimed, however many retries are due', async () => {
  let isBroken = true
  const { runs, handler } = gated()
  const bench = new Bench((message, context) => {
    if (isBroken) throw new Error('not yet')
    return handler(message, context)
  }, 4)
  await bench.add(0, ...Array.from({ length: 200 }, (_, index) => `fails ${index}`))
  await bench.consume()
  isBroken = false
  await bench.add(0, 'new')
  await bench.clock.advance(POLICY.retryMinMs)
  assert.ok(runs.some(({ text }) => text === 'new'))
  assert.ok(runs.some(({ text }) => text !== 'new'))
})

test('a message that ignores its signal has failed, and runs alone the next time; its neighbours are given back', async () => {
  const seen: string[] = []
  const bench = new Bench(async ({ text }, { attempt }) => {
    seen.push(`${text} ${attempt}`)
    if (text === 'hangs' || bench.children.length === 1) await new Promise(() => {})
  }, 4)
  const [hangs] = await bench.add(0, 'hangs')
  await bench.consume()
  await bench.clock.advance(20_000)
  await bench.add(0, 'mate')
  await bench.clock.advance(10_000 + HANDLER_ABORT_GRACE_MS)
  await bench.clock.advance(2 * DELIVERY_MS)
  assert.deepEqual(bench.shown, ['mate'], 'not counted, and run again at once')
  assert.deepEqual(seen, ['hangs 1', 'mate 1', 'mate 1'])
  const { starts, lastError } = bench.start(0, hangs!)!
  assert.deepEqual([starts, lastError], [1, 'Handler timeout of 30000 ms, and it ignored its signal'])
  await bench.clock.advance(POLICY.retryMinMs)
  assert.equal(bench.children.length, 3, 'the first one, another one for all, and one for it alone')
})

test('a message that kills its process is a dead letter after five attempts alone; its neighbours are not counted', async () => {
  const { runs, handler } = gated()
  const bench: Bench = new Bench((message, context) => {
    if (message.text !== 'kills') return handler(message, context)
    ;(context as unknown as ChildHere).die('killed')
    return new Promise(() => {})
  }, 4)
  const [, id] = await bench.add(0, 'mate', 'kills')
  await bench.consume()
  await bench.clock.advance(20_000)
  const [letter] = await bench.backend.queue.dead(0, { limit: 9 })
  assert.deepEqual([letter!.id, letter!.attempts, letter!.lastError], [id, MAX_DEATHS, 'killed'])
  assert.deepEqual(
    runs.map(({ attempt }) => attempt),
    [1, 1],
  )
  runs.at(-1)!.gate.resolve()
  await settle()
  assert.deepEqual(bench.shown, ['mate'])
  assert.deepEqual(bench.fatal, [])
})

/** Fails as a handler does whose target is away. */
const away = (more: object = {}) => Object.assign(new Error('refused'), { outage: true, ...more })

test('an attempt that meets an outage does not count; its message waits, and is delivered when the target is back', async () => {
  let isAway = true
  const knocks: number[] = []
  const attempts: number[] = []
  const bench: Bench = new Bench((_, { attempt }) => {
    attempts.push(attempt)
    if (!isAway) return
    knocks.push(bench.clock.monotonic())
    throw away()
  }, 8)
  const [id] = await bench.add(0, 'first')
  await bench.consume()
  const sent = 90
  for (let second = 1; second < sent; second++) {
    await bench.clock.advance(1000)
    await bench.add(0, `text ${second}`)
  }
  const place = await bench.backend.queue.find(0, id!)
  assert.deepEqual([place.attempts, place.lastError], [0, 'Error: refused'])
  assert.equal(bench.breaker.outage?.why, 'Error: refused')
  for (let index = 5; index < knocks.length; index++) {
    const pauseMs = knocks[index]! - knocks[index - 1]!
    assert.ok(pauseMs >= OUTAGE_KNOCK_MS && pauseMs <= OUTAGE_PAUSE_MAX_MS, `${pauseMs} ms`)
  }
  isAway = false
  await bench.clock.advance(30_000)
  assert.equal(bench.shown.length, sent)
  assert.ok(attempts.every((attempt) => attempt === 1))
  assert.deepEqual(await bench.backend.queue.dead(0, { limit: 9 }), [])
  assert.equal(bench.breaker.outage, null)
})

test('messages that hang beside healthy ones are no outage: each healthy one is delivered in time', async () => {
  const bench = new Bench(
    ({ text = '' }, { signal }) =>
      text.startsWith('hangs')
        ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(away())))
        : undefined,
    32,
  )
  await bench.add(0, ...Array.from({ length: 20 }, (_, index) => `hangs ${index}`))
  await bench.consume()
  for (let round = 0; round < 40; round++) {
    await bench.add(0, `healthy ${round}`)
    await bench.clock.advance(5000)
    assert.equal(bench.shown.length, round + 1)
  }
  assert.equal(bench.breaker.outage, null)
  const letters = await bench.backend.queue.dead(0, { limit: 99 })
  assert.equal(letters[0]?.reason, 'The handler failed 5 times', 'their failures are their own')
})

test('while the target is away, messages wait in their lanes: in hand is a bounded number', async () => {
  const bench = new Bench(() => Promise.reject(away()), 2)
  await bench.add(0, ...Array.from({ length: 500 }, (_, index) => `text ${index}`))
  await bench.consume()
  for (let second = 0; second < 100; second++) {
    await bench.clock.advance(1000)
    assert.ok((await bench.backend.queue.depth(0)).inHand <= 64)
  }
})

test('a lane may go while the target is away, at once, and its messages wait for the next holder', async () => {
  const { runs, handler } = gated()
  let isAway = true
  const bench = new Bench((message, context) => {
    if (isAway) throw away()
    return handler(message, context)
  }, 2)
  await bench.add(0, ...Array.from({ length: 9 }, (_, index) => `text ${index}`))
  const consumer = await bench.consume()
  assert.notEqual(bench.breaker.outage, null)
  isAway = false
  assert.ok(await bench.stops(consumer, 0))
  await bench.backend.queue.release(0)
  await bench.clock.advance(60_000)
  assert.deepEqual(runs, [], 'nothing is started any more')
  await bench.backend.queue.hold(0)
  const waiting = await bench.backend.queue.claim(0, 99, 0)
  assert.deepEqual([waiting.length, waiting.filter(({ starts }) => starts > 0)], [9, []])
})

test('a lone message that meets an outage until the retention is over is a dead letter', async () => {
  const bench = new Bench(() => Promise.reject(away()))
  const [id] = await bench.add(0, 'lone')
  await bench.consume()
  await bench.clock.advance(RETENTION_MS - 20_000)
  assert.deepEqual(await bench.backend.queue.dead(0, { limit: 9 }), [])
  await bench.clock.advance(40_000)
  const [letter] = await bench.backend.queue.dead(0, { limit: 9 })
  assert.deepEqual([letter!.id, letter!.reason, letter!.lastError], [id, 'outage', 'Error: refused'])
  assert.ok(bench.settled.includes(id!))
  await bench.backend.queue.replay(0, [id!])
  await bench.clock.advance(RETENTION_MS - 20_000)
  assert.deepEqual(await bench.backend.queue.dead(0, { limit: 9 }), [], 'a replay gives it that time anew')
  await bench.clock.advance(40_000)
  assert.equal((await bench.backend.queue.dead(0, { limit: 9 })).length, 1)
})

test('an error that says so makes a dead letter at once, of an outage too', async () => {
  const bench = new Bench(({ text }) =>
    Promise.reject(
      text === 'a' ? Object.assign(new Error('gone'), { retry: false }) : away({ retry: false }),
    ),
  )
  await bench.add(0, 'a', 'b')
  await bench.consume()
  const letters = await bench.backend.queue.dead(0, { limit: 9 })
  assert.deepEqual(
    letters.map(({ reason, attempts, lastError }) => [reason, attempts, lastError]),
    ['gone', 'refused'].map((text) => ['The handler asked for no other attempt', 1, `Error: ${text}`]),
  )
})

test('an error that says when is tried again then, at the longest pause at most', async () => {
  const bench = new Bench(({ text }) =>
    Promise.reject(Object.assign(new Error('later'), { retryAfter: text === 'a' ? 30 : 3600 })),
  )
  const [a, b] = await bench.add(0, 'a', 'b')
  await bench.consume()
  assert.deepEqual(
    [a, b].map((id) => bench.start(0, id!)!.dueAt),
    [30_000, POLICY.retryMaxMs],
  )
})

test('a handler over its timeout is retried', async () => {
  const bench = new Bench(
    (_, { signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  )
  const [id] = await bench.add(0, 'a')
  await bench.consume()
  await bench.clock.advance(30_000)
  const { starts, open, lastError } = bench.start(0, id!)!
  assert.deepEqual([starts, open, lastError], [1, false, 'Handler timeout of 30000 ms'])
})

test('a stop lets handlers end within the grace period, and starts none', async () => {
  const { runs, handler } = gated()
  const bench = new Bench(handler)
  await bench.add(0, 'a', 'b')
  const consumer = await bench.consume()
  assert.equal(await bench.stops(consumer, HANDLER_GRACE_MS - 1), false)
  assert.equal(runs[0]!.signal.aborted, false)
  runs[0]!.gate.resolve()
  await bench.clock.advance(CLAIM_WAIT_MS)
  assert.deepEqual(bench.shown, ['a'])
  assert.equal(runs.length, 1)
  await bench.backend.queue.release(0)
  await bench.backend.queue.hold(0)
  const [waiting] = await bench.backend.queue.claim(0, 9, 0)
  assert.deepEqual([waiting!.text, waiting!.starts], ['b', 0])
})

test('a start that a stop aborts is given back: due now, not counted', async () => {
  const bench = new Bench(
    (_, { signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  )
  const [id] = await bench.add(0, 'a')
  assert.ok(await bench.stops(await bench.consume(), HANDLER_GRACE_MS))
  const { starts, open, dueAt } = bench.start(0, id!)!
  assert.deepEqual([starts, open, dueAt], [0, false, 0])
  assert.deepEqual(bench.fatal, [])
})

test('a handler that ignores the abort of a stop is given back, and its process is ended', async () => {
  const bench = new Bench(() => new Promise(() => {}))
  const [id] = await bench.add(0, 'a')
  assert.ok(await bench.stops(await bench.consume(), HANDLER_GRACE_MS + HANDLER_ABORT_GRACE_MS))
  assert.equal(bench.start(0, id!)!.starts, 0)
  assert.equal(bench.children[0]!.isAlive(), false)
})

test('a stop does not wait for other lanes’ handlers', async () => {
  const { runs, handler } = gated()
  const bench = new Bench(handler)
  await bench.add(0, 'slow')
  await bench.consume(0)
  await bench.add(1, 'waits for a slot')
  const second = await bench.consume(1)
  assert.equal(runs.length, 1)
  assert.ok(await bench.stops(second, CLAIM_WAIT_MS))
  runs[0]!.gate.resolve()
  await settle()
  assert.deepEqual(
    runs.map(({ text }) => text),
    ['slow'],
    'its message is not begun by this holder any more',
  )
})

test('a stop works while the most messages are in hand', async () => {
  const { runs, handler } = gated()
  const bench = new Bench(handler)
  await bench.add(0, ...Array.from({ length: 100 }, (_, index) => String(index)))
  const consumer = await bench.consume()
  const stopping = consumer.stop(HANDLER_GRACE_MS)
  runs[0]!.gate.resolve()
  await bench.clock.advance(CLAIM_WAIT_MS)
  await stopping
  assert.equal(runs.length, 1)
})

test('a start that became durable after the stop is given back, its handler not begun', async () => {
  const { bench, runs, id, consumer, written } = await startUnderWay()
  const stopping = consumer.stop(HANDLER_GRACE_MS)
  written()
  await bench.clock.advance(CLAIM_WAIT_MS)
  await stopping
  assert.equal(runs.length, 0)
  assert.deepEqual([bench.start(0, id)!.starts, bench.start(0, id)!.open], [0, false])
})

test('a start that became durable after a pause is given back, its handler not begun until the pause is over', async () => {
  const { bench, runs, id, written } = await startUnderWay()
  bench.breaker.setPaused(true)
  written()
  await bench.clock.advance(CLAIM_WAIT_MS)
  assert.equal(runs.length, 0)
  assert.deepEqual([bench.start(0, id)!.starts, bench.start(0, id)!.open], [0, false])
  bench.breaker.setPaused(false)
  await bench.clock.advance(DELIVERY_MS)
  assert.deepEqual(
    runs.map(({ attempt }) => attempt),
    [1],
  )
})

for (const call of ['claim', 'start', 'settle']) {
  test(`while ${call} is unavailable it is retried, nothing is shown, and the consumer continues afterwards`, async () => {
    const bench = new Bench(async () => {})
    let refused = 0
    bench.store.before = (name) => {
      if (name === call && refused++ < 8) throw full()
    }
    await bench.add(0, 'a')
    await bench.consume()
    await bench.clock.advance(1500)
    assert.deepEqual(bench.shown, [])
    await bench.clock.advance(1000)
    assert.deepEqual(bench.shown, ['a'])
    assert.deepEqual(bench.fatal, [])
  })

  test(`a stop while ${call} is unavailable ends, and nothing is lost`, async () => {
    for (const handler of [null, async () => {}]) {
      const bench = new Bench(handler)
      let away = true
      bench.store.before = (name) => {
        if (name === call && away) throw full()
      }
      await bench.add(0, 'a')
      const consumer = await bench.consume()
      assert.ok(await bench.stops(consumer, HANDLER_GRACE_MS + HANDLER_ABORT_GRACE_MS))
      assert.deepEqual(bench.fatal, [])
      if (bench.shown.length > 0) continue // Without a handler nothing is started.
      away = false
      await bench.backend.queue.release(0)
      await bench.backend.queue.hold(0)
      assert.equal((await bench.backend.queue.claim(0, 9, 0))[0]?.text, 'a')
    }
  })
}

test('a bug of the queue is reported as fatal, once', async () => {
  const bench = new Bench(null)
  bench.store.before = (call) => {
    if (call === 'settle') throw new TypeError('a bug')
  }
  await bench.add(0, 'a')
  await bench.consume()
  await bench.clock.advance(5000)
  assert.deepEqual(bench.fatal.map(String), ['TypeError: a bug'])
})

test('a lost lane is reported once, and is no failure of the worker', async () => {
  const { runs, handler } = gated()
  const bench = new Bench(handler)
  await bench.add(0, 'a')
  const consumer = await bench.consume()
  bench.store.lanes[0]!.holder = undefined
  await bench.clock.advance(CLAIM_WAIT_MS)
  assert.deepEqual([bench.lost, bench.fatal], [1, []])
  // The handler ends after the lane was lost: its end must not be recorded.
  runs[0]!.gate.resolve()
  await settle()
  await consumer.stop(0)
  assert.deepEqual(bench.fatal, [])
})

test('a consumer of a lost lane changes nothing for the lane’s next holder', async () => {
  const { runs, handler } = gated()
  const bench = new Bench(handler)
  const [id] = await bench.add(0, 'a')
  const consumer = await bench.consume()
  await bench.backend.queue.release(0)
  consumer.abandon()
  await bench.backend.queue.hold(0)
  const [again] = await bench.backend.queue.claim(0, 1, 0)
  assert.equal(again!.id, id)
  runs[0]!.gate.resolve()
  await bench.clock.advance(2000)
  await bench.backend.queue.start(0, [id!])
  assert.deepEqual([bench.settled, bench.fatal], [[], []])
})
