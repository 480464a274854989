/** Waits in virtual time, outside of all simulated processes. */
import type { Scheduler } from './scheduler.ts'

/** Lets virtual time pass until a condition holds, or a time limit is over. */
export async function passUntil(
  scheduler: Scheduler,
  maxMs: number,
  condition: () => boolean,
): Promise<void> {
  const endAt = scheduler.now + maxMs
  while (!condition() && scheduler.now < endAt) await scheduler.pass(100)
}

/** What a promise comes to in virtual time; undefined when it takes too long. @param look Called meanwhile, and at the end. */
export async function within<T>(
  scheduler: Scheduler,
  maxMs: number,
  promise: Promise<T>,
  look: () => void = () => {},
): Promise<T | undefined> {
  let settled = false
  const end = () => {
    settled = true
  }
  promise.then(end, end)
  await passUntil(scheduler, maxMs, () => {
    look()
    return settled
  })
  return settled ? promise : undefined
}
