/** Work on very many messages, page by page: a request does some steps of it, and says how far it came. */
import type { Clock } from '../../runtime/clock.ts'
import { BULK_SLICE_MS } from '../../runtime/timings.ts'

/**
 * Calls `step` until it returns false, `limit` is reached or the request has taken `BULK_SLICE_MS`. An error after the
 * first success is not thrown: the answer says what was done, and the next request meets the error.
 *
 * @param sum Each step adds to it what it has looked at.
 * @param step Takes how many messages it may look at: at most `stepCount`.
 * @throws {MailroomError} What `step` throws while nothing has been looked at.
 */
export async function inSteps(
  clock: Clock,
  sum: { checked: number },
  { limit, stepCount }: { limit: number; stepCount: number },
  step: (count: number) => Promise<boolean>,
): Promise<void> {
  const endAt = clock.monotonic() + BULK_SLICE_MS
  try {
    while (await step(Math.min(stepCount, limit - sum.checked))) {
      if (sum.checked >= limit || clock.monotonic() >= endAt) return
    }
  } catch (error) {
    if (sum.checked === 0) throw error
  }
}
