/** The deterministic simulation: thousands of histories with faults, all of which must keep the promise. */
import assert from 'node:assert/strict'
import test, { after, before } from 'node:test'
import { BUGS, RARE_BUGS } from './bugs.ts'
import { COMMITTED } from './committed.ts'
import type { FaultKind } from './faults.ts'
import { type Job, type JobReport, runJob, wrongWith } from './job.ts'
import { kindsOf } from './plans.ts'
import { runJobs } from './pool.ts'
import type { Plan } from './sim-world.ts'

/** Histories in a job, and jobs of each backend: 5,000 histories together. */
const JOB_COUNT = 100
const JOBS = { embedded: 26, hazelcast: 24 } as const
/** Jobs whose histories have readers of events: 300 histories together. */
const EVENT_JOBS = { embedded: 2, hazelcast: 1 } as const
/** A planted bug must be caught within so many histories. */
const CATCH_WITHIN = 1000
/** The part of its histories in which a kind of fault must hit operations in flight. */
const HIT_PART = 0.3
/** A machine that is busy with other things may take its time. */
const TIMEOUT_MS = 30 * 60_000

const BACKENDS = ['embedded', 'hazelcast'] as const

let reports: JobReport[] = []

before(
  async () => {
    await runJobs(allJobs(), (report) => reports.push(report))
  },
  { timeout: TIMEOUT_MS },
)

after(() => {
  reports = []
})

/** The dear ones first, so that no core stands idle at the end. */
function* allJobs(): Generator<Job, undefined> {
  for (const backend of ['hazelcast', 'embedded'] as const) {
    for (let seed = 1; seed <= EVENT_JOBS[backend]; seed++)
      yield { backend, seed, count: JOB_COUNT, events: true }
    for (let seed = 1; seed <= JOBS[backend]; seed++)
      yield { backend, seed, count: JOB_COUNT, journal: isJournaled(backend, seed) }
  }
  for (const { name, backend, journal = false, events = false } of BUGS)
    yield { backend, seed: 1, count: CATCH_WITHIN, bug: name, journal, events }
  return undefined
}

/** In every third history on Hazelcast nodes keep journals, and nothing that a cluster held may be missing. */
function isJournaled(backend: Plan['backend'], seed: number): boolean {
  return backend === 'hazelcast' && seed % 3 === 0
}

function histories(backend: Plan['backend'], events = false): JobReport[] {
  return reports.filter(
    ({ job }) => job.backend === backend && job.bug === undefined && (job.events ?? false) === events,
  )
}

function failureOf(done: readonly JobReport[]): string | undefined {
  const [first] = done.flatMap(({ failure }) => failure ?? [])
  return first && `npm run soak -- --plan '${JSON.stringify(first.plan)}' : ${first.wrong}`
}

const sum = (done: readonly JobReport[], of: (report: JobReport) => number) =>
  done.reduce((total, report) => total + of(report), 0)

for (const backend of BACKENDS) {
  const count = JOBS[backend] * JOB_COUNT
  test(`${count} histories on the ${backend} backend keep the promise`, (context) => {
    const done = histories(backend)
    assert.equal(failureOf(done), undefined)
    assert.equal(
      sum(done, (report) => report.histories),
      count,
    )
    context.diagnostic(
      `${sum(done, ({ events }) => events)} events, ${sum(done, ({ acknowledged }) => acknowledged)} acknowledged`,
    )
    context.diagnostic(
      `event hash ${done
        .map(({ job, hash }) => `${job.seed}:${hash.toString(16)}`)
        .sort()
        .join(' ')}`,
    )
  })

  const followedCount = EVENT_JOBS[backend] * JOB_COUNT
  test(`readers of events miss nothing in ${followedCount} histories on the ${backend} backend`, () => {
    const done = histories(backend, true)
    assert.equal(failureOf(done), undefined)
    assert.equal(
      sum(done, (report) => report.histories),
      followedCount,
    )
  })

  test(`each kind of fault hits operations in flight in 30 % of its histories on the ${backend} backend`, () => {
    for (const kind of kindsOf(backend)) {
      const { had, hit } = faultsOf(histories(backend), kind)
      assert.ok(had >= 100 && hit / had >= HIT_PART, `${kind}: ${hit} of ${had}`)
    }
  })

  test(`the same seed gives the same event hash on the ${backend} backend`, async () => {
    const job = { backend, seed: 7, count: 5 }
    const [first, second] = [await runJob(job), await runJob(job)]
    assert.equal(first.hash, second.hash)
    assert.notEqual(first.hash, (await runJob({ ...job, seed: 8 })).hash)
  })
}

for (const { found, plan } of COMMITTED) {
  test(`does not happen again: ${found}`, async () => {
    assert.equal(await wrongWith(plan), '')
  })
}

for (const { name, backend } of BUGS) {
  test(`catches a planted bug of the ${backend} backend: ${name}`, (context) => {
    const report = reports.find(({ job }) => job.bug === name)!
    assert.notEqual(report.failure, undefined, `not within ${report.histories} histories`)
    context.diagnostic(`after ${report.histories} histories: ${report.failure!.wrong}`)
  })
}

for (const { name, backend, planted, plan } of RARE_BUGS) {
  test(`catches a planted bug of the ${backend} backend by its plan: ${name}`, async () => {
    assert.notEqual(await wrongWith(plan, planted), '')
    assert.equal(await wrongWith(plan), '')
  })
}

function faultsOf(of: readonly JobReport[], kind: FaultKind): { had: number; hit: number } {
  const all = { had: 0, hit: 0 }
  for (const { faults } of of) {
    const { had = 0, hit = 0 } = faults.get(kind) ?? {}
    all.had += had
    all.hit += hit
  }
  return all
}
