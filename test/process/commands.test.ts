/** Client commands and operations on the real program while its actors restart. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { begin, run } from '../support/command.ts'
import { FIVE_ATTEMPTS, System } from '../support/system.ts'

const DEAD_COUNT = 1500
/** What Kubernetes sets in every container for a Service named mailroom, and for one named mailroom-log. */
const SERVICE = {
  MAILROOM_PORT: 'tcp://10.96.0.12:8080',
  MAILROOM_SERVICE_HOST: '10.96.0.12',
  MAILROOM_SERVICE_PORT: '8080',
  MAILROOM_SERVICE_PORT_HTTP: '8080',
  MAILROOM_PORT_8080_TCP: 'tcp://10.96.0.12:8080',
  MAILROOM_PORT_8080_TCP_PROTO: 'tcp',
  MAILROOM_PORT_8080_TCP_PORT: '8080',
  MAILROOM_PORT_8080_TCP_ADDR: '10.96.0.12',
  MAILROOM_LOG_SERVICE_HOST: '10.96.0.13',
  MAILROOM_LOG_PORT: 'tcp://10.96.0.13:9000',
}

/** These wait more than they work. */
describe('commands', { concurrency: 2 }, () => {
  test('dead letters in bulk: replay --all and purge --all go on while actors restart; each runs once', async (context) => {
    const at = mkdtempSync(join(tmpdir(), 'mailroom-commands-'))
    context.after(() => rmSync(at, { recursive: true }))
    const [handler, mended, handled] = [join(at, 'handler.mjs'), join(at, 'mended'), join(at, 'handled')]
    writeFileSync(
      handler,
      `import { appendFileSync, existsSync } from 'node:fs'
     export default async ({ id }) => {
       if (!existsSync(${JSON.stringify(mended)})) throw new Error('not yet')
       appendFileSync(${JSON.stringify(handled)}, id + '\\n')
     }`,
    )
    const flags = ['--handler', handler, '--handler-concurrency', '100', '--log-level', 'fatal']
    const system = await System.start(context, [...flags, ...FIVE_ATTEMPTS])
    const env = { MAILROOM_URL: system.url }
    const deadCount = async () => (await system.actors()).reduce((sum, { dead = 0 }) => sum + dead, 0)
    const die = async (count: number) => {
      const lines = Array.from({ length: count }, (_, index) => `message ${index}`)
      assert.equal((await run(['send', '-'], { env, input: lines.join('\n') })).code, 0)
      await system.until('all are dead', async () => (await deadCount()) === count)
    }
    await die(DEAD_COUNT)
    writeFileSync(mended, '')
    const whileRestarting = async (...args: string[]) => {
      const changing = begin(['dead', ...args], { env })
      const restart = await run(['restart'], { env })
      assert.equal(restart.code, 0, restart.stderr)
      const { code, stdout, stderr } = await changing.ended
      assert.equal(code, 0, stderr)
      assert.equal((await run(['dead', 'list'], { env })).stdout, '')
      // The answer of a page may be lost while its facade or a messages actor ends: then it is the least.
      const [, least, count] = /^(?:Deleted )?(at least )?(\d+) /i.exec(stdout)!
      return { isLeast: least !== undefined, count: Number(count) }
    }
    const none = await run(['dead', 'purge', '--all', '--yes', '--reason', 'Its worker died'], { env })
    assert.deepEqual([none.stdout, none.stderr], ['', 'There are no such dead letters\n'])
    const replayed = await whileRestarting('replay', '--all', '--reason', 'The handler failed')
    assert.ok(replayed.isLeast ? replayed.count <= DEAD_COUNT : replayed.count === DEAD_COUNT)
    await system.until('each that was replayed is delivered', async () => {
      const { stores } = await system.lists()
      return [...stores.values()].reduce((sum, items) => sum + items.length, 0) === DEAD_COUNT
    })
    const ids = readFileSync(handled, 'utf8').trimEnd().split('\n')
    assert.deepEqual([ids.length, new Set(ids).size], [DEAD_COUNT, DEAD_COUNT])

    rmSync(mended)
    await die(300)
    const purged = await whileRestarting('purge', '--all', '--yes')
    assert.ok(purged.isLeast ? purged.count <= 300 : purged.count === 300)
    assert.equal(await deadCount(), 0)
  })

  test('Kubernetes service variables are ignored and named; a typo is refused', async (context) => {
    const system = await System.start(context, ['--messages', '1', '--logging', '1'], { env: SERVICE })
    const lines = system.output.split('\n').filter((line) => line.includes('Kubernetes service variables'))
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).variables),
      [Object.keys(SERVICE)],
    )
    const env = { ...SERVICE, MAILROOM_URL: system.url }
    const { code, stdout, stderr } = await run(['send', 'hello'], { env })
    assert.deepEqual(
      [code, stderr],
      [0, `mailroom: Ignored Kubernetes service variables: ${Object.keys(SERVICE).join(', ')}\n`],
    )
    assert.match(stdout, /^[0-9A-Z]{26}\n$/)
    for (const args of [['send', 'hello'], ['start']]) {
      const typo = await run(args, { env: { ...env, MAILROOM_SERVICE_HSOT: '10.96.0.12' } })
      assert.equal(typo.code, 78)
      assert.match(
        typo.stderr,
        /^mailroom: Configuration is invalid:\n {2}- `MAILROOM_SERVICE_HSOT` is not .*\n$/,
      )
    }
  })

  test('operations right after each other: each is done, or refused with MR_DRAINING and Retry-After; commands go on', async (context) => {
    const system = await System.start(context, ['--log-level', 'warn'])
    const env = { MAILROOM_URL: system.url }
    const before = new Map((await system.actors()).map(({ name, restarts }) => [name, restarts]))
    const posts = { facade: 0, messages: 0 }
    const post = async (role: 'facade' | 'messages') => {
      const response = await fetch(`${system.url}/actors/${role}/restart`, {
        method: 'POST',
        headers: { connection: 'close' },
      })
      const body = (await response.json()) as { code?: string }
      if (response.ok) {
        posts[role]++
      } else {
        assert.deepEqual([response.status, body.code], [503, 'MR_DRAINING'])
        assert.match(response.headers.get('retry-after')!, /^\d+$/)
      }
    }
    const commands = { facade: 0, messages: 0 }
    const command = async (role: 'facade' | 'messages') => {
      const { code, stdout, stderr } = await run(['restart', role], { env })
      assert.equal(code, 0, stderr)
      assert.match(stdout, /^ACTOR /)
      assert.doesNotMatch(stderr, /is Mailroom running/)
      commands[role]++
    }
    const times = async (count: number, work: () => Promise<void>) => {
      for (let number = 0; number < count; number++) await work()
    }
    await Promise.all([
      times(3, () => post('facade')),
      times(2, () => command('facade')),
      command('messages'),
      post('messages'),
    ])
    await system.until('all are ready', async () =>
      (await system.actors()).every(({ state }) => state === 'ready'),
    )
    for (const { name, role, restarts } of await system.actors()) {
      if (role === 'logging') continue
      assert.equal(restarts, before.get(name)! + posts[role] + commands[role], name)
    }
  })
})
