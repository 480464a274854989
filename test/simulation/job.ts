/** A number of histories from one seed of fast-check's. */
import fc from 'fast-check'
import { NOTHING_WRONG } from '../support/checker.ts'
import type { FaultKind } from './faults.ts'
import { anyPlan } from './plans.ts'
import { isWrong, runHistory } from './run.ts'
import type { Plan, Planted } from './sim-world.ts'

/** So many plans are tried to make one that fails smaller. */
const SHRINK_MAX = 200

/** What to run. Crosses threads. */
export interface Job {
  backend: Plan['backend']
  /** fast-check's: equal jobs run equal histories. */
  seed: number
  count: number
  /** Name of a planted bug. */
  bug?: string
  /** Nodes keep journals. */
  journal?: boolean
  /** Readers follow what happens. Clocks do not step then on Hazelcast: a cursor is as good as they are. */
  events?: boolean
}

/** What came of it. Crosses threads. */
export interface JobReport {
  job: Job
  /** Histories that were run before one failed; all, when none did. */
  histories: number
  events: number
  acknowledged: number
  /** Of all histories together. */
  hash: number
  /** By kind of fault: histories that had it, and those in which it hit operations in flight. */
  faults: Map<FaultKind, { had: number; hit: number }>
  /** The smallest plan that fails, and what is wrong with it. */
  failure?: { plan: Plan; wrong: string }
}

/** Runs a job; stops at the first history that fails, and shrinks it unless a bug was planted. */
export async function runJob(job: Job, planted: Planted = {}): Promise<JobReport> {
  const report: JobReport = {
    ...{ job, histories: 0, events: 0, acknowledged: 0, hash: 0, faults: new Map() },
  }
  let failed = false
  let shrinks = 0
  const plans = anyPlan(job.backend)
  const chosen = plans.map(job.journal ? journaled : job.events ? followed : (plan) => plan)
  const property = fc.asyncProperty(chosen, async (plan) => {
    if (failed && ++shrinks > SHRINK_MAX) return true
    const outcome = await runHistory(plan, { planted })
    if (!failed) count(report, outcome)
    failed ||= isWrong(outcome)
    return !isWrong(outcome)
  })
  const result = await fc.check(property, {
    ...{ seed: job.seed, numRuns: job.count, endOnFailure: job.bug !== undefined },
  })
  const [plan] = result.counterexample ?? []
  if (plan !== undefined) report.failure = { plan, wrong: await wrongWith(plan, planted) }
  return report
}

function journaled(plan: Plan): Plan {
  return { ...plan, journal: true, met: true }
}

function followed(plan: Plan): Plan {
  const isAny = plan.backend === 'embedded'
  const faults = plan.faults.filter(({ kind }) => isAny || kind !== 'the wall clock steps')
  return { ...plan, faults, events: true }
}

/** What is wrong with a plan, in words for people. */
export async function wrongWith(plan: Plan, planted: Planted = {}): Promise<string> {
  const { verdict, problems } = await runHistory(plan, { planted }).catch((error: unknown) => {
    return { verdict: NOTHING_WRONG, problems: [`the simulation broke: ${error}`] }
  })
  const kinds = Object.entries(verdict as unknown as Record<string, string[]>).filter(
    ([, ids]) => ids.length > 0,
  )
  return [...kinds.map(([kind, ids]) => `${kind}: ${ids.slice(0, 3).join(' ')}`), ...problems].join('; ')
}

function count(report: JobReport, outcome: Awaited<ReturnType<typeof runHistory>>): void {
  report.histories++
  report.events += outcome.events
  report.acknowledged += outcome.acknowledged
  report.hash = (Math.imul(report.hash, 31) + outcome.hash) >>> 0
  for (const [kind, hit] of outcome.hits) {
    const { had, hit: hits } = report.faults.get(kind) ?? { had: 0, hit: 0 }
    report.faults.set(kind, { had: had + 1, hit: hits + Number(hit) })
  }
}
