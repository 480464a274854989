/** One history: a world from a seed, clients and faults; then no more faults, and a final read for the checker. */
import { check, NOTHING_WRONG, type Verdict } from '../support/checker.ts'
import type { History } from '../support/history.ts'
import { dueOf } from './due.ts'
import { type Disturbance, type Fault, type FaultKind, LOSING_KINDS } from './faults.ts'
import { finalRead } from './final-read.ts'
import { Operating } from './operating.ts'
import { Redriving } from './redriving.ts'
import { Rng } from './rng.ts'
import { CALM_MS, LOAD_MS, type Plan, type Planted, SimWorld } from './sim-world.ts'
import { passUntil, within } from './waiting.ts'

/** Some time after its first start a message that always fails has had its fifth. */
const DYING_MS = 4000
/** By then nodes know each other's actors, with their journals. */
const MET_MS = 2500
/** Messages that are posted when all is well again. */
const LAST_COUNT = 4

/** In this part of the histories with a handler somebody looks after the dead letters. */
const OPERATED = 0.25

/** Makes dice of their own from a seed. */
const BULK = 0x5eed

/** In this part of the histories without a loss a redrive is asked for, and has nothing to do. */
const REDRIVEN = 0.15

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
  const world = new SimWorld(plan, planted, traced)
  const { scheduler, nodes, clients, hazelcast, problems } = world
  const onRejection = (reason: unknown) => {
    world.onBug(`unhandled rejection: ${reason instanceof Error ? reason.stack : String(reason)}`)
  }
  process.on('unhandledRejection', onRejection)
  await world.start()
  if (plan.met) await scheduler.pass(MET_MS)
  const hits = await world.strike(plan.faults)
  const operating = await operate(world, plan)
  await redrive(world, plan)
  const recoveredAt = scheduler.now
  await world.readers?.settle()
  await within(scheduler, CALM_MS, clients.postPlainly(LAST_COUNT))
  await passUntil(scheduler, CALM_MS, world.isEmpty)
  problems.push(...(hazelcast?.untrue() ?? []))
  const final = await finalRead(scheduler, clients, nodes)
  problems.push(...(await followed(world, final)))
  process.off('unhandledRejection', onRejection)
  // A cursor is as good as the clocks: what a host that went back makes ids of lies behind it.
  if (!cursorsHold(plan)) clients.history.followed.length = 0
  if (final === undefined) problems.push('the final read could not be had')
  for (const id of final?.dead ?? []) {
    if (clients.history.acknowledged.get(id)?.startsWith('text'))
      problems.push(`a dead letter that is no poison: ${id}`)
  }
  if (clients.history.acknowledged.size === 0) problems.push('nothing was acknowledged')
  return {
    verdict: verdictOf(world, { final, purged: operating.purgedOf(final?.logged ?? []), recoveredAt }),
    ...{ problems, hits, hash: scheduler.hash, events: scheduler.eventCount },
    acknowledged: clients.history.acknowledged.size,
    trace: scheduler.trace ?? [],
    ...{ disturbances: world.disturbances, recoveredAt },
    history: clients.history,
  }
}

/** Somebody looks after the dead letters while the faults come again. */
async function operate(world: SimWorld, { handler, faults, seed }: Plan): Promise<Operating> {
  const { scheduler, clients, nodes, backend, isQuiet, onBug } = world
  const bulkRng = new Rng(seed ^ BULK)
  const restart = () => bulkRng.pick(nodes).restart('messages')
  const operating = new Operating({
    ...{ scheduler, rng: world.dice.fork(), bulkRng, clients, restart, isQuiet, onBug },
  })
  if (handler && world.dice.chance(OPERATED)) {
    world.handling.mended = true
    const again = faults.filter(({ kind }) => !LOSING_KINDS.includes(kind)).map(otherWise)
    await world.strike(again.map(laterBy(DYING_MS)), {
      meanwhile: () => operating.underFire(() => !world.calm || !backend.quiet()),
      loadMs: DYING_MS + LOAD_MS,
    })
    await operating.inCalm()
  }
  return operating
}

/** What a cluster lost is brought back, perhaps while the faults come again. */
async function redrive(world: SimWorld, plan: Plan): Promise<void> {
  const { scheduler, clients, nodes, showing, hazelcast, losses, isQuiet, onBug } = world
  const dice = new Rng(~plan.seed)
  if (losses.count === 0 && !dice.chance(REDRIVEN)) return
  const redriving = new Redriving({
    ...{ scheduler, clients, nodes, showing, hazelcast, clocksAgree: !clocksStep(plan), isQuiet, onBug },
  })
  redriving.lookForGone()
  await redriving.grow()
  if (hazelcast && dice.chance(losses.count > 0 ? 0.5 : 0.1)) {
    await world.strike(plan.faults.map(otherWise), {
      meanwhile: () => redriving.underFire(() => !world.calm),
    })
    await redriving.grow()
    redriving.lookForGone()
  }
  await redriving.inCalm()
}

/** @returns What readers of events missed, or were given again. */
async function followed(
  { readers, clients, losses }: SimWorld,
  final: Awaited<ReturnType<typeof finalRead>>,
): Promise<string[]> {
  if (readers === undefined || final === undefined) return []
  const isExcused = (id: string) => clients.excused.has(id) || losses.logged.has(id) || losses.held.has(id)
  return readers.judge({
    logged: [...clients.history.acknowledged.keys()].filter((id) => !isExcused(id)),
    delivered: [...final.stores.values()].flatMap((items) => items.map(({ id }) => id)),
    dead: final.dead ?? [],
    late: clients.excused,
  })
}

/** What the checker says. A run that proves nothing is told of by its problems. */
function verdictOf(
  { clients, backend, disturbances, losses }: SimWorld,
  end: { final: Awaited<ReturnType<typeof finalRead>>; purged: ReadonlySet<string>; recoveredAt: number },
): Verdict {
  const { history } = clients
  const { final, purged, recoveredAt } = end
  if (final === undefined || history.acknowledged.size === 0) return NOTHING_WRONG
  const isLost = (id: string) => [losses.logged, losses.queued, losses.held].some((ids) => ids.has(id))
  const repeated = clients.textsWith(losses.keys)
  return check(
    history,
    { ...final, pending: backend.pending() },
    {
      dueAt: dueOf({ disturbances, recoveredAt, isSlow: slowIn(history), isLost }),
      excused: {
        ...{ delivered: losses.queued, repeated, purged },
        logged: new Set([...losses.logged, ...losses.held]),
        restored: losses.held,
      },
    },
  )
}

/** On Hazelcast, nodes have a clock each, and a node that starts anew begins with what its wall clock says. */
function cursorsHold(plan: Plan): boolean {
  return plan.backend === 'embedded' || !clocksStep(plan)
}

function clocksStep({ faults }: Plan): boolean {
  return faults.some(({ kind }) => kind === 'the wall clock steps')
}

/** Whose time a handler took: what it fails for, and everything where it stands still or ends its worker. */
function slowIn({ attempted, acknowledged }: History): (id: string) => boolean {
  const all = [...attempted].some((text) => /^(hangs|ignores|blocks|kills)/.test(text))
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
