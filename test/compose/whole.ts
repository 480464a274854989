/** compose.yaml as people operate it: start, scale, upgrade, restart members, crashes, stop. */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { before } from 'node:test'
import { sign } from '@octokit/webhooks-methods'
import { assertNothingWrong, check, NOTHING_WRONG } from '../support/checker.ts'
import { Compose } from '../support/compose.ts'
import { History } from '../support/history.ts'
import { Load } from '../support/load.ts'
import type { Item, Lists } from '../support/running-system.ts'

let compose: Compose
/** All that was posted, by all tests. */
const history = new History()

before(async () => {
  compose = await Compose.built('test')
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  process.once('exit', (code) => {
    if (code !== 0) process.stderr.write(compose.logs())
    compose.down()
  })
})

test('Mailroom starts before its members, says so in /readyz, and works when they are there', async () => {
  await compose.up('facade', 'logging', 'messages')
  await compose.until('/readyz names the members', async () => {
    const response = await fetch(`${compose.url}/readyz`)
    return response.status === 503 && /queue.*not connected/.test(await response.text())
  })
  await compose.up()
  await post('the first post')
})

test('ten messages: each read of the log shows all ten, the messages actors together have all ten', async () => {
  for (let number = 2; number <= 10; number++) await post(`msg${number}`)
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

test('two facades, five logging and four messages actors, and back: no post fails, new ones go to all', async (context) => {
  const [facade] = await compose.containers('facade')
  const members = await compose.members()
  const load = new Load(context, compose.url, { connections: 8, label: 'scaled', pauseMs: 5 })
  compose.set({ FACADE: '2', LOGGING: '5', MESSAGES: '4' })
  await compose.up()
  for (const [role, count] of [
    ['facade', 2],
    ['logging', 5],
    ['messages', 4],
  ] as const)
    await compose.until(`${count} ${role} actors are ready`, async () => {
      const actors = await compose.actors()
      return actors.filter((actor) => actor.role === role && actor.state === 'ready').length === count
    })
  await load.more(200)
  assert.deepEqual(
    (await compose.containers('facade')).filter(({ id }) => id === facade!.id),
    [facade],
  )
  await compose.until('each actor has had some', async () =>
    (await compose.actors()).every(({ handled, state }) => state !== 'ready' || handled > 0),
  )
  compose.set({ FACADE: '1', LOGGING: '2', MESSAGES: '1' })
  await compose.up()
  await load.more(200)
  assert.deepEqual(add(await load.stop()), [])
  assert.deepEqual(await compose.members(), members)
  await assertNothingWrong(compose, history, 60_000)
})

test('MEMBER_HEAP is refused, in the shell and in .env, with a message that says where the heap is', async () => {
  const refusal = /unset it.*java\.options.*restart-members/s
  await assert.rejects(compose.run('env', ['MEMBER_HEAP=1g', 'docker', 'compose', 'up', '--wait']), refusal)
  const copy = copyOfProject()
  writeFileSync(join(copy, '.env'), 'MEMBER_HEAP=1g\n')
  await assert.rejects(compose.run('docker', ['compose', 'up', '--wait'], { cwd: copy }), refusal)
})

test('no up recreates a member: forgotten files and variables, another directory, --build, --force-recreate', async () => {
  const members = await compose.members()
  const up = ['compose', '-p', compose.project, 'up', '--detach', '--wait']
  const ways: [string, string[], string][] = [
    ['a forgotten -f', up, '.'],
    ['--build', [...up, '--build'], '.'],
    ['another checkout', up, copyOfProject()],
    ['--force-recreate', [...up, '--force-recreate', 'facade', 'logging', 'messages'], '.'],
  ]
  for (const [way, args, cwd] of ways) {
    await compose.run('docker', args, { cwd })
    assert.deepEqual(await compose.members(), members, way)
  }
  const hashes = async (...files: string[]) => {
    const options = files.flatMap((file) => ['-f', file])
    const lines = (await compose.run('docker', ['compose', ...options, 'config', '--hash', '*'])).split('\n')
    return lines.filter((line) => line.startsWith('hz-'))
  }
  const whole = await hashes('compose.yaml')
  const small = await hashes('compose.yaml', 'compose.small.yaml')
  assert.equal(small.length, 2)
  assert.deepEqual(
    small.filter((line) => !whole.includes(line)),
    [],
  )
  await assertNothingWrong(compose, history, 60_000)
})

test('deploy/compose/upgrade replaces all containers of Mailroom, and no post fails', async (context) => {
  const idsOf = async () =>
    new Set((await compose.containers('facade', 'logging', 'messages')).map(({ id }) => id))
  const before = await idsOf()
  const members = await compose.members()
  const load = new Load(context, compose.url, { connections: 8, label: 'upgrade', pauseMs: 5 })
  await load.more(50)
  await compose.script('upgrade')
  await load.more(50)
  assert.deepEqual(add(await load.stop()), [])
  const after = await idsOf()
  assert.equal(after.size, before.size)
  assert.deepEqual(
    [...after].filter((id) => before.has(id)),
    [],
  )
  assert.deepEqual(await compose.members(), members)
  await assertNothingWrong(compose, history, 60_000)

  // It stops when the files of the project, or its secret, are forgotten.
  const running = await compose.containers('facade', 'logging', 'messages')
  await assert.rejects(compose.run('deploy/compose/upgrade', ['-p', compose.project]), /-f compose\.yaml -f /)
  compose.set({ MAILROOM_SECRET: 'another-secret-than-before' })
  await assert.rejects(compose.script('upgrade'), /MAILROOM_SECRET is not what/)
  compose.set({ MAILROOM_SECRET: '' })
  assert.deepEqual(await compose.containers('facade', 'logging', 'messages'), running)
})

test('deploy/compose/restart-members gives a member another heap, and nothing is lost', async (context) => {
  compose.giveHeap(320)
  const members = await compose.members()
  const load = new Load(context, compose.url, { connections: 8, label: 'members', pauseMs: 5 })
  await load.more(50)
  await compose.script('restart-members', 'hz-queue-2')
  await load.more(50)
  add(await load.stop())
  assert.equal((await compose.members()).filter((id) => !members.includes(id)).length, 1)
  const java = 'java -XshowSettings:vm -version 2>&1'
  assert.match(await compose.docker('exec', 'hz-queue-2', 'sh', '-c', java), /Max\. Heap Size: 320/)
  await assertNothingWrong(compose, history, 60_000)
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
  compose.down()
})

test('one member a cluster, with sources and a URL to forward to: posts and webhooks are forwarded, once; down leaves no anonymous volume', async (context) => {
  const volumes = await volumeNames()
  // Without them, compose reads no file.
  const secret = "It's a Secret to Everybody"
  Object.assign(process.env, {
    ...{ FORWARD: 'http://receiver:3000/', SOURCES: './examples/github.json', GITHUB_WEBHOOK_SECRET: secret },
  })
  const overrides = ['deploy/compose/forward.yaml', 'deploy/compose/sources.yaml']
  const small = await Compose.built('small', 'compose.small.yaml', ...overrides)
  context.after(() => small.down())
  small.set({ LOGGING: '1', MESSAGES: '1' })
  await small.up()
  const receiver = `${small.project}-receiver`
  const network = ['--network', `${small.project}_services`, '--network-alias', 'receiver']
  const program = `require('node:http').createServer((request, response) => {
    request.setEncoding('utf8').on('data', console.log)
    response.end()
  }).listen(3000)`
  const { id } = await small.send<{ id: string }>('POST', '/messages', { text: 'to be forwarded' })
  await small.run('docker', [
    'run',
    '--rm',
    '-d',
    '--name',
    receiver,
    ...network,
    '--entrypoint',
    'node',
    'mailroom',
    '-e',
    program,
  ])
  context.after(() => small.run('docker', ['rm', '--force', receiver]))
  const { state } = await small.get<{ state: string }>(`/messages/${id}?wait=30`)
  assert.equal(state, 'delivered')
  const body = '{"zen":"Keep it logically awesome."}'
  const headers = {
    ...{ 'content-type': 'application/json', 'x-github-event': 'ping', 'x-github-delivery': '72d3162e' },
    'x-hub-signature-256': await sign(secret, body),
  }
  const ids = new Set<string>()
  for (let times = 0; times < 3; times++) {
    const response = await fetch(`${small.url}/in/github`, { method: 'POST', headers, body })
    assert.equal(response.status, 200)
    ids.add(((await response.json()) as { id: string }).id)
  }
  const [webhook, ...others] = [...ids]
  assert.deepEqual(others, [])
  const found = await small.get<{ state: string; source: string }>(`/messages/${webhook}?wait=30`)
  assert.deepEqual([found.state, found.source], ['delivered', 'github'])
  assert.equal(await small.run('docker', ['logs', receiver]), `to be forwarded\n${body}\n`)
  await small.run('docker', ['rm', '--force', receiver])
  await small.docker('down', '--timeout', '2')
  const left = (await volumeNames()).filter((name) => !volumes.includes(name))
  assert.deepEqual(
    left.filter((name) => !name.startsWith(`${small.project}_`)),
    [],
  )
})

test('restart, down and up, and kill -9 of everything at once: all acknowledged is there, what was settled is as it was and did not run again, the rest is delivered', async (context) => {
  Object.assign(process.env, { HANDLERS: './test/support', HANDLER: 'ledger-handler.ts' })
  const stops = await Compose.built('stops', 'compose.small.yaml', 'deploy/compose/handler.yaml')
  context.after(() => stops.down())
  stops.set({ LOGGING: '2', MESSAGES: '2' })
  await stops.up()
  const own = new History()
  const ledgerOf = async () => {
    const lines = (await stops.docker('exec', '--no-TTY', 'messages', 'cat', '/data/ledger')).split('\n')
    return new Map([...Map.groupBy(lines, (text) => text)].map(([text, runs]) => [text, runs.length]))
  }
  const settledOf = async () => {
    const { stores } = await stops.lists()
    const { items: dead } = await stops.get<{ items: Item[] }>('/dead?limit=1000')
    return { stores, dead, texts: [...[...stores.values()].flat(), ...dead].map(({ text }) => text) }
  }
  const load = new Load(context, stops.url, { connections: 8, label: 'stops', pauseMs: 5 })
  await load.more(300)
  const { id } = await stops.send<{ id: string }>('POST', '/messages', { text: 'fatal' })
  own.attempted.add('fatal')
  own.acknowledge(id, 'fatal', Date.now())
  await stops.until('it is dead', async () => (await stops.get<Item>(`/dead/${id}`)).id === id)
  const before = { ...(await settledOf()), runs: await ledgerOf() }
  assert.deepEqual(
    before.texts.filter((text) => !before.runs.has(text)),
    [],
    'each has run',
  )
  // The last comes in the middle of filling the clusters, perhaps.
  for (const stop of [['restart', '--timeout', '15'], ['down', '--timeout', '15'], ['kill']]) {
    await load.more(200)
    await stops.docker(...stop)
    await stops.up()
  }
  await load.more(100)
  addTo(own, await load.stop())
  const isRestored = async () => {
    const { restoring = [] } = await stops.get<{ restoring?: string[] }>('/readyz')
    const { logged } = await stops.get<Lists>('/messages')
    const actors = await stops.actors()
    const isIdle = actors.every(({ state, waiting = 0 }) => state === 'ready' && waiting === 0)
    return isIdle && restoring.length === 0 && logged.length >= own.acknowledged.size
  }
  await stops.until('all is put back, and delivered', isRestored, 90_000)
  const { logged } = await stops.lists()
  const { stores, dead } = await settledOf()
  const deadIds = dead.map((letter) => letter.id)
  assert.deepEqual(check(own, { logged, stores, dead: deadIds }), NOTHING_WRONG)
  const runs = await ledgerOf()
  const again = before.texts.filter((text) => runs.get(text) !== before.runs.get(text))
  assert.deepEqual(again, [], 'settled before the stops, and ran again')
})

/** Posts one message, which must be taken. */
async function post(text: string): Promise<void> {
  history.attempted.add(text)
  const { id } = await compose.send<{ id: string }>('POST', '/messages', { text })
  history.acknowledge(id, text, Date.now())
}

/** What Compose reads, in a directory of its own. */
function copyOfProject(): string {
  const copy = mkdtempSync(join(tmpdir(), 'checkout-'))
  for (const name of ['compose.yaml', 'config', 'deploy']) cpSync(name, join(copy, name), { recursive: true })
  return copy
}

async function volumeNames(): Promise<string[]> {
  return (await compose.run('docker', ['volume', 'ls', '--quiet'])).trim().split('\n')
}

/** Adds what a load was told to all that was posted; what failed. */
function add(told: History): History['failures'] {
  return addTo(history, told)
}

function addTo(all: History, { attempted, acknowledged, failures }: History): History['failures'] {
  for (const text of attempted) all.attempted.add(text)
  for (const [id, text] of acknowledged) all.acknowledge(id, text, Date.now())
  return failures
}
