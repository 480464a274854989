/**
 * Everything is killed at once, under load, again and again: two nodes, each with a disk of its own, and all members of both
 * clusters. A ledger has each run of the handler. Lanes move between the nodes, so the records of one lie on both.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { freePort } from '../../tools/free-port.ts'
import { check, NOTHING_WRONG } from '../support/checker.ts'
import { flagsOf } from '../support/hazelcast-system.ts'
import type { History } from '../support/history.ts'
import { Load } from '../support/load.ts'
import { clusterFor } from '../support/members.ts'
import type { Lists } from '../support/running-system.ts'
import { System, sleep } from '../support/system.ts'
import type { Dice } from './dice.ts'
import type { Ended } from './nemesis.ts'

/** It fails what is called `bad`. */
const HANDLER = new URL('../support/ledger-handler.ts', import.meta.url).pathname
const RESTORED_WITHIN_MS = 90_000

/** One stop of everything: what was settled then, and how often its handler had run by the end of all processes. */
interface Stop {
  runs: ReadonlyMap<string, number>
  dead: readonly string[]
}

interface Options {
  times: number
  /** Of each cluster. */
  members: number
  dice: Dice
  say: (line: string) => void
}

/** @throws {AssertionError} When something was lost, is in two lists or in one only, or ran again though it was settled. */
export async function wholeStops(context: Ended, { times, members, dice, say }: Options): Promise<void> {
  const clusters = await Promise.all([
    clusterFor(context, 'logging', members),
    clusterFor(context, 'queue', members),
  ])
  const place = mkdtempSync(join(tmpdir(), 'ledger-'))
  context.after(() => rmSync(place, { recursive: true }))
  const ledger = join(place, 'ledger')
  const runs = () => countsOf(ledger)
  const ports = [await freePort(), await freePort()]
  const common = [
    ...flagsOf(...clusters),
    ...['--peers', ports.map((port) => `127.0.0.1:${port}`).join(), '--secret', 'a-secret-of-all-nodes'],
    ...['--messages', '1', '--handler', HANDLER, '--attempts', '2', '--retry-min', '100ms'],
  ]
  const begin = (index: number, counts: string[]) =>
    System.spawned(
      context,
      [...common, '--node', `node-${index}`, '--internal-port', String(ports[index]), ...counts],
      { env: { LEDGER: ledger } },
    )
  const nodes = [await begin(0, ['--logging', '2']), await begin(1, ['--facade', '0', '--logging', '1'])]
  const [front] = nodes as [System, System]
  const whole = async () => {
    await front.ready()
    await front.until('both nodes are there', async () => (await front.messagesActors()).length === 2)
  }
  await whole()

  const loads = [
    new Load(context, front.url, { connections: 8, label: 'good', pauseMs: 5 }),
    new Load(context, front.url, { connections: 1, label: 'bad', pauseMs: 100 }),
  ] as const
  const stops: Stop[] = []
  for (let time = 1; time <= times; time++) {
    await loads[0].more(300)
    await front.send('POST', '/actors/messages/restart')
    await loads[0].more(50)
    await sleep(dice() * 500)
    const settled = await settledOf(front)
    for (const node of nodes) node.kill()
    const killed = clusters.flatMap((cluster) => cluster.members.map((member) => member.kill()))
    await Promise.all([...killed, ...nodes.flatMap((node) => [node.exited, node.workersEnded()])])
    const all = runs()
    const own = settled.texts.map(
      (text) => [text, all.get(text) ?? assert.fail(`${text} never ran`)] as const,
    )
    stops.push({ runs: new Map(own), dead: settled.dead })
    const acknowledged = loads.flatMap(({ history }) => [...history.acknowledged.keys()])
    await Promise.all(clusters.map((cluster) => startAll(cluster)))
    const startedAt = Date.now()
    for (const node of nodes) node.spawn()
    await whole()
    await front.until('all is put back', () => isRestored(front, acknowledged), RESTORED_WITHIN_MS)
    const tookMs = Date.now() - startedAt
    say(
      `stop ${time}: ${acknowledged.length} acknowledged, ${own.length} settled; all put back ${tookMs} ms after the start`,
    )
  }
  await loads[0].more(100)
  const histories = await Promise.all(loads.map((load) => load.stop()))
  await front.until('nothing waits', async () =>
    (await front.actors()).every(({ state, waiting = 0 }) => state === 'ready' && waiting === 0),
  )
  const { dead } = await settledOf(front)
  const { logged, stores } = await front.lists()
  assert.deepEqual(check(joined(histories), { logged, stores, dead }), NOTHING_WRONG)
  const [one, other] = nodes.map(({ data }) => lanesIn(data))
  assert.ok(
    [...one!].some((lane) => other!.has(lane)),
    'the records of a lane lie on both nodes',
  )
  const last = runs()
  for (const [index, stop] of stops.entries()) {
    const again = [...stop.runs].filter(([text, count]) => last.get(text) !== count)
    assert.deepEqual(again, [], `settled before stop ${index + 1}, and ran again`)
    const left = stop.dead.filter((id) => !dead.includes(id))
    assert.deepEqual(left, [], `dead before stop ${index + 1}, and not any more`)
  }
}

/** Text -> how often its handler ran. */
function countsOf(ledger: string): Map<string, number> {
  const counts = new Map<string, number>()
  if (!existsSync(ledger)) return counts
  const lines = readFileSync(ledger, 'utf8').split('\n')
  for (const text of lines) if (text !== '') counts.set(text, (counts.get(text) ?? 0) + 1)
  return counts
}

/** The texts of what is delivered or dead, and the ids of the dead. Asked again while lanes are on their way. */
async function settledOf(system: System): Promise<Settled> {
  let settled: Settled | undefined
  await system.until('the stores can be read', async () => {
    settled = await readSettled(system)
    return true
  })
  return settled!
}

interface Settled {
  texts: string[]
  dead: string[]
}

async function readSettled(system: System): Promise<Settled> {
  const texts: string[] = []
  for (const name of await system.messagesActors())
    texts.push(...(await system.storeOf(name)).map(({ text }) => text))
  const dead: string[] = []
  for (let path: string | null = '/dead?limit=1000'; path !== null; ) {
    const page: { items: { id: string; text: string }[]; next: string | null } = await system.get(path)
    dead.push(...page.items.map(({ id }) => id))
    texts.push(...page.items.map(({ text }) => text))
    path = page.next
  }
  return { texts, dead }
}

/** Lanes of which a node has records. */
function lanesIn(data: string): Set<number> {
  const place = join(data, 'journal', 'lanes')
  const files = readdirSync(place).filter((name) => name.endsWith('.db'))
  const lanes = files.flatMap((name) => {
    const database = new DatabaseSync(join(place, name), { readOnly: true })
    try {
      return database.prepare('SELECT DISTINCT lane FROM batch').all()
    } finally {
      database.close()
    }
  })
  return new Set(lanes.map(({ lane }) => lane as number))
}

async function isRestored(system: System, acknowledged: readonly string[]): Promise<boolean> {
  const { restoring = [] } = await system.get<{ restoring?: string[] }>('/readyz')
  const { partial, logged } = await system.get<Lists>('/messages')
  const ids = new Set(logged.map(({ id }) => id))
  return restoring.length === 0 && partial.length === 0 && acknowledged.every((id) => ids.has(id))
}

async function startAll({ members, whole }: Awaited<ReturnType<typeof clusterFor>>): Promise<void> {
  const [first, ...rest] = members
  await first!.start()
  await Promise.all(rest.map((member) => member.start()))
  await whole()
}

/** One history of all clients. */
function joined(histories: readonly History[]): History {
  const [all, ...others] = histories as [History, ...History[]]
  for (const other of others) {
    for (const text of other.attempted) all.attempted.add(text)
    for (const [id, text] of other.acknowledged) all.acknowledge(id, text, Date.now())
  }
  return all
}
