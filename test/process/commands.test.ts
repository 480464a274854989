/** Client commands and operations on the real program while its actors restart. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { begin, run } from '../support/command.ts'
import { startRelay } from '../support/relay.ts'
import { FIVE_ATTEMPTS, System } from '../support/system.ts'

const DEAD_COUNT = 600
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
  test('600 dead letters: purge --all says how far it came, replay --all goes on while actors restart', async (context) => {
    const at = mkdtempSync(join(tmpdir(), 'mailroom-commands-'))
    context.after(() => rmSync(at, { recursive: true }))
    const [handler, mended] = [join(at, 'handler.mjs'), join(at, 'mended')]
    writeFileSync(
      handler,
      `import { existsSync } from 'node:fs'
     export default async () => { if (!existsSync(${JSON.stringify(mended)})) throw new Error('not yet') }`,
    )
    const flags = ['--handler', handler, '--handler-concurrency', '100', '--log-level', 'fatal']
    const system = await System.start(context, [...flags, ...FIVE_ATTEMPTS])
    const env = { MAILROOM_URL: system.url }
    const lines = Array.from({ length: DEAD_COUNT }, (_, index) => `message ${index}`)
    assert.equal((await run(['send', '-'], { env, input: lines.join('\n') })).code, 0)
    const deadCount = async () => (await system.actors()).reduce((sum, { dead = 0 }) => sum + dead, 0)
    await system.until('all are dead', async () => (await deadCount()) === DEAD_COUNT)
    writeFileSync(mended, '')

    const leftCount = async () => (await system.get<{ items: object[] }>('/dead?limit=1000')).items.length
    // Over a slow network, so that it is interrupted before its end.
    const slow = `http://127.0.0.1:${await startRelay(context, system.port, 20)}`
    const purge = begin(['dead', 'purge', '--all', '--yes'], { env: { MAILROOM_URL: slow } })
    while ((await leftCount()) > DEAD_COUNT - 64);
    purge.child.kill('SIGINT')
    const { signal, stdout, stderr } = await purge.ended
    assert.deepEqual([signal, stdout], ['SIGINT', ''])
    const purged = Number(
      /^Interrupted: (\d+) of 600 dead letters deleted; up to 16 more may be\n$/.exec(stderr)?.[1],
    )
    const left = Number((await run(['dead', 'list'], { env })).stdout.match(/\n/g)?.length)
    const unsaid = DEAD_COUNT - left - purged
    assert.ok(purged > 0 && left > 0 && unsaid >= 0 && unsaid <= 16, `${purged} purged, ${left} left`)

    const replay = begin(['dead', 'replay', '--all'], { env })
    const restart = await run(['restart', 'messages'], { env })
    assert.equal(restart.code, 0, restart.stderr)
    const replayed = await replay.ended
    assert.equal(replayed.code, 0, replayed.stderr)
    const again = Number(/^(\d+) messages are pending again\n$/.exec(replayed.stdout)?.[1])
    // Deletions that were on their way at the interrupt may have come after the list.
    assert.ok(again <= left && again >= left - 16 + unsaid, `${again} of ${left} replayed, ${unsaid} unsaid`)
    assert.equal((await run(['dead', 'list'], { env })).stdout, '')
    await system.until('each that was replayed is delivered', async () => {
      const { stores } = await system.lists()
      return [...stores.values()].reduce((sum, items) => sum + items.length, 0) === again
    })
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
