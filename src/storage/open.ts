/** Which backend a worker opens, and what of it its actor needs. */

import { actorNumber, isHeldElsewhere } from '../runtime/cluster/directory.ts'
import type { World } from '../runtime/cluster/world.ts'
import { openEmbedded } from './embedded/open.ts'
import { HazelcastCluster } from './hazelcast/client.ts'
import { openHazelcast } from './hazelcast/open.ts'
import type { LaneReport } from './lane-choice.ts'
import type { Backend, LaneBatch } from './ports.ts'

/** What an actor hands in. */
export interface Given {
  /** A facade: how busy the lanes' holders are, and how to tell one that something waits. */
  depths?: LaneReport
  wakeRemote?: (lane: number) => void
  /** A messages actor: puts a batch into the log, once more. */
  repair?: (batch: LaneBatch) => Promise<unknown>
}

/** Opens the backend of `--backend` for the actor of this worker. */
export function openBackend(world: World, given: Given = {}): Backend {
  const { config, clock, random, logger, role, name } = world
  const { lanes: laneCount, retentionMs, data } = config
  const common = { laneCount, retentionMs, clock, random, logger, ...given }
  if (config.backend === 'embedded') {
    const writing = { writer: actorNumber(name), onBroken: (error: unknown) => world.fail(error) }
    return openEmbedded({ ...common, data, ...(role === 'logging' && writing) })
  }
  const owner = name.includes('@') ? name : `${name}@${world.node}`
  const store = role === 'logging' ? 'log' : 'queue'
  const address = role === 'logging' ? config.hazelcastLogging : config.hazelcastQueue
  const cluster = new HazelcastCluster({ ...address, store, instanceName: owner, clock, logger })
  return openHazelcast({ ...common, owner, [store]: cluster, isElsewhere: isHeldElsewhere(world) })
}
