/** The nemesis' arena on real Hazelcast members: a node on two clusters of three, whose members die and freeze too. */
import type { Cluster } from '../../tools/hazelcast/cluster.ts'
import type { Member } from '../../tools/hazelcast/member.ts'
import { hazelcastSystem } from '../support/hazelcast-system.ts'
import { sleep } from '../support/system.ts'
import type { Dice } from './dice.ts'
import { FAULTS, type Fault } from './faults.ts'
import type { Arena, Ended } from './nemesis.ts'

/** With two, the one that thaws could not tell which of them the cluster is. */
const MEMBERS = 3
/** A member is expelled after 10 s, and noticed to be missing within 2 s more. */
const EXPELLED_MS = 13_000

/** A node on clusters of its own. */
export async function hazelcastArena(context: Ended): Promise<Arena> {
  const { system, logging, queue } = await hazelcastSystem(context, {
    ...{ logging: MEMBERS, queue: MEMBERS },
    args: ['--facade', '2'],
  })
  return {
    system,
    faults: [...FAULTS, memberKill(logging), memberKill(queue), memberFreeze(logging), memberFreeze(queue)],
  }
}

function memberKill(cluster: Cluster): Fault {
  return {
    name: `SIGKILL of a member of the ${cluster.name} cluster`,
    silent: false,
    at: 'member',
    async strike(_, dice) {
      const member = anyOf(cluster, dice)
      await member.kill()
      const since = performance.now()
      await sleep(2000 + dice() * 4000)
      await member.start()
      // One member may be away at a time: the next fault waits until all have everything again.
      await cluster.whole()
      return since
    },
  }
}

function memberFreeze(cluster: Cluster): Fault {
  return {
    name: `SIGSTOP of a member of the ${cluster.name} cluster`,
    silent: false,
    at: 'member',
    async strike(_, dice) {
      const member = anyOf(cluster, dice)
      const since = performance.now()
      await member.freeze()
      // Short enough to be overlooked, or long enough to be expelled.
      await sleep(dice() < 0.5 ? 1000 + dice() * 6000 : EXPELLED_MS + dice() * 4000)
      member.thaw()
      await cluster.whole()
      return since
    },
  }
}

function anyOf({ members }: Cluster, dice: Dice): Member {
  return members[Math.floor(dice() * members.length)]!
}
