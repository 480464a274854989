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
    args: ['--facade', '2', '--log-level', 'debug'],
  })
  const ofMembers = [logging, queue].flatMap((cluster) => [killOf(cluster), freezeOf(cluster)])
  return { system, faults: [...FAULTS, ...ofMembers] }
}

function killOf(cluster: Cluster): Fault {
  return memberFault(cluster, 'SIGKILL', async (member, dice) => {
    await member.kill()
    await sleep(2000 + dice() * 4000)
    await member.start()
  })
}

function freezeOf(cluster: Cluster): Fault {
  return memberFault(cluster, 'SIGSTOP', async (member, dice) => {
    await member.freeze()
    // Short enough to be overlooked, or long enough to be expelled.
    await sleep(dice() < 0.5 ? 1000 + dice() * 6000 : EXPELLED_MS + dice() * 4000)
    member.thaw()
  })
}

/** One member may be away at a time: it ends when all have everything again. */
function memberFault(
  cluster: Cluster,
  signal: string,
  hurt: (member: Member, dice: Dice) => Promise<void>,
): Fault {
  const { name, members } = cluster
  return {
    name: `${signal} of a member of the ${name} cluster`,
    silent: false,
    at: 'member',
    async strike(_, dice) {
      const since = performance.now()
      await hurt(members[Math.floor(dice() * members.length)]!, dice)
      await cluster.whole()
      return since
    },
  }
}
