/** A lane of a cluster that came back empty: its journals say what was settled, and the rest of the log waits again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JournalReport } from '../../../src/runtime/losses.ts'
import { CLOCK_SKEW_MS, KEY_RETENTION_HAZELCAST_MS } from '../../../src/runtime/timings.ts'
import { NAMES } from '../../../src/storage/hazelcast/entries.ts'
import { idGenerator, MIN_ID } from '../../../src/storage/ids.ts'
import type { Journal } from '../../../src/storage/journal.ts'
import type { LaneBatch, Message, Settlement } from '../../../src/storage/ports.ts'
import { keyIn, keyRowOf, Outcomes } from '../../../src/storage/records.ts'
import { ClusterBench, type Watcher } from '../../support/cluster-bench.ts'
import { MemoryJournal } from '../../support/memory-journal.ts'

const LANE = 0

/** A lane, its holder, and the log of all that was posted. */
class Bench {
  readonly clusters = new ClusterBench()
  readonly node = this.clusters.node()
  readonly logged: Message[] = []
  readonly #nextIds = idGenerator(this.clusters.clock, () => 0.5)
  holder!: Watcher

  async hold(journal: Journal): Promise<void> {
    this.holder = this.clusters.watch('queue', this.node, { journal })
    await this.clusters.settle()
    await this.run(this.queue.hold(LANE))
  }

  get queue() {
    return this.holder.backend.queue
  }

  get refill() {
    return this.holder.backend.refill!
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.clusters.run(work)
  }

  /** Of batches of one message each. */
  ids(count: number): string[] {
    return Array.from({ length: count }, () => this.#nextIds(1)[0]!)
  }

  async post(...texts: string[]): Promise<string[]> {
    const ids = this.#nextIds(texts.length)
    const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
    const append = async (batch: LaneBatch) => {
      this.logged.push(...batch.messages)
      return batch.messages.map(({ id }) => ({ id, replayed: false }))
    }
    const deadlineAt = Number.POSITIVE_INFINITY
    await this.run(this.queue.accept({ messages, deadlineAt }, append, async () => undefined))
    return ids
  }

  async settle(...settlements: (Settlement & { started?: boolean })[]): Promise<void> {
    await this.clusters.pass(8000) // A scan finds it.
    await this.run(this.queue.claim(LANE, 100, 0))
    for (const { id, started = true } of settlements)
      if (started) await this.run(this.queue.start(LANE, [id]))
    await this.run(this.queue.settle(LANE, settlements))
  }

  /** All processes and all members end; another process of the node holds the lane then. */
  async stopAll(journal: Journal): Promise<void> {
    await this.clusters.pass(CLOCK_SKEW_MS)
    this.holder.kill()
    await this.clusters.empty(this.clusters.queue)
    await this.hold(journal)
  }

  async lacking(...journals: Journal[]): Promise<string | undefined> {
    return (
      await this.run(
        this.refill.lacking(
          [LANE],
          journals.map((journal) => reportOf(journal)),
        ),
      )
    ).get(LANE)
  }

  /** As a messages actor does it. */
  async refillFrom(...journals: Journal[]): Promise<boolean> {
    const lacking = (await this.lacking(...journals)) ?? assert.fail('it lacks nothing')
    const outcomes = new Outcomes([LANE])
    for (const journal of journals)
      for (const row of await journal.page({ after: MIN_ID, limit: 1000 })) outcomes.add(row)
    await this.run(this.refill.put(LANE, this.logged, outcomes))
    return this.run(
      this.refill.finish(
        LANE,
        lacking,
        journals.map((journal) => reportOf(journal)),
      ),
    )
  }

  async delivered(): Promise<string[]> {
    const list = await this.run(this.queue.delivered(LANE, { after: MIN_ID, limit: 100 }))
    return list.map(({ text, deliveredAt, attempts }) => `${text} at ${deliveredAt} after ${attempts}`)
  }

  /** The texts of what waits, once a scan has found it. */
  async waiting(): Promise<string[]> {
    await this.clusters.pass(8000)
    const claimed = await this.run(this.queue.claim(LANE, 100, 0))
    return claimed.map(({ text, starts }) => `${text} after ${starts}`).sort()
  }
}

function reportOf({ id, beganAt, beganIn }: Journal, putBackIn: string | null = null): JournalReport {
  return { id, beganAt, beganIn, wholeIn: null, putBackIn, since: null, done: 0, total: 0, absent: [] }
}

const RETRY = { as: 'retry', delayMs: 1, error: 'no' } as const
const DEAD = { as: 'dead', reason: 'tried', error: 'no' } as const

test('a lane that was begun before its journals lacks nothing, and needs no entry', async () => {
  const bench = new Bench()
  const journal = new MemoryJournal()
  await bench.hold(journal)
  assert.equal(await bench.lacking(journal), undefined)
  const [id] = await bench.post('a')
  await bench.settle({ id: id!, as: 'done' })
  assert.equal(await bench.lacking(journal), undefined)
  assert.equal(bench.clusters.queue.partitions.entries(NAMES.restored).size, 0)
})

test('a journal that knows in which cluster it was begun needs no clock', async () => {
  const bench = new Bench()
  await bench.hold(new MemoryJournal())
  const { epoch } = bench.holder.backend.reports()[0]!.seen
  const ahead = bench.clusters.clock.now() + 3_600_000
  const begun = (beganAt: number, queue: string) =>
    Object.assign(new MemoryJournal('begun', beganAt), { beganIn: { queue } })
  assert.equal(await bench.lacking(begun(1, epoch)), undefined)
  assert.notEqual(await bench.lacking(begun(ahead, 'gone')), undefined)
  assert.equal(await bench.refillFrom(begun(ahead, 'gone')), true)
  assert.equal(await bench.lacking(begun(ahead, 'gone')), undefined)
})

test('a lane that was found to lack something lacks it until it is refilled, though the journal is gone by then', async () => {
  const bench = new Bench()
  const own = new MemoryJournal('own')
  await bench.hold(own)
  const gone = Object.assign(new MemoryJournal('gone', 1), { beganIn: { queue: 'before' } })
  assert.notEqual(await bench.lacking(own, gone), undefined)
  assert.notEqual(await bench.lacking(own), undefined)
  assert.equal(await bench.refillFrom(own), true)
  assert.equal(await bench.lacking(own), undefined)
})

test('a lane lacks what was put back into the log since, once', async () => {
  const bench = new Bench()
  await bench.hold(new MemoryJournal())
  const report = (epoch: string | null) => [reportOf(new MemoryJournal('log', 1e15), epoch)]
  const lacking = async (epoch: string | null) =>
    (await bench.run(bench.refill.lacking([LANE], report(epoch)))).get(LANE)
  assert.equal(await lacking(null), undefined)
  for (const epoch of ['second', 'third']) {
    const stands = (await lacking(epoch)) ?? assert.fail('it lacks nothing')
    await bench.run(bench.refill.finish(LANE, stands, report(epoch)))
    assert.equal(await lacking(epoch), undefined)
  }
})

test('what was delivered is delivered, as it was; what was dead is dead; what was purged stays away; the rest waits, with its attempts', async () => {
  const bench = new Bench()
  const journal = new MemoryJournal()
  await bench.hold(journal)
  const together = await bench.post('a', 'b', 'c', 'd')
  const [retried, dead, purged, replayed, waits] = await bench.post(
    'retried',
    'dead',
    'purged',
    'replayed',
    'waits',
  )
  await bench.settle(...together.slice(0, 3).map((id) => ({ id, as: 'done' as const, started: false })))
  await bench.clusters.pass(50)
  await bench.settle({ id: together[3]!, as: 'done' }, { id: retried!, ...RETRY })
  await bench.settle({ id: dead!, ...DEAD }, { id: purged!, ...DEAD }, { id: replayed!, ...DEAD })
  await bench.run(bench.queue.purge(LANE, [purged!]))
  await bench.run(bench.queue.replay(LANE, [replayed!]))
  const [list, letters] = [await bench.delivered(), await bench.run(bench.queue.dead(LANE, { limit: 9 }))]
  assert.equal(list.length, 4)
  assert.equal(letters.length, 1)

  await bench.stopAll(journal)
  assert.deepEqual(await bench.delivered(), [])
  assert.equal(await bench.refillFrom(journal), true)
  assert.deepEqual(await bench.delivered(), list)
  assert.deepEqual(await bench.run(bench.queue.dead(LANE, { limit: 9 })), letters)
  assert.equal((await bench.run(bench.queue.find(LANE, purged!))).state, 'dead')
  assert.deepEqual(await bench.waiting(), ['replayed after 0', 'retried after 1', 'waits after 0'])
  assert.equal((await bench.run(bench.queue.find(LANE, waits!))).state, 'queued')
  assert.equal(await bench.lacking(journal), undefined)
})

test('of a batch one entry is put back: what was delivered, each at its time; or all of it, if nothing was started', async () => {
  const bench = new Bench()
  const journal = new MemoryJournal()
  await bench.hold(journal)
  const ids = await bench.post('a', 'b', 'c')
  for (const id of ids) await bench.settle({ id, as: 'done' })
  await bench.post('d', 'e', 'f')
  const [started] = await bench.post('g', 'h')
  await bench.settle({ id: started!, ...RETRY })
  const [, , last] = await bench.post('i', 'j', 'k')
  await bench.settle({ id: last!, as: 'done' })
  const list = await bench.delivered()
  assert.equal(new Set(list.map((text) => text.split(' at ')[1])).size, 4, 'each at its time')

  await bench.stopAll(journal)
  await bench.refillFrom(journal)
  const { partitions } = bench.clusters.queue
  assert.equal(partitions.entries(NAMES.delivered).size, 2)
  assert.equal(partitions.entries(NAMES.pending).size, 5, 'a batch of three, and four that are alone')
  assert.deepEqual(await bench.delivered(), list)
  const alone = ['g after 1', 'h after 0', 'i after 0', 'j after 0']
  const waiting = ['d after 0', 'e after 0', 'f after 0', ...alone]
  assert.deepEqual(await bench.waiting(), waiting)
  assert.equal(await bench.lacking(journal), undefined)
})

test('a record of a former holder, in another journal, counts as one of the last', async () => {
  const bench = new Bench()
  const [first, last] = [new MemoryJournal('first'), new MemoryJournal('last')]
  await bench.hold(first)
  const [mine] = await bench.post('by the first')
  await bench.settle({ id: mine!, as: 'done' })
  bench.holder.kill()
  await bench.clusters.pass(6000)
  await bench.hold(last)
  const [own] = await bench.post('by the last')
  await bench.settle({ id: own!, as: 'done' })
  await bench.stopAll(last)
  assert.equal(await bench.refillFrom(last, first), true)
  assert.deepEqual(
    (await bench.delivered()).map((text) => text.split(' at ')[0]),
    ['by the first', 'by the last'],
  )
  assert.deepEqual(await bench.waiting(), [])
})

test('a journal that comes later is lacked then: what it has is not in two lists', async () => {
  const bench = new Bench()
  const [first, late] = [new MemoryJournal('first'), new MemoryJournal('late')]
  await bench.hold(late)
  const [id] = await bench.post('late')
  await bench.settle({ id: id!, as: 'done' })
  bench.holder.kill()
  await bench.clusters.pass(6000)
  await bench.hold(first)
  const [own] = await bench.post('first')
  await bench.settle({ id: own!, as: 'done' })
  await bench.stopAll(first)
  await bench.refillFrom(first)
  assert.notEqual(await bench.lacking(first, late), undefined)
  await bench.refillFrom(first, late)
  assert.deepEqual(await bench.waiting(), [], 'it was taken back before it ran')
  assert.deepEqual((await bench.delivered()).length, 2)
})

test('repeating it changes nothing; a lane of a cluster that was lost meanwhile is not finished', async () => {
  const bench = new Bench()
  const journal = new MemoryJournal()
  await bench.hold(journal)
  const [one, two] = await bench.post('one', 'two')
  await bench.settle({ id: one!, as: 'done' })
  await bench.stopAll(journal)
  const lacking = (await bench.lacking(journal))!
  await bench.stopAll(journal)
  assert.equal(await bench.run(bench.refill.finish(LANE, lacking, [reportOf(journal)])), false)
  await bench.refillFrom(journal)
  const list = await bench.delivered()
  const pending = bench.clusters.queue.partitions.entries(NAMES.pending).size
  const outcomes = new Outcomes([LANE])
  for (const row of await journal.page({ after: MIN_ID, limit: 9 })) outcomes.add(row)
  await bench.run(bench.refill.put(LANE, bench.logged, outcomes))
  assert.deepEqual(await bench.delivered(), list)
  assert.equal(bench.clusters.queue.partitions.entries(NAMES.pending).size, pending)
  assert.deepEqual(await bench.waiting(), ['two after 0'])
  assert.equal((await bench.run(bench.queue.find(LANE, two!))).state, 'queued')
})

test('an operator’s redrive is refused while a lane lacks something: it would run again what was settled', async () => {
  const bench = new Bench()
  const journal = new MemoryJournal()
  await bench.hold(journal)
  const [id] = await bench.post('a')
  await bench.settle({ id: id!, as: 'done' })
  await bench.stopAll(journal)
  await bench.clusters.pass(20_000)
  assert.notEqual(await bench.lacking(journal), undefined)
  await assert.rejects(bench.run(bench.queue.redrive(LANE, bench.logged)), /lane 0 is being restored/)
  await bench.refillFrom(journal)
  assert.equal(await bench.run(bench.queue.redrive(LANE, bench.logged)), 0)
})

test('a key is known again for the rest of its time: a repeat is answered as the first; one whose time is over is not', async () => {
  const bench = new Bench()
  const journal = new MemoryJournal()
  await bench.hold(journal)
  const key = { value: 'k', hash: 'h' }
  const appended: LaneBatch[] = []
  const post = async (id: string) => {
    const append = async (batch: LaneBatch) => {
      appended.push(batch)
      return batch.messages.map((message) => ({ id: message.id, replayed: false }))
    }
    const messages = [{ id, text: 'a' }]
    const deadlineAt = Number.POSITIVE_INFINITY
    const find = async (given: string) => {
      const isLogged = appended.some((logged) => logged.messages[0]!.id === given)
      return isLogged ? { id: given, text: 'a', lane: LANE } : undefined
    }
    return bench.run(bench.queue.accept({ messages, key, deadlineAt }, append, find))
  }
  const [first, second, third] = bench.ids(3)
  assert.deepEqual(await post(first!), [{ id: first, replayed: false }])
  const [batch] = appended
  const row = keyRowOf(batch!, batch!.keyed!).messages[0]!
  const journaled = keyIn({ ...row, lane: -1 })!
  await bench.stopAll(journal)
  await bench.run(bench.refill.putKeys([journaled]))
  assert.deepEqual(await post(second!), [{ id: first, replayed: true }])
  assert.equal(appended.length, 1)
  appended.length = 0 // Who wrote the journal died before it wrote the log.
  await bench.stopAll(journal)
  await bench.run(bench.refill.putKeys([journaled]))
  assert.deepEqual(await post(second!), [{ id: first, replayed: false }])
  assert.equal(appended.length, 1)
  await bench.stopAll(journal)
  await bench.clusters.pass(KEY_RETENTION_HAZELCAST_MS)
  await bench.run(bench.refill.putKeys([journaled]))
  assert.deepEqual(await post(third!), [{ id: third, replayed: false }])
})

test('what was delivered without a handler need not be durable at once: a power cut delivers it again, to the same list', async () => {
  const bench = new Bench()
  const journal = new MemoryJournal()
  await bench.hold(journal)
  const [plain, handled, retried] = await bench.post('plain', 'handled', 'retried')
  await bench.settle({ id: plain!, as: 'done', started: false })
  assert.deepEqual(journal.durable, [false])
  await bench.settle({ id: handled!, as: 'done' })
  await bench.settle({ id: retried!, ...RETRY })
  assert.deepEqual(journal.durable, [false, true, true])
})
