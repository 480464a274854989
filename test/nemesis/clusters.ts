/**
 * The nemesis' arena for what befalls clusters: all members of one or both stop, one has no memory left, one is
 * replaced, and a node with another secret comes.
 */
import assert from 'node:assert/strict'
import { Client } from 'hazelcast-client'
import { REDRIVE_AGE_MS } from '../../src/runtime/timings.ts'
import { freePort } from '../../tools/free-port.ts'
import type { Cluster } from '../../tools/hazelcast/cluster.ts'
import type { Excused } from '../support/checker.ts'
import { run } from '../support/command.ts'
import { flagsOf, hazelcastSystem, JOURNAL_OFF } from '../support/hazelcast-system.ts'
import type { History } from '../support/history.ts'
import { System, sleep } from '../support/system.ts'
import type { Dice } from './dice.ts'
import { type Fault, pick } from './faults.ts'
import type { Arena, Ended } from './nemesis.ts'

const MEMBERS = 3
/** With a handler each message leaves its batch. */
const HANDLER = new URL('../support/handler.ts', import.meta.url).pathname
const MEBIBYTE = 'x'.repeat(2 ** 20)
/** Many more than fill the partitions of one member. */
const MOST_KEYS = 10_000
/** A node with another secret stays for so long. */
const STRANGER_MS = 3000

/** Clusters that stopped with all their members. Instants are on the clock of the acknowledgements. */
export interface Stop {
  stores: readonly ('log' | 'queue')[]
  beganAt: number
  endedAt: number
}

/**
 * What the promise does not cover. What both clusters held is gone. What only the log's held was put back by a redrive:
 * a read of the log may lack it since the stop, the end may not. What only the queue's held was put back, too.
 */
export function excusedByStops({ acknowledged, postedAt }: History, stops: readonly Stop[]): Excused {
  const loggedSince = new Map<string, number>()
  const restored = new Set<string>()
  const delivered = new Set<string>()
  for (const { stores, beganAt, endedAt } of stops) {
    if (!stores.includes('log')) continue
    for (const [id, text] of acknowledged) {
      if (postedAt.get(text)! > endedAt) continue
      loggedSince.set(id, Math.min(beganAt, loggedSince.get(id) ?? beganAt))
      if (stores.includes('queue')) delivered.add(id)
      else restored.add(id)
    }
  }
  for (const id of delivered) restored.delete(id)
  const logged = new Set(loggedSince.keys())
  return { logged, loggedSince, restored, delivered, repeated: new Set(), purged: new Set() }
}

/** A node on two clusters of three members. */
export async function clustersArena(context: Ended): Promise<Arena> {
  const [own, stranger] = [await freePort(), await freePort()]
  const peers = [own, stranger].map((port) => `127.0.0.1:${port}`).join()
  const nodeFlags = (node: string, port: number, secret: string) => [
    ...['--node', node, '--internal-port', String(port), '--peers', peers, '--secret', secret],
  ]
  const { system, logging, queue } = await hazelcastSystem(context, {
    ...{ logging: MEMBERS, queue: MEMBERS },
    args: [
      ...nodeFlags('node-1', own, 'the-secret-of-the-system'),
      ...JOURNAL_OFF,
      ...['--facade', '2', '--handler', HANDLER],
    ],
  })
  const stops: Stop[] = []
  const strangerFlags = [
    ...flagsOf(logging, queue),
    ...nodeFlags('node-2', stranger, 'another-secret-altogether'),
    ...['--facade', '0', '--logging', '1', '--messages', '1'],
  ]
  return {
    system,
    isSlow: true,
    excused: (history) => excusedByStops(history, stops),
    faults: [
      stopOf("the log's cluster", { log: logging }, stops),
      stopOf("the queue's cluster", { queue }, stops),
      stopOf('both clusters', { log: logging, queue }, stops),
      outOfMemory(queue),
      replacement([logging, queue]),
      freshMember([logging, queue]),
      anotherSecret(strangerFlags, stranger),
    ],
  }
}

/** All members end at once, and come back with nothing. The loss is told; an operator redrives, and confirms it. */
function stopOf(what: string, clusters: Partial<Record<'log' | 'queue', Cluster>>, stops: Stop[]): Fault {
  const stores = Object.keys(clusters) as ('log' | 'queue')[]
  return {
    name: `all members of ${what} stop`,
    silent: false,
    at: 'member',
    async strike(system, dice) {
      const beganAt = Date.now()
      await Promise.all(
        Object.values(clusters).flatMap(({ members }) => members.map((member) => member.kill())),
      )
      stops.push({ stores, beganAt, endedAt: Date.now() })
      await sleep(dice() * 1000)
      for (const cluster of Object.values(clusters)) await startAnew(cluster, dice)
      await system.until('the loss is told', async () => {
        const { losses } = await system.get<{ losses: { store: string }[] }>('/loss')
        return [...new Set(losses.map(({ store }) => store))].join() === stores.join()
      })
      if (stores.length === 1) await sleep(REDRIVE_AGE_MS)
      for (const command of [['redrive'], ['loss', '--confirm']]) {
        const { code, stderr } = await run([...command, '--url', system.url])
        assert.equal(code, 0, `${command}: ${stderr}`)
      }
      await system.until('no loss is told any more', async () => {
        const { losses } = await system.get<{ losses: unknown[] }>('/loss')
        return losses.length === 0
      })
      return performance.now()
    },
  }
}

/** For a while, one fresh member is alone. */
async function startAnew({ members, whole }: Cluster, dice: Dice): Promise<void> {
  const [first, ...rest] = members
  await first!.start()
  await sleep(dice() * 2000)
  await Promise.all(rest.map((member) => member.start()))
  await whole()
}

/** Another program puts so much into one member's partitions that it has no memory left. */
function outOfMemory({ name, members, addresses, whole }: Cluster): Fault {
  return {
    name: `a member of the ${name} cluster has no memory left`,
    silent: false,
    at: 'member',
    async strike(_, dice) {
      const client = await Client.newHazelcastClient({
        clusterName: name,
        network: { clusterMembers: [...addresses] },
        properties: { 'hazelcast.logging.level': 'OFF' },
      })
      try {
        const victim = pick(members, dice)
        const { uuid } = client
          .getCluster()
          .getMembers()
          .find(({ address }) => address.toString().endsWith(`:${victim.address.split(':')[1]}`))!
        const partitions = client.getPartitionService()
        const map = await client.getMap<string, string>('another program')
        const ended = victim.exited.then(() => true)
        for (let key = 0, isEnded = false; !isEnded; key++) {
          assert.ok(key < MOST_KEYS, 'the member has memory left')
          if (!partitions.getPartitionOwner(partitions.getPartitionId(String(key))).equals(uuid)) continue
          const set = map.set(String(key), MEBIBYTE).catch(() => sleep(100))
          isEnded = await Promise.race([set.then(() => false), ended])
        }
        while (
          !(await map.clear().then(
            () => true,
            () => sleep(100),
          ))
        );
        const since = performance.now()
        await victim.start()
        await whole()
        return since
      } finally {
        await client.shutdown()
      }
    },
  }
}

/** As an upgrade does it: a member hands over what it holds, and another takes its place. */
function replacement(clusters: readonly Cluster[]): Fault {
  return {
    ...{ name: 'a member is replaced', silent: false, at: 'member' },
    async strike(_, dice) {
      const cluster = pick(clusters, dice)
      const member = pick(cluster.members, dice)
      await member.stop()
      await member.start()
      await cluster.whole()
      return performance.now()
    },
  }
}

/** A member is killed, and one that knows nothing is in its place before the others have missed it. */
function freshMember(clusters: readonly Cluster[]): Fault {
  return {
    ...{ name: 'a fresh member takes the place of a killed one', silent: false, at: 'member' },
    async strike(_, dice) {
      const since = performance.now()
      const cluster = pick(clusters, dice)
      const member = pick(cluster.members, dice)
      await member.kill()
      await member.start()
      await cluster.whole()
      return since
    },
  }
}

/** A node that cannot prove itself, on the same clusters: it is named, and harms nobody. */
function anotherSecret(flags: readonly string[], port: number): Fault {
  return {
    name: 'a node with another secret',
    silent: true,
    at: 'node',
    async strike(system) {
      const ends: (() => unknown)[] = []
      const stranger = await System.spawned({ after: (end) => void ends.push(end as () => unknown) }, [
        ...flags,
      ])
      try {
        await system.until('it is named', async () => {
          const { warnings } = await system.get<{ warnings: string[] }>('/readyz')
          return warnings.some((line) => line.includes(`127.0.0.1:${port} is no peer: its secret`))
        })
        await sleep(STRANGER_MS)
        await stranger.until('it runs', async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).ok)
      } finally {
        for (const end of ends) await end()
      }
      return performance.now()
    },
  }
}
