/** A process that starts a cluster of one member, prints its address, and waits to be killed. */
import { startCluster } from '../../tools/hazelcast/cluster.ts'

const { addresses } = await startCluster({ name: 'orphans', ports: 1 })
process.stdout.write(`${addresses}\n`)
