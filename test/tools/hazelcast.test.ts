import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client, Predicates } from 'hazelcast-client'
import { freePort } from '../../tools/free-port.ts'
import { memberProgram } from '../../tools/hazelcast/jar.ts'
import { clusterFor, onMembers } from '../support/members.ts'

test('without Java, with an old Java and without Maven the error names what is missing', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'no-java-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const place = { env: { PATH: folder }, cache: folder }
  const attempt = () => memberProgram(() => {}, place)
  assert.throws(attempt, { message: /^no Java 17 or newer here/ })
  const java = (version: string) =>
    writeFileSync(join(folder, 'java'), `#!/bin/sh\necho 'openjdk version "${version}" 2020' >&2\n`, {
      mode: 0o755,
    })
  java('11.0.2')
  assert.throws(attempt, { message: 'Java 17 or newer is needed, java is 11' })
  java('21')
  assert.throws(attempt, { message: /^no Maven \(mvn\) here/ })
})

onMembers(() => {
  test('entries of three members survive one SIGKILL, and the member comes back on its port', async (context) => {
    const cluster = await clusterFor(context, 'logging', 3)
    const client = await clientOf(context, cluster.name, cluster.addresses)
    const log = await client.getMap<string, string>('mailroom.log')
    const keys = Array.from({ length: 200 }, (_, index) => `key-${String(index).padStart(3, '0')}`)
    for (const key of keys) await log.set(key, `text of ${key}`)

    await cluster.members[1]!.kill()
    await cluster.whole()
    assert.deepEqual([...(await log.keySet())].sort(), keys)
    await cluster.members[1]!.start()
    await cluster.whole()
    assert.equal(await log.size(), keys.length)
    const window = await log.keySetWithPredicate(Predicates.between('__key', 'key-010', 'key-019'))
    assert.equal([...window].length, 10)
  })

  test('one member left of three refuses reads and writes until a second one is back', async (context) => {
    const cluster = await clusterFor(context, 'queue', 3)
    const client = await clientOf(context, cluster.name, cluster.addresses)
    const pending = await client.getMap<string, string>('mailroom.pending')
    const mail = await client.getQueue<string>('mailroom.mail-000')
    await pending.set('a', 'text')
    assert.equal(await mail.offer('a'), true)

    await cluster.members[1]!.stop()
    await cluster.whole()
    await cluster.members[2]!.stop()
    await cluster.whole()
    for (const call of [
      () => pending.set('b', 'text'),
      () => pending.get('a'),
      () => mail.offer('b'),
      () => mail.poll(),
    ]) {
      await assert.rejects(call, /[Ss]plit brain protection exception|SplitBrainProtectionException/)
    }

    await cluster.members[2]!.start()
    await cluster.whole()
    assert.equal(await pending.get('a'), 'text')
    assert.equal(await mail.poll(), 'a')
  })

  test('a frozen member answers no call until it continues', async (context) => {
    const cluster = await clusterFor(context, 'logging', 1)
    const [member] = cluster.members
    await member!.freeze()
    const late = Symbol('late')
    const seen = cluster.whole()
    assert.equal(await Promise.race([seen, sleep(1500, late)]), late)
    member!.thaw()
    await seen
  })

  test('members end with the process that started them, however it ends', async (context) => {
    const child = spawn(process.execPath, [pathOf('../support/members-child.ts')])
    context.after(() => child.kill('SIGKILL'))
    const port = Number((await firstLine(child)).split(':')[1])
    assert.ok(await isOpen(port))
    child.kill('SIGKILL')
    while (await isOpen(port)) await sleep(20)
  })

  test('npm run hazelcast starts both clusters and ends them at Ctrl-C with exit code 0', async (context) => {
    const ports = [await freePort(), await freePort()]
    const run = spawn(process.execPath, [pathOf('../../tools/hazelcast/run.ts'), ...ports.map(String)])
    context.after(() => run.kill('SIGKILL'))
    let output = ''
    run.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    while (!output.includes('Ctrl-C')) await once(run.stdout, 'data')
    assert.match(output, /npm start -- --backend hazelcast/)
    assert.deepEqual(await Promise.all(ports.map(isOpen)), [true, true])
    run.kill('SIGINT')
    assert.deepEqual(await once(run, 'exit'), [0, null])
    assert.deepEqual(await Promise.all(ports.map(isOpen)), [false, false])
  })
})

async function clientOf(
  context: TestContext,
  clusterName: string,
  addresses: readonly string[],
): Promise<Awaited<ReturnType<typeof Client.newHazelcastClient>>> {
  const client = await Client.newHazelcastClient({
    clusterName,
    network: { clusterMembers: [...addresses] },
    metrics: { enabled: false },
    properties: { 'hazelcast.logging.level': 'OFF' },
  })
  context.after(() => client.shutdown())
  return client
}

async function firstLine(child: ChildProcess): Promise<string> {
  const [line] = (await once(child.stdout!, 'data')) as [Buffer]
  return line.toString()
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const open = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  return open
}

function pathOf(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url))
}
