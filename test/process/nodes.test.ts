/** Several nodes as real process trees on 127.0.0.1: who they think is there, whatever happens to one of them. */
import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { NodeDirectory } from '../../src/nodes/node-directory.ts'
import { type ActorEntry, livingMessages, type Role } from '../../src/runtime/cluster/directory.ts'
import { assignLanes } from '../../src/storage/lanes.ts'
import { freePort } from '../../tools/free-port.ts'
import { seriesOf } from '../support/metrics-text.ts'
import { sleep } from '../support/system.ts'

const PRIMARY = new URL('../support/fixture-primary.ts', import.meta.url)
const LANES = 16
const WAIT_MS = 20_000

/** A node whose actors do little. Every actor answers with the directory it was told. */
class TestNode {
  readonly name: string
  readonly #config: object
  readonly #internalPort: number
  primary!: ChildProcess

  constructor(name: string, config: object, internalPort: number) {
    this.name = name
    this.#config = config
    this.#internalPort = internalPort
  }

  /** @param clockMs How far its clock is ahead. */
  begin(clockMs = 0): void {
    const clock = `const now = Date.now; Date.now = () => now() + ${clockMs}`
    const execArgv = ['--import', `data:text/javascript,${encodeURIComponent(clock)}`]
    this.primary = fork(PRIMARY, [JSON.stringify(this.#config)], { execArgv })
  }

  /** What this node tells of itself. */
  async directory(): Promise<NodeDirectory> {
    const response = await this.#ask('/directory')
    assert.equal(response.status, 200)
    return (await response.json()) as NodeDirectory
  }

  async readiness(): Promise<number> {
    return (await this.#ask('/readyz')).status
  }

  /** What is wrong around it. */
  async warnings(): Promise<string[]> {
    return ((await (await this.#ask('/readyz')).json()) as { warnings: string[] }).warnings
  }

  /** What its first actor is told of all nodes. */
  async view(): Promise<ActorEntry[]> {
    return (await this.order<{ actors: ActorEntry[] }>('')).actors
  }

  async metrics(): Promise<string> {
    return this.#ask('/metrics').then(
      (answer) => answer.text(),
      () => '', // It does not listen yet.
    )
  }

  /** Has its first actor ask the primary for something. */
  async order<T>(path: string): Promise<T> {
    const [first] = (await this.directory()).actors
    const options = { headers: { connection: 'close' }, signal: AbortSignal.timeout(WAIT_MS) }
    return (await (await fetch(`http://127.0.0.1:${first!.port}/${path}`, options)).json()) as T
  }

  /** Sends a signal to every process of the node. */
  async signal(signal: NodeJS.Signals, pids: readonly number[]): Promise<void> {
    for (const pid of [...pids, this.primary.pid!]) process.kill(pid, signal)
  }

  async pids(): Promise<number[]> {
    return (await this.directory()).actors.map(({ pid }) => pid)
  }

  #ask(path: string): Promise<Response> {
    const headers = { 'x-mailroom-secret': 'secret', connection: 'close' }
    const options = { headers, signal: AbortSignal.timeout(2000) }
    return fetch(`http://127.0.0.1:${this.#internalPort}${path}`, options)
  }
}

/** Starts nodes with these actors; each knows the others by address and port. Ended with the test. */
async function begin(
  context: TestContext,
  counts: Record<string, Partial<Record<Role, number>>>,
  clocksMs: Record<string, number> = {},
): Promise<TestNode[]> {
  const data = mkdtempSync(join(tmpdir(), 'nodes-'))
  const names = Object.keys(counts)
  const ports = await Promise.all(names.map(freePort))
  const peers = ports.map((port) => ({ host: '127.0.0.1', port }))
  const nodes = await Promise.all(
    names.map(async (node, index) => {
      const internalPort = ports[index]!
      const config = {
        ...{ node, peers, internalPort, internalHost: '127.0.0.1', port: await freePort() },
        ...{ data, logLevel: 'silent', mailboxCapacity: 1, lanes: LANES },
        counts: { facade: 0, logging: 0, messages: 0, ...counts[node] },
      }
      return new TestNode(node, config, internalPort)
    }),
  )
  context.after(async () => {
    for (const { primary } of nodes) {
      if (primary.exitCode !== null || primary.signalCode !== null) continue
      primary.kill('SIGKILL')
      await once(primary, 'exit')
    }
    rmSync(data, { recursive: true })
  })
  for (const node of nodes) node.begin(clocksMs[node.name])
  return nodes
}

/** Waits until every node's view is as wanted. @returns How long it took. */
async function until(nodes: readonly TestNode[], wanted: (actors: ActorEntry[]) => boolean): Promise<number> {
  const beganAt = performance.now()
  let views: ActorEntry[][] = []
  for (;;) {
    views = await Promise.all(nodes.map((node) => node.view().catch(() => [])))
    if (views.every(wanted)) return performance.now() - beganAt
    if (performance.now() - beganAt > WAIT_MS) assert.fail(`never so: ${JSON.stringify(views.map(shown))}`)
    await sleep(50)
  }
}

const shown = (actors: readonly ActorEntry[]) => actors.map(({ name, state }) => `${name} ${state}`)
const areReady = (count: number) => (actors: ActorEntry[]) =>
  actors.length === count && actors.every(({ state }) => state === 'ready')
const THREE = { a: { facade: 1, logging: 1 }, b: { messages: 2 }, c: { logging: 1, messages: 1 } }
const ALL = 6

test('nodes of different roles have the same names of actors and assign lanes alike', async (t) => {
  const nodes = await begin(t, THREE)
  await until(nodes, areReady(ALL))
  const views = await Promise.all(nodes.map((node) => node.view()))
  for (const view of views) {
    assert.deepEqual(
      view.map(({ name }) => name),
      ['facade-1@a', 'logging-1@a', 'logging-1@c', 'messages-1@b', 'messages-2@b', 'messages-1@c'],
    )
    assert.deepEqual(assignLanes(LANES, livingMessages(view)), assignLanes(LANES, livingMessages(views[0]!)))
    const answers = view.map(async ({ address, pid }) => {
      const { pid: answering } = (await (await fetch(`http://${address}/`)).json()) as { pid: number }
      assert.equal(answering, pid)
    })
    await Promise.all(answers)
  }
  for (const node of nodes) assert.equal(await node.readiness(), 200)
})

test('clocks of two nodes 4 s apart: each is ready, and names the other’s in /readyz', async (t) => {
  const nodes = await begin(t, { a: { facade: 1, logging: 1 }, b: { messages: 1 } }, { b: 4000 })
  const [a, b] = nodes as [TestNode, TestNode]
  await until(nodes, areReady(3))
  assert.match((await a.warnings()).join(), /^the clock of node b is [34]\.\d s ahead of this node's$/)
  assert.match((await b.warnings()).join(), /^the clock of node a is [34]\.\d s behind this node's$/)
  assert.deepEqual([await a.readiness(), await b.readiness()], [200, 200])
})

test('a role is scaled only on its own node, and all nodes see it', async (t) => {
  const nodes = await begin(t, THREE)
  const [a, b] = nodes as [TestNode, TestNode]
  await until(nodes, areReady(ALL))
  for (const order of ['scale/messages/3', 'restart/messages']) {
    assert.deepEqual(await a.order(order), { code: 'MR_ROLE_ELSEWHERE' })
  }
  const { actors } = await b.order<{ actors: ActorEntry[] }>('scale/messages/3')
  assert.equal(actors.length, ALL + 1)
  await until(nodes, areReady(ALL + 1))
  await b.order('scale/messages/1')
  await until(nodes, areReady(ALL - 1))
})

test('a killed node gets no calls, and is found again when it is restarted', async (t) => {
  const nodes = await begin(t, THREE)
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
  await until(nodes, areReady(ALL))
  b.primary.kill('SIGKILL')
  const leftOutAfterMs = await until([a, c], areReady(ALL - 2))
  assert.ok(leftOutAfterMs > 3000, `its lanes stayed its own for ${leftOutAfterMs} ms`)
  assert.equal(await c.readiness(), 200)
  b.begin()
  await until(nodes, areReady(ALL))
})

test('a draining node announces it: the others remove it at once', async (t) => {
  const nodes = await begin(t, THREE)
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
  await until(nodes, areReady(ALL))
  const exited = once(b.primary, 'exit')
  b.primary.kill('SIGTERM')
  const tookMs = await until([a, c], (actors) => livingMessages(actors).join() === 'messages-1@c')
  assert.ok(tookMs < 3900, `took ${tookMs} ms`)
  assert.deepEqual(await exited, [0, null])
})

test('a frozen node gets no calls; when it continues it has not lost the others', async (t) => {
  const nodes = await begin(t, THREE)
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
  await until(nodes, areReady(ALL))
  const pids = await b.pids()
  const { startId } = await b.directory()
  await b.signal('SIGSTOP', pids)
  await until([a, c], areReady(ALL - 2))
  await sleep(3000)
  await b.signal('SIGCONT', pids)
  await until([b], (actors) => {
    assert.ok(actors.length === 0 || actors.length === ALL, `sees ${shown(actors)}`)
    return areReady(ALL)(actors)
  })
  await until(nodes, areReady(ALL))
  assert.deepEqual([await b.pids(), (await b.directory()).startId], [pids, startId])
})

test('each node has the metrics of its own actors, so that the sum over the nodes has each once', async (context) => {
  const nodes = await begin(context, { a: { logging: 1 }, b: { messages: 2 } })
  const actorsIn = async (node: TestNode) =>
    [...seriesOf(await node.metrics()).keys()].flatMap((series) =>
      series.startsWith('process_cpu_seconds_total') ? (/actor="([^"]+)"/.exec(series)?.[1] ?? []) : [],
    )
  for (const [index, expected] of [
    ['logging-1@a', 'primary'],
    ['messages-1@b', 'messages-2@b', 'primary'],
  ].entries()) {
    const endAt = performance.now() + WAIT_MS
    let found = ''
    while (found !== expected.join() && performance.now() < endAt) {
      await sleep(100)
      found = (await actorsIn(nodes[index]!)).sort().join()
    }
    assert.equal(found, expected.join())
  }
})
