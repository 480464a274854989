import assert from 'node:assert/strict'
import test from 'node:test'
import { Breaker, type Pass } from '../../../src/actors/messages/outage.ts'
import type { Outage } from '../../../src/runtime/cluster/directory.ts'
import { OUTAGE_KNOCK_MS } from '../../../src/runtime/timings.ts'
import { seeded } from '../../support/actor-context.ts'
import { FakeClock, settle } from '../../support/fake-clock.ts'

const FOREVER = new AbortController().signal
const WHY = 'Error: connect ECONNREFUSED'

/** A breaker without jitter, and messages that wait for it. */
class Bench {
  readonly clock = new FakeClock()
  actors = 1
  index = 0
  waits = 100
  readonly told: string[] = []
  readonly breaker = new Breaker({
    ...{ target: 'http://there/', clock: this.clock, random: () => 1 },
    actorCount: () => this.actors,
    actorIndex: () => this.index,
    waitingCount: () => this.waits,
    onChange: (_, lastedMs) => {
      this.told.push(lastedMs === undefined ? 'away' : `back after ${lastedMs} ms`)
    },
  })
  /** Those that were let through and have not ended, in that order. */
  readonly running: Pass[] = []

  /** No slow start any more. */
  warm(): this {
    for (let count = 0; count < 10; count++) this.breaker.widen()
    return this
  }

  /** Messages that want to start. */
  async ask(...ids: string[]): Promise<void> {
    for (const id of ids) void this.#enter(id, false)
    await settle()
  }

  async askAgain(...ids: string[]): Promise<void> {
    for (const id of ids) void this.#enter(id, true)
    await settle()
  }

  async #enter(id: string, isRetry: boolean): Promise<void> {
    const pass = await this.breaker.admit(id, isRetry, FOREVER)
    pass!.begin()
    this.running.push(pass!)
  }

  ids(): string[] {
    return this.running.map(({ id }) => id)
  }

  /** @returns As `Pass.metOutage`. */
  async fails(id: string, askedMs?: number): Promise<number | undefined> {
    const pass = this.#take(id)
    const delayMs = pass.metOutage(WHY, askedMs)
    pass.end()
    await settle()
    return delayMs
  }

  async failsItself(id: string): Promise<void> {
    const pass = this.#take(id)
    pass.failed()
    pass.end()
    await settle()
  }

  async succeeds(id: string): Promise<void> {
    const pass = this.#take(id)
    pass.succeeded()
    pass.end()
    await settle()
  }

  /** Five failures of three messages. */
  async opens(): Promise<void> {
    for (const id of ['x1', 'x2', 'x3', 'x1', 'x2']) {
      await this.ask(id)
      await this.fails(id)
    }
    assert.deepEqual(this.told, ['away'])
  }

  /** The next probe. @returns Its message, and after how many ms it came. */
  async probe(): Promise<[id: string, afterMs: number]> {
    const [from, before] = [this.clock.monotonic(), this.running.length]
    while (this.running.length === before) await this.clock.advance(100)
    return [this.ids().at(-1)!, Math.round((this.clock.monotonic() - from) / 100) * 100]
  }

  #take(id: string): Pass {
    const index = this.running.findIndex((pass) => pass.id === id)
    assert.ok(index >= 0, `${id} runs`)
    return this.running.splice(index, 1)[0]!
  }
}

test('the first start is alone; each that ends without an outage doubles how many run at once', async () => {
  const bench = new Bench()
  const ids = Array.from({ length: 8 }, (_, index) => `m${index}`)
  await bench.ask(...ids)
  assert.deepEqual(bench.ids(), ['m0'])
  await bench.succeeds('m0')
  assert.deepEqual(bench.ids(), ['m1', 'm2'])
  bench.running[0]!.failed()
  bench.running.shift()!.end()
  await settle()
  assert.deepEqual(bench.ids(), ['m2', 'm3', 'm4', 'm5'])
})

test('a slow start is not held up by messages that hang: within seconds all may run', async () => {
  const bench = new Bench()
  await bench.ask(...Array.from({ length: 20 }, (_, index) => `hangs ${String(index).padStart(2, '0')}`))
  await bench.clock.advance(4000)
  assert.equal(bench.running.length, 20)
  await bench.ask('healthy')
  assert.equal(bench.ids().at(-1), 'healthy')
})

test('in a slow start the oldest come first, new ones every second time', async () => {
  const bench = new Bench()
  await bench.ask('z first')
  await bench.askAgain('b', 'a')
  await bench.ask('d', 'c')
  await bench.succeeds('z first')
  assert.deepEqual(bench.ids(), ['a', 'c'])
  await bench.succeeds('a')
  assert.deepEqual(bench.ids(), ['c', 'b', 'd'])
})

test('five failures in a row of three messages are an outage, of two they are none', async () => {
  const bench = new Bench().warm()
  for (const id of ['a', 'b', 'a', 'b', 'a', 'b', 'a']) {
    await bench.ask(id)
    assert.notEqual(await bench.fails(id), undefined)
  }
  assert.equal(bench.breaker.outage, null)
  const since = bench.clock.now()
  await bench.clock.advance(500)
  await bench.ask('c')
  await bench.fails('c')
  const nextProbeAt = bench.clock.now() + OUTAGE_KNOCK_MS
  assert.deepEqual(bench.breaker.outage, { target: 'http://there/', since, why: WHY, nextProbeAt })
  bench.breaker.setPaused(true)
  assert.equal((bench.breaker.outage as Outage | null)?.nextProbeAt, null)
  assert.deepEqual(bench.told, ['away'])
})

test('five failures of all that wait are an outage, of one message too', async () => {
  const bench = new Bench().warm()
  bench.waits = 1
  const delays: (number | undefined)[] = []
  for (let count = 0; count < 5; count++) {
    await bench.ask('lone')
    delays.push(await bench.fails('lone'))
  }
  assert.deepEqual(delays, [OUTAGE_KNOCK_MS, 2000, 4000, 8000, OUTAGE_KNOCK_MS])
  assert.notEqual(bench.breaker.outage, null)
})

test('a success in between begins the row anew', async () => {
  const bench = new Bench().warm()
  for (const id of ['a', 'b', 'c', 'd', 'ok', 'e', 'f', 'g', 'h']) {
    await bench.ask(id)
    if (id === 'ok') await bench.succeeds(id)
    else await bench.fails(id)
  }
  assert.equal(bench.breaker.outage, null)
})

test('what a message met before it failed by its own fault is forgotten: it may never start again', async () => {
  const bench = new Bench().warm()
  const pauses: (number | undefined)[] = []
  for (const isOwn of [false, false, true, false]) {
    await bench.ask('a')
    if (isOwn) await bench.failsItself('a')
    else pauses.push(await bench.fails('a'))
  }
  assert.ok(pauses[1]! > pauses[0]!)
  assert.equal(pauses[2], pauses[0])
})

test('a failure is the message’s own when a start that began later has succeeded', async () => {
  const bench = new Bench().warm()
  const hangs = Array.from({ length: 20 }, (_, index) => `hangs ${index}`)
  await bench.ask(...hangs, 'healthy')
  await bench.succeeds('healthy')
  for (const id of hangs) assert.equal(await bench.fails(id), undefined)
  assert.equal(bench.breaker.outage, null)
  await bench.ask('later')
  assert.notEqual(await bench.fails('later'), undefined)
})

test('a success of a start that began earlier says nothing: neither of a failure nor of an outage', async () => {
  const bench = new Bench().warm()
  await bench.ask('slow', 'slower')
  await bench.ask('a')
  await bench.succeeds('slow')
  assert.notEqual(await bench.fails('a'), undefined)
  await bench.ask('b', 'c', 'd', 'e')
  for (const id of ['b', 'c', 'd', 'e']) await bench.fails(id)
  assert.deepEqual(bench.told, ['away'])
  await bench.succeeds('slower')
  assert.deepEqual(bench.told, ['away'])
})

test('while the target is away only probes start, after 1.2, 2, 4, 8 and then 10 s', async () => {
  const bench = new Bench().warm()
  await bench.opens()
  await bench.ask(...Array.from({ length: 9 }, (_, index) => `m${index}`))
  const pauses: number[] = []
  while (pauses.length < 7) {
    const [id, afterMs] = await bench.probe()
    pauses.push(afterMs)
    assert.equal(bench.running.length, 1)
    await bench.fails(id)
  }
  assert.deepEqual(pauses, [1200, 2000, 4000, 8000, 10_000, 10_000, 10_000])
})

test('all messages actors together knock once a second at most', async () => {
  const bench = new Bench().warm()
  bench.actors = 4
  await bench.opens()
  await bench.ask('a', 'b')
  await bench.clock.advance(4 * OUTAGE_KNOCK_MS - 1)
  assert.deepEqual(bench.ids(), [])
  await bench.clock.advance(1)
  await bench.fails('a')
  await bench.clock.advance(4 * OUTAGE_KNOCK_MS - 1)
  assert.deepEqual(bench.ids(), [])
  await bench.clock.advance(1)
  assert.deepEqual(bench.ids(), ['b'])
})

test('the message that was probed least is probed, the oldest of them first', async () => {
  const bench = new Bench().warm()
  await bench.opens()
  await bench.ask('b', 'a', 'x3', 'x1')
  const probed: string[] = []
  for (let count = 0; count < 7; count++) {
    const [id] = await bench.probe()
    probed.push(id)
    await bench.fails(id)
    await bench.askAgain(id)
    if (count === 3) await bench.ask('new')
  }
  assert.deepEqual(probed, ['a', 'b', 'a', 'b', 'new', 'new', 'x3'])
})

test('a probe that hangs does not hold up the next; three are the most', async () => {
  const bench = new Bench().warm()
  await bench.opens()
  await bench.ask('a', 'b', 'c', 'd')
  await bench.clock.advance(60_000)
  assert.deepEqual(bench.ids(), ['a', 'b', 'c'])
  await bench.fails('b')
  await bench.clock.advance(10_000)
  assert.deepEqual(bench.ids(), ['a', 'c', 'd'])
})

test('a pause that the target asks for is kept, up to a minute', async () => {
  const bench = new Bench().warm()
  await bench.opens()
  await bench.ask('a', 'b')
  await bench.probe()
  assert.equal(await bench.fails('a', 30_000), 30_000)
  await bench.clock.advance(29_999)
  assert.deepEqual(bench.ids(), [])
  await bench.clock.advance(1)
  assert.equal(await bench.fails('b', 3_600_000), 60_000)
})

test('a probe that succeeds ends the outage; the others start slowly', async () => {
  const bench = new Bench().warm()
  await bench.opens()
  const ids = Array.from({ length: 9 }, (_, index) => `m${index}`)
  await bench.ask(...ids)
  const [, afterMs] = await bench.probe()
  await bench.succeeds('m0')
  assert.equal(bench.breaker.outage, null)
  assert.deepEqual(bench.told, ['away', `back after ${afterMs} ms`])
  assert.deepEqual(bench.ids(), ['m1', 'm2'])
  await bench.succeeds('m1')
  await bench.succeeds('m2')
  assert.deepEqual(bench.ids(), ['m3', 'm4', 'm5', 'm6', 'm7', 'm8'])
})

test('an answer that is an error of the message ends an outage: the target is there. Silence does not', async () => {
  const bench = new Bench().warm()
  await bench.opens()
  await bench.ask('a', 'b', 'c')
  await bench.probe()
  bench.running[0]!.fellSilent()
  bench.running.shift()!.end()
  await settle()
  assert.notEqual(bench.breaker.outage, null)
  assert.deepEqual(bench.ids(), [])
  await bench.probe()
  bench.running[0]!.failed()
  bench.running.shift()!.end()
  await settle()
  assert.equal(bench.breaker.outage, null)
  assert.deepEqual(bench.ids(), ['c'])
})

test('one that gives up waiting is not let through, and takes nobody’s turn', async () => {
  const bench = new Bench().warm()
  await bench.opens()
  const gone = new AbortController()
  const wait = bench.breaker.admit('a', false, gone.signal)
  await bench.ask('b')
  gone.abort()
  assert.equal(await wait, undefined)
  assert.equal(await bench.breaker.admit('a', false, gone.signal), undefined)
  await bench.clock.advance(OUTAGE_KNOCK_MS)
  assert.deepEqual(bench.ids(), ['b'])
})

test('nothing starts while delivery is paused, no probe either; what waits starts when it goes on', async () => {
  const bench = new Bench()
  bench.breaker.setPaused(true)
  let admitted = 0
  for (const id of ['a', 'b']) {
    void bench.breaker.admit(id, false, new AbortController().signal).then((pass) => {
      admitted++
      pass?.begin()
      pass?.succeeded()
      pass?.end()
    })
  }
  await bench.clock.advance(60_000)
  assert.equal(admitted, 0)
  bench.breaker.setPaused(false)
  await bench.clock.advance(1)
  assert.equal(admitted, 2)
})

test('no two messages actors knock within a second of each other', async () => {
  const clock = new FakeClock()
  const knocks: number[] = []
  const count = 4
  for (let index = 0; index < count; index++) {
    const breaker = new Breaker({
      ...{ target: 'http://there/', clock, random: seeded(index), actorCount: () => count },
      ...{ actorIndex: () => index, waitingCount: () => 9, onChange: () => {} },
    })
    for (let id = 0; id < 6; id++)
      void knockForEver(breaker, `${id}`, clock, () => breaker.outage && knocks.push(clock.monotonic()))
  }
  for (let step = 0; step < 1200; step++) await clock.advance(100)
  const pauses = knocks.slice(1).map((at, index) => at - knocks[index]!)
  assert.ok(knocks.length > 20)
  assert.ok(Math.min(...pauses) >= 1000, `${Math.min(...pauses)} ms`)
})

/** A message whose starts all meet the outage. */
async function knockForEver(
  breaker: Breaker,
  id: string,
  clock: FakeClock,
  onKnock: () => void,
): Promise<void> {
  for (;;) {
    const pass = (await breaker.admit(id, true, new AbortController().signal))!
    pass.begin()
    onKnock()
    const delayMs = pass.metOutage('refused')
    pass.end()
    await clock.sleep(delayMs ?? 1000)
  }
}
