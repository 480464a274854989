/** A primary over `fixture-worker.ts`: the supervisor as a process of its own, as cluster wants it. */

import { createNode } from '../../src/nodes/node.ts'
import { systemClock as clock, systemRandom as random } from '../../src/runtime/clock.ts'
import { ClusterMemory, NOWHERE } from '../../src/runtime/cluster/cluster-memory.ts'
import { toWire } from '../../src/runtime/errors.ts'
import { exit, onEndSignal } from '../../src/runtime/lifecycle.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import { TimeKeeper, thisMachine } from '../../src/runtime/node-time.ts'
import type { NodeConfig } from '../../src/settings/config.ts'

const config = {
  token: null,
  readToken: null,
  forward: null,
  handler: null,
  ...JSON.parse(process.argv[2]!),
} as NodeConfig
const logger = createLogger('silent', {})
const { supervisor, join, leave } = createNode({
  ...{ config, node: config.node, version: 'test', secret: 'secret', clock, random },
  exec: new URL('fixture-worker.ts', import.meta.url).pathname,
  args: [],
  logger,
  timeKeeper: new TimeKeeper({
    ...{ machine: thisMachine(), stored: undefined, newest: undefined, retentionMs: 0, logger },
    store: () => true,
  }),
  memory: new ClusterMemory({}, NOWHERE, logger),
  onChange: () => {},
})
onEndSignal(clock, {
  first: () =>
    void supervisor
      .stop()
      .then(leave)
      .then(() => exit(0)),
  atOnce: () => supervisor.kill(),
})
try {
  await join()
  await supervisor.start()
  process.send?.({ ready: true })
} catch (error) {
  process.send?.({ error: toWire(error) })
  supervisor.kill()
}
