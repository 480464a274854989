import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import {
  ACCEPT_ITERATIONS_MAX,
  Admission,
  IN_FLIGHT_MAX,
  IN_FLIGHT_MIN,
  SliceQueue,
} from '../../src/http/overload.ts'
import { OVERLOAD_WINDOW_MS, PROMPT_ANSWER_MS, REFUSED_PAUSE_MS } from '../../src/runtime/timings.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startApi, until } from '../support/public-api.ts'

function openAdmission() {
  const clock = new FakeClock()
  const admission = new Admission(clock)
  const inFlight: (() => void)[] = []
  /** Tries to admit this many posts; returns how many were refused. */
  const enter = (count: number) => {
    let refused = 0
    for (let one = 0; one < count; one++) {
      const post = admission.enter()
      if (post === undefined) refused++
      else inFlight.push(post.leave)
    }
    return refused
  }
  const leave = (count: number) => {
    for (const out of inFlight.splice(0, count)) out()
  }
  /** One second with a store that answers `perSecond`, and `arriving` posts every 10 ms; returns how many were refused. */
  const second = async (perSecond: number, arriving: number) => {
    let refused = 0
    for (let step = 0; step < 100; step++) {
      refused += enter(arriving)
      leave(perSecond / 100)
      await clock.advance(10)
    }
    return refused
  }
  return { clock, admission, inFlight, enter, leave, second }
}

test('a burst of any size is admitted when it is answered within a second', async () => {
  const { clock, enter, leave, admission } = openAdmission()
  assert.equal(enter(5000), 0)
  await clock.advance(OVERLOAD_WINDOW_MS - 1)
  assert.equal(enter(1), 0)
  leave(5001)
  await clock.advance(1)
  assert.equal(enter(5000), 0)
  assert.equal(admission.overloaded, false)
})

test('after a second without a prompt answer no more than 1,024 may wait', async () => {
  const { clock, enter, inFlight, admission } = openAdmission()
  enter(IN_FLIGHT_MIN)
  await clock.advance(OVERLOAD_WINDOW_MS)
  assert.equal(enter(IN_FLIGHT_MAX - IN_FLIGHT_MIN), 0)
  assert.equal(enter(10), 10)
  assert.equal(admission.overloaded, true)
  assert.equal(inFlight.length, IN_FLIGHT_MAX)
})

test('after two seconds without a prompt answer new posts are refused, and only new ones', async () => {
  const { clock, enter, inFlight, admission } = openAdmission()
  enter(IN_FLIGHT_MIN)
  enter(1)
  await clock.advance(2 * OVERLOAD_WINDOW_MS)
  assert.equal(enter(10), 10)
  assert.equal(admission.overloaded, true)
  assert.equal(inFlight.length, IN_FLIGHT_MIN + 1)
})

test('during overload one post is admitted for each that leaves', async () => {
  const { clock, enter, leave } = openAdmission()
  enter(IN_FLIGHT_MIN + 1)
  await clock.advance(2 * OVERLOAD_WINDOW_MS)
  enter(1)
  leave(11)
  assert.equal(enter(100), 90)
})

test('at three times the capacity for a minute the store works at capacity, and few posts are in flight', async () => {
  const { second, inFlight } = openAdmission()
  let refused = 0
  for (let one = 0; one < 5; one++) refused += await second(10_000, 300)
  for (let one = 5; one < 60; one++) {
    refused = await second(10_000, 300)
    assert.ok(Math.abs(refused - 20_000) < 100, `${refused} refused`)
    assert.ok(inFlight.length <= IN_FLIGHT_MAX, `${inFlight.length} in flight`)
  }
})

test('many posts with prompt answers are no overload, for however long', async () => {
  const { clock, admission, enter, leave } = openAdmission()
  for (let step = 0; step < 100; step++) {
    assert.equal(enter(5000), 0)
    await clock.advance(PROMPT_ANSWER_MS - 1)
    leave(5000)
  }
  assert.equal(admission.overloaded, false)
})

test('posts that are read, stored and answered all together are overload, though none is in flight in between', async () => {
  const { clock, enter, leave, inFlight } = openAdmission()
  let refused = 0
  for (let step = 0; step < 10; step++) {
    refused = enter(6000)
    await clock.advance(300)
    leave(inFlight.length - 1)
  }
  assert.equal(refused, 6000 - IN_FLIGHT_MAX + 1)
})

test('with a slow store fewer posts are in flight: as many as it answers in a second', async () => {
  const { second, inFlight } = openAdmission()
  for (let one = 0; one < 10; one++) await second(500, 20)
  assert.ok(inFlight.length <= 510 && inFlight.length > 400, `${inFlight.length} in flight`)
})

test('a few posts are never refused, however long the store takes', async () => {
  const { clock, enter } = openAdmission()
  enter(IN_FLIGHT_MIN - 1)
  await clock.advance(60_000)
  assert.equal(enter(1), 0)
})

test('posts whose clients are slow to send their bodies are no queue: a burst beside them is admitted', async () => {
  const { clock, admission, enter } = openAdmission()
  const slow = Array.from({ length: 2000 }, () => admission.enter()!)
  for (const post of slow) post.pause()
  await clock.advance(10 * OVERLOAD_WINDOW_MS)
  assert.equal(enter(1000), 0)
  await clock.advance(PROMPT_ANSWER_MS)
  for (const post of slow) post.resume()
  assert.equal(enter(1000), 0, 'when the bodies end, they are a burst of that moment')
  await clock.advance(OVERLOAD_WINDOW_MS)
  assert.equal(enter(1), 1, 'from then on they wait for us')
})

test('a post that was paused and left is not counted', async () => {
  const { clock, admission, enter } = openAdmission()
  for (let count = 0; count < 300; count++) {
    const post = admission.enter()!
    post.pause()
    post.leave()
    post.resume()
  }
  enter(IN_FLIGHT_MIN - 1)
  await clock.advance(2 * OVERLOAD_WINDOW_MS)
  assert.equal(enter(1), 0)
})

test('a few posts that the store is slow with are no queue: a burst beside them is admitted', async () => {
  const { clock, enter } = openAdmission()
  enter(IN_FLIGHT_MIN - 1)
  for (let second = 0; second < 5; second++) await clock.advance(OVERLOAD_WINDOW_MS)
  assert.equal(enter(5000), 0)
  await clock.advance(OVERLOAD_WINDOW_MS)
  assert.equal(enter(1), 1)
})

test('overload ends after a second without a refusal', async () => {
  const { clock, enter, leave, admission, inFlight } = openAdmission()
  enter(IN_FLIGHT_MIN + 1)
  await clock.advance(2 * OVERLOAD_WINDOW_MS)
  assert.equal(enter(1), 1)
  leave(inFlight.length)
  await clock.advance(OVERLOAD_WINDOW_MS)
  assert.equal(enter(5000), 0)
  assert.equal(admission.overloaded, false)
})

/** A clock with iterations that the test runs, on which work takes as long as it says. */
class IterationClock extends FakeClock {
  readonly #due: (() => void)[] = []
  #nowMs = 1000

  override monotonic(): number {
    return this.#nowMs
  }

  override soon(work: () => void): void {
    this.#due.push(work)
  }

  pass(ms: number): void {
    this.#nowMs += ms
  }

  /** Runs one event-loop iteration; true when it had work. */
  iterate(): boolean {
    const due = this.#due.splice(0)
    for (const work of due) work()
    return due.length > 0
  }
}

function openSlices() {
  const clock = new IterationClock()
  const slices = new SliceQueue(clock)
  const done: number[] = []
  /** Adds this many pieces of work of 0.25 ms each. */
  const add = (count: number) => {
    for (let one = 0; one < count; one++) {
      slices.add(() => {
        done.push(done.length)
        clock.pass(0.25)
      })
    }
  }
  return { clock, slices, done, add }
}

test('all work is done in order, one millisecond of it per iteration', () => {
  const { clock, done, add } = openSlices()
  add(10)
  assert.equal(done.length, 0)
  clock.iterate()
  assert.equal(done.length, 4)
  clock.iterate()
  assert.equal(done.length, 8)
  clock.iterate()
  assert.deepEqual(done, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  assert.equal(clock.iterate(), false)
})

test('while connections come in, iterations do no work, but not forever', () => {
  const { clock, slices, done, add } = openSlices()
  add(8)
  clock.iterate()
  for (let look = 0; look < ACCEPT_ITERATIONS_MAX; look++) {
    slices.connectionAccepted()
    clock.iterate()
    assert.equal(done.length, 4)
  }
  slices.connectionAccepted()
  clock.iterate()
  assert.equal(done.length, 8)
})

test('when no connection comes in, work goes on in the next iteration', () => {
  const { clock, slices, done, add } = openSlices()
  add(8)
  clock.iterate()
  slices.connectionAccepted()
  clock.iterate()
  clock.iterate()
  assert.equal(done.length, 8)
})

test('work that is added by work waits for the next iteration', () => {
  const { clock, slices, done } = openSlices()
  slices.add(() => {
    done.push(1)
    clock.pass(2)
    slices.add(() => done.push(2))
  })
  clock.iterate()
  assert.deepEqual(done, [1])
  clock.iterate()
  assert.deepEqual(done, [1, 2])
})

const POST =
  'POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\na'

/** An API in overload: its posts are held back, and many have been in flight for two seconds. */
async function overloaded(t: TestContext) {
  const api = await startApi(t, { level: 'info' })
  const { promise, resolve } = Promise.withResolvers<void>()
  api.facade.hold = promise
  const held = await Promise.all(Array.from({ length: IN_FLIGHT_MIN + 1 }, () => api.raw()))
  for (const raw of held) raw.say(POST)
  await until(() => api.facade.mostAtOnce === held.length)
  await api.clock.advance(2 * OVERLOAD_WINDOW_MS)
  return { api, held, release: resolve }
}

test('during overload a post is refused with 429, Retry-After and an outcome; those in flight are answered', async (t) => {
  const { api, held, release } = await overloaded(t)
  const headers = { 'content-type': 'text/plain' }
  const answer = await api.ask('POST', '/messages', { headers, body: 'b' })
  assert.deepEqual([answer.status, answer.json.code, answer.json.outcome], [429, 'MR_OVERLOADED', 'none'])
  assert.match(String(answer.headers['retry-after']), /^[123]$/)
  assert.equal(answer.json.requestId, answer.headers['x-request-id'])
  assert.equal(answer.headers['x-content-type-options'], 'nosniff')
  release()
  await until(() => held.every(({ heard }) => heard.includes('201 Created')))
  assert.equal(api.facade.messages.length, held.length)
})

test('during overload everything but posts is answered as usual', async (t) => {
  const { api, release } = await overloaded(t)
  for (const path of ['/livez', '/readyz', '/log', '/actors', '/messages']) {
    assert.equal((await api.ask('GET', path)).status, 200)
  }
  release()
})

test('a refused client that retries at once is read a second later', async (t) => {
  const { api, held, release } = await overloaded(t)
  const raw = await api.raw()
  raw.say(POST)
  await until(() => raw.heard.includes('429 Too Many Requests'))
  release()
  await until(() => held.every(({ heard }) => heard.includes('201 Created')))
  await api.clock.advance(1)
  raw.say(POST)
  const beside = await api.raw()
  beside.say(POST)
  await until(() => beside.heard.includes('201 Created'))
  assert.doesNotMatch(raw.heard, /201 Created/)
  await api.clock.advance(REFUSED_PAUSE_MS)
  await until(() => raw.heard.includes('201 Created'))
})

test('overload is logged when it begins and when it ends, once each', async (t) => {
  const { api, release } = await overloaded(t)
  const headers = { 'content-type': 'text/plain' }
  for (let count = 0; count < 2; count++) {
    const raw = await api.raw()
    raw.say(POST)
    await until(() => raw.heard.includes('429'))
  }
  release()
  await until(() => api.facade.messages.length === IN_FLIGHT_MIN + 1)
  await api.clock.advance(2 * OVERLOAD_WINDOW_MS)
  assert.equal((await api.ask('POST', '/messages', { headers, body: 'b' })).status, 201)
  assert.deepEqual(
    api.logged.map(({ msg }) => msg),
    ['overloaded: posts are refused', 'no longer overloaded'],
  )
})
