/** Simulated clusters with one planted difference. */
import type { Cluster, ClusterMap, ClusterQueue } from '../../src/storage/hazelcast/cluster.ts'

/** Replaces methods of one map of a cluster. */
export function withMap(
  cluster: Cluster,
  name: string,
  change: (map: ClusterMap) => Partial<ClusterMap>,
): Cluster {
  return {
    ...plain(cluster),
    map: (each) => {
      const map = cluster.map(each)
      return each === name ? { ...map, ...change(map) } : map
    },
  }
}

/** All queues of a cluster behave otherwise. */
export function withQueues(
  cluster: Cluster,
  change: (queue: ClusterQueue) => Partial<ClusterQueue>,
): Cluster {
  return {
    ...plain(cluster),
    queue: (name) => {
      const queue = cluster.queue(name)
      return { ...queue, ...change(queue) }
    },
  }
}

/** As an object of its own, to be changed. */
function plain(cluster: Cluster): Cluster {
  return {
    map: (name) => cluster.map(name),
    queue: (name) => cluster.queue(name),
    missing: () => cluster.missing(),
    onConnect: (listener) => cluster.onConnect(listener),
    memory: () => cluster.memory(),
    members: () => cluster.members(),
    close: () => cluster.close(),
  }
}
