/** The supervisor with real processes: actors that do little, under a primary of their own. */
import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ActorEntry, Role } from '../../../src/runtime/cluster/directory.ts'
import { freePort } from '../../../tools/free-port.ts'
import { isAlive } from '../../support/system.ts'

interface System {
  primary: ChildProcess
  data: string
  url: string
  first: Promise<{ ready?: true; error?: { code: string } }>
}

const systems: System[] = []

async function begin(counts: Partial<Record<Role, number>> = {}): Promise<System> {
  const data = mkdtempSync(join(tmpdir(), 'supervisor-'))
  const port = await freePort()
  const config = { counts: { facade: 1, logging: 1, messages: 1, ...counts }, port, data, logLevel: 'silent' }
  const primary = fork(new URL('../../support/fixture-primary.ts', import.meta.url), [
    JSON.stringify({ ...config, mailboxCapacity: 1, peers: [], node: 'here', internalPort: null }),
  ])
  const first = once(primary, 'message').then(([message]) => message as never)
  const system = { primary, data, url: `http://127.0.0.1:${port}`, first }
  systems.push(system)
  return system
}

afterEach(async () => {
  for (const { primary, data } of systems.splice(0)) {
    if (primary.exitCode === null && primary.signalCode === null) {
      primary.kill('SIGKILL')
      await once(primary, 'exit')
    }
    rmSync(data, { recursive: true })
  }
})

async function ask(system: System, path: string): Promise<{ pid: number; actors: ActorEntry[] }> {
  const response = await fetch(system.url + path, { headers: { connection: 'close' } })
  return (await response.json()) as never
}

async function until(system: System, what: (actors: ActorEntry[]) => boolean): Promise<ActorEntry[]> {
  for (;;) {
    const actors = await ask(system, '/').then(
      (answer) => answer.actors,
      () => [],
    )
    if (what(actors)) return actors
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const names = (actors: ActorEntry[]) => actors.map(({ name }) => name)
const named = (actors: ActorEntry[], name: string) => actors.find((actor) => actor.name === name)!
const allReady = (actors: ActorEntry[]) => actors.length > 0 && actors.every(({ state }) => state === 'ready')

test('every actor has a process of its own and sees the whole directory', async () => {
  const system = await begin({ logging: 3, messages: 2 })
  assert.deepEqual(await system.first, { ready: true })
  const actors = await until(system, allReady)
  assert.deepEqual(names(actors), [
    'facade-1',
    'logging-1',
    'logging-2',
    'logging-3',
    'messages-1',
    'messages-2',
  ])
  assert.equal(new Set(actors.map(({ pid }) => pid)).size, 6)
})

test('a killed worker is restarted, and the others keep their processes', async () => {
  const system = await begin({ logging: 2 })
  const before = await until(system, allReady)
  process.kill(named(before, 'logging-2').pid, 'SIGKILL')
  const after = await until(
    system,
    (actors) => named(actors, 'logging-2')?.restarts === 1 && allReady(actors),
  )
  assert.notEqual(named(after, 'logging-2').pid, named(before, 'logging-2').pid)
  assert.equal(named(after, 'logging-1').pid, named(before, 'logging-1').pid)
})

test('an actor that keeps crashing is failed, and the others keep their processes', async () => {
  const system = await begin()
  const before = await until(system, allReady)
  writeFileSync(join(system.data, 'logging-1.crash'), '')
  process.kill(named(before, 'logging-1').pid, 'SIGKILL')
  const after = await until(system, (actors) => named(actors, 'logging-1')?.state === 'failed')
  assert.equal(named(after, 'logging-1').restarts, 5)
  assert.equal(named(after, 'messages-1').pid, named(before, 'messages-1').pid)
})

test('a frozen worker is killed and restarted', async () => {
  const system = await begin()
  const before = await until(system, allReady)
  const { pid } = named(before, 'messages-1')
  process.kill(pid, 'SIGSTOP')
  await until(system, (actors) => named(actors, 'messages-1')?.restarts === 1 && allReady(actors))
  assert.equal(isAlive(pid), false)
})

test('scales up and down, live', async () => {
  const system = await begin()
  await system.first
  const up = await ask(system, '/scale/messages/3')
  assert.deepEqual(names(up.actors).slice(2), ['messages-1', 'messages-2', 'messages-3'])
  assert.ok(allReady(up.actors))
  const down = await ask(system, '/scale/messages/1')
  assert.deepEqual(names(down.actors).slice(2), ['messages-1'])
  for (const { name, pid } of up.actors) {
    assert.equal(isAlive(pid), !['messages-2', 'messages-3'].includes(name), `${name} alive`)
  }
})

test('a role is restarted one by one; the facade that asked is answered first and restarted last', async () => {
  const system = await begin({ facade: 2, logging: 2 })
  const before = await until(system, allReady)
  for (const role of ['logging', 'facade']) {
    const answer = await ask(system, `/restart/${role}`)
    assert.ok(answer.actors.length === before.length)
    const restarts = answer.actors.filter((actor) => actor.role === role).map((actor) => actor.restarts)
    assert.deepEqual(restarts, [1, 1], 'the answer counts this restart')
  }
  const replaced = ({ role, restarts }: ActorEntry) => restarts === (role === 'messages' ? 0 : 1)
  const after = await until(system, (actors) => allReady(actors) && actors.every(replaced))
  for (const { name, role, pid } of before) {
    assert.equal(named(after, name).pid === pid, role === 'messages', `${name} kept its process`)
  }
})

test('a facade that scales itself away is answered', async () => {
  const system = await begin({ facade: 2 })
  await system.first
  for (let round = 0; round < 3; round++) {
    const { actors } = await ask(system, '/scale/facade/1')
    assert.deepEqual(
      names(actors).filter((name) => name.startsWith('facade')),
      ['facade-1'],
    )
    await ask(system, '/scale/facade/2')
  }
})

test('requests to a facade that is to drain are refused at once, and what they asked for is not done', async () => {
  const system = await begin()
  await until(system, allReady)
  const asked = async (path: string) => {
    const beganAt = performance.now()
    const response = await fetch(system.url + path, { headers: { connection: 'close' } })
    const { code, actors } = (await response.json()) as { code?: string; actors?: ActorEntry[] }
    return { code, actors, tookMs: performance.now() - beganAt }
  }
  // The others arrive while the replacement boots, so the facade that is to drain has them.
  const first = asked('/restart/facade')
  await sleep(50)
  const answers = await Promise.all([first, ...Array.from({ length: 12 }, () => asked('/restart/logging'))])
  const refused = answers.filter(({ code }) => code === 'MR_DRAINING')
  const done = answers.filter(({ actors }) => actors?.length === 3)
  assert.equal(refused.length + done.length, answers.length, JSON.stringify(answers))
  assert.ok(refused.length > 0)
  for (const { tookMs } of refused) assert.ok(tookMs < 5000, `refused after ${tookMs} ms`)
  const restarted = done.filter((answer) => answer !== answers[0]).length
  const after = await until(system, allReady)
  assert.equal(named(after, 'logging-1').restarts, restarted)
})

test('a worker that got a signal is replaced', async () => {
  const system = await begin()
  const before = await until(system, allReady)
  process.kill(named(before, 'logging-1').pid, 'SIGTERM')
  await until(system, (actors) => allReady(actors) && named(actors, 'logging-1').restarts === 1)
})

test('a signal to all processes at once drains them all and exits with code 0', async () => {
  const system = await begin({ logging: 2 })
  const actors = await until(system, allReady)
  const exited = once(system.primary, 'exit')
  for (const pid of [system.primary.pid!, ...actors.map((actor) => actor.pid)]) process.kill(pid, 'SIGINT')
  assert.deepEqual(await exited, [0, null])
  assert.deepEqual(
    actors.filter(({ pid }) => isAlive(pid)),
    [],
  )
})

test('a worker whose drain hangs is killed', async () => {
  const system = await begin()
  await until(system, allReady)
  writeFileSync(join(system.data, 'logging-1.hang'), '')
  const exited = once(system.primary, 'exit')
  system.primary.kill('SIGTERM')
  assert.deepEqual(await exited, [0, null])
})

test('a second signal a second later exits at once', async () => {
  const system = await begin()
  await until(system, allReady)
  writeFileSync(join(system.data, 'facade-1.hang'), '')
  const exited = once(system.primary, 'exit')
  system.primary.kill('SIGTERM')
  await new Promise((resolve) => setTimeout(resolve, 1100))
  system.primary.kill('SIGTERM')
  assert.deepEqual(await exited, [143, null])
})

test('a start fails with the configuration error of an actor', async () => {
  const system = await begin()
  writeFileSync(join(system.data, 'messages-1.invalid'), '')
  const { error } = await system.first
  assert.equal(error?.code, 'MR_CONFIG_INVALID')
})

test('workers do not outlive a killed primary', async () => {
  const system = await begin()
  const actors = await until(system, allReady)
  system.primary.kill('SIGKILL')
  await once(system.primary, 'exit')
  while (actors.some(({ pid }) => isAlive(pid))) await new Promise((resolve) => setTimeout(resolve, 10))
})
