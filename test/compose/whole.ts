/** The exercise as a user runs it: `docker compose up`, other numbers of actors, crashes, and stop. */
import assert from 'node:assert/strict'
import test, { before } from 'node:test'
import { assertNothingWrong } from '../support/checker.ts'
import { Compose } from '../support/compose.ts'
import { History } from '../support/history.ts'
import { Load } from '../support/load.ts'
import type { Lists } from '../support/running-system.ts'

let compose: Compose
/** All that was posted, by all tests. */
const history = new History()

before(async () => {
  compose = await Compose.built()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  process.once('exit', (code) => {
    if (code !== 0) process.stderr.write(compose.logs())
    compose.down()
  })
  await compose.up()
})

test('ten messages: each read of the log shows all ten, the messages actors together have all ten', async () => {
  for (let number = 1; number <= 10; number++) {
    const text = `msg${number}`
    const { id } = await compose.send<{ id: string }>('POST', '/messages', { text })
    history.attempted.add(text)
    history.acknowledge(id, text, Date.now())
  }
  await compose.until('all ten are delivered', async () => {
    const { stores } = await compose.lists()
    return [...stores.values()].flat().length === 10
  })
  const seen = new Map<string, readonly string[]>()
  await compose.until('both messages actors have answered', async () => {
    const { logged, delivered, deliveredTo, partial } = await compose.get<Lists>('/messages')
    assert.deepEqual(partial, [])
    assert.deepEqual(new Map(logged.map(({ id, text }) => [id, text])), history.acknowledged)
    seen.set(
      String(deliveredTo),
      delivered.map(({ id }) => id),
    )
    return seen.size === 2
  })
  assert.deepEqual([...seen.values()].flat().sort(), [...history.acknowledged.keys()])
})

test('five logging and four messages actors: the same messages, and new ones go to all of them', async (context) => {
  await compose.up({ LOGGING: '5', MESSAGES: '4' })
  await compose.until('all are there', async () => {
    const roles = (await compose.actors()).filter(({ state }) => state === 'ready').map(({ role }) => role)
    return (
      roles.filter((role) => role === 'logging').length === 5 &&
      roles.filter((role) => role === 'messages').length === 4
    )
  })
  const load = new Load(context, compose.url, { connections: 8, label: 'scaled' })
  await load.more(200)
  assert.deepEqual(add(await load.stop()), [])
  const { stores } = await assertNothingWrong(compose, history)
  assert.equal(stores.size, 4)
  for (const [name, items] of stores) assert.ok(items.length > 0, `${name} has some`)
})

for (const service of ['logging', 'messages', 'hz-logging-2', 'hz-queue-1']) {
  test(`a ${service} container that crashes under load costs no acknowledged message, and comes back`, async (context) => {
    const load = new Load(context, compose.url, { connections: 8, label: service, pauseMs: 5 })
    await load.more(100)
    const containers = await compose.containers(service)
    await compose.crash(containers[Math.floor(Math.random() * containers.length)]!)
    await load.more(200)
    add(await load.stop())
    await compose.healthy()
    await assertNothingWrong(compose, history, 60_000)
  })
}

test('docker compose stop: each container of Mailroom drains and ends with exit code 0', async () => {
  const startedAt = Date.now()
  await compose.docker('stop', 'facade', 'logging', 'messages')
  const tookMs = Date.now() - startedAt
  for (const { name, exitCode } of await compose.containers('facade', 'logging', 'messages')) {
    assert.equal(exitCode, 0, name)
  }
  // One after the other: the facade, then the others; each has 10 s.
  assert.ok(tookMs < 25_000, `${tookMs} ms`)
})

/** Adds what a load was told to all that was posted; what failed. */
function add({ attempted, acknowledged, failures }: History): History['failures'] {
  for (const text of attempted) history.attempted.add(text)
  for (const [id, text] of acknowledged) history.acknowledge(id, text, Date.now())
  return failures
}
