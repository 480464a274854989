/** Putting back into the log, page by page: lanes and pages are what the test says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Redrive, type RedriveOptions } from '../../../src/actors/facade/redrive.ts'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { BULK_SLICE_MS, REDRIVE_AGE_MS } from '../../../src/runtime/timings.ts'
import { idAt, MIN_ID } from '../../../src/storage/ids.ts'
import type { Stored } from '../../../src/storage/ports.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const LANE_COUNT = 3

/** A log, and a queue with these messages in its lanes. */
class Bench {
  readonly clock = new FakeClock()
  readonly log = new Set<string>()
  readonly lanes: Stored[][] = Array.from({ length: LANE_COUNT }, () => [])
  readonly asked: string[] = []
  /** No page is longer, whatever is asked for. */
  pageMax = 1000
  /** Called before each page. */
  before: (lane: number) => unknown = () => {}
  readonly redrive: Redrive

  constructor(options: Partial<RedriveOptions> = {}) {
    this.redrive = new Redrive({
      clock: this.clock,
      holderOf: () => ({
        redrive: () => assert.fail('nothing is put into the queue'),
        stored: async (lane, { after, limit }) => {
          await this.before(lane)
          this.asked.push(`${lane} ${limit}`)
          return this.lanes[lane]!.filter(({ id }) => id > after).slice(0, Math.min(limit, this.pageMax))
        },
      }),
      logging: {
        page: () => assert.fail('the log is not read'),
        restore: async (_, messages) => {
          const lacked = messages.filter(({ id }) => !this.log.has(id))
          for (const { id, text } of lacked) if (text !== null) this.log.add(id)
          return lacked.map(({ id }) => id)
        },
      },
      ...{ laneCount: LANE_COUNT, isOnClusters: true, ...options },
    })
  }

  /** Puts a message that was made so long ago into a lane. @returns Its id. */
  add(lane: number, agoMs: number, text: string | null = 'text'): string {
    const id = `${idAt(this.clock.now() - agoMs).slice(0, -2)}${lane}${1 + this.lanes[lane]!.length}`
    this.lanes[lane]!.push({ id, text })
    return id
  }
}

test('what the log lacks is put back, lane by lane; what nobody has the text of is counted as lost', async () => {
  const bench = new Bench()
  const [first, , third] = [bench.add(0, 60_000), bench.add(0, 50_000, null), bench.add(2, 60_000)]
  bench.log.add(bench.add(0, 40_000))
  const done = await bench.redrive.toLog({ lane: 0, limit: 1000 })
  assert.deepEqual(done, { checked: 4, restored: 2, lost: 1, next: null })
  assert.ok(bench.log.has(first) && bench.log.has(third))
  const again = await bench.redrive.toLog({ lane: 0, limit: 1000 })
  assert.deepEqual(again, { checked: 4, restored: 0, lost: 1, next: null })
})

test('a short page is not the end of its lane; a young message is', async () => {
  const bench = new Bench()
  bench.pageMax = 2
  for (let count = 0; count < 5; count++) bench.add(0, 60_000 - count)
  const young = bench.add(0, REDRIVE_AGE_MS - 1)
  bench.add(1, 60_000)
  const { checked, restored, next } = await bench.redrive.toLog({ lane: 0, limit: 1000 })
  assert.deepEqual([checked, restored, next], [6, 6, null])
  assert.ok(!bench.log.has(young))
})

test('it goes on where it ended: after an id in its lane, after `since` in later ones', async () => {
  const bench = new Bench()
  const ids = [90_000, 80_000, 70_000].map((agoMs) => bench.add(0, agoMs))
  for (const agoMs of [95_000, 60_000]) bench.add(1, agoMs)
  const since = ids[0]!
  const first = await bench.redrive.toLog({ lane: 0, since, limit: 1 })
  assert.deepEqual(first, { checked: 1, restored: 1, lost: 0, next: { lane: 0, after: ids[1] } })
  const rest = await bench.redrive.toLog({ ...first.next!, since, limit: 1000 })
  assert.deepEqual(rest, { checked: 2, restored: 2, lost: 0, next: null })
  assert.deepEqual([...bench.log].sort(), [ids[1], ids[2], bench.lanes[1]![1]!.id].sort())
})

test('a slice ends after its time, with what it has done; a lane without a holder refuses', async () => {
  const bench = new Bench()
  bench.add(0, 60_000)
  bench.add(1, 60_000)
  bench.before = (lane) => {
    return lane === 1 && bench.clock.advance(BULK_SLICE_MS)
  }
  const { checked, next } = await bench.redrive.toLog({ lane: 0, limit: 1000 })
  assert.deepEqual([checked, next?.lane], [2, 1])
  const away = new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason: 'no holder' })
  bench.before = () => {
    throw away
  }
  await assert.rejects(bench.redrive.toLog({ lane: 0, limit: 1000 }), away)
  bench.before = (lane) => {
    if (lane === 1) throw away
  }
  const some = await bench.redrive.toLog({ lane: 0, limit: 1000 })
  assert.deepEqual([some.checked, some.next], [1, { lane: 1, after: MIN_ID }], 'what was done is told')
})

test('pages are of at most 100 messages, and on the embedded backend no lane is asked', async () => {
  const bench = new Bench()
  await bench.redrive.toLog({ lane: 1, after: MIN_ID, limit: 1000 })
  assert.deepEqual(bench.asked, ['1 100', '2 100'])
  const embedded = new Bench({ isOnClusters: false })
  embedded.add(0, 60_000)
  const done = await embedded.redrive.toLog({ lane: 0, limit: 1000 })
  assert.deepEqual([done, embedded.asked], [{ checked: 0, restored: 0, lost: 0, next: null }, []])
})
