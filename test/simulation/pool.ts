/** Runs jobs on all cores. */
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Job, JobReport } from './job.ts'

/**
 * Runs jobs, each on one of as many threads as there are cores, in order.
 *
 * @param jobs Asked for the next one when a thread is free.
 * @param onReport Called as they end.
 */
export async function runJobs(
  jobs: Iterator<Job, unknown>,
  onReport: (report: JobReport) => void,
): Promise<void> {
  const work = async () => {
    const thread = new Worker(new URL('./histories-worker.ts', import.meta.url))
    try {
      for (let next = jobs.next(); !next.done; next = jobs.next()) {
        thread.postMessage(next.value)
        const [report] = (await once(thread, 'message')) as [JobReport]
        onReport(report)
      }
    } finally {
      await thread.terminate()
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
}
