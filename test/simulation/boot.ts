/** Boots the real actors in simulated processes: what `src/worker.ts` does, on a simulated network and backend. */

import { FacadeActor } from '../../src/actors/facade/facade.ts'
import { LoggingPool } from '../../src/actors/facade/logging-pool.ts'
import { Waker } from '../../src/actors/facade/waker.ts'
import { LoggingActor } from '../../src/actors/logging/logging.ts'
import { MessagesActor } from '../../src/actors/messages/messages.ts'
import type { Runner } from '../../src/actors/messages/runner.ts'
import type { Facade, PagedList } from '../../src/actors/protocol.ts'
import type { ApiContext } from '../../src/http/context.ts'
import { type Methods, methodsOfLogging, methodsOfMessages } from '../../src/http/internal/calls.ts'
import { eventRoutes } from '../../src/http/routes/events.ts'
import { followCursor } from '../../src/http/routes/log.ts'
import type { ActorContext, BootedActor } from '../../src/runtime/cluster/actor-context.ts'
import { DRAIN_NOTICE_MS, POST_DEADLINE_MS } from '../../src/runtime/timings.ts'
import type { NodeConfig } from '../../src/settings/config.ts'
import type { JournaledBackend } from '../../src/storage/journal.ts'
import type { Dead, Message, Queue, Range } from '../../src/storage/ports.ts'
import type { BackendModel } from './backend-model.ts'
import type { EventStreams } from './event-streams.ts'
import { type Network, SimPeers } from './network.ts'
import type { Handling } from './poison.ts'
import type { SimProcess } from './process.ts'
import type { Holder, Showing } from './showing.ts'

/** Where clients find facades: `public/<process>`. */
export const PUBLIC = 'public/'

/** What actors are booted with. */
export interface BootOptions {
  network: Network
  streams: EventStreams
  backend: BackendModel
  /** Starts the handler of a messages actor. Null: messages are only stored. */
  handler: ((world: ActorContext<NodeConfig>, process: SimProcess) => Promise<Runner>) | null
  /** Told of starts that are taken up. */
  handling: Handling
  /** Watches what messages actors show. */
  showing: Showing
  /** How a planted bug changes what messages actors answer. */
  bug?: ((methods: Methods) => Methods) | undefined
}

/** What a client is shown of a half of the lists. */
export interface ReadHalf {
  messages: Message[]
  whole: boolean
}

/** Boots the actor of a world. */
export function bootOf(
  options: BootOptions,
): (world: ActorContext<NodeConfig>, process: SimProcess) => Promise<BootedActor> {
  return (world, process) => {
    if (world.role === 'facade') return bootFacade(world, process, options)
    if (world.role === 'logging') return bootLogging(world, process, options)
    return bootMessages(world, process, options)
  }
}

async function bootFacade(
  world: ActorContext<NodeConfig>,
  process: SimProcess,
  { network, streams, backend: model }: BootOptions,
) {
  const peers = new SimPeers(network, process)
  const waker = new Waker(world, peers, world.config.lanes)
  const backend = model.open(world, process, {
    depths: () => waker.depths(),
    wakeRemote: (lane) => waker.wake(lane),
  })
  const actor = new FacadeActor(world, backend, peers)
  const closeCalls = network.serve(PUBLIC + process.name, process, publicMethods(actor, world))
  const closeStreams = streams.serve(process, eventsOf(actor, world))
  const close = () => {
    closeCalls()
    closeStreams()
  }
  return {
    address: null,
    status: () => actor.status(),
    async drain() {
      actor.announceDrain()
      await world.clock.sleep(DRAIN_NOTICE_MS)
      close()
      await actor.drain()
      await backend.close()
    },
  }
}

/** What clients ask, as the HTTP routes do it. */
function publicMethods(actor: Facade, { clock }: ActorContext<NodeConfig>): Methods {
  const deadlineAt = () => clock.monotonic() + POST_DEADLINE_MS
  return {
    post: (text: string) => actor.post(text, deadlineAt()),
    setPaused: (paused: boolean) => actor.setPaused(paused),
    postBatch: (texts: string[], key: { value: string; hash: string } | null) =>
      actor.postBatch(texts, { deadlineAt: deadlineAt(), ...(key !== null && { key }) }),
    lists: async (limit: number | null) => {
      const { logged, delivered, deliveredTo } = await actor.lists(limit ?? undefined)
      return { logged: await readHalf(logged), delivered: await readHalf(delivered), deliveredTo }
    },
    follow: async (after: string, limit: number) => {
      const items = await actor.logPage({ after, limit })
      const cursor = followCursor(items.at(-1)?.id, clock)
      return { items, next: cursor !== undefined && cursor > after ? cursor : after }
    },
    store: (name: string, range: Range) => actor.storePage(name, range),
    find: async (id: string) => (await actor.find(id)) ?? null,
    dead: () => allDead(actor),
    replay: (id: string) => actor.replay(id),
    purge: (id: string) => actor.purge(id),
    changeDead: (change: 'replay' | 'purge', range: { after?: string; limit: number }) =>
      actor.changeDead(change, range),
    redrive: (range: { after?: string; limit: number }) => actor.redrive(range),
    restore: (range: { lane: number; after: string; limit: number }) => actor.restore(range),
  }
}

/** `GET /events`, of what is logged, delivered and dead. */
function eventsOf(
  facade: FacadeActor,
  { clock, config, node, figures }: ActorContext<NodeConfig>,
): Parameters<EventStreams['serve']>[1] {
  const api = { facade, clock, config, node, figures, draining: () => facade.draining }
  const { getEvents } = eventRoutes(api as unknown as ApiContext)
  return async (response, lastEventId) => {
    const headers = { ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) }
    const context = { req: { headers }, res: response, method: 'GET' }
    await getEvents(context as unknown as Parameters<typeof getEvents>[0], { only: 'logged,delivered,dead' })
  }
}

async function allDead(actor: Facade): Promise<Dead[]> {
  const all: Dead[] = []
  for (;;) {
    const part = await actor.dead({ ...(all.length > 0 && { after: all.at(-1)!.id }), limit: 1000 })
    if (part.length === 0) return all
    all.push(...part)
  }
}

async function readHalf({ pages, whole }: PagedList): Promise<ReadHalf> {
  const messages: Message[] = []
  for await (const page of pages) messages.push(...page)
  return { messages, whole: whole() }
}

async function bootLogging(
  world: ActorContext<NodeConfig>,
  process: SimProcess,
  { network, backend: model }: BootOptions,
) {
  const backend = model.open(world, process, {})
  const actor = new LoggingActor(world, backend)
  const close = network.serve(process.name, process, methodsOfLogging(actor))
  return {
    address: process.name,
    status: () => ({ ...actor.status(), ...healthOf(backend) }),
    async drain() {
      close()
      await actor.drain()
      await backend.close()
    },
  }
}

async function bootMessages(world: ActorContext<NodeConfig>, process: SimProcess, options: BootOptions) {
  const { network, backend: model, handler, handling, showing, bug = (methods) => methods } = options
  const runner = handler && (await handler(world, process))
  const peers = new SimPeers(network, process)
  const logging = new LoggingPool(world, peers)
  const backend = model.open(world, process, { repair: (batch) => logging.append(batch) })
  const { queue } = backend
  const holder: Holder = {
    process,
    isHeld: (lane) => queue.isHeld(lane),
    isShowing: (lane) => queue.isHeld(lane) && lane in (actor.status().lanes ?? {}),
  }
  const actor = new MessagesActor(world, watched(queue, holder, { showing, handling }), {
    runner,
    retentionMs: world.config.retentionMs,
    policy: world.config,
    deadRetentionMs: null,
    refilling: backend.refill && { refill: backend.refill, peers, logging },
  })
  const close = network.serve(process.name, process, bug(methodsOfMessages(actor)))
  await actor.start()
  return {
    address: process.name,
    status: () => ({ ...actor.status(), ...healthOf(backend) }),
    async drain() {
      await actor.drain()
      close()
      await backend.close()
    },
  }
}

function healthOf(backend: JournaledBackend) {
  return {
    ...{ missing: backend.missing(), damaged: backend.damaged(), clusters: backend.reports() },
    ...(backend.journal && { journal: backend.journal() }),
  }
}

/** Tells of all that comes into the list of who holds lanes: what it settles, finds settled, or reads of a lane. */
function watched(
  queue: Queue,
  holder: Holder,
  { showing, handling }: Pick<BootOptions, 'showing' | 'handling'>,
): Queue {
  const show = <T extends Pick<Message, 'id'>>(lane: number, messages: readonly T[]) => {
    if (holder.process.alive)
      showing.show(
        holder,
        lane,
        messages.map(({ id }) => id),
      )
  }
  const told = async <T extends Pick<Message, 'id'>>(lane: number, messages: Promise<T[]>): Promise<T[]> => {
    show(lane, await messages)
    return messages
  }
  const watch: Pick<
    Queue,
    'hold' | 'release' | 'start' | 'settle' | 'delivered' | 'deliveredByFormerHolder'
  > = {
    hold: async (lane) => {
      showing.shutLane(holder, lane)
      const leftOpen = await queue.hold(lane)
      handling.adopted ||= leftOpen > 0
      return leftOpen
    },
    release: (lane) => {
      showing.shutLane(holder, lane)
      return queue.release(lane)
    },
    start: (lane, ids) => {
      showing.begin(ids)
      return queue.start(lane, ids)
    },
    settle: (lane, settlements) => {
      showing.begin(settlements.map(({ id }) => id))
      return told(lane, queue.settle(lane, settlements))
    },
    delivered: (lane, range) => told(lane, queue.delivered(lane, range)),
    deliveredByFormerHolder: (lane) => {
      const found = queue.deliveredByFormerHolder(lane)
      show(lane, found)
      return found
    },
  }
  return new Proxy(queue, {
    get(target, name) {
      if (name in watch) return watch[name as keyof typeof watch]
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
