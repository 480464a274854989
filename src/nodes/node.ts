/** Puts a node together: its supervisor, its server for other nodes, and its polls of them. */

import { randomUUID } from 'node:crypto'
import { NodeFigures } from '../runtime/cluster/node-figures.ts'
import { Supervisor, type SupervisorOptions } from '../runtime/cluster/supervisor.ts'
import { timeAt } from '../runtime/node-time.ts'
import { LEAVE_NOTICE_MS } from '../runtime/timings.ts'
import { isOneOfSeveral, type NodeConfig } from '../settings/config.ts'
import { NodeClient } from './client.ts'
import { missingOf, nodeDirectory, notRunning } from './node-directory.ts'
import { Nodes } from './nodes.ts'
import { serveNode } from './server.ts'

type NodeOptions = Omit<
  SupervisorOptions,
  'others' | 'warnings' | 'isOneOfSeveral' | 'figures' | 'otherTotals'
> & { config: NodeConfig; version: string }

/** A node that has not been started. */
export interface Node {
  supervisor: Supervisor
  /** What keeps the node from its part, human-readable; of a node with facades: what keeps posts from being taken. */
  missing(): string[]
  /** Starts the node's internal server, when it has a port, and polls the other nodes. */
  join(): Promise<void>
  /** Stops the server and the polls after the other nodes have seen that the actors have drained. */
  leave(): Promise<void>
  /** Stops the server and the polls now. */
  close(): Promise<void>
}

/** As `Outage.target` names it. */
function targetOf({ forward, handler }: Pick<NodeConfig, 'forward' | 'handler'>): string | undefined {
  if (forward === null) return handler === null ? undefined : 'the handler'
  const { origin, pathname } = new URL(forward)
  return origin + pathname
}

/** Makes a node. It has a server when it has an internal port, and polls when it has peers. */
export function createNode(options: NodeOptions): Node {
  const { config, node, secret, logger, timeKeeper } = options
  const monotonic = options.clock.monotonic
  const clock = { ...options.clock, now: () => timeAt(timeKeeper.time, monotonic()) }
  const self = { node, startId: randomUUID() }
  const network = new NodeClient({ secret, clock })
  const onChange = () => supervisor.othersChanged()
  const nodes = new Nodes({ peers: config.peers, self, network, clock, logger, onChange })
  const warnings = () => [...nodes.warnings(), ...options.memory.warnings()]
  const figures = new NodeFigures({
    ...{ node, version: options.version, clock, data: config.data },
    target: targetOf(config),
    actors: () => supervisor.actors(),
    isReady: () => missing().length === 0,
  })
  const supervisor = new Supervisor({
    ...options,
    figures,
    otherTotals: () => nodes.totals(),
    isOneOfSeveral: isOneOfSeveral(config),
    others: () => nodes.actors(),
    warnings,
  })
  let server: Awaited<ReturnType<typeof serveNode>> | undefined
  const close = async () => {
    nodes.stop()
    figures.stop()
    await Promise.all([network.close(), server?.close()])
  }
  const missing = () => {
    const actors = supervisor.actors()
    const facades = actors.filter(({ role }) => role === 'facade')
    const isTaking = facades.some((facade) => facade.state === 'ready' && facade.missing.length === 0)
    return isTaking ? [] : missingOf(facades.length > 0 ? facades : actors)
  }
  return {
    supervisor,
    missing,
    async join() {
      if (config.internalPort !== null) {
        server = await serveNode({
          ...{ host: config.internalHost, port: config.internalPort, secret, logger },
          readTokens: [config.token, config.readToken].filter((token) => token !== null),
          directory: () =>
            nodeDirectory({ ...self, now: clock.now(), figures: figures.totals() }, supervisor.actors()),
          metrics: (format) => figures.metrics(format),
          notRunning: () => notRunning(supervisor.actors()),
          missing: () => missingOf(supervisor.actors()),
          warnings,
          onRefused: (host) => nodes.refused(host),
        })
      }
      nodes.start()
      figures.start()
    },
    async leave() {
      if (isOneOfSeveral(config)) await clock.sleep(LEAVE_NOTICE_MS)
      await close()
    },
    close,
  }
}
