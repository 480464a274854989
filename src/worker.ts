/**
 * What a worker process runs: how an actor of each role is put together. The runtime boots one of them. Each role loads
 * only what it uses, which saves start time and memory.
 */

import type { Runner } from './actors/messages/runner.ts'
import type { PublicServer } from './http/server.ts'
import { systemClock } from './runtime/clock.ts'
import type { ActorContext, BootedActor, Catalog } from './runtime/cluster/actor-context.ts'
import {
  actorNumber,
  isHeldElsewhere,
  journalsOf,
  reportsOf,
  surplusOf,
} from './runtime/cluster/directory.ts'
import { bootWorker } from './runtime/cluster/worker-boot.ts'
import { BALANCE_MS, CLUSTER_WAIT_CHECK_MS, CLUSTER_WAIT_MS, DRAIN_NOTICE_MS } from './runtime/timings.ts'
import { isJournaled, type NodeConfig } from './settings/config.ts'
import type { JournaledBackend } from './storage/journal.ts'
import { type BackendOptions, openBackend } from './storage/open.ts'
import type { LaneBatch } from './storage/ports.ts'

type Context = ActorContext<NodeConfig>

const catalog: Catalog<NodeConfig> = { facade: bootFacade, logging: bootLogging, messages: bootMessages }

async function bootFacade(context: Context): Promise<BootedActor> {
  const [{ FacadeActor }, { Waker }, { HttpPeers }, { servePublic }] = await Promise.all([
    import('./actors/facade/facade.ts'),
    import('./actors/facade/waker.ts'),
    import('./http/internal/client.ts'),
    import('./http/server.ts'),
  ])
  const peers = new HttpPeers(context)
  const waker = new Waker(context, peers, context.config.lanes)
  const backend = await backendOf(context, 'queue', {
    depths: () => waker.depths(),
    wakeRemote: (lane) => waker.wake(lane),
    journals: () => journalsOf(context.directory),
  })
  const actor = new FacadeActor(context, backend, peers)
  await backendReached(context, backend)
  const server = await servePublic({ facade: actor, ...context, wallClock: systemClock })
  balanceConnections(context, server)
  return {
    address: null,
    status: () => ({ ...actor.status(), connections: server.connectionCount() }),
    adopt: (connection) => server.adopt(connection),
    async drain(replaced) {
      actor.announceDrain()
      if (!replaced) await context.clock.sleep(DRAIN_NOTICE_MS)
      await server.stopListening(replaced)
      await actor.drain()
      await Promise.all([peers.close(), backend.close()])
    },
  }
}

/** Passes connections on, so that each facade of this node has its share. The kernel alone gives most to a few. */
function balanceConnections({ clock, name, node, directory, changed }: Context, server: PublicServer): void {
  let reportedCount = 0
  clock.every(BALANCE_MS, () => {
    const own = server.connectionCount()
    if (own !== reportedCount) changed()
    reportedCount = own
    const others = directory
      .actors()
      .filter((actor) => actor.role === 'facade' && actor.node === node && actor.name !== name)
      .filter(({ state }) => state === 'ready')
    server.passOn(
      surplusOf(
        own,
        others.map(({ connections = 0 }) => connections),
      ),
    )
  })
}

async function bootLogging(context: Context, predecessorEnded: () => Promise<void>): Promise<BootedActor> {
  const [{ LoggingActor }, { methodsOfLogging }, { serveInternal }] = await Promise.all([
    import('./actors/logging/logging.ts'),
    import('./http/internal/calls.ts'),
    import('./http/internal/server.ts'),
  ])
  await predecessorEnded()
  const backend = await backendOf(context, 'log')
  const actor = new LoggingActor(context, backend)
  await backendReached(context, backend)
  const server = await serveInternal({ ...context, methods: methodsOfLogging(actor) })
  return {
    address: server.address,
    status: () => ({ ...actor.status(), ...healthOf(backend) }),
    async drain() {
      await server.close()
      await actor.drain()
      await backend.close()
    },
  }
}

async function bootMessages(context: Context, predecessorEnded: () => Promise<void>): Promise<BootedActor> {
  const [{ MessagesActor }, { methodsOfMessages }, { serveInternal }] = await Promise.all([
    import('./actors/messages/messages.ts'),
    import('./http/internal/calls.ts'),
    import('./http/internal/server.ts'),
  ])
  const runner = await startRunner(context)
  const repairs = context.config.backend === 'hazelcast' ? await repairsOf(context) : undefined
  await predecessorEnded()
  const backend = await backendOf(context, 'queue', repairs)
  const { config } = context
  const { retentionMs, deadRetentionMs } = config
  const { refill } = backend
  const refilling = refill && repairs && { refill, peers: repairs.peers, logging: repairs.logging }
  const options = { runner, retentionMs, deadRetentionMs, policy: config, refilling }
  const actor = new MessagesActor(context, backend.queue, options)
  const server = await serveInternal({ ...context, methods: methodsOfMessages(actor) })
  await actor.start()
  return {
    address: server.address,
    status: () => {
      const status = actor.status()
      const health = healthOf(backend)
      return { ...status, ...health, missing: [...status.missing, ...health.missing] }
    },
    async drain() {
      await actor.drain()
      await server.close()
      await Promise.all([repairs?.peers.close(), backend.close()])
    },
  }
}

/** Appends batches to the log once more, by the logging actors. */
async function repairsOf(context: Context) {
  const [{ LoggingPool }, { HttpPeers }] = await Promise.all([
    import('./actors/facade/logging-pool.ts'),
    import('./http/internal/client.ts'),
  ])
  const peers = new HttpPeers(context)
  const logging = new LoggingPool(context, peers)
  return { repair: (batch: LaneBatch) => logging.append(batch), peers, logging }
}

function healthOf(backend: JournaledBackend) {
  return {
    ...{ missing: backend.missing(), damaged: backend.damaged(), clusters: backend.reports() },
    ...(backend.journal && { journal: backend.journal() }),
  }
}

/** Null without `--handler` and `--forward`. @throws {MailroomError} `MR_CONFIG_INVALID`: the handler does not load. */
async function startRunner(context: Context): Promise<Runner | null> {
  const { clock, logger } = context
  const { forward, handler, handlerTimeoutMs: timeoutMs, handlerConcurrency: concurrency } = context.config
  if (forward !== null) {
    const { ForwardRunner } = await import('./actors/messages/forward.ts')
    const { forwardSecret: secret } = context.config
    return new ForwardRunner({ url: forward, secret, timeoutMs, clock, wallClock: systemClock, logger })
  }
  if (handler === null) return null
  const { forkHandler } = await import('./actors/messages/handler-child.ts')
  const handlers = await import('./actors/messages/handler-runner.ts')
  const onChange = () => context.changed()
  const spawn = forkHandler(handler, { clock, logger })
  const runner = new handlers.HandlerRunner({ spawn, clock, logger, timeoutMs, concurrency, onChange })
  await runner.start()
  return runner
}

async function backendOf(
  context: Context,
  store: BackendOptions['store'],
  hooks: Pick<BackendOptions, 'depths' | 'wakeRemote' | 'repair' | 'journals'> = {},
): Promise<JournaledBackend> {
  const { name, role, node, config, clock, random, logger, known, directory, figures } = context
  return openBackend({
    ...{
      backend: config.backend,
      data: config.data,
      dataIdentity: config.dataIdentity,
      laneCount: config.lanes,
      retentionMs: config.retentionMs,
      keyRetentionMs: config.keyRetentionMs,
      retryMaxMs: config.retryMaxMs,
      maxMessageBytes: config.maxMessageBytes,
    },
    ...{ hazelcastLogging: config.hazelcastLogging, hazelcastQueue: config.hazelcastQueue },
    ...{ store, clock, random, logger, number: actorNumber(name), ...hooks },
    owner: name.includes('@') ? name : `${name}@${node}`,
    known,
    remember: (cluster) => context.remember(cluster),
    reports: () => reportsOf(context.directory),
    onBroken: (error) => context.fail(error),
    meter: {
      logged(tookMs, messageCount) {
        figures.observe('mailroom_log_commit_duration_seconds', tookMs / 1000)
        figures.observe('mailroom_log_batch_messages', messageCount)
      },
      buried: (count) => figures.count('mailroom_dead_total', {}, count),
    },
    writerCount: () => directory.actors().filter((actor) => actor.role === role).length,
    isElsewhere: isHeldElsewhere(context),
    journal: role !== 'facade' && isJournaled(config),
  })
}

/** Waits for the clusters, up to `CLUSTER_WAIT_MS`: an actor that replaces another must not refuse what that one accepted. */
async function backendReached({ clock, directory, role }: Context, backend: JournaledBackend): Promise<void> {
  // Nothing is replaced when a node starts. It is up at once and says what is missing.
  if (!directory.actors().some((actor) => actor.role === role && actor.state === 'ready')) return
  const endAt = clock.monotonic() + CLUSTER_WAIT_MS
  while (backend.missing().length > 0 && clock.monotonic() < endAt) await clock.sleep(CLUSTER_WAIT_CHECK_MS)
}

bootWorker(catalog)
