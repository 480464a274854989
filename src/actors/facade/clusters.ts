/** How both Hazelcast clusters are: the queue's as this facade sees it, the log's as a logging actor sees it. */
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import type { Backend, ClusterState } from '../../storage/ports.ts'
import type { LoggingPool } from './logging-pool.ts'

/** As `Facade.clusters`. A log's cluster that nobody can ask about is not safe. */
export async function clustersOf(
  { cluster }: Pick<Backend, 'cluster'>,
  logging: Pick<LoggingPool, 'cluster'>,
): Promise<ClusterState[]> {
  if (cluster === undefined) {
    throw new MailroomError('MR_NOT_FOUND', {
      what: 'cluster: this node keeps messages in its data directory',
    })
  }
  const ofLog = logging.cluster().catch((error: unknown): ClusterState => {
    if (!isMailroomError(error)) throw error
    return {
      ...{ store: 'log', name: '', safe: false, problems: [error.message], warnings: [] },
      ...{ members: [], heldBytes: null, limitBytes: null },
    }
  })
  const clusters = await Promise.all([ofLog, cluster()])
  return clusters.filter((state) => state !== null)
}
