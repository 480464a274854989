/** Several nodes on real members: whole nodes killed, and frozen and thawed, under load. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test, { type TestContext } from 'node:test'
import { freePort } from '../../tools/free-port.ts'
import { assertNothingWrong } from '../support/checker.ts'
import { flagsOf } from '../support/hazelcast-system.ts'
import { Load } from '../support/load.ts'
import { clusterFor, onMembers } from '../support/members.ts'
import { sumOf } from '../support/metrics-text.ts'
import { System, sleep } from '../support/system.ts'

const SECRET = 'a-secret-of-all-nodes'

/** A facade and two logging actors on one node, a messages actor on each of two others. */
async function threeNodes(context: TestContext): Promise<{
  front: System
  back: [System, System]
  /** What `GET /metrics` of each node's internal port answers. */
  metrics: () => Promise<string[]>
}> {
  const [logging, queue] = await Promise.all([
    clusterFor(context, 'logging', 1),
    clusterFor(context, 'queue', 1),
  ])
  const ports = [await freePort(), await freePort(), await freePort()]
  const peers = ports.map((port) => `127.0.0.1:${port}`).join()
  const begin = (index: number, counts: string[]) =>
    System.spawned(context, [
      ...flagsOf(logging, queue),
      ...['--peers', peers, '--secret', SECRET],
      ...['--node', `node-${index}`, '--internal-port', String(ports[index])],
      ...counts,
    ])
  const front = await begin(0, ['--messages', '0', '--logging', '2'])
  const messagesOnly = ['--facade', '0', '--logging', '0', '--messages', '1']
  const back = [await begin(1, messagesOnly), await begin(2, messagesOnly)] as [System, System]
  await front.ready()
  await front.until('it sees both', async () => (await front.messagesActors()).length === 2)
  const metrics = () =>
    Promise.all(
      ports.map(async (port) => {
        const headers = { authorization: `Bearer ${SECRET}`, connection: 'close' }
        return (await fetch(`http://127.0.0.1:${port}/metrics`, { headers })).text()
      }),
    )
  return { front, back, metrics }
}

/** Every process of a node. */
async function pidsOf(front: System, node: System, name: string): Promise<number[]> {
  const workers = (await front.get<{ node: string; pid: number }[]>('/actors')).filter(
    (actor) => actor.node === name,
  )
  return [node.primary.pid!, ...workers.map(({ pid }) => pid)]
}

onMembers(() => {
  test('the metrics of all nodes add up to what was posted: nothing is missing, nothing counted twice', async (context) => {
    const { front, metrics } = await threeNodes(context)
    const count = 40
    for (let each = 0; each < count; each++) {
      const headers = { 'Content-Type': 'text/plain', 'Idempotency-Key': `key-${each % (count / 2)}` }
      const response = await fetch(`${front.url}/messages`, { method: 'POST', headers, body: `text` })
      assert.equal(response.status, 201, await response.text())
    }
    const sums = async () => {
      const texts = await metrics()
      return [
        'mailroom_messages_accepted_total',
        'mailroom_key_replays_total',
        'mailroom_log_batch_messages_sum',
        'mailroom_delivered_total',
        'mailroom_delivery_latency_seconds_count',
        'mailroom_accept_duration_seconds_count',
      ].map((name) => texts.reduce((sum, text) => sum + sumOf(text, name), 0))
    }
    await front.until('all has been told', async () => {
      const [accepted, replays, logged, delivered, latencies, posts] = await sums()
      return (
        accepted === count / 2 &&
        replays === count / 2 &&
        // A repeat may take the steps of the first once more.
        logged! >= count / 2 &&
        delivered === count / 2 &&
        latencies === count / 2 &&
        posts === count
      )
    })
  })

  test('clocks of two nodes 4 s apart: both take posts, and name the other’s in /readyz', async (context) => {
    const [logging, queue] = await Promise.all([
      clusterFor(context, 'logging', 1),
      clusterFor(context, 'queue', 1),
    ])
    const ports = [await freePort(), await freePort()]
    const peers = ports.map((port) => `127.0.0.1:${port}`).join()
    const begin = (index: number, counts: string[], env = {}) =>
      System.spawned(
        context,
        [
          ...flagsOf(logging, queue),
          ...['--peers', peers, '--secret', 'a-secret-of-all-nodes', '--node', `node-${index}`],
          ...['--internal-port', String(ports[index]), ...counts],
        ],
        { env },
      )
    const clock = encodeURIComponent('const now = Date.now; Date.now = () => now() + 4000')
    // By the clock of a logging actor that is 4 s ahead, the deadline of every post has passed.
    const nodes = await Promise.all([
      begin(0, ['--logging', '0', '--messages', '1']),
      begin(1, ['--logging', '1', '--messages', '0'], {
        NODE_OPTIONS: `--import=data:text/javascript,${clock}`,
      }),
    ])
    const named = [/node-1 is [34]\.\d s ahead of this/, /node-0 is [34]\.\d s behind this/]
    for (const [index, node] of nodes.entries()) {
      await node.ready()
      const headers = { 'Content-Type': 'text/plain' }
      const response = await fetch(`${node.url}/messages`, { method: 'POST', headers, body: 'a' })
      assert.equal(response.status, 201, await response.text())
      const { warnings } = await node.get<{ warnings: string[] }>('/readyz')
      assert.match(warnings.join(), named[index]!)
    }
  })

  test('a node with another secret, a misspelt peer and a server that is no Mailroom: each is named once, in the log and in /readyz; health and readiness of the others do not suffer', async (context) => {
    const [logging, queue] = await Promise.all([
      clusterFor(context, 'logging', 1),
      clusterFor(context, 'queue', 1),
    ])
    const web = createServer((_, response) => response.end('<h1>hello</h1>')).listen(0, '127.0.0.1')
    await once(web, 'listening')
    context.after(() => web.close())
    const webPort = (web.address() as AddressInfo).port
    const ports = [await freePort(), await freePort(), await freePort()]
    const peers = [...ports, webPort].map((port) => `127.0.0.1:${port}`)
    const begin = (index: number, secret: string, counts: string[]) =>
      System.spawned(context, [
        ...flagsOf(logging, queue),
        ...['--peers', [...peers, `loging.invalid:${ports[0]}`].join(), '--secret', secret],
        ...['--node', `node-${index}`, '--internal-port', String(ports[index]), ...counts],
      ])
    const good = [
      await begin(0, 'the-secret-of-the-system', ['--messages', '0', '--logging', '1']),
      await begin(1, 'the-secret-of-the-system', ['--facade', '0', '--logging', '0', '--messages', '1']),
    ]
    const [front] = good as [System]
    await front.ready()
    const stranger = await begin(2, 'another-secret-altogether', [
      ...['--facade', '0', '--logging', '1', '--messages', '0'],
    ])
    const internal = async (path: string, index: number) =>
      fetch(`http://127.0.0.1:${ports[index]}${path}`, { headers: { connection: 'close' } })
    const linesAt = (system: System, port: number) =>
      system.output.split('\n').filter((line) => line.includes(`127.0.0.1:${port} is no peer`))
    await stranger.until('it says why nobody counts it', async () => {
      const lines = ports.slice(0, 2).flatMap((port) => linesAt(stranger, port))
      return lines.length === 2 && lines.every((line) => line.includes('secret'))
    })
    await stranger.until('its own actors run', async () => (await internal('/healthz', 2)).ok)
    for (const endAt = Date.now() + 7000; Date.now() < endAt; await sleep(200)) {
      for (const index of [0, 1]) {
        for (const path of ['/healthz', '/readyz']) {
          const response = await internal(path, index)
          assert.equal(response.status, 200, `${path} of node-${index}: ${await response.text()}`)
        }
      }
      assert.equal((await internal('/healthz', 2)).status, 200, 'the node itself runs')
      await front.send('POST', '/messages', { text: 'taken' })
    }
    const named = [
      `node at 127.0.0.1:${ports[2]} is no peer: its secret (--secret) is not this node's`,
      `node at 127.0.0.1:${webPort} is no peer`,
      'loging.invalid (--peers) has no address',
    ]
    const { warnings } = await front.get<{ warnings: string[] }>('/readyz')
    for (const line of named) {
      assert.equal(warnings.filter((warning) => warning.startsWith(line)).length, 1, warnings.join('\n'))
      for (const { output } of good) assert.equal(output.split(line).length - 1, 1, output)
    }
    assert.deepEqual(
      (await front.actors()).map(({ name }) => name),
      ['facade-1@node-0', 'logging-1@node-0', 'messages-1@node-1'],
    )
  })

  test('a node is killed under load: the messages it held are delivered elsewhere within 8 s, nothing is wrong', async (context) => {
    const { front, back } = await threeNodes(context)
    const load = new Load(context, front.url, { connections: 16, pauseMs: 5 })
    await load.more(300)
    for (const pid of await pidsOf(front, back[0], 'node-1')) process.kill(pid, 'SIGKILL')
    const killedAt = Date.now()
    const acknowledged = [...load.history.acknowledged.keys()]
    const gone = (await front.actors()).filter(({ name }) => name === 'messages-1@node-1')
    assert.equal(gone.length, 1)
    await front.until(
      'all that was acknowledged is in the list of the other',
      async () => {
        const listed = new Set((await front.storeOf('messages-1@node-2')).map(({ id }) => id))
        return acknowledged.every((id) => listed.has(id))
      },
      8000 - (Date.now() - killedAt),
    )
    const history = await load.stop()
    assert.deepEqual(history.failures, [])
    await assertNothingWrong(front, history)
  })

  test('a node is frozen for 10 s under load: its late writes are harmless, no list shows an id twice', async (context) => {
    const { front, back } = await threeNodes(context)
    const load = new Load(context, front.url, { connections: 16, pauseMs: 5 })
    await load.more(300)
    const pids = await pidsOf(front, back[0], 'node-1')
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    await sleep(10_000)
    for (const pid of pids) process.kill(pid, 'SIGCONT')
    // From the very moment it runs again, nobody finds a message in the lists of both.
    for (let round = 0; round < 20; round++) {
      const seen = new Set<string>()
      const stores = await Promise.allSettled(
        ['messages-1@node-1', 'messages-1@node-2'].map((name) => front.storeOf(name)),
      )
      for (const store of stores) {
        if (store.status === 'rejected') continue
        for (const { id } of store.value) {
          assert.ok(!seen.has(id), `${id} is in two lists`)
          seen.add(id)
        }
      }
      await sleep(100)
    }
    await load.more(200)
    await assertNothingWrong(front, await load.stop())
  })
})
