/** A thread that runs histories: one job after another, each with fast-check drawing and shrinking its plans. */
import { parentPort } from 'node:worker_threads'
import { BUGS } from './bugs.ts'
import { type Job, runJob } from './job.ts'

// Stacks are for people: a history that failed is run again for them.
Error.stackTraceLimit = 0

parentPort!.on('message', async (job: Job) => {
  const bug = BUGS.find(({ name }) => name === job.bug)
  parentPort!.postMessage(await runJob(job, bug?.planted))
})
