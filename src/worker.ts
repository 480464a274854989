/** What a worker process runs: the catalog of actors, handed to the runtime that boots one of them. */
import { FacadeActor } from './actors/facade/facade.ts'
import { LoggingPool } from './actors/facade/logging-pool.ts'
import { Waker } from './actors/facade/waker.ts'
import { LoggingActor } from './actors/logging/logging.ts'
import { loadHandler } from './actors/messages/handler.ts'
import { MessagesActor } from './actors/messages/messages.ts'
import { methodsOfLogging, methodsOfMessages } from './http/internal/calls.ts'
import { HttpPeers } from './http/internal/client.ts'
import { serveInternal } from './http/internal/server.ts'
import { servePublic } from './http/server.ts'
import { bootWorker } from './runtime/cluster/worker-boot.ts'
import type { Catalog, Hosted, World } from './runtime/cluster/world.ts'
import { openBackend } from './storage/open.ts'

/** A draining facade tells its clients so for this long before it stops listening. */
const GOODBYE_MS = 1000
/** A cluster that is away is not waited for longer: a node without it is up all the same, and says so. */
const REACH_MS = 1000
const REACH_LOOK_MS = 10

const catalog: Catalog = { facade: bootFacade, logging: bootLogging, messages: bootMessages }

async function bootFacade(world: World): Promise<Hosted> {
  const peers = new HttpPeers(world)
  const waker = new Waker(world, peers, world.config.lanes)
  const backend = openBackend(world, {
    depths: () => waker.depths(),
    wakeRemote: (lane) => waker.wake(lane),
  })
  const actor = new FacadeActor(world, backend, peers)
  await actor.start()
  await backendReached(world, backend)
  const server = await servePublic({ facade: actor, ...world })
  return {
    address: null,
    status: () => actor.status(),
    async drain() {
      actor.announceDrain()
      await world.clock.sleep(GOODBYE_MS)
      await server.stopListening()
      await actor.drain()
      await Promise.all([peers.close(), backend.close()])
    },
  }
}

async function bootLogging(world: World): Promise<Hosted> {
  const backend = openBackend(world)
  const actor = new LoggingActor(world, backend.log)
  await actor.start()
  await backendReached(world, backend)
  const server = await serveInternal({ ...world, methods: methodsOfLogging(actor) })
  return {
    address: server.address,
    status: () => ({ ...actor.status(), missing: backend.missing(), damaged: backend.damaged() }),
    async drain() {
      await server.close()
      await actor.drain()
      await backend.close()
    },
  }
}

async function bootMessages(world: World): Promise<Hosted> {
  const handler = world.config.handler === null ? null : await loadHandler(world.config.handler)
  const peers = new HttpPeers(world)
  const logging = new LoggingPool(world, peers)
  const backend = openBackend(world, { repair: (batch) => logging.append(batch) })
  const actor = new MessagesActor(world, backend.queue, handler)
  const server = await serveInternal({ ...world, methods: methodsOfMessages(actor) })
  await actor.start()
  return {
    address: server.address,
    status: () => ({ ...actor.status(), missing: backend.missing(), damaged: backend.damaged() }),
    async drain() {
      await actor.drain()
      await server.close()
      await Promise.all([peers.close(), backend.close()])
    },
  }
}

/** Waits a while for what the backend needs: whoever takes another's place must not refuse what that one took. */
async function backendReached(
  { clock, directory, role }: World,
  backend: { missing(): string[] },
): Promise<void> {
  // At the start of a node nobody's place is taken: it is up at once, and says what is missing.
  if (!directory.actors().some((actor) => actor.role === role && actor.state === 'ready')) return
  const endAt = clock.monotonic() + REACH_MS
  while (backend.missing().length > 0 && clock.monotonic() < endAt) await clock.sleep(REACH_LOOK_MS)
}

bootWorker(catalog)
