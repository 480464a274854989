/** What every backend must do: one suite, a function of how to open one. Uses the real clock. */

import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../src/runtime/clock.ts'
import { DELIVERY_MS } from '../../src/runtime/timings.ts'
import { storedText } from '../../src/storage/content.ts'
import { idGenerator, MIN_ID } from '../../src/storage/ids.ts'
import type { LaneReport } from '../../src/storage/lane-choice.ts'
import { HAND_MAX_BYTES, MAX_DEATHS, PAGE_MAX_BYTES } from '../../src/storage/limits.ts'
import {
  type Backend,
  type Batch,
  type Claimed,
  type DeadFilter,
  type DeliveredHead,
  type LaneBatch,
  type LogPosition,
  type Queue,
  type Range,
  type SettledPlace,
  type Stored,
  textBytesOf,
} from '../../src/storage/ports.ts'

/** One empty store, opened by as many processes as a test likes. */
export interface Bed {
  /** Opens the backend as the n-th logging actor does. */
  logging(number: number): Promise<Backend>
  /** Opens it as the n-th messages actor does, once or again. */
  messages(number: number): Promise<Backend>
  /** Opens it as a facade does, which puts all that comes without a key into `lane`, if one is given. */
  facade(lane?: number): Promise<Backend>
  /**
   * Makes the queue lose what it has of a lane nobody holds, as a cluster that comes back empty does. Absent where
   * what is logged is in the queue by that alone.
   */
  forget?(lane: number): Promise<void>
  /** Makes the log lose all it has. Present where `forget` is. */
  forgetLog?(): Promise<void>
  /** Closes a backend as a SIGKILL would: it gives nothing back by itself. */
  die(backend: Backend): Promise<void>
  /** Closes everything and removes the store. */
  end(): Promise<void>
}

const nextIds = idGenerator(systemClock, systemRandom)
/** Ids that were made a minute ago. */
const nextOldIds = idGenerator({ ...systemClock, now: () => Date.now() - 60_000 }, systemRandom)
const LANE = 3

function batchOf(texts: readonly string[], options: Partial<LaneBatch> = {}): LaneBatch {
  const ids = nextIds(texts.length)
  const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
  return { messages, deadlineAt: systemClock.monotonic() + 10_000, lane: LANE, ...options }
}

const textsOf = (items: readonly { text: string }[]) => items.map(({ text }) => text)
const idsOf = (items: readonly { id: string }[]) => items.map(({ id }) => id)
const done = (items: readonly { id: string }[]) => items.map(({ id }) => ({ id, as: 'done' }) as const)

/** Claims until `count` messages have been claimed. One claim may end sooner than its time: lanes end theirs together. */
async function claimAll(queue: Queue, lane: number, count: number): Promise<Claimed[]> {
  const claimed: Claimed[] = []
  const endAt = systemClock.monotonic() + 10_000
  while (claimed.length < count) {
    const more = await queue.claim(lane, 1000, 5000)
    if (systemClock.monotonic() > endAt) assert.fail(`claimed ${claimed.length} of ${count}`)
    claimed.push(...more)
  }
  return claimed
}

/** What a facade is told of the lanes when it is to put everything into one of them. */
export function onlyLane(laneCount: number, only: number | undefined): LaneReport {
  return () =>
    Array.from({ length: laneCount }, (_, lane) => {
      const isBusy = only !== undefined && lane !== only
      return { holder: isBusy ? 'busy' : 'idle', waiting: isBusy ? 1e9 : 0 }
    })
}

/** Registers the suite. */
export function backendSuite(name: string, begin: () => Promise<Bed>): void {
  describe(`the contract of a backend: ${name}`, () => {
    let bed: Bed
    let logging: Backend
    let messages: Backend
    let facade: Backend
    beforeEach(async () => {
      bed = await begin()
      logging = await bed.logging(1)
      messages = await bed.messages(1)
      facade = await bed.facade(LANE)
    })
    afterEach(() => bed.end())

    const find = (id: string) => logging.log.get(id)
    const accept = ({ lane: _, ...batch }: LaneBatch, from = facade) =>
      from.queue.accept(batch satisfies Batch, (given) => logging.log.append(given), find)

    const append = async (...texts: string[]) => {
      const receipts = await accept(batchOf(texts))
      messages.queue.wake(LANE)
      return idsOf(receipts)
    }

    describe('the log', () => {
      test('returns the texts that were appended', async () => {
        const texts = [
          'plain',
          'nul \u0000 inside',
          '\uFEFFbom',
          'emoji 👩‍👩‍👧',
          'x'.repeat(65_536),
          '"\\\n\r\t',
        ]
        await append(...texts)
        assert.deepEqual(textsOf(await logging.log.page({ after: '0', limit: 100 })), texts)
      })

      test('pages newest first, or oldest first after an id; bounds are exclusive', async () => {
        const ids = await append(...'abcdef')
        const page = async (range: object) => textsOf(await logging.log.page(range as never)).join('')
        assert.equal(await page({ limit: 3 }), 'fed')
        assert.equal(await page({ limit: 3, before: ids[3] }), 'cba')
        assert.equal(await page({ limit: 3, after: ids[1] }), 'cde')
        assert.equal(await page({ limit: 9, after: ids[1], before: ids[4] }), 'cd')
        assert.equal(await page({ limit: 9, after: ids[5] }), '')
      })

      test('merges what several logging actors wrote', async () => {
        const second = await bed.logging(2)
        const batches = ['a', 'b', 'c', 'd'].map((text) => batchOf([text]))
        for (const [index, batch] of batches.entries()) await (index % 2 ? second : logging).log.append(batch)
        for (const backend of [logging, second, messages]) {
          assert.equal(textsOf(await backend.log.page({ limit: 3 })).join(''), 'dcb')
        }
      })

      test('finds one message and its lane', async () => {
        const [id] = await append('one')
        assert.deepEqual(await logging.log.get(id!), { id, text: 'one', lane: LANE })
        assert.deepEqual(await logging.log.page({ limit: 9 }), [{ id, text: 'one', lane: LANE }])
        assert.equal(await logging.log.get(nextIds(1)[0]!), undefined)
      })

      test('a batch that two logging actors have is shown once, among what only one of them has', async () => {
        const other = await bed.logging(2)
        const batches = ['ab', 'cd', 'ef', 'gh', 'ij'].map((texts) => batchOf([...texts]))
        const [both, first, second, last, lastBoth] = batches as [LaneBatch, ...LaneBatch[]]
        for (const batch of [both, first!, last!, lastBoth!]) await logging.log.append(batch)
        for (const batch of [both, second!, lastBoth!]) await other.log.append(batch)
        const all = textsOf(await logging.log.page({ after: MIN_ID, limit: 100 }))
        assert.deepEqual(all, [...'abcdefghij'])
        for (const order of ['up', 'down']) {
          for (const limit of [1, 3, 7]) {
            const next = (id: string) => (order === 'up' ? { after: id } : { before: id })
            const read: string[] = []
            let range: Range = order === 'up' ? { after: MIN_ID, limit } : { limit }
            for (
              let page = await logging.log.page(range);
              page.length > 0;
              page = await logging.log.page(range)
            ) {
              read.push(...textsOf(page))
              range = { ...next(page.at(-1)!.id), limit }
            }
            assert.deepEqual(order === 'up' ? read : read.toReversed(), all)
          }
        }
      })

      test('a follower is given all that several logging actors store, in parts, also with smaller ids', async () => {
        const other = await bed.logging(2)
        const batches = Array.from({ length: 6 }, (_, index) => batchOf([`${index} a`, `${index} b`]))
        const late = batches.splice(1, 1)[0]!
        let position: LogPosition = { after: MIN_ID }
        const given: string[] = []
        const follow = async () => {
          for (let isEnd = false; !isEnd; ) {
            const part = await logging.log.follow(position, 3)
            given.push(...part.messages.map(({ id, text }) => `${id} ${text}`))
            position = part.position
            isEnd = part.isEnd
          }
        }
        await follow()
        assert.deepEqual(given, [])
        for (const [index, batch] of batches.entries()) {
          await (index % 2 === 0 ? logging : other).log.append(batch)
          if (index % 2 === 0) await follow()
        }
        await other.log.append(late)
        await follow()
        await follow()
        const all = [...batches, late].flatMap(({ messages }) =>
          messages.map(({ id, text }) => `${id} ${text}`),
        )
        assert.deepEqual(given.sort(), all.sort(), 'each once')
        const since = batches[1]!.messages[1]!.id
        const part = await logging.log.follow({ after: since }, 1000)
        const ids = part.messages.map(({ id }) => id)
        for (const { messages } of batches.slice(2))
          for (const { id } of messages) assert.ok(ids.includes(id), 'what has a greater id is given')
        assert.ok(ids.every((id) => id > since))
        assert.equal(part.isEnd, true)
      })

      test('keeps an id once, whichever logging actor appended it', async () => {
        const batch = batchOf(['a', 'b'])
        const second = await bed.logging(2)
        for (const backend of [logging, logging, second]) {
          const receipts = await backend.log.append(batch)
          assert.deepEqual(
            receipts,
            batch.messages.map(({ id }) => ({ id, replayed: false })),
          )
        }
        assert.deepEqual(textsOf(await logging.log.page({ limit: 10 })), ['b', 'a'])
      })

      test('refuses a batch past its deadline: nothing was stored', async () => {
        const batch = batchOf(['late'], { deadlineAt: systemClock.monotonic() - 1 })
        await assert.rejects(logging.log.append(batch), { code: 'MR_DEADLINE_EXPIRED', outcome: 'none' })
        assert.deepEqual(await logging.log.page({ limit: 10 }), [])
      })

      test('a refused batch does not affect batches of the same commit', async () => {
        const results = await Promise.allSettled([
          logging.log.append(batchOf(['a'])),
          logging.log.append(batchOf(['late'], { deadlineAt: 1 })),
          logging.log.append(batchOf(['b'])),
        ])
        assert.deepEqual(
          results.map(({ status }) => status),
          ['fulfilled', 'rejected', 'fulfilled'],
        )
        assert.deepEqual(textsOf(await logging.log.page({ limit: 10 })), ['b', 'a'])
      })
    })

    describe('idempotency keys', () => {
      const keyed = (texts: string[], hash = 'h1', value = 'key-0123456789abcdef') =>
        batchOf(texts, { key: { value, hash } })

      test('the same key and content stores once and answers as the first time', async () => {
        const first = keyed(['a', 'b'])
        await accept(first)
        const receipts = await accept(keyed(['a', 'b']))
        assert.deepEqual(
          receipts,
          first.messages.map(({ id }) => ({ id, replayed: true })),
        )
        assert.equal((await logging.log.page({ limit: 10 })).length, 2)
      })

      test('the same batch appended again is not a replay of its key', async () => {
        const batch = keyed(['a'])
        const twice = async (given: LaneBatch) => {
          await logging.log.append(given)
          return logging.log.append(given)
        }
        const receipts = await facade.queue.accept(batch, twice, find)
        assert.deepEqual(receipts, [{ id: batch.messages[0]!.id, replayed: false }])
      })

      test('the same key with other content is refused: nothing was stored', async () => {
        await accept(keyed(['a']))
        await assert.rejects(accept(keyed(['b'], 'h2')), {
          code: 'MR_KEY_REUSED',
          outcome: 'none',
        })
        assert.equal((await logging.log.page({ limit: 10 })).length, 1)
      })

      test('of a key without a hash everything is a repeat, whatever its content', async () => {
        const first = await accept(keyed(['a'], ''))
        const again = await accept(keyed(['b'], ''))
        assert.deepEqual(again, [{ id: first[0]!.id, replayed: true }])
        const page = await logging.log.page({ limit: 10 })
        assert.deepEqual(textsOf(page), ['a'])
      })

      test('two batches at once with one key are stored once', async () => {
        const answers = await Promise.allSettled([accept(keyed(['a'])), accept(keyed(['a']))])
        const receipts = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
        assert.equal(new Set(idsOf(receipts)).size, 1)
        for (const answer of answers) {
          if (answer.status === 'rejected') assert.equal(answer.reason.code, 'MR_KEY_BUSY')
        }
        assert.equal((await logging.log.page({ limit: 10 })).length, 1)
      })

      test('the same content with another key is stored again', async () => {
        await accept(keyed(['a']))
        await accept(keyed(['a'], 'h1', 'key-fedcba9876543210'))
        assert.equal((await logging.log.page({ limit: 10 })).length, 2)
      })
    })

    describe('accepting', () => {
      test('returns the receipts of the append, or its error', async () => {
        const { lane: _, ...batch } = batchOf(['a'])
        const receipts = await facade.queue.accept(batch, (given) => logging.log.append(given), find)
        assert.deepEqual(receipts, [{ id: batch.messages[0]!.id, replayed: false }])
        const { lane: _lane, ...next } = batchOf(['b'])
        await assert.rejects(
          facade.queue.accept(next, async () => assert.fail('lost'), find),
          { message: 'lost' },
        )
      })

      test('spreads batches over all lanes', async () => {
        const facade = await bed.facade()
        const lanes = new Set<number>()
        for (let round = 0; round < facade.queue.laneCount; round++) {
          const { lane: _, ...batch }: LaneBatch = batchOf(['a'])
          const note = async ({ lane }: LaneBatch) => {
            lanes.add(lane)
            return []
          }
          await facade.queue.accept(batch satisfies Batch, note, find)
          await systemClock.sleep(2 * DELIVERY_MS)
        }
        assert.equal(lanes.size, facade.queue.laneCount)
      })

      test('an accepted message is pending in its lane', async () => {
        await accept(batchOf(['a', 'b']))
        await messages.queue.hold(LANE)
        assert.deepEqual(textsOf(await claimAll(messages.queue, LANE, 2)), ['a', 'b'])
      })
    })

    describe('pausing', () => {
      test('is known to every process, until it is over; twice is once', async () => {
        assert.equal(await messages.queue.isPaused(), false)
        await facade.queue.setPaused(false)
        for (let times = 0; times < 2; times++) {
          await facade.queue.setPaused(true)
          assert.equal(await messages.queue.isPaused(), true)
        }
        const later = await bed.messages(2)
        assert.equal(await later.queue.isPaused(), true)
        await later.queue.setPaused(false)
        assert.equal(await messages.queue.isPaused(), false)
      })
    })

    describe('holding lanes', () => {
      test('a lane has one holder at a time', async () => {
        const other = await bed.messages(2)
        await messages.queue.hold(LANE)
        await assert.rejects(other.queue.hold(LANE), { code: 'MR_LANE_ELSEWHERE', outcome: 'none' })
        await other.queue.hold(LANE + 1)
        await messages.queue.release(LANE)
        await other.queue.hold(LANE)
      })

      test('calls for a lane that is not held are refused', async () => {
        const { queue } = messages
        const elsewhere = { code: 'MR_LANE_ELSEWHERE' }
        const id = nextIds(1)[0]!
        await assert.rejects(queue.claim(LANE, 1, 0), elsewhere)
        await assert.rejects(queue.start(LANE, [id]), elsewhere)
        await assert.rejects(queue.settle(LANE, done([{ id }])), elsewhere)
        await assert.rejects(queue.find(LANE, id), elsewhere)
        await assert.rejects(queue.delivered(LANE, { limit: 1 }), elsewhere)
        await assert.rejects(queue.depth(LANE), elsewhere)
        await assert.rejects(queue.dead(LANE, { limit: 1 }), elsewhere)
        await assert.rejects(queue.sift(LANE, { after: MIN_ID, limit: 1 }, {}), elsewhere)
        await assert.rejects(queue.groupDead(LANE, { after: MIN_ID, limit: 1 }), elsewhere)
        await assert.rejects(queue.replay(LANE, [id]), elsewhere)
        await assert.rejects(queue.purge(LANE, [id]), elsewhere)
        await assert.rejects(queue.redrive(LANE, [{ id, text: 'a' }]), elsewhere)
      })

      test('a claim that waits is refused when its lane is released', async () => {
        await messages.queue.hold(LANE)
        const claim = messages.queue.claim(LANE, 1, 30_000)
        const refused = assert.rejects(claim, { code: 'MR_LANE_ELSEWHERE' })
        await messages.queue.release(LANE)
        await refused
      })

      test('a lane moves with its list, its backlog and its dead letters', async () => {
        const ids = await append('listed', 'dead', 'waiting')
        await messages.queue.hold(LANE)
        await claimAll(messages.queue, LANE, 3)
        await messages.queue.settle(LANE, [
          { id: ids[0]!, as: 'done' },
          { id: ids[1]!, as: 'dead', reason: 'tried', error: 'Error: no' },
        ])
        await messages.queue.release(LANE)
        const other = await bed.messages(2)
        await other.queue.hold(LANE)
        assert.deepEqual(textsOf(await other.queue.delivered(LANE, { limit: 9 })), ['listed'])
        assert.deepEqual(textsOf(await other.queue.dead(LANE, { limit: 9 })), ['dead'])
        assert.deepEqual(textsOf(await claimAll(other.queue, LANE, 1)), ['waiting'])
      })

      test('releasing a lane twice, or one that is not held, changes nothing', async () => {
        await messages.queue.hold(LANE)
        await messages.queue.release(LANE)
        await messages.queue.release(LANE)
        await messages.queue.release(LANE + 1)
      })
    })

    describe('claiming and settling', () => {
      beforeEach(() => messages.queue.hold(LANE))

      test('claims pending messages once, at most as many as asked, in order', async () => {
        await append(...'abcde')
        const { queue } = messages
        assert.deepEqual(textsOf(await queue.claim(LANE, 2, 5000)), ['a', 'b'])
        assert.deepEqual(textsOf(await queue.claim(LANE, 9, 5000)), ['c', 'd', 'e'])
        assert.deepEqual(await queue.claim(LANE, 9, 0), [])
      })

      test('other lanes’ messages are not claimed', async () => {
        await accept(batchOf(['other']), await bed.facade(LANE + 1))
        await append('own')
        assert.deepEqual(textsOf(await claimAll(messages.queue, LANE, 1)), ['own'])
      })

      test('a claim waits for the first message and is woken by it', async () => {
        const claim = messages.queue.claim(LANE, 9, 30_000)
        const beganAt = systemClock.monotonic()
        await append('a')
        // The wake-up may be here before the message is.
        const claimed = [...(await claim)]
        if (claimed.length === 0) claimed.push(...(await claimAll(messages.queue, LANE, 1)))
        assert.deepEqual(textsOf(claimed), ['a'])
        assert.ok(systemClock.monotonic() < beganAt + 15_000, 'it was woken')
      })

      test('a settled message is in the delivered list, and not claimed again by anyone', async () => {
        const ids = await append('a', 'b', 'c')
        const claimed = await claimAll(messages.queue, LANE, 3)
        const before = Date.now()
        const shown = await messages.queue.settle(LANE, done(claimed.toReversed()))
        assert.deepEqual(idsOf(shown), ids)
        for (const { deliveredAt, attempts } of shown) {
          assert.ok(deliveredAt >= before && deliveredAt <= Date.now())
          assert.equal(attempts, 1)
        }
        await messages.queue.release(LANE)
        await messages.queue.hold(LANE)
        assert.deepEqual(await messages.queue.claim(LANE, 9, 0), [])
        assert.deepEqual(idsOf(await messages.queue.delivered(LANE, { after: '0', limit: 9 })), ids)
      })

      test('messages settled in any order, one twice in a call, leave the others pending', async () => {
        await append(...'abcde')
        const claimed = await claimAll(messages.queue, LANE, 5)
        const settled = async (...places: number[]) =>
          textsOf(await messages.queue.settle(LANE, done(places.map((place) => claimed[place]!))))
        const listed = async () => textsOf(await messages.queue.delivered(LANE, { limit: 9 })).join('')
        assert.deepEqual(await settled(0, 0), ['a'])
        assert.deepEqual(await settled(3, 2), ['c', 'd'])
        assert.equal(await listed(), 'dca')
        for (const place of [1, 4])
          assert.equal((await messages.queue.find(LANE, claimed[place]!.id)).state, 'queued')
        assert.deepEqual(await settled(1, 4), ['b', 'e'])
        assert.equal(await listed(), 'edcba')
      })

      test('settling a message again changes nothing', async () => {
        await append('a')
        const claimed = await claimAll(messages.queue, LANE, 1)
        await messages.queue.settle(LANE, done(claimed))
        assert.deepEqual(await messages.queue.settle(LANE, done(claimed)), [])
        assert.deepEqual(messages.queue.deliveredByFormerHolder(LANE), [])
        assert.equal((await messages.queue.delivered(LANE, { limit: 9 })).length, 1)
      })

      test('the delivered list pages as the log does', async () => {
        const ids = await append(...'abcdef')
        await messages.queue.settle(LANE, done(await claimAll(messages.queue, LANE, 6)))
        const page = async (range: object) =>
          textsOf(await messages.queue.delivered(LANE, range as never)).join('')
        assert.equal(await page({ limit: 3 }), 'fed')
        assert.equal(await page({ limit: 3, before: ids[3] }), 'cba')
        assert.equal(await page({ limit: 3, after: ids[1] }), 'cde')
        assert.equal(await page({ limit: 9, after: ids[1], before: ids[4] }), 'cd')
      })

      test('deliveries are read by the time of their delivery, behind a place, page by page', async () => {
        const ids = await append(...'abcdefgh')
        await claimAll(messages.queue, LANE, 8)
        const order = [[7], [0, 1, 2], [5, 3], [4, 6]].map((some) => some.map((index) => ids[index]!))
        for (const some of order) {
          await messages.queue.settle(LANE, done(some.map((id) => ({ id }))))
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
        const read = async (from: SettledPlace, limit: number) => {
          const all: DeliveredHead[] = []
          for (let place = from; ; ) {
            const page = await messages.queue.deliveredSince(LANE, place, limit)
            assert.ok(page.length <= limit)
            all.push(...page)
            const last = page.at(-1)
            if (last === undefined) return all
            place = { at: last.deliveredAt, id: last.id }
          }
        }
        const all = await read({ at: 0, id: '' }, 2)
        assert.deepEqual(
          idsOf(all),
          order.flatMap((some) => some.sort()),
        )
        assert.deepEqual(all[0]!.preview, { text: 'h', bytes: 1 })
        assert.equal(all[0]!.attempts, 1)
        assert.deepEqual(await read({ at: 0, id: '' }, 1000), all)
        const second = all[1]!
        assert.deepEqual(await read({ at: second.deliveredAt, id: '' }, 3), all.slice(1), 'from a time on')
        await messages.queue.release(LANE)
        const other = await bed.messages(2)
        await other.queue.hold(LANE)
        assert.deepEqual(await other.queue.deliveredSince(LANE, { at: 0, id: '' }, 1000), all)
      })

      test('a page of the delivered list shows each once, of however many deliveries it is made', async () => {
        const texts = Array.from({ length: 250 }, (_, index) => `text ${index}`)
        for (const text of texts) await append(text)
        const claimed = await claimAll(messages.queue, LANE, texts.length)
        for (const message of claimed) await messages.queue.settle(LANE, done([message]))
        const list = (range: object) => messages.queue.delivered(LANE, { ...range, limit: 1000 })
        assert.deepEqual(textsOf(await list({ after: MIN_ID })), texts)
        assert.deepEqual(textsOf(await list({})), texts.toReversed())
      })

      test('after a restart messages settled out of order stay settled, and the others are claimed again', async () => {
        await append(...'abcd')
        const claimed = await claimAll(messages.queue, LANE, 4)
        await messages.queue.settle(LANE, done([claimed[1]!, claimed[3]!]))
        await bed.die(messages)
        const next = await bed.messages(1)
        await next.queue.hold(LANE)
        const again = await claimAll(next.queue, LANE, 2)
        assert.deepEqual(textsOf(again), ['a', 'c'])
        await next.queue.settle(LANE, done(again))
        assert.equal(textsOf(await next.queue.delivered(LANE, { after: '0', limit: 9 })).join(''), 'abcd')
      })

      test('messages in hand of a holder that dies are claimed again', async () => {
        await append('a', 'b')
        await claimAll(messages.queue, LANE, 2)
        await bed.die(messages)
        const next = await bed.messages(1)
        await next.queue.hold(LANE)
        const again = await claimAll(next.queue, LANE, 2)
        assert.deepEqual(
          again.map(({ id: _, ...facts }) => facts),
          ['a', 'b'].map((text) => ({ text, starts: 0, deaths: 0, suspect: false, replayedAt: 0 })),
        )
      })

      test('a batch that is in the log twice is delivered once', async () => {
        const second = await bed.logging(2)
        const batch = batchOf(['a', 'b'])
        await accept(batch)
        const claimed = await claimAll(messages.queue, LANE, 2)
        await second.log.append(batch)
        assert.deepEqual(await messages.queue.claim(LANE, 9, 0), [])
        await messages.queue.settle(LANE, done(claimed))
        await messages.queue.release(LANE)
        await messages.queue.hold(LANE)
        assert.deepEqual(await messages.queue.claim(LANE, 9, 0), [])
        assert.equal((await messages.queue.delivered(LANE, { limit: 9 })).length, 2)
      })

      test('many messages are delivered, each once', async () => {
        const texts = Array.from({ length: 5000 }, (_, index) => `text ${index}`)
        for (let from = 0; from < texts.length; from += 1000) await append(...texts.slice(from, from + 1000))
        const seen: string[] = []
        while (seen.length < texts.length) {
          const claimed = await messages.queue.claim(LANE, 300, 5000)
          assert.ok(claimed.length > 0 && claimed.length <= 300)
          seen.push(...textsOf(await messages.queue.settle(LANE, done(claimed))))
        }
        assert.deepEqual(seen, texts)
      })
    })

    describe('large messages', () => {
      beforeEach(() => messages.queue.hold(LANE).then(() => {}))

      /** The largest that Hazelcast takes: 1 MiB, as Base64, with a head. */
      const largest = (digit: string) =>
        storedText({
          base64: Buffer.alloc(1024 * 1024, digit).toString('base64'),
          source: 'github',
          headers: { a: 'b' },
        })

      test('the largest one comes whole through the log, a claim, a retry, death, a replay and the list', async () => {
        const text = largest('1')
        const [id] = (await append(text, 'small')) as [string]
        const isWhole = (found: { text: string | null } | undefined) => assert.ok(found?.text === text)
        isWhole(await logging.log.get(id))
        isWhole((await logging.log.page({ after: MIN_ID, limit: 9 }))[0])
        const [claimed] = await claimAll(messages.queue, LANE, 2)
        isWhole(claimed)
        await messages.queue.start(LANE, [id])
        await messages.queue.settle(LANE, [{ id, as: 'retry', delayMs: 0, error: 'no' }])
        isWhole((await claimAll(messages.queue, LANE, 1))[0])
        await messages.queue.start(LANE, [id])
        await messages.queue.settle(LANE, [{ id, as: 'dead', reason: 'tried', error: 'no' }])
        isWhole((await messages.queue.dead(LANE, { limit: 9 }))[0])
        assert.equal(await messages.queue.replay(LANE, [id]), 1)
        isWhole((await claimAll(messages.queue, LANE, 1))[0])
        isWhole((await messages.queue.settle(LANE, [{ id, as: 'done' }]))[0])
        isWhole((await messages.queue.delivered(LANE, { after: MIN_ID, limit: 9 }))[0])
      })

      test('every page ends with the text that reaches its bytes, large ones behind small ones, too', async () => {
        const half = 'x'.repeat(PAGE_MAX_BYTES / 2)
        const texts = ['a', half, 'b', half, half, largest('2'), 'c']
        const ids: string[] = []
        for (const text of texts) ids.push(...(await append(text)))
        const pages = async (
          read: (range: { after: string; limit: number }) => Promise<{ id: string }[]>,
        ) => {
          const found: string[][] = []
          for (let after = MIN_ID; ; after = found.at(-1)!.at(-1)!) {
            const page = await read({ after, limit: 100 })
            if (page.length === 0) return found
            found.push(idsOf(page))
          }
        }
        const expected = [ids.slice(0, 4), ids.slice(4, 6), ids.slice(6)]
        assert.deepEqual(await pages((range) => logging.log.page(range)), expected)
        const claimed = await claimAll(messages.queue, LANE, texts.length)
        await messages.queue.settle(
          LANE,
          claimed.map(({ id }) => ({ id, as: 'dead', reason: 'tried', error: 'no' }) as const),
        )
        assert.deepEqual(await pages((range) => messages.queue.dead(LANE, range)), expected)
        assert.equal(await messages.queue.replay(LANE, ids), ids.length)
        await messages.queue.settle(LANE, done(await claimAll(messages.queue, LANE, texts.length)))
        assert.deepEqual(await pages((range) => messages.queue.delivered(LANE, range)), expected)
      })

      test('all lanes together have so many bytes in hand, small ones behind large ones, too; all are claimed at last', async () => {
        const lanes = [LANE, LANE + 1]
        await messages.queue.hold(LANE + 1)
        const text = largest('3')
        const ids: string[] = []
        for (const lane of lanes) {
          const from = await bed.facade(lane)
          for (let count = 0; count < 15; count++) {
            ids.push(...idsOf(await accept(batchOf([text]), from)))
            ids.push(...idsOf(await accept(batchOf(['small', 'small']), from)))
          }
          messages.queue.wake(lane)
        }
        const inHand = new Map<string, { lane: number; text: string }>()
        const seen: string[] = []
        const endAt = systemClock.monotonic() + 60_000
        while (seen.length < ids.length) {
          assert.ok(systemClock.monotonic() < endAt, `claimed ${seen.length} of ${ids.length}`)
          const before = inHand.size
          for (const lane of lanes) {
            for (const { id, text } of await messages.queue.claim(lane, 1000, 0)) {
              inHand.set(id, { lane, text })
              seen.push(id)
            }
          }
          assert.ok(textBytesOf([...inHand.values()]) <= HAND_MAX_BYTES)
          if (inHand.size > before) continue
          for (const [id, { lane }] of [...inHand].slice(0, 3)) {
            await messages.queue.settle(lane, [{ id, as: 'done' }])
            inHand.delete(id)
          }
        }
        assert.deepEqual(seen.sort(), ids.sort())
      })
    })

    describe('starts, retries and dead letters', () => {
      beforeEach(() => messages.queue.hold(LANE))

      const settle = (id: string, as: object) => messages.queue.settle(LANE, [{ id, ...as } as never])

      test('starts are counted and shown', async () => {
        const [id] = (await append('a')) as [string]
        for (let attempt = 1; attempt <= 3; attempt++) {
          const [claimed] = await claimAll(messages.queue, LANE, 1)
          assert.equal(claimed!.starts, attempt - 1)
          await messages.queue.start(LANE, [id])
          assert.deepEqual(await messages.queue.find(LANE, id), {
            ...{ state: 'queued', attempts: attempt, deliveredAt: null, nextAttemptAt: null },
            firstError: attempt === 1 ? null : 'Error 1',
            lastError: attempt === 1 ? null : `Error ${attempt - 1}`,
          })
          if (attempt < 3) await settle(id, { as: 'retry', delayMs: 0, error: `Error ${attempt}` })
        }
        const [shown] = await settle(id, { as: 'done' })
        assert.equal(shown!.attempts, 3)
        const found = await messages.queue.find(LANE, id)
        assert.deepEqual(
          { ...found, deliveredAt: 0 },
          {
            ...{ state: 'delivered', attempts: 3, deliveredAt: 0 },
            ...{ firstError: null, lastError: null, nextAttemptAt: null },
          },
        )
      })

      test('a retry is claimed when it is due, not before, and blocks no other message', async () => {
        const [first] = (await append('first')) as [string]
        await claimAll(messages.queue, LANE, 1)
        await messages.queue.start(LANE, [first])
        const beganAt = systemClock.monotonic()
        await settle(first, { as: 'retry', delayMs: 300, error: 'Error: no' })
        await append('second')
        assert.deepEqual(textsOf(await claimAll(messages.queue, LANE, 1)), ['second'])
        assert.deepEqual(textsOf(await claimAll(messages.queue, LANE, 1)), ['first'])
        assert.ok(systemClock.monotonic() >= beganAt + 300)
      })

      test('at most so many retries are claimed; new messages are, beside them', async () => {
        const { queue } = messages
        await append('tried', 'tried, too')
        const tried = idsOf(await claimAll(queue, LANE, 2))
        await queue.start(LANE, tried)
        await queue.settle(
          LANE,
          tried.map((id) => ({ id, as: 'retry', delayMs: 0, error: 'Error: no' })),
        )
        await append('new')
        assert.deepEqual(textsOf(await queue.claim(LANE, 9, 5000, 0)), ['new'])
        assert.deepEqual(await queue.claim(LANE, 9, 200, 0), [])
        const [one] = await queue.claim(LANE, 9, 5000, 1)
        assert.deepEqual(await queue.claim(LANE, 9, 0, 0), [])
        const [other] = await queue.claim(LANE, 9, 5000)
        assert.deepEqual(idsOf([one!, other!]).sort(), tried.sort())
      })

      test('a started message that is given back is due at once, and the start does not count', async () => {
        const [id] = (await append('a')) as [string]
        await claimAll(messages.queue, LANE, 1)
        await messages.queue.start(LANE, [id])
        await settle(id, { as: 'back' })
        const [again] = await claimAll(messages.queue, LANE, 1)
        assert.deepEqual({ id: again!.id, starts: again!.starts }, { id, starts: 0 })
      })

      test('a start that an outage gave back does not count; it is due after its delay, and tells its error', async () => {
        const [id] = (await append('a')) as [string]
        await claimAll(messages.queue, LANE, 1)
        await messages.queue.start(LANE, [id])
        const [beganAt, began] = [systemClock.monotonic(), Date.now()]
        await settle(id, { as: 'back', delayMs: 300, error: 'Error: 503' })
        const { nextAttemptAt, ...place } = await messages.queue.find(LANE, id)
        const errors = { firstError: 'Error: 503', lastError: 'Error: 503' }
        assert.deepEqual(place, { state: 'queued', attempts: 0, deliveredAt: null, ...errors })
        assert.ok(nextAttemptAt! >= began + 299 && nextAttemptAt! <= Date.now() + 300)
        assert.deepEqual(await messages.queue.claim(LANE, 9, 0), [])
        const [again] = await claimAll(messages.queue, LANE, 1)
        assert.ok(systemClock.monotonic() >= beganAt + 300)
        assert.deepEqual([again!.id, again!.starts, again!.deaths], [id, 0, 0])
      })

      test('when a dead letter was replayed is kept through failures, outages and holders, until it is dead again', async () => {
        const [id] = (await append('a')) as [string]
        const start = async (queue: Queue) => {
          const [claimed] = await claimAll(queue, LANE, 1)
          await queue.start(LANE, [id])
          return claimed!.replayedAt
        }
        assert.equal(await start(messages.queue), 0)
        await settle(id, { as: 'dead', reason: 'r', error: 'e' })
        const began = Date.now()
        await messages.queue.replay(LANE, [id])
        const replayedAt = await start(messages.queue)
        assert.ok(replayedAt >= began - 1 && replayedAt <= Date.now() + 1, `${replayedAt}`)
        await settle(id, { as: 'back', delayMs: 0, error: 'Error: 503' })
        assert.equal(await start(messages.queue), replayedAt)
        await settle(id, { as: 'retry', delayMs: 0, error: 'Error: no' })
        assert.equal(await start(messages.queue), replayedAt)
        await bed.die(messages)
        const next = await bed.messages(1)
        await next.queue.hold(LANE)
        assert.equal(await start(next.queue), replayedAt)
        await next.queue.settle(LANE, [{ id, as: 'dead', reason: 'r', error: 'e' }])
        await systemClock.sleep(2)
        await next.queue.replay(LANE, [id])
        assert.ok((await start(next.queue)) > replayedAt)
      })

      test('deaths of a handler’s process are counted, apart from other failures, and survive a new holder', async () => {
        const [id] = (await append('a')) as [string]
        for (const isDeath of [true, false, true]) {
          await claimAll(messages.queue, LANE, 1)
          await messages.queue.start(LANE, [id])
          await settle(id, { as: 'retry', delayMs: 0, error: 'Error: no', isDeath })
        }
        await messages.queue.release(LANE)
        await messages.queue.hold(LANE)
        const [again] = await claimAll(messages.queue, LANE, 1)
        assert.deepEqual([again!.starts, again!.deaths, again!.suspect], [3, 2, true])
      })

      test('a message given back without a start is due at once', async () => {
        const [id] = (await append('a')) as [string]
        await claimAll(messages.queue, LANE, 1)
        await settle(id, { as: 'back' })
        assert.deepEqual(idsOf(await claimAll(messages.queue, LANE, 1)), [id])
      })

      test('a message that was started when its holder died is suspect, and the start counts', async () => {
        const [id] = (await append('a', 'mate')) as [string]
        await claimAll(messages.queue, LANE, 2)
        await messages.queue.start(LANE, [id])
        await bed.die(messages)
        const next = await bed.messages(1)
        assert.equal(await next.queue.hold(LANE), 1, 'its successor is told')
        const again = await claimAll(next.queue, LANE, 2)
        assert.deepEqual(
          again.map(({ id: _, ...facts }) => facts),
          [
            { text: 'a', starts: 1, deaths: 1, suspect: true, replayedAt: 0 },
            { text: 'mate', starts: 0, deaths: 0, suspect: false, replayedAt: 0 },
          ],
        )
      })

      test('a message stays suspect until an attempt of it has ended', async () => {
        const [id] = (await append('a')) as [string]
        await claimAll(messages.queue, LANE, 1)
        await messages.queue.start(LANE, [id])
        await messages.queue.release(LANE)
        for (let round = 0; round < 2; round++) {
          await messages.queue.hold(LANE)
          assert.equal((await claimAll(messages.queue, LANE, 1))[0]!.suspect, true)
          await messages.queue.release(LANE)
        }
      })

      test('a message that was started at five deaths of its holder is a dead letter', async () => {
        const [id] = (await append('poison')) as [string]
        for (let death = 1; death <= MAX_DEATHS; death++) {
          await claimAll(messages.queue, LANE, 1)
          await messages.queue.start(LANE, [id])
          await messages.queue.release(LANE)
          assert.equal(await messages.queue.hold(LANE), 1, 'the last one, too, is told of')
        }
        await messages.queue.release(LANE)
        assert.equal(await messages.queue.hold(LANE), 0)
        assert.deepEqual(await messages.queue.claim(LANE, 9, 0), [])
        const [letter] = await messages.queue.dead(LANE, { limit: 9 })
        assert.deepEqual([letter!.id, letter!.text, letter!.attempts], [id, 'poison', MAX_DEATHS])
        assert.match(letter!.reason, /died 5 times/)
        assert.equal((await messages.queue.find(LANE, id))!.state, 'dead')
      })

      test('a dead letter has its reason, attempts, first and last error', async () => {
        const [id] = (await append('a')) as [string]
        const began = Date.now()
        for (const error of ['first', 'second']) {
          await claimAll(messages.queue, LANE, 1)
          await messages.queue.start(LANE, [id])
          await settle(id, { as: 'retry', delayMs: 0, error })
        }
        await claimAll(messages.queue, LANE, 1)
        await messages.queue.start(LANE, [id])
        await settle(id, { as: 'dead', reason: 'gave up', error: 'third' })
        const [letter] = await messages.queue.dead(LANE, { limit: 9 })
        const { deadAt, ...rest } = letter!
        assert.deepEqual(rest, {
          id,
          text: 'a',
          reason: 'gave up',
          attempts: 3,
          firstError: 'first',
          lastError: 'third',
        })
        assert.ok(deadAt >= began && deadAt <= Date.now())
        assert.deepEqual(await messages.queue.delivered(LANE, { limit: 9 }), [])
        assert.deepEqual(await messages.queue.claim(LANE, 9, 0), [])
      })

      test('dead letters are listed oldest first, after an id', async () => {
        const ids = await append('a', 'b', 'c')
        await claimAll(messages.queue, LANE, 3)
        for (const id of ids.toReversed()) await settle(id, { as: 'dead', reason: 'r', error: 'e' })
        assert.deepEqual(textsOf(await messages.queue.dead(LANE, { limit: 2 })), ['a', 'b'])
        assert.deepEqual(textsOf(await messages.queue.dead(LANE, { after: ids[1]!, limit: 2 })), ['c'])
      })

      test('dead letters are read by the time of their death; those that were replayed or purged are not there', async () => {
        const ids = await append(...'abcd')
        await claimAll(messages.queue, LANE, 4)
        for (const index of [3, 1, 0, 2]) {
          await settle(ids[index]!, { as: 'dead', reason: `reason ${index}`, error: 'Error: no' })
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
        const { queue } = messages
        const letters = await queue.deadSince(LANE, { at: 0, id: '' }, 1000)
        assert.deepEqual(
          idsOf(letters),
          [3, 1, 0, 2].map((index) => ids[index]),
        )
        assert.deepEqual(
          { ...letters[0]!, deadAt: 0 },
          {
            ...{ id: ids[3], deadAt: 0, reason: 'reason 3', attempts: 0 },
            ...{ firstError: 'Error: no', lastError: 'Error: no', preview: { text: 'd', bytes: 1 } },
          },
        )
        const [first, second] = await queue.deadSince(LANE, { at: letters[1]!.deadAt, id: letters[1]!.id }, 1)
        assert.deepEqual([first!.id, second], [ids[0], undefined])
        await queue.replay(LANE, [ids[1]!])
        await queue.purge(LANE, [ids[0]!])
        assert.deepEqual(idsOf(await queue.deadSince(LANE, { at: 0, id: '' }, 1000)), [ids[3], ids[2]])
      })

      test('a replayed dead letter is pending again, with 0 attempts', async () => {
        const [id] = (await append('a')) as [string]
        await claimAll(messages.queue, LANE, 1)
        await settle(id, { as: 'dead', reason: 'r', error: 'e' })
        assert.equal(await messages.queue.replay(LANE, [id]), 1)
        assert.equal(await messages.queue.replay(LANE, [id]), 0)
        assert.deepEqual(await messages.queue.dead(LANE, { limit: 9 }), [])
        const [again] = await claimAll(messages.queue, LANE, 1)
        assert.deepEqual(
          { id: again!.id, text: again!.text, starts: again!.starts },
          { id, text: 'a', starts: 0 },
        )
        await messages.queue.settle(LANE, done([again!]))
        assert.equal((await messages.queue.find(LANE, id))!.state, 'delivered')
      })

      const dieOf = async (reasons: readonly string[], texts: readonly string[]) => {
        const ids = await append(...texts)
        await claimAll(messages.queue, LANE, texts.length)
        for (const [index, id] of ids.entries()) {
          await settle(id, { as: 'dead', reason: reasons[index % reasons.length]!, error: 'e' })
        }
        return ids
      }

      test('dead letters are sifted page by page: by source, reason and time of death', async () => {
        const { queue } = messages
        const github = storedText({ source: 'github', type: 'text/plain', text: 'nul \0, line\nfeed' })
        const form = storedText({ source: 'form', base64: '/w==', headers: { 'x-a': 'b\nc' } })
        const forged = '{"source":"github"}\n'
        const ids = await dieOf(['It failed 5 times', 'outage'], [github, 'plain', form, github, forged])
        const meant = async (filter: DeadFilter, range = { after: MIN_ID, limit: 9 }) => {
          const letters = await queue.sift(LANE, range, filter)
          return letters.map((letter) => `${ids.indexOf(letter.id)}${letter.isMeant ? '' : ' not'}`).join()
        }
        assert.equal(await meant({}), '0,1,2,3,4')
        assert.equal(await meant({}, { after: ids[1]!, limit: 2 }), '2,3')
        assert.equal(await meant({ source: 'github' }), '0,1 not,2 not,3,4 not')
        assert.equal(await meant({ source: 'form' }, { after: ids[0]!, limit: 3 }), '1 not,2,3 not')
        assert.equal(await meant({ reason: 'It failed' }), '0,1 not,2,3 not,4')
        assert.equal(await meant({ reason: 'failed' }), '0 not,1 not,2 not,3 not,4 not')
        assert.equal(await meant({ source: 'github', reason: 'outage' }), '0 not,1 not,2 not,3,4 not')
        const [first, second] = (await queue.dead(LANE, { limit: 2 })).map(({ deadAt }) => deadAt)
        assert.equal(await meant({ diedBefore: first! }), '0 not,1 not,2 not,3 not,4 not')
        const early = await meant({ diedBefore: first! + 1 })
        assert.match(early, second! > first! ? /^0,1 not,/ : /^0,1/)
        assert.equal(await meant({ diedBefore: Date.now() + 60_000 }), '0,1,2,3,4')
      })

      test('dead letters are counted by reason and error, page by page, and a group is what a filter means', async () => {
        const { queue } = messages
        const errors = [
          'Error: 500 of 17\n  at a',
          'Error: 404 of 2\n  at b',
          'Error: refused',
          '',
          'Error: 1 of 1',
        ]
        const ids = await append(...'abcdef')
        await claimAll(queue, LANE, ids.length)
        for (const [index, id] of ids.entries()) {
          const [reason, error] = [index === 4 ? 'outage' : 'It failed', errors[index] ?? errors[0]!]
          await settle(id, { as: 'dead', reason, error })
        }
        assert.equal(await queue.purge(LANE, [ids[3]!]), 1)
        const count = async (range: { after: string; limit: number }) => {
          const { groups, counted, last } = await queue.groupDead(LANE, range)
          const shown = groups.map(({ reason, error, count, example }) => [
            ...[reason, error, count, ids.indexOf(example)],
          ])
          return { shown: shown.sort(), counted, last: last === null ? null : ids.indexOf(last) }
        }
        const hashed = 'Error: # of #'
        assert.deepEqual(await count({ after: MIN_ID, limit: 9 }), {
          shown: [
            ['It failed', hashed, 3, 0],
            ['It failed', 'Error: refused', 1, 2],
            ['outage', hashed, 1, 4],
          ],
          ...{ counted: 5, last: null },
        })
        const part = { shown: [['It failed', hashed, 1, 1]], counted: 1, last: 1 }
        assert.deepEqual(await count({ after: ids[0]!, limit: 1 }), part)
        assert.deepEqual(await count({ after: ids[5]!, limit: 9 }), { shown: [], counted: 0, last: null })
        const { groups } = await queue.groupDead(LANE, { after: MIN_ID, limit: 9 })
        const [largest] = groups.toSorted((a, b) => b.count - a.count)
        const letters = await queue.dead(LANE, { limit: 9 })
        assert.deepEqual([largest!.oldestAt, largest!.newestAt], [letters[0]!.deadAt, letters.at(-1)!.deadAt])
        const sifted = await queue.sift(LANE, { after: MIN_ID, limit: 9 }, { group: largest!.group })
        assert.deepEqual(
          sifted.map(({ id, isMeant }) => [ids.indexOf(id), isMeant]),
          [
            [0, true],
            [1, true],
            [2, false],
            [4, false],
            [5, true],
          ],
        )
      })

      test('many dead letters are replayed and purged in one call, each once, and others are left alone', async () => {
        const { queue } = messages
        const texts = Array.from({ length: 150 }, (_, index) => `text ${index}`)
        const ids = await dieOf(['r'], texts)
        const [replayed, purged, left] = [ids.slice(0, 80), ids.slice(80, 149), ids.slice(149)]
        const waiting = await append('waits')
        const unknown = nextIds(1)
        assert.equal(await queue.replay(LANE, [...replayed, replayed[0]!, ...waiting, ...unknown]), 80)
        assert.equal(await queue.purge(LANE, [...purged, ...replayed, purged[0]!]), 69)
        assert.equal(await queue.replay(LANE, [...purged, ...replayed]), 0)
        const [one, other] = await Promise.all([queue.replay(LANE, left), queue.replay(LANE, left)])
        assert.equal(one + other, 1)
        const claimed = idsOf(await claimAll(queue, LANE, 82))
        assert.deepEqual(claimed.toSorted(), [...replayed, ...left, ...waiting])
        assert.deepEqual(await queue.sift(LANE, { after: MIN_ID, limit: 9 }, {}), [])
        await bed.die(messages)
        const next = await bed.messages(1)
        await next.queue.hold(LANE)
        assert.deepEqual(await next.queue.dead(LANE, { limit: 9 }), [])
        assert.deepEqual(idsOf(await claimAll(next.queue, LANE, 82)).toSorted(), claimed.toSorted())
      })

      test('a purged dead letter does not come back after a restart', async () => {
        const [id] = (await append('a')) as [string]
        await claimAll(messages.queue, LANE, 1)
        await settle(id, { as: 'dead', reason: 'r', error: 'e' })
        assert.equal(await messages.queue.purge(LANE, [id]), 1)
        assert.equal(await messages.queue.purge(LANE, [id]), 0)
        assert.equal(await messages.queue.replay(LANE, [id]), 0)
        await bed.die(messages)
        const next = await bed.messages(1)
        await next.queue.hold(LANE)
        assert.deepEqual(await next.queue.claim(LANE, 9, 0), [])
        assert.deepEqual(await next.queue.dead(LANE, { limit: 9 }), [])
        assert.deepEqual(textsOf(await logging.log.page({ limit: 9 })), ['a'])
      })

      test('the depth counts pending, in hand and dead messages, and has the age of the oldest', async () => {
        const { queue } = messages
        const nothing = { waiting: 0, inHand: 0, retrying: 0, dead: 0, oldestAt: null }
        assert.deepEqual(await queue.depth(LANE), nothing)
        const ids = await append(...'abcdef')
        const depth = async () => {
          const { oldestAt: _, ...counts } = await queue.depth(LANE)
          return counts
        }
        assert.deepEqual(await depth(), { waiting: 6, inHand: 0, retrying: 0, dead: 0 })
        assert.ok((await queue.depth(LANE)).oldestAt! <= Date.now())
        await queue.claim(LANE, 4, 5000)
        assert.deepEqual(await depth(), { waiting: 2, inHand: 4, retrying: 0, dead: 0 })
        await queue.start(LANE, [ids[0]!, ids[1]!])
        assert.deepEqual(await depth(), { waiting: 2, inHand: 4, retrying: 0, dead: 0 })
        await settle(ids[0]!, { as: 'done' })
        await settle(ids[1]!, { as: 'retry', delayMs: 60_000, error: 'e' })
        await settle(ids[2]!, { as: 'dead', reason: 'r', error: 'e' })
        assert.deepEqual(await depth(), { waiting: 3, inHand: 1, retrying: 1, dead: 1 })
        await settle(ids[3]!, { as: 'done' })
        await queue.settle(LANE, done(await queue.claim(LANE, 9, 0)))
        assert.deepEqual(await depth(), { waiting: 1, inHand: 0, retrying: 1, dead: 1 })
      })
    })

    describe('redriving', () => {
      const redrive = async () => {
        const logged = await logging.log.page({ after: '0', limit: 1000 })
        return messages.queue.redrive(LANE, logged)
      }
      const appendOld = async (...texts: string[]) => {
        const ids = nextOldIds(texts.length)
        const receipts = await accept({
          ...batchOf(texts),
          messages: texts.map((text, index) => ({ id: ids[index]!, text })),
        })
        messages.queue.wake(LANE)
        return idsOf(receipts)
      }
      /** The lane loses all, if its queue can. @returns How many of `count` it has lost. */
      const forget = async (count: number) => {
        await messages.queue.release(LANE)
        await bed.forget?.(LANE)
        await messages.queue.hold(LANE)
        return bed.forget === undefined ? 0 : count
      }
      beforeEach(() => messages.queue.hold(LANE))

      test('pending, claimed, retried, delivered, dead and purged messages are not redriven', async () => {
        const { queue } = messages
        const ids = await appendOld('listed', 'dead', 'purged', 'retried', 'started', 'back', 'in hand')
        await claimAll(queue, LANE, ids.length)
        await queue.start(LANE, [ids[3]!, ids[4]!])
        await queue.settle(LANE, [
          { id: ids[0]!, as: 'done' },
          { id: ids[1]!, as: 'dead', reason: 'tried', error: 'Error: no' },
          { id: ids[2]!, as: 'dead', reason: 'tried', error: 'Error: no' },
          { id: ids[3]!, as: 'retry', delayMs: 60_000, error: 'Error: no' },
          { id: ids[5]!, as: 'back' },
        ])
        await queue.purge(LANE, [ids[2]!])
        // Of these nothing waits any more: only their outcomes are known.
        const settled = await appendOld('listed alone', 'dead alone', 'purged alone')
        await claimAll(queue, LANE, 4) // With what was given back.
        await queue.settle(LANE, [
          { id: ids[5]!, as: 'back' },
          { id: settled[0]!, as: 'done' },
          { id: settled[1]!, as: 'dead', reason: 'tried', error: 'Error: no' },
          { id: settled[2]!, as: 'dead', reason: 'tried', error: 'Error: no' },
        ])
        await queue.purge(LANE, [settled[2]!])
        await appendOld('waits', 'waits, too')
        assert.equal(await redrive(), 0)
        assert.deepEqual(textsOf(await claimAll(queue, LANE, 3)).sort(), ['back', 'waits', 'waits, too'])
        assert.equal(await redrive(), 0)
        assert.deepEqual(await queue.claim(LANE, 9, 0), [])
        assert.equal((await queue.find(LANE, ids[4]!)).attempts, 1)
        assert.deepEqual(textsOf(await queue.dead(LANE, { limit: 9 })), ['dead', 'dead alone'])
      })

      test('a replayed message is not redriven', async () => {
        const { queue } = messages
        const ids = await appendOld('waits again', 'delivered')
        await claimAll(queue, LANE, 2)
        const dead = ids.map((id) => ({ id, as: 'dead', reason: 'tried', error: 'Error: no' }) as const)
        await queue.settle(LANE, dead)
        await queue.replay(LANE, [ids[1]!])
        await queue.settle(LANE, done(await claimAll(queue, LANE, 1)))
        await queue.replay(LANE, [ids[0]!])
        assert.equal(await redrive(), 0)
        assert.deepEqual(textsOf(await claimAll(queue, LANE, 1)), ['waits again'])
      })

      test('a lost message is redriven once, with 0 attempts', async () => {
        const { queue } = messages
        const texts = Array.from({ length: 150 }, (_, index) => `text ${index}`)
        await appendOld(...texts)
        await queue.settle(LANE, done((await claimAll(queue, LANE, 150)).slice(0, 100)))
        const lost = await forget(150)
        assert.deepEqual([await redrive(), await redrive()], [lost, 0])
        const waiting = lost === 0 ? texts.slice(100) : texts
        const claimed = await claimAll(queue, LANE, waiting.length)
        assert.deepEqual(textsOf(claimed).sort(), waiting.toSorted())
        assert.ok(claimed.every(({ starts, suspect }) => starts === 0 && !suspect))
        assert.equal(await redrive(), 0)
        await queue.settle(LANE, done(claimed))
        assert.equal(await redrive(), 0)
        assert.deepEqual(await queue.claim(LANE, 999, 0), [])
        assert.deepEqual(textsOf(await queue.delivered(LANE, { after: '0', limit: 999 })), texts)
      })

      test('a redriven message outlives its holder', async () => {
        await appendOld('a', 'b')
        await forget(2)
        await redrive()
        assert.equal((await messages.queue.depth(LANE)).waiting, 2)
        await bed.die(messages)
        const next = await bed.messages(1)
        await next.queue.hold(LANE)
        assert.deepEqual(textsOf(await claimAll(next.queue, LANE, 2)).sort(), ['a', 'b'])
      })

      test('only the lost messages of a batch are redriven', async () => {
        const { queue } = messages
        const ids = await appendOld('lost', 'kept')
        const lost = await forget(2)
        const kept = { id: ids[1]!, text: 'kept' }
        assert.equal(await queue.redrive(LANE, [kept]), lost / 2)
        await queue.settle(LANE, done((await claimAll(queue, LANE, 1)).filter(({ id }) => id === kept.id)))
        assert.equal(await redrive(), lost / 2)
      })

      test('a message whose POST may still be running is not redriven', async () => {
        await append('young')
        await forget(1)
        assert.equal(await redrive(), 0)
      })

      test('redriving no message does nothing', async () => {
        assert.equal(await messages.queue.redrive(LANE, []), 0)
      })
    })

    describe('restoring the log', () => {
      beforeEach(() => messages.queue.hold(LANE))
      const stored = (after = '0'.repeat(26), limit = 100) => messages.queue.stored(LANE, { after, limit })
      /** @returns The texts of those that the log lacked; null of those that nobody has the text of. */
      const put = async (items: readonly Stored[]) => {
        const lacked = await logging.log.restore(LANE, items)
        return items.filter(({ id }) => lacked.includes(id)).map(({ text }) => text)
      }
      const logged = async () => textsOf(await logging.log.page({ after: '0', limit: 100 }))
      /** The log loses all, if it can. @returns True when it has. */
      const forgetLog = async () => {
        await bed.forgetLog?.()
        return bed.forgetLog !== undefined
      }
      const dead = { as: 'dead', reason: 'tried', error: 'Error: no' } as const

      test('all that a lane has but what was purged is put back once, in order', async () => {
        const { queue } = messages
        const all = ['done', 'dead', 'purged', 'retried', 'started', 'in hand', 'waits']
        const ids = await append(...all)
        await claimAll(queue, LANE, ids.length)
        await queue.start(LANE, [ids[3]!, ids[4]!])
        await queue.settle(LANE, [
          { id: ids[0]!, as: 'done' },
          { id: ids[1]!, ...dead },
          { id: ids[2]!, ...dead },
          { id: ids[3]!, as: 'retry', delayMs: 60_000, error: 'Error: no' },
          { id: ids[6]!, as: 'back' },
        ])
        await queue.purge(LANE, [ids[2]!])
        if (!(await forgetLog())) {
          assert.deepEqual([await stored(), await put([{ id: ids[0]!, text: 'done' }])], [[], []])
          return
        }
        const items = await stored()
        assert.deepEqual(idsOf(items), ids)
        assert.deepEqual(
          items.map(({ text }) => text),
          all.map((text) => (text === 'purged' ? null : text)),
        )
        assert.deepEqual(
          await put(items),
          items.map(({ text }) => text),
        )
        const kept = all.filter((text) => text !== 'purged')
        assert.deepEqual(await logged(), kept)
        assert.deepEqual(await put(items), [null])
        for (const { id, text } of items) {
          const expected = text === null ? undefined : { id, text, lane: LANE }
          assert.deepEqual(await logging.log.get(id), expected)
        }
      })

      test('a lane’s messages are put back page by page, whatever becomes of them between two pages', async () => {
        const texts = Array.from({ length: 12 }, (_, index) => `text ${String(index).padStart(2, '0')}`)
        const ids = await append(...texts)
        const alone = await append('a batch of one')
        await claimAll(messages.queue, LANE, texts.length + 1)
        if (!(await forgetLog())) return
        const pages: Stored[] = []
        for (let after = '0'.repeat(26), page = await stored(after, 5); page.length > 0; ) {
          pages.push(...page)
          after = page.at(-1)!.id
          const next = ids.filter((id) => id > after).slice(0, 2)
          await messages.queue.start(LANE, next.slice(0, 1))
          await messages.queue.settle(LANE, done(next.map((id) => ({ id }))))
          page = await stored(after, 5)
        }
        assert.deepEqual(idsOf(pages), [...ids, ...alone])
        for (const part of [pages.slice(4, 9), pages.slice(9), pages.slice(0, 4)])
          assert.deepEqual(
            await put(part),
            part.map(({ text }) => text),
          )
        assert.deepEqual(await logged(), [...texts, 'a batch of one'])
        assert.deepEqual(await put(pages), [])
        const [newest] = await logging.log.page({ limit: 1 })
        assert.equal(newest?.text, 'a batch of one')
      })

      test('a batch that was restored in part and is logged again as a whole is read as a whole', async () => {
        const batch = batchOf(['one', 'two', 'three'])
        const items = batch.messages.map(({ id, text }) => ({ id, text }))
        if (!(await forgetLog())) return
        assert.deepEqual(await put(items.slice(1)), ['two', 'three'])
        assert.deepEqual(await logged(), ['two', 'three'])
        await logging.log.append(batch)
        assert.deepEqual(await logged(), ['one', 'two', 'three'])
        assert.deepEqual(await put(items), [])
      })
    })

    test('closing twice is harmless', async () => {
      await messages.queue.hold(LANE)
      await messages.close()
      await messages.close()
      const other = await bed.messages(2)
      await other.queue.hold(LANE)
    })
  })
}
