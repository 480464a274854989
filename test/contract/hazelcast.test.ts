/**
 * The contract on real members, one of each cluster, emptied between two tests: members with our configuration,
 * and members that somebody else has set up, with the defaults of Hazelcast.
 */
import { after, before } from 'node:test'
import { Client } from 'hazelcast-client'
import { systemClock as clock, systemRandom as random } from '../../src/runtime/clock.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import { HazelcastCluster } from '../../src/storage/hazelcast/client.ts'
import { laneBounds, mailOf, NAMES } from '../../src/storage/hazelcast/entries.ts'
import { openHazelcast } from '../../src/storage/hazelcast/open.ts'
import type { Backend } from '../../src/storage/ports.ts'
import { type Cluster, startCluster } from '../../tools/hazelcast/cluster.ts'
import { onMembers } from '../support/members.ts'
import { backendSuite, onlyLane } from './backend-suite.ts'

const DEFAULTS = new URL('../support/default-member.xml', import.meta.url).pathname

onMembers(() => {
  contractOn('hazelcast', {})
  contractOn('hazelcast with default settings', { config: DEFAULTS })
})

function contractOn(suite: string, options: { config?: string }): void {
  const laneCount = 16
  const logger = createLogger('silent', {})
  let members: Record<'log' | 'queue', Cluster>
  before(async () => {
    const [log, queue] = await Promise.all([
      startCluster({ name: 'contract-logging', ports: 1, ...options }),
      startCluster({ name: 'contract-queue', ports: 1, ...options }),
    ])
    members = { log, queue }
  })
  after(() => Promise.all(Object.values(members).map((cluster) => cluster.end())))

  backendSuite(suite, async () => {
    const opened = new Map<Backend, HazelcastCluster[]>()
    const connect = async (store: 'log' | 'queue') => {
      const { name, addresses } = members[store]
      const cluster = new HazelcastCluster({
        ...{ store, clusterName: name, members: addresses, instanceName: 'test', clock, logger },
      })
      await new Promise<void>((resolve) => cluster.onConnect(resolve))
      return cluster
    }
    const open = async (owner: string, lane?: number) => {
      const [log, queue] = await Promise.all([connect('log'), connect('queue')])
      const backend: Backend = openHazelcast({
        ...{ log, queue, owner, laneCount, clock, random, logger, retentionMs: 7 * 24 * 60 * 60 * 1000 },
        depths: onlyLane(laneCount, lane),
        repair: async (batch) => void (await backend.log.append(batch)),
      })
      opened.set(backend, [log, queue])
      return backend
    }
    return {
      logging: (number) => open(`logging-${number}`),
      messages: (number) => open(`messages-${number}`),
      facade: (lane) => open('facade-1', lane),
      async forget(lane) {
        const cluster = await connect('queue')
        for (const name of [NAMES.pending, NAMES.delivered, NAMES.dead]) {
          const map = cluster.map(name)
          for (const key of await map.keys(...laneBounds(lane))) await map.delete(key)
        }
        await cluster.queue(mailOf(lane)).drain(1000)
        await cluster.close()
      },
      async forgetLog() {
        const cluster = await connect('log')
        const map = cluster.map(NAMES.log)
        for (const key of await map.keys('0', '~')) await map.delete(key)
        await cluster.close()
      },
      // Its leases stay, as those of a process that was killed do.
      async die(backend) {
        await Promise.all(opened.get(backend)!.map((cluster) => cluster.close()))
      },
      async end() {
        await Promise.all([...opened.keys()].map((backend) => backend.close()))
        await Promise.all(Object.values(members).map(empty))
      },
    }
  })
}

/** Removes all maps and queues. */
async function empty({ name, addresses }: Cluster): Promise<void> {
  const silent = () => {}
  const client = await Client.newHazelcastClient({
    clusterName: name,
    network: { clusterMembers: [...addresses] },
    customLogger: {
      ...{ log: silent, error: silent, warn: silent, info: silent, debug: silent, trace: silent },
    },
  })
  for (const object of await client.getDistributedObjects()) await object.destroy()
  await client.shutdown()
}
