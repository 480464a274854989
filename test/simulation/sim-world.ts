/** A simulated Mailroom made from a plan: its processes, stores, network and clients. */

import type { Role } from '../../src/runtime/cluster/directory.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import { EPOCH_CHECK_MS, REFILL_CHECK_MS } from '../../src/runtime/timings.ts'
import type { NodeConfig } from '../../src/settings/config.ts'
import { resolveConfig } from '../../src/settings/config.ts'
import type { BackendModel } from './backend-model.ts'
import { type BootOptions, bootOf } from './boot.ts'
import { Clients } from './clients.ts'
import { type EmbeddedBugs, EmbeddedModel } from './embedded-backend.ts'
import { type EventBugs, EventReaders } from './event-readers.ts'
import { EventStreams } from './event-streams.ts'
import {
  type Disturbance,
  type Fault,
  type FaultKind,
  type Faulty,
  NOTICED_MS,
  SILENT_MS,
  schedule,
} from './faults.ts'
import { type HazelcastBugs, HazelcastModel } from './hazelcast-backend.ts'
import { Losses } from './losses.ts'
import { Network } from './network.ts'
import { type NodeBugs, SimNode } from './node.ts'
import { type Handling, type RunBugs, startHandler } from './poison.ts'
import { Rng } from './rng.ts'
import { Scheduler } from './scheduler.ts'
import { Showing } from './showing.ts'
import { passUntil, within } from './waiting.ts'

/** So long clients post, and faults happen, in ms. */
export const LOAD_MS = 3500
/** Everything must be delivered so long after the last fault: poison has its five starts, which wait for each other. */
export const CALM_MS = 120_000

const LANES = 3
const START_MS = 5000
const NOTICE_LACK_MS = 2 * (EPOCH_CHECK_MS + REFILL_CHECK_MS)
/** Part of the messages, in two of three histories with a handler: poison takes the time of its neighbours. */
const POISON = 0.06

/** Makes dice of their own from a seed. */
const READERS = 0xe7e7

const CONFIG: NodeConfig = {
  ...resolveConfig({ flags: {}, env: {} }),
  ...{ inbox: {}, lanes: LANES, handlerTimeoutMs: 1500, handlerConcurrency: 2 },
  ...{ attempts: 5, retryMinMs: 500, retryMaxMs: 60_000 },
}
const LOGGER = createLogger('silent', {})

/** What a history is made from. JSON: failing ones are kept as such. */
export interface Plan {
  backend: 'embedded' | 'hazelcast'
  seed: number
  /** Messages actors have a handler, and some messages are poison. */
  handler: boolean
  faults: Fault[]
  /** Hazelcast: nodes have disks, and keep journals on them. */
  journal?: boolean
  /** Nothing happens before the nodes have met: a journal that no other node has ever seen cannot be waited for. */
  met?: boolean
  /** Readers follow what happens. */
  events?: boolean
}

/** What is planted in the world to see whether it is caught. Production code has none of it. */
export interface Planted {
  embedded?: EmbeddedBugs
  hazelcast?: HazelcastBugs
  network?: { liesAboutLoss: boolean }
  node?: NodeBugs
  runs?: RunBugs
  messages?: BootOptions['bug']
  events?: EventBugs
}

/** The world. */
export class SimWorld implements Faulty {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly embedded: EmbeddedModel | undefined
  readonly hazelcast: HazelcastModel | undefined
  /** The one of the two that is there. */
  readonly backend: BackendModel
  readonly losses: Losses
  readonly showing: Showing
  readonly handling: Handling
  readonly nodes: readonly SimNode[]
  readonly clients: Clients
  readonly readers: EventReaders | undefined
  /** For faults. */
  readonly rng: Rng
  /** For whatever else there is to decide. */
  readonly dice: Rng
  /** What is wrong beyond lists: code that threw what it should not, above all. */
  readonly problems: string[]
  readonly disturbances: Disturbance[] = []
  calm = false
  calmAt = 0

  constructor(plan: Plan, planted: Planted, traced: boolean) {
    const dice = new Rng(plan.seed)
    this.scheduler = new Scheduler({ traced })
    this.network = new Network(this.scheduler, dice.fork())
    this.network.liesAboutLoss = planted.network?.liesAboutLoss ?? false
    this.problems = this.network.bugs
    if (plan.backend === 'embedded') {
      this.embedded = new EmbeddedModel(LANES, dice.fork(), planted.embedded ?? {})
    } else {
      const options = { scheduler: this.scheduler, rng: dice.fork(), isJournaled: plan.journal ?? false }
      this.hazelcast = new HazelcastModel(LANES, options, planted.hazelcast ?? {})
    }
    this.backend = (this.embedded ?? this.hazelcast)!
    this.showing = new Showing({
      scheduler: this.scheduler,
      onShown: (id) => this.clients.history.show(id, this.scheduler.now),
      onBug: this.onBug,
    })
    this.handling = {
      ...{ pausedFrom: undefined, pausing: Promise.resolve() },
      ...{ mended: false, awaySince: undefined, knocks: 0, adopted: false, caught: new Set() },
      onBug: this.onBug,
    }
    this.losses = this.hazelcast?.losses ?? new Losses()
    this.losses.onQueueLost = () => {
      this.showing.lose()
      this.handling.pausedFrom = undefined // The cluster kept the pause.
    }
    const streams = new EventStreams(this.scheduler, this.network, planted.events?.loses)
    const boot = bootOf({
      ...{ network: this.network, streams, backend: this.backend, showing: this.showing },
      handling: this.handling,
      handler: plan.handler ? startHandler(this.handling, planted.runs ?? {}) : null,
      bug: planted.messages,
    })
    this.nodes = layoutOf(plan, dice).map(
      ([name, counts]) =>
        new SimNode(name, counts, {
          ...{ scheduler: this.scheduler, rng: dice.fork(), config: CONFIG, logger: LOGGER, boot },
          ...{ onBug: this.onBug, bugs: planted.node ?? {} },
          newest: this.embedded && (() => this.embedded!.newest()),
        }),
    )
    for (const node of this.nodes) node.peers.push(...this.nodes)
    this.clients = new Clients({
      ...{ scheduler: this.scheduler, network: this.network, rng: dice.fork() },
      posters: 2 + dice.below(2),
      poison: plan.handler && plan.seed % 3 !== 1 ? POISON : 0,
    })
    if (plan.events) {
      const rng = new Rng(plan.seed ^ READERS)
      this.readers = new EventReaders({ scheduler: this.scheduler, streams, rng, bugs: planted.events ?? {} })
    }
    this.rng = dice.fork()
    this.dice = dice
  }

  readonly onBug = (what: string) => {
    this.problems.push(what)
  }

  /** True when nothing waits, and nothing is under way. */
  readonly isQuiet = () => this.nodes.every((node) => node.settled()) && this.isEmpty() && this.#isWhole()

  /** True when nothing is being put back from journals. */
  #isWhole(): boolean {
    const journals = this.nodes.flatMap((node) => node.entries().flatMap(({ journal }) => journal ?? []))
    return journals.every(({ wholeIn }) => wholeIn !== null)
  }

  /** True when nothing waits in the stores, and nothing is on its way to them. */
  readonly isEmpty = () => this.backend.pending().length === 0 && this.backend.quiet()

  /** All nodes, with all that they run. */
  async start(): Promise<void> {
    for (const node of this.nodes) node.start()
    await passUntil(this.scheduler, START_MS, () => this.nodes.every((node) => node.settled()))
    const { readers } = this
    if (readers !== undefined) await passUntil(this.scheduler, START_MS, readers.areReading)
  }

  /**
   * Clients and faults; then calm, until all has recovered.
   *
   * @param options.meanwhile Happens besides; waited for when it is calm.
   * @returns By kind of fault: whether it hit operations in flight.
   */
  async strike(
    faults: readonly Fault[],
    {
      meanwhile = async () => {},
      loadMs = LOAD_MS,
    }: { meanwhile?: () => Promise<void>; loadMs?: number } = {},
  ): Promise<Map<FaultKind, boolean>> {
    const { scheduler, clients } = this
    this.calm = false
    this.calmAt = scheduler.now + loadMs
    clients.start()
    const over = faults.map((fault) => [fault.kind, schedule(this, fault)] as const)
    const besides = meanwhile()
    await scheduler.pass(loadMs)
    this.calm = true
    this.network.calm()
    this.handling.awaySince = undefined
    this.backend.heal()
    const hits = new Map<FaultKind, boolean>()
    for (const [kind, hit] of over) hits.set(kind, hit() || (hits.get(kind) ?? false))
    await within(scheduler, CALM_MS, Promise.all([clients.stop(), besides]))
    // What a cluster lacks is noticed by then.
    if (this.losses.held.size > 0) await scheduler.pass(NOTICE_LACK_MS)
    await passUntil(scheduler, CALM_MS, this.isQuiet)
    await scheduler.pass(this.embedded === undefined ? SILENT_MS : NOTICED_MS)
    return hits
  }
}

/** Nodes and their actors. */
function layoutOf({ backend }: Plan, rng: Rng): [string, Record<Role, number>][] {
  const one = { facade: 1 + rng.below(2), logging: 2 + rng.below(2), messages: 2 + rng.below(2) }
  if (backend === 'embedded' || rng.chance(0.4)) return [['here', one]]
  return [
    ['a', { facade: 1, logging: 1, messages: 1 + rng.below(2) }],
    ['b', { facade: rng.below(2), logging: 1, messages: 1 }],
  ]
}
