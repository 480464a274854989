/** One history: a world from a seed, clients, faults; then calm, and a final read that the checker judges. */
import { resolveConfig } from '../../src/runtime/config.ts'
import type { Role } from '../../src/runtime/directory.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import type { Settled } from '../../src/runtime/world.ts'
import { check, type FinalRead, NOTHING_WRONG, type Verdict } from '../support/checker.ts'
import type { History } from '../support/history.ts'
import { bootOf } from './boot.ts'
import { Clients } from './clients.ts'
import { dueOf } from './due.ts'
import { type EmbeddedBugs, EmbeddedModel } from './embedded-backend.ts'
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
import { Operating } from './operating.ts'
import { handlerOf } from './poison.ts'
import type { SimProcess } from './process.ts'
import { Redriving } from './redriving.ts'
import { Rng } from './rng.ts'
import { Scheduler } from './scheduler.ts'
import { Showing } from './showing.ts'
import { passUntil, within } from './waiting.ts'

const LANES = 3
const START_MS = 5000
const LOAD_MS = 3500
/** Some time after its first start a message that always fails has had its fifth. */
const DYING_MS = 4000
/** Everything must be delivered so long after the last fault: poison has its five starts, which wait for each other. */
const CALM_MS = 120_000

/** Part of the messages, in two of three histories with a handler: poison takes the time of its neighbours. */
const POISON = 0.06
/** Messages that are posted when all is well again. */
const LAST_COUNT = 4

/** So often, a second apart, a final read waits for what is delivered to be shown. */
const SHOW_TURNS = 6

/** In this part of the histories with a handler somebody looks after the dead letters. */
const OPERATED = 0.25

/** In this part of the histories without a loss a redrive is asked for, and has nothing to do. */
const REDRIVEN = 0.15

const CONFIG: Settled = {
  ...resolveConfig({ flags: {}, env: {} }),
  ...{ lanes: LANES, handlerTimeoutMs: 1500, handlerConcurrency: 2 },
}
const LOGGER = createLogger('silent', {})

/** What a history is made from. JSON: failing ones are kept as such. */
export interface Plan {
  backend: 'embedded' | 'hazelcast'
  seed: number
  /** Messages actors have a handler, and some messages are poison. */
  handler: boolean
  faults: Fault[]
}

/** What is planted in the world to see whether it is caught. Production code has none of it. */
export interface Planted {
  embedded?: EmbeddedBugs
  hazelcast?: HazelcastBugs
  network?: { liesAboutLoss: boolean }
  node?: NodeBugs
}

/** What came of a history. */
export interface Outcome {
  /** All zeros when the promise held. */
  verdict: Verdict
  /** What is wrong beyond lists: code that threw what it should not, a final read that could not be had. */
  problems: string[]
  /** Of all that happened. */
  hash: number
  events: number
  acknowledged: number
  /** By kind of fault: whether it hit operations in flight. */
  hits: Map<FaultKind, boolean>
  trace: readonly string[]
  disturbances: readonly Disturbance[]
  recoveredAt: number
  history: History
}

/** Runs one history. Equal plans, equal outcomes. */
export async function runHistory(
  plan: Plan,
  { planted = {}, traced = false }: { planted?: Planted; traced?: boolean } = {},
): Promise<Outcome> {
  const scheduler = new Scheduler({ traced })
  const rng = new Rng(plan.seed)
  const network = new Network(scheduler, rng.fork())
  network.liesAboutLoss = planted.network?.liesAboutLoss ?? false
  const problems = network.bugs
  const embedded =
    plan.backend === 'embedded' ? new EmbeddedModel(LANES, rng.fork(), planted.embedded ?? {}) : undefined
  const hazelcast =
    plan.backend === 'hazelcast'
      ? new HazelcastModel(LANES, scheduler, rng.fork(), planted.hazelcast ?? {})
      : undefined
  const backend = (embedded ?? hazelcast)!
  const onBug = (what: string) => problems.push(what)
  const onRejection = (reason: unknown) => {
    onBug(`unhandled rejection: ${reason instanceof Error ? reason.stack : String(reason)}`)
  }
  process.on('unhandledRejection', onRejection)
  const onShown = (id: string) => clients.history.show(id, scheduler.now)
  const showing = new Showing({ scheduler, onShown, onBug })
  const handling = { mended: false }
  const handler = plan.handler ? (process: SimProcess) => handlerOf(process, handling) : null
  const boot = bootOf({ network, backend, handler, showing })
  const nodes = layoutOf(plan, rng).map(
    ([name, counts]) =>
      new SimNode(name, counts, {
        ...{ scheduler, rng: rng.fork(), config: CONFIG, logger: LOGGER, boot, onBug },
        bugs: planted.node ?? {},
      }),
  )
  for (const node of nodes) node.peers.push(...nodes)
  const clients = new Clients({
    ...{ scheduler, network, rng: rng.fork() },
    posters: 2 + rng.below(2),
    poison: plan.handler && plan.seed % 3 !== 1 ? POISON : 0,
  })

  for (const node of nodes) node.start()
  await passUntil(scheduler, START_MS, () => nodes.every((node) => node.settled()))
  const losses = hazelcast?.losses ?? new Losses()
  losses.onQueueLost = () => showing.lose()
  const world: Faulty = {
    ...{ scheduler, rng: rng.fork(), network, nodes, clients, embedded, hazelcast, calm: false },
    ...{ calmAt: 0, disturbances: [] },
  }
  const isQuiet = () =>
    nodes.every((node) => node.settled()) && backend.pending().length === 0 && backend.quiet()
  /** Clients and faults; then calm. */
  const strike = async (faults: readonly Fault[], { meanwhile = async () => {}, loadMs = LOAD_MS } = {}) => {
    world.calm = false
    world.calmAt = scheduler.now + loadMs
    clients.start()
    const over = faults.map((fault) => [fault.kind, schedule(world, fault)] as const)
    const besides = meanwhile()
    await scheduler.pass(loadMs)
    world.calm = true
    network.calm()
    backend.heal()
    const hits = new Map<FaultKind, boolean>()
    for (const [kind, hit] of over) hits.set(kind, hit() || (hits.get(kind) ?? false))
    await within(scheduler, CALM_MS, Promise.all([clients.stop(), besides]))
    await passUntil(scheduler, CALM_MS, isQuiet)
    await scheduler.pass(embedded === undefined ? SILENT_MS : NOTICED_MS)
    return hits
  }
  const hits = await strike(plan.faults)
  const dice = new Rng(~plan.seed)
  const operating = new Operating({ scheduler, rng: rng.fork(), clients, isQuiet, onBug })
  if (plan.handler && rng.chance(OPERATED)) {
    handling.mended = true
    const faults = plan.faults.filter(({ kind }) => kind !== 'a cluster comes back empty').map(otherWise)
    await strike(faults.map(laterBy(DYING_MS)), {
      meanwhile: () => operating.underFire(() => !world.calm || !backend.quiet()),
      loadMs: DYING_MS + LOAD_MS,
    })
    await operating.inCalm()
  }
  if (losses.count > 0 || dice.chance(REDRIVEN)) {
    const clocksAgree = plan.faults.every(({ kind }) => kind !== 'the wall clock steps')
    const redriving = new Redriving({
      ...{ scheduler, clients, nodes, showing, hazelcast, clocksAgree, isQuiet, onBug },
    })
    redriving.lookForGone()
    await redriving.grow()
    if (hazelcast && dice.chance(losses.count > 0 ? 0.5 : 0.1)) {
      await strike(plan.faults.map(otherWise), { meanwhile: () => redriving.underFire(() => !world.calm) })
      await redriving.grow()
      redriving.lookForGone()
    }
    await redriving.inCalm()
  }
  const recoveredAt = scheduler.now
  await within(scheduler, CALM_MS, clients.postPlainly(LAST_COUNT))
  await passUntil(scheduler, CALM_MS, () => backend.pending().length === 0 && backend.quiet())
  problems.push(...(hazelcast?.untrue() ?? []))
  const final = await finalRead(scheduler, clients, nodes)
  // A cursor is as good as the clocks: what a host that went back makes ids of lies behind it.
  if (plan.faults.some(({ kind }) => kind === 'the wall clock steps')) clients.history.followed.length = 0
  process.off('unhandledRejection', onRejection)
  if (final === undefined) problems.push('the final read could not be had')
  if (clients.history.acknowledged.size === 0) problems.push('nothing was acknowledged')
  const verdict =
    problems.length > 0 && (final === undefined || clients.history.acknowledged.size === 0)
      ? NOTHING_WRONG
      : check(
          clients.history,
          { ...final!, pending: backend.pending() },
          {
            dueAt: dueOf({
              ...{ disturbances: world.disturbances, recoveredAt },
              isSlow: slowIn(clients.history),
              isLost: (id) => losses.logged.has(id) || losses.queued.has(id),
            }),
            excused: {
              ...{ logged: losses.logged, delivered: losses.queued },
              repeated: clients.textsWith(losses.keys),
              purged: operating.purged,
            },
          },
        )
  return {
    ...{ verdict, problems, hits, hash: scheduler.hash, events: scheduler.eventCount },
    acknowledged: clients.history.acknowledged.size,
    trace: scheduler.trace ?? [],
    ...{ disturbances: world.disturbances, recoveredAt },
    history: clients.history,
  }
}

/** Whose time a handler took: what it fails for, and everything where it stands still or ends its worker. */
function slowIn({ attempted, acknowledged }: History): (id: string) => boolean {
  const all = [...attempted].some((text) => /^(hangs|ignores|kills)/.test(text))
  return (id) => all || acknowledged.get(id)!.startsWith('throws')
}

/** The same kind of fault, elsewhere and of another strength. */
function otherWise({ which, strength, ...fault }: Fault): Fault {
  return { ...fault, which: which + 1, strength: 1 - strength }
}

function laterBy(ms: number): (fault: Fault) => Fault {
  return (fault) => ({ ...fault, atMs: fault.atMs + ms })
}

/** True when a history shows something wrong. */
export function isWrong({ verdict, problems }: Outcome): boolean {
  return problems.length > 0 || Object.values(verdict).some((ids: string[]) => ids.length > 0)
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

/** While lanes move, two stores can show the same: read again then. */
async function finalRead(scheduler: Scheduler, clients: Clients, nodes: readonly SimNode[]) {
  const holders = () => nodes.flatMap((node) => node.entries()).filter(({ role }) => role === 'messages')
  const standing = () =>
    JSON.stringify(
      holders().map(({ name, state, restarts, lanes }) => [name, state, restarts, Object.keys(lanes ?? {})]),
    )
  for (let turn = 0; turn < 20; turn++) {
    await passUntil(scheduler, CALM_MS, () => nodes.every((node) => node.settled()))
    const before = standing()
    const names = holders().map(({ name }) => name)
    let stood = true
    // All the while, not only at its end: a lane may leave and come back.
    const look = () => {
      stood &&= standing() === before
    }
    const read = await within(scheduler, 20_000, clients.finalRead(names), look)
    if (read !== undefined && stood && (turn > SHOW_TURNS || showsAll(read))) return read
    await scheduler.pass(1000)
  }
  return undefined
}

/** Durably delivered is not yet shown: its holder may wait for the last answer of its settlement. */
function showsAll({ logged, stores, dead = [] }: Omit<FinalRead, 'pending'>): boolean {
  const shown = [...stores.values()].reduce((sum, items) => sum + items.length, dead.length)
  return shown >= logged.length
}
