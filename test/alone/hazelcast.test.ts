/** The real program on real Hazelcast members, under load: actors and members killed, frozen, restarted. */
import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { assertNothingWrong } from '../support/checker.ts'
import { hazelcastSystem } from '../support/hazelcast-system.ts'
import { Load } from '../support/load.ts'
import { onMembers } from '../support/members.ts'
import type { Lists } from '../support/running-system.ts'
import { sleep } from '../support/system.ts'

/** What a cluster of members is asked for while one of them stands still: bounded, as the design says. */
const GENTLE = { connections: 16, pauseMs: 20 }

onMembers(() => {
  test('on Hazelcast, ten posts are in every log read, and each in one delivered list', async (context) => {
    const { system } = await hazelcastSystem(context)
    const texts = Array.from({ length: 10 }, (_, index) => `msg${index + 1}`)
    for (const text of texts) await system.send('POST', '/messages', { text })
    const union = new Map<string, string>()
    await system.until('all ten are delivered', async () => {
      const { logged, delivered, deliveredTo } = await system.get<Lists>('/messages')
      assert.deepEqual(
        logged.map(({ text }) => text),
        texts,
      )
      for (const { text } of delivered) union.set(text, deliveredTo!)
      return union.size === texts.length
    })
    assert.equal(new Set(union.values()).size, 2, 'both got some')
  })

  test('on Hazelcast, SIGKILL of actors under load: no client notices, nothing is wrong', async (context) => {
    const { system } = await hazelcastSystem(context)
    const load = new Load(context, system.url)
    await load.more(500)
    for (const name of ['logging-1', 'messages-1', 'logging-2', 'messages-2']) {
      process.kill((await system.actor(name)).pid, 'SIGKILL')
      await load.more(300)
      await system.until('it is back', async () => (await system.actor(name)).state === 'ready')
    }
    const history = await load.stop()
    assert.deepEqual(history.failures, [])
    await assertNothingWrong(system, history)
  })

  test('on Hazelcast, SIGKILL of the primary under load: a new start has everything', async (context) => {
    const { system } = await hazelcastSystem(context)
    const load = new Load(context, system.url)
    for (let round = 0; round < 3; round++) {
      await load.more(300)
      system.kill('SIGKILL')
      await system.exited
      await system.begin()
    }
    await load.more(300)
    await assertNothingWrong(system, await load.stop())
  })

  test('on Hazelcast, scaling and rolling restarts under load: no request fails, nothing is wrong', async (context) => {
    const { system } = await hazelcastSystem(context)
    const load = new Load(context, system.url, { connections: 16 })
    await load.more(300)
    for (const [role, count] of [
      ['logging', 4],
      ['messages', 1],
      ['messages', 4],
      ['logging', 3],
      ['messages', 2],
    ] as const) {
      await system.send('PUT', `/actors/${role}`, { count })
      await load.more(100)
    }
    for (const role of ['messages', 'logging', 'facade']) {
      await system.send('POST', `/actors/${role}/restart`)
      await load.more(100)
    }
    const history = await load.stop()
    assert.deepEqual(history.failures, [])
    await assertNothingWrong(system, history)
  })

  describe('killed members', { concurrency: true }, () => {
    for (const which of ['logging', 'queue'] as const) {
      test(`SIGKILL of a member of three of the ${which} cluster under load, then its restart: nothing is lost, refusals for at most 6 s`, async (context) => {
        const clusters = await hazelcastSystem(context, { [which]: 3 })
        const load = new Load(context, clusters.system.url, { connections: 32, pauseMs: 5 })
        await load.more(500)
        const member = clusters[which].members[1]!
        await member.kill()
        await sleep(7000)
        await member.start()
        await clusters[which].whole()
        await load.more(300)
        const history = await load.stop()
        assert.deepEqual(statusesOf(history.failures), [])
        assertRefusedFor(6, history)
        await assertNothingWrong(clusters.system, history)
      })
    }
  })

  describe('frozen members', { concurrency: true }, () => {
    for (const [which, frozen] of [
      ['logging', 1],
      // The oldest: it is the one that expels others.
      ['queue', 0],
    ] as const) {
      test(`SIGSTOP of a member of three of the ${which} cluster for 30 s: nothing is lost, refusals for at most 20 s`, async (context) => {
        const clusters = await hazelcastSystem(context, { [which]: 3 })
        const load = new Load(context, clusters.system.url, GENTLE)
        await load.more(200)
        const member = clusters[which].members[frozen]!
        await member.freeze()
        await sleep(30_000)
        // It was expelled meanwhile, and joins again: for some seconds, it is a member that knows nothing.
        member.thaw()
        await clusters[which].whole()
        await load.more(100)
        const history = await load.stop()
        assert.deepEqual(statusesOf(history.failures), [])
        assertRefusedFor(20, history)
        await assertNothingWrong(clusters.system, history, 60_000)
      })
    }
  })
})

/** Posts were refused in so many seconds altogether, at most. */
function assertRefusedFor(seconds: number, { failures }: { failures: readonly { at: number }[] }): void {
  const refusedIn = [...new Set(failures.map(({ at }) => Math.floor(at / 1000)))]
  assert.ok(refusedIn.length <= seconds, `refused in ${refusedIn.length} s: ${refusedIn.join()}`)
}

/** Ends of requests that are no refusals. */
function statusesOf(failures: readonly { how: number | string }[]): (number | string)[] {
  return failures.map(({ how }) => how).filter((how) => how !== 503 && how !== 504)
}
