/** The real program under load, killed, scaled, restarted and stopped. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { test } from 'node:test'
import { assertNothingWrong } from '../support/checker.ts'
import { Load } from '../support/load.ts'
import { isAlive, System, sleep } from '../support/system.ts'

for (const name of ['logging-1', 'logging-2', 'messages-1', 'messages-2']) {
  test(`SIGKILL of ${name} under load: no client notices, nothing is wrong`, async (context) => {
    const system = await System.start(context)
    const load = new Load(context, system.url)
    await load.more(1000)
    process.kill((await system.actor(name)).pid, 'SIGKILL')
    await load.more(1000)
    await system.until('it is back', async () => (await system.actor(name)).restarts === 1)
    await load.more(500)
    const history = await load.stop()
    assert.deepEqual(history.failures, [])
    await assertNothingWrong(system, history)
  })
}

for (const name of ['logging-1', 'messages-1']) {
  test(`${name} frozen under load: it is killed and replaced, no request fails or outlives its deadline`, async (context) => {
    const system = await System.start(context)
    const load = new Load(context, system.url, { connections: 16 })
    await load.more(500)
    const { pid } = await system.actor(name)
    process.kill(pid, 'SIGSTOP')
    await system.until('it is replaced', async () => {
      const actor = await system.actor(name)
      return actor.state === 'ready' && actor.pid !== pid
    })
    assert.equal(isAlive(pid), false)
    await load.more(500)
    const history = await load.stop()
    assert.deepEqual(history.failures, [])
    assert.ok(history.longestMs < 3500, `the longest took ${history.longestMs} ms`)
    await assertNothingWrong(system, history)
  })
}

test('SIGKILL of one of two facades under load: only requests on its connections fail', async (context) => {
  const system = await System.start(context, ['--facade', '2'])
  const load = new Load(context, system.url)
  await load.more(1000)
  process.kill((await system.actor('facade-2')).pid, 'SIGKILL')
  await load.more(1500)
  const history = await load.stop()
  assert.ok(history.failures.length <= 64, `${history.failures.length} failures`)
  assert.deepEqual(
    [...new Set(history.failures.map(({ how }) => typeof how))].filter((how) => how === 'number'),
    [],
  )
  await assertNothingWrong(system, history)
})

test('SIGKILL of all workers at once, three times, under load', async (context) => {
  const system = await System.start(context)
  const load = new Load(context, system.url)
  for (let round = 0; round < 3; round++) {
    await load.more(500)
    for (const { pid } of await system.actors()) process.kill(pid, 'SIGKILL')
    await system.ready()
  }
  await load.more(500)
  await assertNothingWrong(system, await load.stop())
})

test('SIGKILL of the primary under load: workers end at once, a new start has every message', async (context) => {
  const system = await System.start(context)
  const load = new Load(context, system.url)
  for (let round = 0; round < 3; round++) {
    await load.more(500)
    const actors = await system.actors()
    system.kill('SIGKILL')
    await system.exited
    await sleep(1000)
    assert.deepEqual(
      actors.filter(({ pid }) => isAlive(pid)),
      [],
    )
    await system.begin()
  }
  await load.more(500)
  await assertNothingWrong(system, await load.stop())
})

test('SIGTERM under load: no accepted request fails, exit code 0, no process is left, nothing is lost', async (context) => {
  const system = await System.start(context)
  const load = new Load(context, system.url)
  await load.more(1000)
  const actors = await system.actors()
  const began = performance.now()
  system.kill('SIGTERM')
  assert.deepEqual(await system.exited, [0, null])
  assert.ok(performance.now() - began < 10_000, 'within 10 s')
  const history = await load.stop()
  const broken = history.failures.filter(({ how }) => how !== 'ECONNREFUSED')
  assert.deepEqual(broken, [])
  assert.deepEqual(
    actors.filter(({ pid }) => isAlive(pid)),
    [],
  )
  await system.begin()
  await assertNothingWrong(system, history)
})

test('scaling up and down and rolling restarts under load: no request fails, nothing is wrong', async (context) => {
  const system = await System.start(context)
  const load = new Load(context, system.url, { connections: 32 })
  await load.more(500)
  for (const [role, count] of [
    ['logging', 5],
    ['messages', 1],
    ['facade', 2],
    ['messages', 4],
    ['logging', 3],
    ['facade', 1],
    ['messages', 2],
  ] as const) {
    const actors = await system.send<{ role: string }[]>('PUT', `/actors/${role}`, { count })
    assert.equal(actors.filter((actor) => actor.role === role).length, count)
    await load.more(200)
  }
  for (const role of ['messages', 'logging', 'facade']) {
    await system.send('POST', `/actors/${role}/restart`)
    await load.more(200)
  }
  const history = await load.stop()
  assert.deepEqual(history.failures, [])
  await assertNothingWrong(system, history)
})

test('a second start on the same data is refused, naming the first, which runs on', async (context) => {
  const system = await System.start(context)
  const first = system.primary
  system.spawn()
  const [code] = await system.exited
  assert.notEqual(code, 0)
  assert.match(system.output, new RegExp(`in use by .*${first.pid}`))
  assert.equal((await fetch(`${system.url}/readyz`)).status, 200)
  const exited = once(first, 'exit')
  first.kill('SIGTERM')
  assert.deepEqual(await exited, [0, null])
})

test('an acknowledged message is in every log read that begins later, also while logging actors come and go', async (context) => {
  const system = await System.start(context)
  const load = new Load(context, system.url, { connections: 8 })
  await load.more(100)
  let churning = true
  const churn = (async () => {
    for (let round = 0; churning; round++) {
      await system.send('PUT', '/actors/logging', { count: 2 + (round % 3) })
    }
  })()
  for (let read = 0; read < 60; read++) {
    const known = [...load.history.acknowledged.keys()]
    const { items } = await system.get<{ items: { id: string }[] }>('/log?limit=1000')
    const page = new Set(items.map(({ id }) => id))
    const stale = known.filter((id) => id >= items.at(-1)!.id && !page.has(id))
    assert.deepEqual(stale, [])
  }
  churning = false
  await churn
  assert.deepEqual((await load.stop()).failures, [])
})

test('a request in flight when the drain begins is answered', async (context) => {
  const system = await System.start(context)
  const outgoing = request(`${system.url}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'text/plain' },
  })
  outgoing.write('first half, ')
  await sleep(100)
  system.kill('SIGTERM')
  await sleep(1500)
  outgoing.end('second half')
  const [response] = await once(outgoing, 'response')
  assert.equal(response.statusCode, 201)
  assert.equal(response.headers.connection, 'close')
  response.resume()
  assert.deepEqual(await system.exited, [0, null])
})
