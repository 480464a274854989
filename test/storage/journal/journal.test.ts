/** A journal's directory: who writes where in it, what is read of it, and what leaves it. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemRandom as random } from '../../../src/runtime/clock.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import type { Epochs } from '../../../src/runtime/losses.ts'
import { DISK_PROBE_MS, HOUSEKEEPING_MS } from '../../../src/runtime/timings.ts'
import { idGenerator, MIN_ID } from '../../../src/storage/ids.ts'
import { openJournal } from '../../../src/storage/journal/open.ts'
import type { Journal } from '../../../src/storage/journal.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { fill, smallDisk } from '../../support/small-disk.ts'

const HOUR_MS = 3_600_000

class Bench {
  readonly clock = new FakeClock()
  readonly data: string
  readonly nextIds = idGenerator(this.clock, random)
  readonly opened: Journal[] = []
  readonly epochs: Epochs = {}

  constructor(context: TestContext, place = tmpdir()) {
    const parent = mkdtempSync(join(place, 'journal-'))
    this.data = join(parent, 'journal', 'log')
    context.after(() => {
      for (const journal of this.opened) journal.close()
      rmSync(parent, { recursive: true, force: true })
    })
  }

  open(): Journal {
    const journal = openJournal({
      ...{ data: this.data, laneCount: 4, retentionMs: HOUR_MS, maxMessageBytes: 1024 * 1024 },
      ...{
        epochs: () => ({ ...this.epochs }),
        clock: this.clock,
        logger: createLogger('silent', {}),
        onBroken: (error) => assert.fail(error as Error),
      },
    })
    this.opened.push(journal)
    return journal
  }

  /** @returns The ids. */
  async write(journal: Journal, lane: number, ...texts: string[]): Promise<string[]> {
    const ids = this.nextIds(texts.length)
    const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
    const batch = { lane, messages, deadlineAt: Number.POSITIVE_INFINITY }
    await Promise.all([journal.append(batch), this.clock.advance(1)])
    return ids
  }

  files(): string[] {
    return readdirSync(this.data)
      .filter((name) => name.endsWith('.db'))
      .sort()
  }
}

const ALL = { after: MIN_ID, limit: 100 }

test('all processes of a directory write under numbers of their own, and each reads what all have written', async (context) => {
  const bench = new Bench(context)
  const [one, other] = [bench.open(), bench.open()]
  const first = await bench.write(one, 2, 'a', 'b')
  const second = await bench.write(other, 3, 'c')
  const expected = [
    { id: first[0], text: 'a', lane: 2 },
    { id: first[1], text: 'b', lane: 2 },
    { id: second[0], text: 'c', lane: 3 },
  ]
  for (const journal of [one, other]) {
    assert.deepEqual(await journal.page(ALL), expected)
    assert.equal(journal.count(), 3)
  }
  assert.deepEqual(bench.files(), ['log-1.1.db', 'log-2.1.db'])
  assert.equal(one.id, other.id)
})

test('a number whose process has ended goes to the next process, with all that is there', async (context) => {
  const bench = new Bench(context)
  const [one, other] = [bench.open(), bench.open()]
  await bench.write(one, 0, 'before')
  one.close()
  const third = bench.open()
  await bench.write(third, 0, 'after')
  assert.deepEqual(bench.files(), ['log-1.1.db', 'log-2.1.db'])
  const texts = (await other.page(ALL)).map(({ text }) => text)
  assert.deepEqual(texts, ['before', 'after'])
})

test('a batch that two processes have written is one', async (context) => {
  const bench = new Bench(context)
  const [one, other] = [bench.open(), bench.open()]
  const [id] = await bench.write(one, 1, 'twice')
  const again = other.append({ lane: 1, messages: [{ id: id!, text: 'twice' }], deadlineAt: 1000 })
  await bench.clock.advance(1)
  await again
  assert.deepEqual(await one.page(ALL), [{ id, text: 'twice', lane: 1 }])
})

test('what is older than the retention is removed, in whole segments', async (context) => {
  const bench = new Bench(context)
  const journal = bench.open()
  await bench.write(journal, 0, 'old')
  await bench.clock.advance(HOUR_MS / 2)
  await bench.write(journal, 0, 'young')
  await bench.clock.advance(HOUR_MS / 2 + HOUSEKEEPING_MS)
  assert.deepEqual(bench.files(), ['log-1.2.db', 'log-1.3.db'])
  const texts = (await journal.page(ALL)).map(({ text }) => text)
  assert.deepEqual(texts, ['young'])
})

test('a journal that has filled its disk takes batches again when they have expired, with nothing written before', async (context) => {
  const disk = smallDisk(context, 64)
  if (disk === undefined) return
  const bench = new Bench(context, disk)
  const journal = bench.open()
  const texts = Array.from({ length: 16 }, () => 'x'.repeat(60_000))
  while (!existsSync(join(bench.data, 'reserve'))) await bench.clock.advance(DISK_PROBE_MS)
  const isTaken = () =>
    bench.write(journal, 0, ...texts).then(
      () => true,
      ({ code, outcome }) => {
        assert.deepEqual([code, outcome], ['MR_STORE_UNAVAILABLE', 'none'])
        return false
      },
    )
  do {
    while (await isTaken());
    await bench.clock.advance(2 * DISK_PROBE_MS) // Its write-ahead log is moved into the file, which makes room.
  } while (await isTaken())
  await bench.clock.advance(HOUR_MS - 10_000)
  assert.equal(await isTaken(), false)
  assert.deepEqual(journal.missing(), ['the journal cannot be written: the disk is full'])
  await bench.clock.advance(20_000)
  assert.deepEqual(journal.missing(), [])
  assert.equal(await isTaken(), true)
  assert.ok(existsSync(join(bench.data, 'reserve')))
})

test('one process at a time has a directory to itself', async (context) => {
  const bench = new Bench(context)
  const [one, other] = [bench.open(), bench.open()]
  const order: string[] = []
  const ran = await one.alone(async () => {
    order.push('one')
    assert.equal(await other.alone(async () => assert.fail('both at once')), false)
  })
  assert.equal(ran, true)
  assert.equal(await other.alone(async () => void order.push('other')), true)
  assert.deepEqual(order, ['one', 'other'])
})

test('it begins with the first that is written into it, for all processes, over restarts', async (context) => {
  const bench = new Bench(context)
  const [one, other] = [bench.open(), bench.open()]
  await bench.clock.advance(5000)
  assert.deepEqual([one.beganAt, other.beganAt], [null, null])
  const beganAt = bench.clock.now()
  await bench.write(one, 0, 'a')
  await bench.clock.advance(5000)
  await bench.write(other, 0, 'b')
  for (const journal of [one, other, bench.open()]) assert.equal(journal.beganAt, beganAt)
})

test('the journals seen beside it are known over restarts, until nothing of theirs can matter', async (context) => {
  const bench = new Bench(context)
  const [one, other] = [bench.open(), bench.open()]
  one.seen([{ id: 'a', node: 'node-a' }])
  other.seen([{ id: 'b', node: 'node-b' }])
  const again = bench.open()
  assert.deepEqual(again.others(), [
    { id: 'a', node: 'node-a' },
    { id: 'b', node: 'node-b' },
  ])
  await bench.clock.advance(HOUR_MS / 2)
  again.seen([{ id: 'b', node: 'node-b' }])
  await bench.clock.advance(HOUR_MS / 2 + 1)
  assert.deepEqual(again.others(), [{ id: 'b', node: 'node-b' }])
  writeFileSync(join(bench.data, 'known.json'), '{"a":')
  assert.deepEqual(bench.open().others(), [])
})

test('a description that is damaged is made anew: the directory is another one then, begun at no known time', async (context) => {
  const bench = new Bench(context)
  const before = bench.open()
  await bench.write(before, 0, 'a')
  before.close()
  writeFileSync(join(bench.data, 'journal.json'), '{"id":')
  const after = bench.open()
  assert.notEqual(after.id, before.id)
  assert.equal(after.beganAt, 0)
  assert.equal(JSON.parse(readFileSync(join(bench.data, 'journal.json'), 'utf8')).id, after.id)
  const names = readdirSync(bench.data).filter((name) => name.endsWith('.new'))
  assert.deepEqual(names, [])
})

test('a directory that cannot be made is refused, with what to do', (context) => {
  const bench = new Bench(context)
  writeFileSync(join(bench.data, '..', '..', 'journal'), 'a file')
  assert.throws(
    () => bench.open(),
    /Expected `--data` to be a directory .* `--journal off`, got .*EEXIST|ENOTDIR/,
  )
})

test('on a full disk it refuses, with outcome none, says so and can be read; with room again it takes what comes', async (context) => {
  const disk = smallDisk(context, 64)
  if (disk === undefined) return
  const bench = new Bench(context, disk)
  const journal = bench.open()
  await bench.write(journal, 0, 'before')
  fill(join(disk, 'foreign'))
  const message = 'The journal is unavailable: the disk is full'
  const refusal = { code: 'MR_STORE_UNAVAILABLE', outcome: 'none', message }
  await assert.rejects(bench.write(journal, 0, 'refused'), refusal)
  assert.match(journal.missing().join(), /^the journal cannot be written: the disk is full/)
  assert.match(bench.open().missing().join(), /the disk is full/, 'a process that starts says so, too')
  const texts = async () => (await journal.page(ALL)).map(({ text }) => text)
  assert.deepEqual(await texts(), ['before'])
  rmSync(join(disk, 'foreign'))
  await bench.clock.advance(DISK_PROBE_MS)
  assert.deepEqual(journal.missing(), [])
  await bench.write(journal, 0, 'after')
  assert.deepEqual(await texts(), ['before', 'after'])
})

test('a folder that is removed under a process is named, and nothing more is taken', async (context) => {
  const bench = new Bench(context)
  const journal = bench.open()
  await bench.write(journal, 0, 'lost')
  rmSync(bench.data, { recursive: true })
  await assert.rejects(bench.write(journal, 0, 'refused'), { code: 'MR_STORE_UNAVAILABLE' })
  assert.match(journal.missing().join(), /^the journal cannot be written: .* was removed while Mailroom runs/)
  const anew = bench.open()
  assert.notEqual(anew.id, journal.id, 'what is there next is another journal')
})
