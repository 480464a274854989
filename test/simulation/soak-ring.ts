/** Runs the simulation with new seeds on all cores for a given time. */
import type { Ring } from '../support/ring.ts'
import type { Job } from './job.ts'
import { runJobs } from './pool.ts'

const JOB_COUNT = 50

/** Histories on both backends until the time is over. */
export const simulationRing: Ring = {
  name: 'simulation',
  async run({ minutes, seed, say }) {
    const endAt = performance.now() + minutes * 60_000
    let histories = 0
    let failures = 0
    function* jobs(): Generator<Job, undefined> {
      for (let next = seed; performance.now() < endAt; next++) {
        for (const backend of ['hazelcast', 'embedded'] as const)
          yield {
            ...{ backend, seed: next, count: JOB_COUNT, events: next % 3 === 1 },
            journal: backend === 'hazelcast' && next % 3 === 0,
          }
      }
      return undefined
    }
    await runJobs(jobs(), ({ job, failure, ...report }) => {
      histories += report.histories
      if (failure === undefined) return
      failures++
      say(`seed ${job.seed}, ${job.backend}: ${failure.wrong}`)
      say(`  again: npm run soak -- --plan '${JSON.stringify(failure.plan)}'`)
    })
    say(`${histories} histories from seed ${seed} on, ${failures} failures`)
    return failures === 0
  },
}
