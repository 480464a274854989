/** What is settled leaves `pending` in its own time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MailroomError } from '../../../src/runtime/errors.ts'
import { LANE, LaneBench } from '../../support/lane-bench.ts'

const DEAD = { as: 'dead', reason: 'tried', error: 'Error: no' } as const
const away = () => new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason: 'no answer' })

/** A lane with one message in hand, of which nothing leaves `pending` until `open` is called. */
async function held() {
  const bench = new LaneBench()
  await bench.hold()
  const [id] = (await bench.accept('a')) as [string]
  assert.deepEqual((await bench.claim()).claimed, [id])
  const gate = Promise.withResolvers<void>()
  bench.beforeDelete = () => gate.promise
  return { bench, id, open: gate.resolve }
}

test('a message in the list is shown at once and not claimed again, though it is still in pending', async () => {
  const { bench, id, open } = await held()
  assert.deepEqual(await bench.settle(id), [`${id} a now`])
  await bench.pass(7000)
  assert.equal((await bench.waiting()).length, 1)
  assert.deepEqual(await bench.claim(), { claimed: [], late: [] })
  const { waiting, oldestAt } = await bench.run(bench.queue.depth(LANE))
  assert.deepEqual({ waiting, oldestAt }, { waiting: 0, oldestAt: null })
  open()
  await bench.pass(10)
  assert.deepEqual(await bench.waiting(), [])
})

test('an entry that could not be removed from pending is removed by a later scan', async () => {
  const { bench, id } = await held()
  bench.beforeDelete = async () => Promise.reject(away())
  await bench.settle(id)
  await bench.pass(3000)
  assert.equal((await bench.waiting()).length, 1)
  bench.beforeDelete = async () => {}
  await bench.pass(3000)
  assert.deepEqual(await bench.waiting(), [])
  assert.deepEqual(await bench.claim(), { claimed: [], late: [] })
})

test('a dead letter is replayed only after its former entry has left pending', async () => {
  const { bench, id, open } = await held()
  await bench.run(bench.queue.start(LANE, [id]))
  await bench.run(bench.queue.settle(LANE, [{ id, ...DEAD }]))
  const replayed = bench.queue.replay(LANE, [id])
  await bench.pass(1000)
  assert.deepEqual(await bench.claim(), { claimed: [], late: [] })
  open()
  assert.equal(await bench.run(replayed), 1)
  await bench.pass(5000)
  assert.equal((await bench.waiting()).length, 1)
  assert.deepEqual((await bench.claim()).claimed, [id])
})

test('a dead letter whose former entry cannot be removed from pending is not replayed', async () => {
  const { bench, id } = await held()
  await bench.run(bench.queue.start(LANE, [id]))
  bench.beforeDelete = async () => Promise.reject(away())
  await bench.run(bench.queue.settle(LANE, [{ id, ...DEAD }]))
  await assert.rejects(bench.run(bench.queue.replay(LANE, [id])), {
    code: 'MR_STORE_UNAVAILABLE',
    outcome: 'none',
  })
  bench.beforeDelete = async () => {}
  assert.equal(await bench.run(bench.queue.replay(LANE, [id])), 1)
  assert.deepEqual((await bench.claim()).claimed, [id])
})

/** Fails every removal, as one whose outcome is unknown; what is returned has them happen after all. */
function straggle(bench: LaneBench): { comeLate(): Promise<void> } {
  const late: (() => Promise<unknown>)[] = []
  bench.beforeDelete = async (remove) => {
    late.push(remove)
    throw away()
  }
  return {
    async comeLate() {
      assert.ok(late.length > 0)
      for (const remove of late) await bench.run(remove())
    },
  }
}

test('a late removal does not remove a message that was replayed meanwhile', async () => {
  const { bench, id, open } = await held()
  open()
  await bench.run(bench.queue.start(LANE, [id]))
  const stragglers = straggle(bench)
  await bench.run(bench.queue.settle(LANE, [{ id, ...DEAD }]))
  bench.beforeDelete = async () => {}
  assert.equal(await bench.run(bench.queue.replay(LANE, [id])), 1)
  await stragglers.comeLate()
  await bench.pass(5000)
  assert.equal((await bench.waiting()).length, 1)
  assert.deepEqual((await bench.claim()).claimed, [id])
})

test('a late removal at the end of a replay does not remove a later dead letter of the same message', async () => {
  const { bench, id, open } = await held()
  open()
  const die = async () => {
    await bench.run(bench.queue.start(LANE, [id]))
    await bench.run(bench.queue.settle(LANE, [{ id, ...DEAD }]))
  }
  await die()
  await bench.pass(10)
  const stragglers = straggle(bench)
  await assert.rejects(bench.run(bench.queue.replay(LANE, [id])), { code: 'MR_STORE_UNAVAILABLE' })
  bench.beforeDelete = async () => {}
  assert.equal(await bench.run(bench.queue.replay(LANE, [id])), 1)
  assert.deepEqual((await bench.claim()).claimed, [id])
  await die()
  await stragglers.comeLate()
  const letters = await bench.run(bench.queue.dead(LANE, { limit: 9 }))
  assert.deepEqual(
    letters.map((letter) => letter.id),
    [id],
  )
})

test('a late replay does not bring back a message that was purged meanwhile', async () => {
  const { bench, id, open } = await held()
  open()
  await bench.run(bench.queue.start(LANE, [id]))
  await bench.run(bench.queue.settle(LANE, [{ id, ...DEAD }]))
  assert.equal(await bench.run(bench.queue.purge(LANE, [id])), 1)
  await bench.wait(id, { replayed: true })
  await bench.pass(3000)
  assert.deepEqual(await bench.claim(), { claimed: [], late: [] })
  assert.deepEqual(await bench.waiting(), [])
})

test('a replayed message that kills its workers is dead again, even if its old dead letter was not removed', async () => {
  const bench = new LaneBench()
  const [id] = (await bench.accept('a')) as [string]
  await bench.bury(id, 'a')
  await bench.wait(id, { replayed: true, starts: 5, deaths: 4, open: true })
  await bench.hold()
  assert.deepEqual(await bench.claim(), { claimed: [], late: [] })
  const letters = await bench.run(bench.queue.dead(LANE, { limit: 9 }))
  assert.deepEqual(
    letters.map(({ reason }) => reason),
    ['The process that ran its handler died 5 times'],
  )
})

test('a lane is released once all its removals have ended', async () => {
  const { bench, id, open } = await held()
  await bench.settle(id)
  let isReleased = false
  const released = bench.queue.release(LANE).then(() => {
    isReleased = true
  })
  await bench.pass(1000)
  assert.equal(isReleased, false)
  open()
  await bench.run(released)
  assert.deepEqual(await bench.waiting(), [])
})
