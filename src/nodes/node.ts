/** A node put together: its supervisor, what it tells other nodes, and what it hears from them. */

import { randomUUID } from 'node:crypto'
import { Supervisor, type SupervisorOptions } from '../runtime/cluster/supervisor.ts'
import { LEAVE_NOTICE_MS } from '../runtime/timings.ts'
import { isOneOfSeveral, type NodeConfig } from '../settings/config.ts'
import { NodeClient } from './client.ts'
import { lackedBy, toldBy } from './node-directory.ts'
import { Nodes } from './nodes.ts'
import { serveNode } from './server.ts'

type NodeOptions = Omit<SupervisorOptions, 'others' | 'isOneOfSeveral'> & { config: NodeConfig }

/** A node, not yet started. */
export interface Node {
  supervisor: Supervisor
  /** Serves the node's internal server, where it has one, and looks for the other nodes. */
  join(): Promise<void>
  /** Closes once the others know that the actors have drained. */
  leave(): Promise<void>
  /** Ends the server and the looking now. */
  close(): Promise<void>
}

/** Makes a node; alone it only has a supervisor, and perhaps a server for its health. */
export function createNode(options: NodeOptions): Node {
  const { config, node, secret, clock, logger } = options
  const self = { node, startId: randomUUID() }
  const network = new NodeClient({ secret, clock })
  const onChange = () => supervisor.othersChanged()
  const nodes = new Nodes({ peers: config.peers, self, network, clock, logger, onChange })
  const supervisor = new Supervisor({
    ...options,
    isOneOfSeveral: isOneOfSeveral(config),
    others: () => nodes.actors(),
  })
  let server: Awaited<ReturnType<typeof serveNode>> | undefined
  const close = async () => {
    nodes.stop()
    await Promise.all([network.close(), server?.close()])
  }
  return {
    supervisor,
    async join() {
      if (config.internalPort !== null) {
        server = await serveNode({
          ...{ host: config.internalHost, port: config.internalPort, secret, logger },
          directory: () => toldBy(self, supervisor.actors()),
          missing: () => [...lackedBy(supervisor.actors()), ...nodes.problems()],
        })
      }
      nodes.start()
    },
    async leave() {
      if (isOneOfSeveral(config)) await clock.sleep(LEAVE_NOTICE_MS)
      await close()
    },
    close,
  }
}
