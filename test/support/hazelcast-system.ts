/** The real program on real Hazelcast members. */
import type { TestContext } from 'node:test'
import type { Cluster } from '../../tools/hazelcast/cluster.ts'
import { clusterFor } from './members.ts'
import { System } from './system.ts'

type ClusterPlace = Pick<Cluster, 'name' | 'addresses'>

/** Both clusters and a node on them; all end with the test. */
export interface HazelcastSystem {
  logging: Cluster
  queue: Cluster
  system: System
}

interface SystemOptions {
  logging?: number
  queue?: number
  args?: string[]
  /** MiB that a member's heap may take. */
  heaps?: { logging: number; queue: number }
}

/** Starts clusters of so many members, then a node with these flags. */
export async function hazelcastSystem(
  context: Pick<TestContext, 'after'>,
  { logging: loggingCount = 1, queue: queueCount = 1, args = [] as string[], heaps }: SystemOptions = {},
): Promise<HazelcastSystem> {
  const [logging, queue] = await Promise.all([
    clusterFor(context, 'logging', loggingCount, heaps?.logging),
    clusterFor(context, 'queue', queueCount, heaps?.queue),
  ])
  const system = await System.start(context, [...flagsOf(logging, queue), ...args])
  return { logging, queue, system }
}

/** For tests of what is lost with a cluster, and of what an operator does then. */
export const JOURNAL_OFF: readonly string[] = ['--journal', 'off']

/** The flags of a node on these clusters. */
export function flagsOf(logging: ClusterPlace, queue: ClusterPlace): string[] {
  const at = ({ name, addresses }: ClusterPlace) => `${name}@${addresses.join()}`
  return ['--backend', 'hazelcast', '--hazelcast-logging', at(logging), '--hazelcast-queue', at(queue)]
}
