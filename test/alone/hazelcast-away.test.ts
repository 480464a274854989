/** The real program while its Hazelcast clusters are not there, come, go, and come back empty. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { describe } from 'node:test'
import { PING_MS, REDRIVE_AGE_MS, SILENT_MS } from '../../src/runtime/timings.ts'
import { freePort } from '../../tools/free-port.ts'
import { startCluster } from '../../tools/hazelcast/cluster.ts'
import { assertNothingWrong } from '../support/checker.ts'
import { run } from '../support/command.ts'
import { flagsOf, hazelcastSystem, JOURNAL_OFF } from '../support/hazelcast-system.ts'
import { Load } from '../support/load.ts'
import { clusterFor, onMembers } from '../support/members.ts'
import { startCuttingRelay } from '../support/relay.ts'
import { System, sleep } from '../support/system.ts'

onMembers(() => {
  test('without clusters, one of whose names has no address yet, a node is up within 2 s and healthy, names them in /readyz and in the log, and accepts posts within 5 s of their start', async (context) => {
    const ports = [await freePort(), await freePort()] as const
    const places = [`127.0.0.1:${ports[0]}`, `members.invalid:${ports[1]}`] as const
    const named = join(mkdtempSync(join(tmpdir(), 'mailroom-name-')), 'has-an-address')
    context.after(() => rmSync(dirname(named), { recursive: true }))
    const lookup = `import dns from 'node:dns'
      import { existsSync } from 'node:fs'
      const { lookup } = dns
      dns.lookup = (host, ...rest) =>
        lookup(host === 'members.invalid' && existsSync('${named}') ? '127.0.0.1' : host, ...rest)`
    const internalPort = await freePort()
    const system = await System.spawned(
      context,
      [
        ...flagsOf({ name: 'logging', addresses: [places[0]] }, { name: 'queue', addresses: [places[1]] }),
        ...['--internal-port', String(internalPort)],
      ],
      { env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(lookup)}` } },
    )
    await system.until('it says what is missing', async () => {
      const response = await fetch(`${system.url}/readyz`)
      assert.equal(response.status, 503)
      const { missing } = (await response.json()) as { missing: string[] }
      return places.every((place) => missing.some((what) => what.includes(place)))
    })
    await system.until('its log says it, too', async () =>
      places.every((place) => new RegExp(`Mailroom is not ready: .*${place}`).test(system.output)),
    )
    assert.ok(!system.output.includes('Mailroom is ready'))
    await assertRefusesAtOnce(system)
    const health = async () => {
      const response = await fetch(`http://127.0.0.1:${internalPort}/healthz`)
      return { status: response.status, text: await response.text() }
    }
    await system.until(
      'it is healthy',
      async () => (await health()).text === '{"status":"healthy","wrong":[]}',
    )
    process.kill((await system.actor('logging-2')).pid, 'SIGKILL')
    await system.until('a worker that does not run is named', async () => {
      const { status, text } = await health()
      return status === 503 && /"wrong":\["logging-2: (re)?starting"\]/.test(text)
    })
    await system.until('it is healthy again', async () => (await health()).status === 200)

    for (const [index, name] of ['logging', 'queue'].entries()) {
      const cluster = await startCluster({ name, ports: [ports[index]!] })
      context.after(() => cluster.end())
    }
    writeFileSync(named, '')
    await system.until(
      'it accepts',
      async () => (await system.send('POST', '/messages', { text: 'first' })) !== null,
      5000,
    )
    await system.until('it says so', async () => system.output.includes('Mailroom is ready on'))
  })

  describe('clusters that restart empty', { concurrency: true }, () => {
    for (const which of ['logging', 'queue'] as const) {
      test(`the ${which} cluster restarts empty: no process exits, posts are refused at once, /readyz names the loss, and what it held is put back`, async (context) => {
        const clusters = await hazelcastSystem(context)
        const { system } = clusters
        const before = await system.actors()
        const { id } = await system.send<{ id: string }>('POST', '/messages', { text: 'put back' })
        await clusters[which].members[0]!.kill()
        await system.until(
          'it notices',
          async () => (await fetch(`${system.url}/readyz`)).status === 503,
          2000,
        )
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
        await system.until('what it held is put back', async () => {
          const { logged, stores } = await system.lists()
          const delivered = [...stores.values()].flat()
          return [logged, delivered].every((list) => list.filter((message) => message.id === id).length === 1)
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
  })

  describe('redrive', { concurrency: true }, () => {
    test('redrive puts back, once, what a queue that restarted empty has lost', async (context) => {
      const { system, queue } = await hazelcastSystem(context, { args: [...JOURNAL_OFF] })
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
      const until = (what: string, counts: string) =>
        system.until(what, async () => (await count()) === counts)
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

    test('redrive puts back, once, what a log that restarted empty has lost, and says how many remain lost', async (context) => {
      const { system, logging } = await hazelcastSystem(context, { args: [...JOURNAL_OFF] })
      const texts = Array.from({ length: 120 }, (_, index) => ({ text: `text ${index}` }))
      await system.send('POST', '/messages', texts.slice(0, 100))
      await Promise.all(texts.slice(100).map((text) => system.send('POST', '/messages', text)))
      const before = await system.lists()
      await system.until('all are delivered', async () => {
        const { stores } = await system.lists()
        return [...stores.values()].flat().length === texts.length
      })
      await logging.members[0]!.kill()
      await logging.members[0]!.start()
      await system.until('the loss is told', async () => {
        const { losses } = await system.get<{ losses: { store: string }[] }>('/loss')
        return losses.some(({ store }) => store === 'log')
      })
      await system.ready()
      await system.send('POST', '/messages', { text: 'new' })
      const redrive = async (...flags: string[]) => {
        const { code, stdout, stderr } = await run(['redrive', ...flags, '--url', system.url])
        assert.deepEqual([code, stderr], [0, ''])
        return stdout
      }
      await sleep(REDRIVE_AGE_MS)
      assert.deepEqual((await redrive()).trim().split('\n'), [
        'Checked 1 message of the log: the queue has lost none',
        'Checked 121 messages of the queue, put 120 back into the log',
        'No message of the queue remains lost from the log',
      ])
      const { logged } = await system.lists()
      assert.deepEqual(logged.slice(0, -1), before.logged)
      for (const { id, text } of before.logged) {
        const found = await system.get<{ text: string; state: string }>(`/messages/${id}`)
        assert.deepEqual([found.text, found.state], [text, 'delivered'])
      }
      assert.deepEqual(JSON.parse(await redrive('--json')), { checked: 121, redriven: 0 })
    })
  })

  test('connections that break when they have just been made: no process hangs, and posts are accepted within 2 s of the last break', async (context) => {
    const [logging, queue] = await Promise.all([
      clusterFor(context, 'logging', 1),
      clusterFor(context, 'queue', 1),
    ])
    const relay = await startCuttingRelay(context, Number(queue.addresses[0]!.split(':')[1]))
    const cut = { name: queue.name, addresses: [`127.0.0.1:${relay.port}`] }
    const system = await System.spawned(context, flagsOf(logging, cut))
    await system.until('its actors have started', async () => {
      const actors = await system.actors()
      return actors.length > 0 && actors.every(({ state }) => state === 'ready')
    })
    await sleep(SILENT_MS + PING_MS + 2000)
    const actors = await system.actors()
    assert.deepEqual(
      actors.map(({ name, state, restarts }) => [name, state, restarts]),
      actors.map(({ name }) => [name, 'ready', 0]),
    )
    relay.stopCutting()
    const accepted = async () => (await system.send('POST', '/messages', { text: 'after' })) !== null
    await system.until('it accepts', accepted, 2000)
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
    assert.equal(outcome, 'none')
  }
}
