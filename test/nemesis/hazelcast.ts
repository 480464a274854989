/** The nemesis' arena on real Hazelcast members: a node on two clusters of two, whose members die too. */
import type { Cluster } from '../../tools/hazelcast/cluster.ts'
import { hazelcastSystem } from '../support/hazelcast-system.ts'
import { sleep } from '../support/system.ts'
import { FAULTS, type Fault } from './faults.ts'
import type { Arena, Ended } from './nemesis.ts'

const MEMBERS = 2

/** A node on clusters of its own. */
export async function hazelcastArena(context: Ended): Promise<Arena> {
  const { system, logging, queue } = await hazelcastSystem(context, {
    ...{ logging: MEMBERS, queue: MEMBERS },
    args: ['--facade', '2'],
  })
  return { system, faults: [...FAULTS, memberKill(logging), memberKill(queue)] }
}

function memberKill(cluster: Cluster): Fault {
  return {
    name: `SIGKILL of a member of the ${cluster.name} cluster`,
    silent: false,
    async strike(_, dice) {
      const member = cluster.members[Math.floor(dice() * cluster.members.length)]!
      await member.kill()
      const since = performance.now()
      await sleep(2000 + dice() * 4000)
      await member.start()
      // One member of two may be away at a time: the next fault waits until both have everything again.
      await cluster.whole()
      return since
    },
  }
}
