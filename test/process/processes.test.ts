/** The processes of a node: forks that fail, handlers that do not load, signals, and what a process says at its end. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../support/command.ts'
import type { Actor } from '../support/running-system.ts'
import { isAlive, System, sleep } from '../support/system.ts'

const GOOD = 'export default async () => {}\n'
const BROKEN = 'export default async () => {\n  this is not JavaScript\n}\n'

const pidsOf = (actors: readonly Actor[]) => Object.fromEntries(actors.map(({ name, pid }) => [name, pid]))

test('processes', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'mailroom-handler-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const handler = join(directory, 'handler.mjs')
  writeFileSync(handler, GOOD)
  const system = await System.start(context, ['--logging', '1', '--handler', handler])
  await system.until('it has started', async () => system.output.includes('Mailroom is ready'))
  const scale = (count: number) => system.send<Actor[]>('PUT', '/actors/messages', { count })
  const readyz = async () => {
    const response = await fetch(`${system.url}/readyz`)
    return { status: response.status, text: await response.text() }
  }

  await context.test(
    'a broken handler is deployed: restart exits 1, names file and line, and nobody is down',
    async () => {
      const before = pidsOf(await system.actors())
      writeFileSync(handler, BROKEN)
      const { code, stderr } = await run(['restart', 'messages', '--url', system.url])
      assert.equal(code, 1)
      assert.ok(stderr.includes(`${handler}:2`), stderr)
      assert.deepEqual(pidsOf(await system.actors()), before)
      assert.equal((await readyz()).status, 200)
    },
  )

  await context.test(
    'an actor that cannot boot can be scaled away again, and the same request that mends it succeeds',
    async () => {
      renameSync(handler, `${handler}.away`)
      await assert.rejects(scale(3), /to be an ES module that loads/)
      const left = await scale(2)
      assert.deepEqual(
        left.map(({ name, state }) => [name, state]),
        ['facade-1', 'logging-1', 'messages-1', 'messages-2'].map((name) => [name, 'ready']),
      )
      await assert.rejects(scale(3), /to be an ES module that loads/)
      writeFileSync(handler, GOOD)
      await system.send('POST', '/actors/messages/restart')
      assert.equal((await system.actor('messages-3')).state, 'ready')
    },
  )

  await context.test('GET /actors right after PUT /actors/messages shows the change', async () => {
    for (const count of [1, 3, 2]) {
      await scale(count)
      const actors = (await system.actors()).filter(({ role }) => role === 'messages')
      assert.deepEqual(
        actors.map(({ state }) => state),
        Array.from({ length: count }, () => 'ready'),
      )
    }
  })

  await context.test('SIGHUP without a terminal ends nobody', async () => {
    const before = pidsOf(await system.actors())
    for (const pid of [system.primary.pid!, ...Object.values(before)]) process.kill(pid, 'SIGHUP')
    await system.send('POST', '/actors/logging/restart')
    const { 'logging-1': _, ...after } = pidsOf(await system.actors())
    for (const [name, pid] of Object.entries(after)) assert.equal(pid, before[name], name)
  })

  await context.test(
    'a fork that fails counts as a crash: named, tried again, and it drains meanwhile',
    async () => {
      const limit = (soft: string) =>
        execFileSync('prlimit', ['--pid', `${system.primary.pid}`, `--nofile=${soft}:`])
      const { pid } = await system.actor('messages-1')
      limit('10')
      process.kill(pid, 'SIGKILL')
      await system.until('readyz names it', async () => {
        const { status, text } = await readyz()
        return status === 200 && text.includes('messages-1: its process could not be started: EMFILE')
      })
      assert.match(system.output, /worker could not be started: EMFILE/)
      limit('1024')
      await system.until('it is back', async () => !(await readyz()).text.includes('degraded'))
      assert.notEqual((await system.actor('messages-1')).pid, pid)
      limit('10')
      process.kill((await system.actor('messages-2')).pid, 'SIGKILL')
      await system.until('the fork has failed', async () =>
        (await readyz()).text.includes('messages-2: its process'),
      )
      const pids = Object.values(pidsOf(await system.actors())).filter((each) => each > 0)
      system.kill('SIGTERM')
      assert.deepEqual(await system.exited, [0, null], system.output)
      assert.deepEqual(pids.filter(isAlive), [])
      assert.match(system.output.trimEnd().split('\n').at(-1)!, /"msg":"drained"/)
    },
  )
})

test('a port that is taken for a moment, as by workers of a killed primary, is waited for', async (context) => {
  const system = await System.start(context, ['--logging', '1', '--messages', '1'])
  system.kill()
  await system.exited
  await system.workersEnded()
  const holder = createServer()
  context.after(() => holder.close())
  // A process that is about to end has no environment any more, by which it is known, and perhaps still its port.
  await system.until('its port is free', () => {
    const listening = once(holder, 'listening')
    holder.listen(system.port, '127.0.0.1')
    return listening.then(() => true)
  })
  system.spawn()
  await sleep(1000)
  holder.close()
  await system.ready()
})
