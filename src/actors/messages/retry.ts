/** What becomes of a message whose run failed by its own fault: it is tried again, or it is a dead letter. */
import type { Random } from '../../runtime/clock.ts'
import { deathsReason } from '../../storage/lane.ts'
import { MAX_DEATHS } from '../../storage/limits.ts'
import type { Claimed, Settlement } from '../../storage/ports.ts'
import type { Run } from './runner.ts'

/** How often a message is tried, and the pauses in between (ms): `--attempts`, `--retry-min`, `--retry-max`. */
export interface RetryPolicy {
  attempts: number
  retryMinMs: number
  retryMaxMs: number
}

/**
 * The settlement of a run that failed. In a start in which the process died, the message may have killed it: those are
 * counted apart, and five of them make a dead letter.
 *
 * @param message As it was claimed before this start.
 * @param target As `Runner.target`.
 */
export function settlementOf(
  { error, isDeath, retry }: Extract<Run, { as: 'failed' }>,
  { id, starts, deaths }: Pick<Claimed, 'id' | 'starts' | 'deaths'>,
  { policy, random, target }: { policy: RetryPolicy; random: Random; target: string },
): Settlement {
  const dead = (reason: string): Settlement => ({ id, as: 'dead', reason, error })
  const subject = target.replace(/^the /, 'The ')
  if (retry === false) return dead(`${subject} asked for no other attempt`)
  if (isDeath && deaths + 1 >= MAX_DEATHS) return dead(deathsReason(deaths + 1))
  const failures = starts - deaths + 1
  if (!isDeath && failures >= policy.attempts) return dead(`${subject} failed ${timesText(failures)}`)
  const longestMs = Math.min(policy.retryMaxMs, policy.retryMinMs * 2 ** starts)
  const pauseMs = longestMs * (0.5 + random() / 2)
  const delayMs = Math.max(pauseMs, Math.min(retry?.afterMs ?? 0, policy.retryMaxMs))
  return { id, as: 'retry', delayMs, error, ...(isDeath && { isDeath }) }
}

function timesText(count: number): string {
  return count === 1 ? 'once' : `${count} times`
}
