/** Readers of events in front of real messages actors, on a backend in memory. */
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { Follower } from '../../../src/actors/facade/follow.ts'
import { Holders } from '../../../src/actors/facade/holders.ts'
import { LoggingPool } from '../../../src/actors/facade/logging-pool.ts'
import { ReadTurns } from '../../../src/actors/facade/turns.ts'
import { LoggingActor } from '../../../src/actors/logging/logging.ts'
import type { EventCursor, EventSink, Happened, Topic } from '../../../src/actors/protocol.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import type { Stats } from '../../../src/runtime/stats.ts'
import { CURSOR_DELAY_MS, MINUTE_MS } from '../../../src/runtime/timings.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import { DirectPeers, entryOf, seeded, testContext } from '../../support/actor-context.ts'
import { settle } from '../../support/fake-clock.ts'
import { MessagesBench } from '../../support/messages-bench.ts'

const away = () => new MailroomError('MR_STORE_UNAVAILABLE', { store: 'log', reason: 'away' })

/** A system of one logging and two messages actors, followed by readers. */
async function open(context: TestContext) {
  const bench = new MessagesBench()
  const { clock, directory } = bench
  const facade = testContext({ clock, directory })
  const peers = new DirectPeers()
  peers.actors.set(
    'logging-1',
    new LoggingActor(testContext({ name: 'logging-1', clock, directory }), bench.store.open()),
  )
  const holders = new Holders(facade, peers, 4)
  const follower = new Follower(facade, {
    ...{ logging: new LoggingPool(facade, peers), holders, readTurns: new ReadTurns(), laneCount: 4 },
  })
  const boot = async (number: number, handler: Parameters<MessagesBench['boot']>[1] = {}) => {
    const member = await bench.boot(number, handler)
    peers.actors.set(`messages-${number}`, member.actor)
    return member
  }
  const list = async (...names: string[]) => {
    directory.set(entryOf('logging-1'), ...names.map((name) => entryOf(name)))
    await clock.advance(600)
  }
  const readers: Reader[] = []
  context.after(() => assert.deepEqual(facade.failures, []))
  const follow = (topics: Topic[], from?: EventCursor) => {
    const reader = new Reader(follower, topics, from)
    readers.push(reader)
    return reader
  }
  return { bench, clock, peers, boot, list, follow, facade }
}

/** What one reader was given. */
class Reader implements EventSink {
  readonly given: Happened[] = []
  readonly #following
  onPast: () => Promise<void> = async () => {}

  constructor(follower: Follower, topics: Topic[], from?: EventCursor) {
    this.#following = follower.follow(new Set(topics), from, this)
  }

  live(happened: Happened): void {
    this.given.push(happened)
  }

  async past(happened: Happened): Promise<void> {
    this.given.push(happened)
    await this.onPast()
  }

  get cursor(): EventCursor {
    return this.#following.cursor
  }

  ready(): Promise<void> {
    return this.#following.ready()
  }

  end(): void {
    this.#following.end()
  }

  ids(topic: Topic): string[] {
    return this.given
      .filter((happened) => happened.topic === topic)
      .flatMap(({ items }) => items.map((item) => (item as { id: string }).id))
  }
}

const failing = () => {
  throw new Error('no')
}

test('gives what is logged and delivered from now on, once, with its beginning and its size', async (context) => {
  const { bench, clock, boot, list, follow } = await open(context)
  await boot(1)
  await list('messages-1')
  await bench.add(0, 'before')
  await clock.advance(1000)
  const reader = follow(['logged', 'delivered'])
  await reader.ready()
  const text = `${'ab'.repeat(99)}a𝄞𝄞 and more`
  const [first] = await bench.add(0, text)
  const [second] = await bench.add(1, 'second')
  await clock.advance(1000)
  assert.deepEqual(reader.ids('logged'), [first, second])
  assert.deepEqual(reader.ids('delivered'), [first, second])
  const [logged] = reader.given.find(({ topic }) => topic === 'logged')!.items as Record<string, unknown>[]
  assert.deepEqual(
    { ...logged, at: '' },
    { id: first, at: '', text: `${'ab'.repeat(99)}a𝄞`, bytes: Buffer.byteLength(text) },
  )
  const [delivered] = reader.given.find(({ topic }) => topic === 'delivered')!.items as Record<
    string,
    unknown
  >[]
  assert.deepEqual(
    [delivered!['deliveredTo'], delivered!['attempts'], delivered!['bytes']],
    ['messages-1', 1, 216],
  )
  reader.end()
  await bench.add(0, 'after')
  await clock.advance(1000)
  assert.equal(reader.ids('logged').length, 2)
})

test('one look serves all readers; without readers nobody looks', async (context) => {
  const { bench, clock, boot, list, follow } = await open(context)
  await boot(1)
  await list('messages-1')
  let looks = 0
  bench.store.before = (call) => {
    if (call === 'follow') looks++
  }
  const readers = Array.from({ length: 50 }, () => follow(['logged']))
  await clock.advance(1000)
  assert.ok(looks >= 9 && looks <= 12, `${looks} looks`)
  for (const reader of readers) reader.end()
  await clock.advance(200)
  looks = 0
  await clock.advance(5000)
  assert.equal(looks, 0)
})

test('a message that is stored late, with a smaller id, is given to those who are live and to those who resume', async (context) => {
  const { bench, clock, boot, list, follow } = await open(context)
  await boot(1)
  await list('messages-1')
  const reader = follow(['logged'])
  const ids = idGenerator(clock, seeded(3))
  const [late] = ids(1) as [string]
  await clock.advance(1000)
  await bench.add(0, 'early')
  await clock.advance(1800)
  const { cursor } = reader
  await bench.store.open().log.append({
    ...{ messages: [{ id: late, text: 'late' }], lane: 1, deadlineAt: clock.monotonic() + 100 },
  })
  const resumed = follow(['logged'], cursor)
  await clock.advance(1000)
  for (const each of [reader, resumed]) assert.ok(each.ids('logged').includes(late))
  assert.equal(reader.ids('logged').length, 2)
})

test('a cursor stays behind by what may yet be stored, and further while the log or a lane is away', async (context) => {
  const { bench, clock, boot, list, follow } = await open(context)
  await boot(1)
  await list('messages-1')
  const reader = follow(['logged', 'delivered'])
  await clock.advance(10_000)
  const behind = () => [clock.now() - reader.cursor.logged, clock.now() - reader.cursor.settled]
  for (const ms of behind()) assert.ok(ms >= CURSOR_DELAY_MS && ms <= CURSOR_DELAY_MS + 200, `${ms} ms`)
  bench.store.before = (call) => {
    if (call === 'follow') throw away()
  }
  await clock.advance(5000)
  assert.ok(behind()[0]! >= CURSOR_DELAY_MS + 4500, 'the log is away')
  bench.store.before = () => {}
  await list()
  await clock.advance(5000)
  assert.ok(behind()[1]! >= CURSOR_DELAY_MS + 4500, 'no lane has a holder')
  await list('messages-1')
  await clock.advance(2000)
  for (const ms of behind()) assert.ok(ms <= CURSOR_DELAY_MS + 200, `${ms} ms`)
})

test('who resumes is given what was delivered since, however long ago it was logged', async (context) => {
  const { bench, clock, boot, list, follow } = await open(context)
  await list('messages-1')
  const [old] = await bench.add(2, 'waits')
  await clock.advance(MINUTE_MS)
  const reader = follow(['logged', 'delivered'])
  await clock.advance(6000)
  const { cursor } = reader
  reader.end()
  await boot(1)
  await list('messages-1')
  const more = [...(await bench.add(0, 'a')), ...(await bench.add(3, 'b'))]
  await clock.advance(MINUTE_MS)
  const resumed = follow(['logged', 'delivered'], cursor)
  await clock.advance(1000)
  assert.deepEqual(resumed.ids('delivered').sort(), [old, ...more].sort())
  assert.deepEqual(resumed.ids('logged').sort(), [...more].sort())
  const [late] = await bench.add(1, 'live')
  await clock.advance(500)
  assert.deepEqual([resumed.ids('logged').at(-1), resumed.ids('delivered').at(-1)], [late, late])
})

test('nothing is missed while messages come all the time, and a reader that resumes takes its time', async (context) => {
  const { bench, clock, boot, list, follow } = await open(context)
  await boot(1)
  await boot(2)
  await list('messages-1', 'messages-2')
  const all: string[] = []
  const post = async (ms: number) => {
    for (const endAt = clock.monotonic() + ms; clock.monotonic() < endAt; ) {
      all.push(...(await bench.add(all.length % 4, `message ${all.length}`)))
    }
  }
  const first = follow(['logged', 'delivered'])
  await post(3000)
  const { cursor } = first
  first.end()
  await post(20_000)
  const reader = follow(['logged', 'delivered'], cursor)
  reader.onPast = () => clock.sleep(700)
  await post(10_000)
  reader.onPast = async () => {}
  await post(2000)
  await clock.advance(1000)
  for (const topic of ['logged', 'delivered'] as const) {
    const given = new Set([...first.ids(topic), ...reader.ids(topic)])
    assert.deepEqual(
      all.filter((id) => !given.has(id)),
      [],
      topic,
    )
    const again = reader.ids(topic).length - new Set(reader.ids(topic)).size
    // 50 a second, as long as the cursor stays behind, twice: the reader was live, and it is live again.
    const most = (2 * 50 * CURSOR_DELAY_MS) / 1000
    assert.ok(again <= most, `${again} of ${all.length} ${topic} came again`)
  }
})

test('lanes move, and their holders die: nothing that they delivered is missed', async (context) => {
  const { bench, clock, boot, list, follow, peers } = await open(context)
  const one = await boot(1)
  await list('messages-1')
  const reader = follow(['delivered'])
  await reader.ready()
  const all: string[] = []
  const add = async () => {
    for (let lane = 0; lane < 4; lane++) all.push(...(await bench.add(lane, `to ${lane}`)))
  }
  await add()
  await boot(2)
  await list('messages-1', 'messages-2')
  await add()
  // It delivers, and is gone before it is asked again.
  bench.store.lanes[0]!.wake()
  all.push(...(await bench.add(0, 'the last of messages-1')))
  peers.actors.delete('messages-1')
  await one.backend.close()
  await list('messages-2')
  await add()
  await clock.advance(2000)
  assert.deepEqual(
    all.filter((id) => !reader.ids('delivered').includes(id)),
    [],
  )
})

test('gives dead letters with their reason, live and to those who resume', async (context) => {
  const { bench, clock, boot, list, follow } = await open(context)
  await boot(1, { handler: failing })
  await list('messages-1')
  const reader = follow(['dead'])
  await reader.ready()
  const { cursor } = reader
  const [id] = await bench.add(0, 'bad')
  await clock.advance(10 * MINUTE_MS)
  const resumed = follow(['dead'], cursor)
  await clock.advance(500)
  for (const each of [reader, resumed]) {
    assert.deepEqual(each.ids('dead'), [id])
    const [letter] = each.given[0]!.items as Record<string, unknown>[]
    assert.deepEqual([letter!['attempts'], letter!['text'], letter!['bytes']], [5, 'bad', 3])
    assert.match(String(letter!['lastError']), /no/)
  }
})

test('gives each actor as it is, then what changes, and those that are removed', async (context) => {
  const { follow, list } = await open(context)
  await list('messages-1')
  const reader = follow(['actor'])
  await list('messages-1')
  await list()
  await settle()
  const states = reader.given.map(({ items }) =>
    items.map((item) => `${(item as { name: string }).name} ${(item as { state: string }).state}`),
  )
  assert.deepEqual(states, [['logging-1 ready', 'messages-1 ready'], ['messages-1 removed']])
})

test('gives the figures once a second, the same object to all, and asks for them once', async (context) => {
  const { clock, follow, facade } = await open(context)
  let asked = 0
  facade.stats = async () => {
    asked++
    return { at: asked } as Stats
  }
  const readers = Array.from({ length: 20 }, () => follow(['stats']))
  await clock.advance(3500)
  assert.equal(asked, 4)
  const cursors = [readers[0]!.cursor]
  await clock.advance(300)
  cursors.push(readers[1]!.cursor)
  assert.deepEqual(cursors[1], cursors[0], 'it moves with the figures: all readers share a frame')
  const [first, ...others] = readers.map(({ given }) => given)
  assert.equal(first!.length, 4)
  for (const given of others) assert.ok(given.every((each, index) => each === first![index]))
})
