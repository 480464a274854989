/** With a journal, whole clusters may stop together with all of Mailroom: nothing acknowledged is lost, nothing done is done again. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { diceOf } from '../nemesis/dice.ts'
import { wholeStops } from '../nemesis/whole-stops.ts'
import { flagsOf } from '../support/hazelcast-system.ts'
import { clusterFor, onMembers } from '../support/members.ts'
import type { Lists } from '../support/running-system.ts'
import { fill, readOnlyDisk } from '../support/small-disk.ts'
import { System } from '../support/system.ts'

const COUNT = 300
const SEED = 14
const HANDLER = new URL('../support/ledger-handler.ts', import.meta.url).pathname

interface Found {
  state: string
  attempts: number
  deliveredAt: string | null
}

interface Ready {
  status: string
  restoring?: string[]
}

onMembers(() => {
  test('two nodes under load, each with a disk of its own: everything is killed at once, twice; nothing is lost, in two lists, torn, or runs again', async (context) => {
    const say = (line: string) => context.diagnostic(line)
    await wholeStops(context, { times: 2, members: 1, dice: diceOf(SEED), say })
  })

  test('everything is killed at once and started again: the log is whole, what was delivered, dead or purged is as it was and did not run again, the rest is delivered', async (context) => {
    const { system, logging, queue, runs, open } = await journaled(context)
    const send = (texts: string[]) =>
      system.send<{ id: string }[]>(
        'POST',
        '/messages',
        texts.map((text) => ({ text })),
      )
    const done = [
      ...(await send(texts(COUNT / 2, 'in one batch'))),
      ...(await Promise.all(
        texts(COUNT / 2, 'alone').map((text) => system.send<{ id: string }>('POST', '/messages', { text })),
      )),
    ]
    const keyed = await postKeyed(system)
    done.push(keyed)
    const bad = await send(texts(6, 'bad'))
    const isDead = async () => (await system.get<{ items: unknown[] }>('/dead')).items.length === bad.length
    await system.until('the bad ones are dead', isDead)
    const later = await send(texts(40, 'later'))
    await system.until('the good ones are delivered', async () => runs().size >= COUNT + 1 + bad.length)
    const [purged, ...dead] = bad
    await system.send('DELETE', `/dead/${purged!.id}`)
    await system.until('all of it is in the lists', async () => {
      const states = await statesOf(system, done)
      return states.every(({ state }) => state === 'delivered')
    })
    const before = { done: await statesOf(system, done), dead: await system.get('/dead'), runs: runs() }

    system.kill()
    await Promise.all([logging, queue].flatMap(({ members }) => members.map((member) => member.kill())))
    await system.exited
    await system.workersEnded()
    await Promise.all([logging, queue].flatMap(({ members }) => members.map((member) => member.start())))
    await system.begin()
    const fresh = await system.send<{ id: string }>('POST', '/messages', { text: 'after' })
    await system.until('all is put back', async () => {
      const { restoring = [] } = await system.get<Ready>('/readyz')
      const lists = await system.get<Lists>('/messages')
      return restoring.length === 0 && lists.partial.length === 0
    })
    const all = [...done, ...bad, ...later, fresh].map(({ id }) => id).sort()
    const { logged } = await system.get<Lists>('/messages')
    assert.deepEqual(
      logged.map(({ id }) => id),
      all,
    )
    assert.deepEqual(await statesOf(system, done), before.done, 'their times and attempts, too')
    assert.deepEqual(await system.get('/dead'), before.dead)
    assert.equal((await system.get<Found>(`/messages/${purged!.id}`)).state, 'dead')
    assert.equal(dead.length, bad.length - 1)

    assert.equal((await postKeyed(system)).id, keyed.id, 'a repeat is one')
    open()
    await system.until('the rest is delivered', async () => {
      const states = await statesOf(system, [...later, fresh])
      return states.every(({ state }) => state === 'delivered')
    })
    const after = runs()
    for (const [text, count] of before.runs) assert.equal(after.get(text), count, `${text} ran again`)
    for (const text of [...texts(40, 'later'), 'after']) assert.equal(after.get(text), 1, text)
    const { stores } = await system.lists()
    const delivered = [...stores.values()].flat().map(({ id }) => id)
    assert.deepEqual(
      delivered.sort(),
      [...done, ...later, fresh].map(({ id }) => id).sort(),
      'each in one list, once',
    )
  })
})

onMembers(() => {
  test('the disk of the journals is full, or read-only, or they are removed: posts are refused with outcome none and the reason, reads go on', async (context) => {
    const disk = readOnlyDisk(context, 80)
    if (disk === undefined) return
    const data = join(disk.path, 'data')
    const [logging, queue] = await Promise.all([
      clusterFor(context, 'logging', 1),
      clusterFor(context, 'queue', 1),
    ])
    const system = await System.start(context, [...flagsOf(logging, queue), '--messages', '1'], { data })
    const pids = async () => (await system.actors()).map(({ pid }) => pid)
    const before = await pids()
    const first = await system.send<{ id: string }>('POST', '/messages', { text: 'before' })
    const post = async () => {
      const body = JSON.stringify({ text: 'a post' })
      const headers = { 'content-type': 'application/json' }
      const response = await fetch(`${system.url}/messages`, { method: 'POST', body, headers })
      return { status: response.status, ...((await response.json()) as { outcome?: string }) }
    }
    const untilRefused = async (why: RegExp) => {
      await system.until(`/readyz says ${why}`, async () => {
        const response = await fetch(`${system.url}/readyz`)
        return response.status === 503 && why.test(await response.text())
      })
      const { status, outcome } = await post()
      assert.deepEqual([status, outcome], [503, 'none'])
      const { logged } = await system.get<Lists>('/messages')
      assert.ok(logged.some(({ id }) => id === first.id))
    }
    const foreign = join(disk.path, 'foreign')
    fill(foreign)
    await untilRefused(/the journal cannot be written: the disk is full/)
    rmSync(foreign)
    await system.until('there is room: posts are taken', async () => (await post()).status === 201)
    renameSync(join(data, 'journal'), join(data, 'elsewhere'))
    await untilRefused(/the journal cannot be written: .* was removed while Mailroom runs/)
    renameSync(join(data, 'elsewhere'), join(data, 'journal'))
    await system.until('it is back: posts are taken', async () => (await post()).status === 201)
    assert.deepEqual(await pids(), before, 'nobody exited')
    disk.goReadOnly()
    // The first write finds out; the cluster may have that message.
    await system.until('a post is refused', async () => (await post()).status === 503)
    await untilRefused(/the journal cannot be written: the file system is read-only/)
    // A messages actor whose last records cannot be synced is replaced.
    await system.until('all actors are ready', async () =>
      (await system.actors()).every(({ state }) => state === 'ready'),
    )
    assert.equal(system.primary.exitCode, null)
  })
})

const texts = (count: number, word: string) => Array.from({ length: count }, (_, index) => `${word} ${index}`)

/** The same post, each time. */
async function postKeyed(system: System): Promise<{ id: string }> {
  const response = await fetch(`${system.url}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': 'the-key' },
    body: JSON.stringify({ text: 'with a key' }),
  })
  assert.ok(response.ok, `${response.status}`)
  return (await response.json()) as { id: string }
}

async function statesOf(system: System, messages: readonly { id: string }[]): Promise<Found[]> {
  return Promise.all(
    messages.map(async ({ id }) => {
      const { state, attempts, deliveredAt } = await system.get<Found>(`/messages/${id}`)
      return { state, attempts, deliveredAt }
    }),
  )
}

/** Two clusters of one member each, and a node with a journal on them, whose handler counts its runs. */
async function journaled(context: TestContext) {
  const [logging, queue] = await Promise.all([
    clusterFor(context, 'logging', 1),
    clusterFor(context, 'queue', 1),
  ])
  const place = mkdtempSync(join(tmpdir(), 'ledger-'))
  context.after(() => rmSync(place, { recursive: true }))
  const [ledger, gate] = [join(place, 'ledger'), join(place, 'gate')]
  const system = await System.start(
    context,
    [
      ...flagsOf(logging, queue),
      '--handler',
      HANDLER,
      '--attempts',
      '2',
      '--retry-min',
      '100ms',
      '--handler-timeout',
      '10m',
    ],
    { env: { LEDGER: ledger, GATE: gate } },
  )
  /** Text -> how often its handler ran. */
  const runs = (): Map<string, number> => {
    const counts = new Map<string, number>()
    if (!existsSync(ledger)) return counts
    for (const text of readFileSync(ledger, 'utf8').trim().split('\n'))
      counts.set(text, (counts.get(text) ?? 0) + 1)
    return counts
  }
  return { system, logging, queue, runs, open: () => writeFileSync(gate, '') }
}
