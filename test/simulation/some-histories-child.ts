/** Runs some histories of the simulation on both backends. Exit code 1, and what went wrong, when one fails. */
import { runJob } from './job.ts'

const COUNT = 100

for (const backend of ['embedded', 'hazelcast'] as const) {
  const { failure } = await runJob({ backend, seed: 1, count: COUNT })
  if (failure !== undefined) {
    console.error(`${backend}: ${failure.wrong} in ${JSON.stringify(failure.plan)}`)
    process.exitCode = 1
  }
}
