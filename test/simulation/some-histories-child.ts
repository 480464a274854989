/** Runs some histories of the simulation on both backends. When one fails, prints why and exits with code 1. */
import { runJob } from './job.ts'

const COUNT = 100

for (const backend of ['embedded', 'hazelcast'] as const) {
  const { failure } = await runJob({ backend, seed: 1, count: COUNT })
  if (failure !== undefined) {
    console.error(`${backend}: ${failure.wrong} in ${JSON.stringify(failure.plan)}`)
    process.exitCode = 1
  }
}
