/** The rows of the fault table that ask for more than the checker's zeros: each measures what its row demands. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { assertNothingWrong } from '../support/checker.ts'
import { Contention } from '../support/contention.ts'
import type { History } from '../support/history.ts'
import { Load } from '../support/load.ts'
import { percentile } from '../support/open-loop.ts'
import type { Lists } from '../support/running-system.ts'
import { fill, smallDisk } from '../support/small-disk.ts'
import { isAlive, System, sleep } from '../support/system.ts'

/** Little load, so that times are the program's own. */
const LIGHT = { connections: 8, pauseMs: 10 }
/** No request outlives this; the client's own way comes on top. */
const DEADLINE_MS = 3000
const OVERHEAD_MS = 300
/** A frozen actor is passed over from 2 s on; so long the requests are measured. */
const AVOIDED_UNTIL_MS = 4000

const clock = () => performance.now()
const slowestOf = ({ took }: History) => took.reduce((max, { ms }) => Math.max(max, ms), 0)

/** Waits until `holds`, and asserts that it was so within the time. */
async function within(
  system: System,
  ms: number,
  what: string,
  holds: () => Promise<boolean>,
  contention: Contention,
) {
  const since = clock()
  await system.until(what, holds)
  const tookMs = clock() - since
  assert.ok(tookMs <= contention.allow(ms), `${what} took ${Math.round(tookMs)} ms`)
}

test('SIGKILL of one facade of two: it is back within 1 s, and the other one serves meanwhile', async (context) => {
  const system = await System.start(context, ['--facade', '2'])
  const load = new Load(context, system.url, LIGHT)
  await load.more(200)
  const contention = new Contention(context)
  const { pid } = await system.actor('facade-2')
  process.kill(pid, 'SIGKILL')
  await within(
    system,
    1000,
    'facade-2 is back',
    async () => {
      const actor = await system.actor('facade-2')
      return actor.pid !== pid && actor.state === 'ready'
    },
    contention,
  )
  const history = await load.stop()
  assert.ok(history.failures.length <= LIGHT.connections, `${history.failures.length} failed`)
  await assertNothingWrong(system, history)
})

test('SIGKILL of a messages actor: delivered is partial until its list is back, within 2 s', async (context) => {
  const system = await System.start(context)
  const load = new Load(context, system.url, LIGHT)
  await load.more(300)
  const before = new Set((await system.storeOf('messages-1')).map(({ id }) => id))
  const contention = new Contention(context)
  const { pid } = await system.actor('messages-1')
  process.kill(pid, 'SIGKILL')
  const short: string[] = []
  await within(
    system,
    2000,
    'its list is back',
    async () => {
      const { delivered, deliveredTo, partial } = await system.get<Lists>('/messages')
      if (deliveredTo !== 'messages-1') return false
      const ids = new Set(delivered.map(({ id }) => id))
      const isWhole = [...before].every((id) => ids.has(id))
      if (!isWhole && !partial.includes('delivered')) short.push(`${ids.size} of ${before.size}`)
      return isWhole && partial.length === 0 && (await system.actor('messages-1')).pid !== pid
    },
    contention,
  )
  assert.deepEqual(short, [], 'lists that were shorter, and did not say so')
  await assertNothingWrong(system, await load.stop())
})

test('SIGKILL of the primary: its workers are gone within 100 ms', async (context) => {
  const system = await System.start(context)
  const pids = (await system.actors()).map(({ pid }) => pid)
  const contention = new Contention(context)
  system.kill('SIGKILL')
  await system.exited
  const since = clock()
  while (pids.some(isAlive)) await sleep(5)
  const tookMs = clock() - since
  assert.ok(tookMs <= contention.allow(100), `gone after ${Math.round(tookMs)} ms`)
  await system.begin()
})

test('SIGTERM of a worker of each role under load: no request fails', async (context) => {
  const system = await System.start(context, ['--facade', '2'])
  const load = new Load(context, system.url, LIGHT)
  for (const name of ['facade-1', 'logging-2', 'messages-2']) {
    await load.more(100)
    const { pid } = await system.actor(name)
    process.kill(pid, 'SIGTERM')
    await system.until(`${name} is replaced`, async () => {
      const actor = await system.actor(name)
      return actor.pid !== pid && actor.state === 'ready'
    })
  }
  await load.more(100)
  const history = await load.stop()
  assert.deepEqual(history.failures, [])
  await assertNothingWrong(system, history)
})

test('messages 3 -> 1 -> 3 with 200,000 pending: the union of the lists never shrinks, pending messages move to the new actors', async (context) => {
  const handler = new URL('../support/handler.ts', import.meta.url).pathname
  const system = await System.start(context, ['--messages', '3', '--handler', handler])
  const lines = Array.from({ length: 200_000 }, (_, n) => `{"text":"wait 5 ${n}"}\n`).join('')
  const response = await fetch(`${system.url}/messages?acks=errors`, {
    method: 'POST',
    body: lines,
    headers: { 'content-type': 'application/x-ndjson' },
  })
  const { accepted } = JSON.parse((await response.text()).trimEnd().split('\n').at(-1)!)
  assert.equal(accepted, 200_000)
  let union = new Set<string>()
  const grown = async () => {
    const now = new Set<string>()
    for (const name of await system.messagesActors()) {
      for (const { id } of await system.storeOf(name)) {
        assert.ok(!now.has(id), `${id} in two lists`)
        now.add(id)
      }
    }
    assert.deepEqual(
      [...union].filter((id) => !now.has(id)),
      [],
      'the union has shrunk',
    )
    assert.ok(now.size > union.size, 'the union has grown')
    union = now
  }
  await grown()
  for (const count of [1, 3]) {
    await system.send('PUT', '/actors/messages', { count })
    await system.until('what waits is shared', async () => {
      const actors = (await system.actors()).filter(({ role }) => role === 'messages')
      return actors.length === count && actors.every(({ waiting = 0 }) => waiting > 0)
    })
    await grown()
  }
})

test('a full disk: posts are refused with 503, reads continue, no process exits, posts are accepted within 5 s of free space', async (context) => {
  const disk = smallDisk(context, 64)
  if (disk === undefined) return
  const system = await System.start(context, [], { data: join(disk, 'data') })
  const load = new Load(context, system.url, LIGHT)
  await load.more(100)
  const pids = (await system.actors()).map(({ pid }) => pid)
  const filling = join(disk, 'filling')
  const post = async () => {
    const response = await fetch(`${system.url}/messages`, {
      method: 'POST',
      body: 'x'.repeat(60_000),
      headers: { 'content-type': 'text/plain' },
    })
    return { status: response.status, text: await response.text() }
  }
  let refusal = { status: 0, text: '' }
  await system.until('a post is refused', async () => {
    fill(filling)
    refusal = await post()
    return refusal.status === 503
  })
  const { code, outcome } = JSON.parse(refusal.text) as Record<string, string>
  assert.deepEqual([code, outcome], ['MR_STORE_UNAVAILABLE', 'none'])
  assert.equal((await system.get<{ items: unknown[] }>('/log?limit=100')).items.length, 100)
  const history = await load.stop()
  rmSync(filling)
  const contention = new Contention(context)
  await within(
    system,
    5000,
    'a post is accepted again',
    async () => (await post()).status === 201,
    contention,
  )
  assert.deepEqual(
    (await system.actors()).map(({ pid }) => pid),
    pids,
  )
  const reasons = new Set(history.failures.map(({ how }) => how))
  assert.ok(
    [...reasons].every((how) => how === 503),
    [...reasons].join(),
  )
})

test('a worker dies while the disk is full: the primary runs on, and the node is ready within 5 s of free space', async (context) => {
  const disk = smallDisk(context, 64)
  if (disk === undefined) return
  const system = await System.start(context, [], { data: join(disk, 'data') })
  const filling = join(disk, 'filling')
  const killed = await system.actor('messages-1')
  fill(filling)
  process.kill(killed.pid, 'SIGKILL')
  await system.until('another process has its place', async () => {
    fill(filling)
    const { pid, restarts } = await system.actor('messages-1')
    return restarts > 0 && pid !== killed.pid
  })
  rmSync(filling)
  const contention = new Contention(context)
  await within(
    system,
    5000,
    'a post is delivered',
    async () => {
      const { id } = await system.send<{ id: string }>('POST', '/messages', { text: 'after' })
      return (await system.get<{ state: string }>(`/messages/${id}?wait=2`)).state === 'delivered'
    },
    contention,
  )
  // Else a start after a crash would not find those it has to end.
  await system.until('all workers are written down', async () => {
    const { workers } = JSON.parse(readFileSync(join(system.data, 'node.json'), 'utf8')) as {
      workers: number[]
    }
    const pids = (await system.actors()).map(({ pid }) => pid)
    return pids.every((pid) => workers.includes(pid))
  })
})

/** These wait more than they work; the one that waits longest is first. */
describe('slow tests, run together', { concurrency: 3 }, () => {
  test('an actor that crashes at boot: its breaker opens, /readyz names it, the other actors run on, it recovers', async (context) => {
    const directory = mkdtempSync(join(tmpdir(), 'mailroom-crash-'))
    context.after(() => rmSync(directory, { recursive: true }))
    const flag = join(directory, 'broken')
    const handler = join(directory, 'handler.mjs')
    writeFileSync(
      handler,
      `import { existsSync } from 'node:fs'
     if (existsSync(${JSON.stringify(flag)})) process.exit(1)
     export default async () => {}`,
    )
    const system = await System.start(context, ['--handler', handler])
    // Until all are ready it is still starting, and an actor that keeps crashing then ends the start.
    await system.until('it has started', async () => system.output.includes('Mailroom is ready'))
    const siblings = (await system.actors()).filter(({ name }) => name !== 'messages-1')
    writeFileSync(flag, '')
    process.kill((await system.actor('messages-1')).pid, 'SIGKILL')
    await system.until(
      'its breaker is open',
      async () => (await system.actor('messages-1')).state === 'failed',
      60_000,
    )
    const { restarts } = await system.actor('messages-1')
    assert.ok(restarts >= 4 && restarts <= 6, `${restarts} restarts`)
    const degraded = await fetch(`${system.url}/readyz`)
    assert.equal(degraded.status, 200)
    assert.match(await degraded.text(), /"degraded":\["messages-1: it keeps crashing/)
    const { id } = await system.send<{ id: string }>('POST', '/messages', { text: 'meanwhile' })
    assert.equal((await system.get<{ text: string }>(`/messages/${id}`)).text, 'meanwhile')
    rmSync(flag)
    const isWhole = async () => !(await (await fetch(`${system.url}/readyz`)).text()).includes('degraded')
    await system.until('it is back', isWhole, 60_000)
    const pids = new Map((await system.actors()).map(({ name, pid }) => [name, pid]))
    for (const { name, pid } of siblings) assert.equal(pids.get(name), pid, name)
  })

  for (const name of ['facade-2', 'logging-1', 'messages-1']) {
    test(`SIGSTOP of ${name}: replaced within 4 s, and no request outlives its deadline`, async (context) => {
      const system = await System.start(context, ['--facade', '2'])
      const load = new Load(context, system.url, LIGHT)
      await load.more(200)
      const contention = new Contention(context)
      const { pid } = await system.actor(name)
      process.kill(pid, 'SIGSTOP')
      const since = clock()
      await within(
        system,
        4000,
        `${name} is replaced`,
        async () => {
          const actor = await system.actor(name)
          return actor.pid !== pid && actor.state === 'ready'
        },
        contention,
      )
      assert.equal(isAlive(pid), false)
      await sleep(Math.max(0, AVOIDED_UNTIL_MS - (clock() - since)))
      const history = await load.stop()
      // What hangs on a frozen facade ends when that is killed; everything else with its deadline.
      const limitMs = name.startsWith('facade') ? 4000 : DEADLINE_MS
      const slowestMs = slowestOf(history)
      assert.ok(slowestMs <= contention.allow(limitMs + OVERHEAD_MS), `one took ${Math.round(slowestMs)} ms`)
      const avoided = history.took.filter(
        ({ sentAt }) => sentAt > since + 2000 && sentAt < since + AVOIDED_UNTIL_MS,
      )
      const p50 = percentile(
        avoided.map(({ ms }) => ms).sort((a, b) => a - b),
        0.5,
      )
      assert.ok(p50 < contention.allow(1000), `after 2 s a request still took ${Math.round(p50)} ms`)
      await assertNothingWrong(system, history)
    })
  }

  test('SIGSTOP of logging-1: posts with a key wait or are refused in time, and are stored once; the others go on', async (context) => {
    const system = await System.start(context)
    const load = new Load(context, system.url, LIGHT)
    await load.more(200)
    const contention = new Contention(context)
    process.kill((await system.actor('logging-1')).pid, 'SIGSTOP')
    const since = clock()
    const keys = Array.from({ length: 24 }, (_, index) => `key-${index}`)
    const post = async (key: string) => {
      const sentAt = clock()
      const headers = { 'content-type': 'text/plain', 'idempotency-key': key }
      const response = await fetch(`${system.url}/messages`, { method: 'POST', headers, body: `of ${key}` })
      return { status: response.status, ms: clock() - sentAt, body: await response.text() }
    }
    const first = await Promise.all(keys.map(post))
    for (const { status, ms, body } of first) {
      assert.ok([201, 503, 504].includes(status), body)
      // All that wait are refused at the same instant, in this process and in that.
      assert.ok(ms <= contention.allow(DEADLINE_MS + 3 * OVERHEAD_MS), `${status} after ${Math.round(ms)} ms`)
    }
    await sleep(Math.max(0, AVOIDED_UNTIL_MS - (clock() - since)))
    const history = await load.stop()
    assert.deepEqual(history.failures, [])
    const avoided = history.took.filter(({ sentAt }) => sentAt > since + 1500)
    const times = avoided.map(({ ms }) => ms).sort((a, b) => a - b)
    assert.ok(
      percentile(times, 0.9) < contention.allow(200),
      `p90 without a key is ${percentile(times, 0.9)} ms`,
    )
    const isStored = async (key: string) => (await post(key)).status === 201
    await system.until('each is stored', async () => (await Promise.all(keys.map(isStored))).every(Boolean))
    const { logged } = await system.lists()
    const keyed = logged.map(({ text }) => text).filter((text) => text.startsWith('of key-'))
    assert.deepEqual(keyed.sort(), keys.map((key) => `of ${key}`).sort())
  })

  test('a node frozen as a whole for 10 s: nothing is lost, no list shows an id twice', async (context) => {
    const system = await System.start(context)
    const load = new Load(context, system.url, LIGHT)
    await load.more(200)
    const pids = [system.primary.pid!, ...(await system.actors()).map(({ pid }) => pid)]
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    await sleep(10_000)
    for (const pid of pids) process.kill(pid, 'SIGCONT')
    await load.more(200)
    await assertNothingWrong(system, await load.stop())
  })
})
