/**
 * Runs a delivered message once more, on an operator's word: its receiver said that it had it, and lost it. One run, now;
 * its outcome is the answer, and nothing is recorded. It takes a slot and waits for the breaker, as every run does, and
 * runs alone: it may be the message that ended the receiver.
 */
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { REDELIVER_WAIT_MS } from '../../runtime/timings.ts'
import type { Message } from '../../storage/ports.ts'
import { type Breaker, fail, type Pass } from './outage.ts'
import type { Runner } from './runner.ts'

/** What it needs of its actor. */
export interface RedeliveryOptions {
  runner: Runner | null
  breaker: Breaker
  clock: Clock
  /** Aborted when the actor drains. */
  drain: AbortSignal
}

/**
 * Runs a message once.
 *
 * @param attempt Its number.
 * @throws {MailroomError} `MR_REDELIVERY_REFUSED` (none): nothing runs messages, delivery is paused, the target is away, or
 * no slot was free for `REDELIVER_WAIT_MS`; `MR_REDELIVERY_FAILED` (unknown) with its error; `MR_DRAINING`.
 */
export async function redeliver(
  message: Message,
  attempt: number,
  { runner, breaker, clock, drain }: RedeliveryOptions,
): Promise<void> {
  const { id } = message
  const refuse = (reason: string): never => {
    throw new MailroomError('MR_REDELIVERY_REFUSED', { id, reason })
  }
  if (runner === null) return refuse('this node has neither --handler nor --forward')
  if (breaker.pause.isPaused) return refuse('delivery is paused')
  const tooLate = new AbortController()
  const cancel = clock.after(REDELIVER_WAIT_MS, () => tooLate.abort(), { unref: true })
  const ends = AbortSignal.any([tooLate.signal, drain])
  const slot = runner.acquire('alone')
  const isMine = await unlessAborted(
    slot.then(() => runner.ready()),
    ends,
  )
  const pass = isMine ? await breaker.admit(id, true, ends) : undefined
  cancel()
  try {
    if (drain.aborted) throw new MailroomError('MR_DRAINING', { name: 'the messages actor' })
    if (pass === undefined) {
      const { outage } = breaker
      return refuse(outage === null ? 'others run; try again' : `${outage.target} is away: ${outage.why}`)
    }
    await runOnce(message, attempt, { runner, pass, drain })
  } finally {
    pass?.end()
    void slot.then((release) => release())
  }
}

async function runOnce(
  message: Message,
  attempt: number,
  { runner, pass, drain }: { runner: Runner; pass: Pass; drain: AbortSignal },
): Promise<void> {
  const onStart = () => pass.begin()
  const run = await runner.run(message, { attempt, isAlone: true, abort: drain, onStart })
  if (run.as === 'done') return pass.succeeded()
  if (run.as === 'back') {
    throw new MailroomError('MR_DRAINING', { name: 'the messages actor' }, { outcome: 'unknown' })
  }
  if (run.isOutage) pass.metOutage(run.error)
  else fail(pass, run)
  throw new MailroomError('MR_REDELIVERY_FAILED', { id: message.id, error: run.error })
}

/** True when the work was done before the signal was aborted. */
async function unlessAborted(work: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
  const { promise: aborted, resolve } = Promise.withResolvers<boolean>()
  const onAbort = () => resolve(false)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  const isDone = await Promise.race([work.then(() => true), aborted])
  signal.removeEventListener('abort', onAbort)
  return isDone
}
