/** The real program while its Hazelcast clusters are not there, come, go, and come back empty. */

import assert from 'node:assert/strict'
import test from 'node:test'
import { REDRIVE_AGE_MS } from '../../src/runtime/timings.ts'
import { freePort } from '../../tools/free-port.ts'
import { startCluster } from '../../tools/hazelcast/cluster.ts'
import { assertNothingWrong } from '../support/checker.ts'
import { run } from '../support/command.ts'
import { flagsOf, hazelcastSystem } from '../support/hazelcast-system.ts'
import { Load } from '../support/load.ts'
import { onMembers } from '../support/members.ts'
import { System, sleep } from '../support/system.ts'

onMembers(() => {
  test('without clusters a node is up within 2 s, names them in /readyz, and accepts posts within 5 s of their start', async (context) => {
    const ports = [await freePort(), await freePort()] as const
    const absent = (name: string, port: number) => ({ name, addresses: [`127.0.0.1:${port}`] })
    const flags = flagsOf(absent('logging', ports[0]), absent('queue', ports[1]))
    const system = await System.spawned(context, flags)
    await system.until('it says what is missing', async () => {
      const response = await fetch(`${system.url}/readyz`)
      assert.equal(response.status, 503)
      const { missing } = (await response.json()) as { missing: string[] }
      return ports.every((port) => missing.some((what) => what.includes(`127.0.0.1:${port}`)))
    })
    await assertRefusesAtOnce(system)

    for (const [index, name] of ['logging', 'queue'].entries()) {
      const cluster = await startCluster({ name, ports: [ports[index]!] })
      context.after(() => cluster.end())
    }
    await system.until(
      'it accepts',
      async () => (await system.send('POST', '/messages', { text: 'first' })) !== null,
      5000,
    )
  })

  for (const which of ['logging', 'queue'] as const) {
    test(`the ${which} cluster restarts empty: no process exits, posts are refused at once, /readyz names the loss`, async (context) => {
      const clusters = await hazelcastSystem(context)
      const { system } = clusters
      const before = await system.actors()
      await system.send('POST', '/messages', { text: 'lost' })
      await clusters[which].members[0]!.kill()
      await system.until('it notices', async () => (await fetch(`${system.url}/readyz`)).status === 503, 2000)
      await assertRefusesAtOnce(system)
      await sleep(25_000) // Longer than a client looks for its cluster before it is made anew.
      await assertRefusesAtOnce(system)

      await clusters[which].members[0]!.start()
      await system.until(
        'it accepts again',
        async () => (await system.send('POST', '/messages', { text: 'after' })) !== null,
        5000,
      )
      await system.until('the loss is told', async () => {
        const { damaged = [] } = await system.get<{ damaged?: string[] }>('/readyz')
        return damaged.some((what) => /came back empty/.test(what))
      })
      const load = new Load(context, system.url, { connections: 8 })
      await load.more(200)
      const history = await load.stop()
      assert.deepEqual(history.failures, [])
      const pids = (await system.actors()).map(({ pid }) => pid)
      assert.deepEqual(
        pids,
        before.map(({ pid }) => pid),
        'no process exited',
      )
    })
  }

  test('redrive puts back, once, what a queue that restarted empty has lost', async (context) => {
    const { system, queue } = await hazelcastSystem(context)
    const texts = Array.from({ length: 50 }, (_, index) => ({ text: `text ${index}` }))
    await system.send('POST', '/messages', texts.slice(0, 20))
    const posts = texts.slice(20).map((text) => system.send('POST', '/messages', text))
    await Promise.all(posts)
    const count = async () => {
      const { logged, stores } = await system.lists()
      const delivered = [...stores.values()].flat().map(({ id }) => id)
      assert.equal(new Set(delivered).size, delivered.length, 'no message is in two lists')
      return [logged.length, delivered.length].join()
    }
    const until = (what: string, counts: string) => system.until(what, async () => (await count()) === counts)
    await until('all are delivered', '50,50')

    await queue.members[0]!.kill()
    await queue.members[0]!.start()
    await until('the lists are empty, and the log is not', '50,0')
    const redrive = async () => {
      const { code, stdout, stderr } = await run(['redrive', '--json', '--url', system.url])
      assert.deepEqual([code, stderr], [0, ''])
      return JSON.parse(stdout)
    }
    const youngest = (await system.lists()).logged.at(-1)!
    await sleep(Date.parse(youngest.at) + REDRIVE_AGE_MS + 100 - Date.now())
    assert.deepEqual(await redrive(), { checked: 50, redriven: 50 })
    await until('all are delivered again', '50,50')
    assert.deepEqual(await redrive(), { checked: 50, redriven: 0 })
  })

  test('a member that is killed and restarted at once holds up no request', async (context) => {
    const { system, queue } = await hazelcastSystem(context, { queue: 3 })
    const load = new Load(context, system.url, { connections: 8, pauseMs: 10 })
    for (const member of queue.members) {
      await load.more(100)
      await member.kill()
      await member.start()
      await queue.whole()
      await sleep(1000) // Its backups are made again before the next one goes.
    }
    await load.more(100)
    await assertNothingWrong(system, await load.stop())
  })
})

/** Every kind of call is answered within its time while a store is away; posts are refused. */
async function assertRefusesAtOnce(system: System): Promise<void> {
  for (let round = 0; round < 5; round++) {
    const response = await fetch(`${system.url}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'text/plain' },
      body: 'refused',
    })
    assert.equal(response.status, 503)
    assert.ok(response.headers.get('retry-after'))
    const { outcome } = (await response.json()) as { outcome: string }
    assert.match(outcome, /^(none|unknown)$/)
  }
}
