/**
 * The consumer of one held lane: claims pending messages, runs the handler on each, settles it, then passes it to
 * the actor's store. Runs beside the actor's mailbox.
 *
 *   claim ──▶ (no handler) ──────────────────────▶ settle done ──▶ onDelivered
 *        └──▶ start ──▶ handler ──▶ done, retry at, dead or back ──▶ settle ──▶ onDelivered
 *
 * A message that has a slot waits for the actor's breaker: while the target is away, only probes start.
 * A message enters the store only after its settlement is durable, so a reader never sees it vanish. A start is
 * durable before its handler runs. Handlers of all lanes share the actor's slots. A suspect runs alone, in a process
 * of its own: its start was open when its worker died, or its handler may have ended the process it ran in.
 */

import type { Clock, Random } from '../../runtime/clock.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import type { Figures } from '../../runtime/figures.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { OUTCOMES } from '../../runtime/metrics.ts'
import { CLAIM_WAIT_MS, DELIVERY_MS, QUEUE_RETRY_MS } from '../../runtime/timings.ts'
import { timeOf } from '../../storage/ids.ts'
import type { Claimed, Delivered, Queue, Settlement } from '../../storage/ports.ts'
import { type Breaker, fail, type Pass } from './outage.ts'
import { type RetryPolicy, settlementOf } from './retry.ts'
import type { Run, Runner } from './runner.ts'

const CLAIM_COUNT = 1000
const CLAIM_WITH_HANDLER_COUNT = 64
/** Retries in hand, so that new messages can be claimed however many retries are due. */
const CLAIM_RETRY_COUNT = CLAIM_WITH_HANDLER_COUNT / 2

/** What a consumer needs of its actor. */
export interface ConsumerOptions {
  lane: number
  queue: Queue
  clock: Clock
  random: Random
  logger: Logger
  figures: Figures
  /** Runs the handler for all lanes of the actor. Null: messages are only stored. */
  runner: Runner | null
  /** Of the actor. */
  breaker: Breaker
  policy: RetryPolicy
  /** A message that still meets an outage, so long after it was posted or last replayed, is a dead letter. */
  retentionMs: number
  /** Called with messages that are new in the lane's list, ascending. */
  onDelivered: (lane: number, delivered: readonly Delivered[]) => Promise<void>
  /** Called with the message and the error of an attempt that failed, or met an outage. */
  onFailed: (id: string, error: string) => void
  /** Called with messages that are delivered or dead now. */
  onSettled: (ids: readonly string[]) => void
  /** Called with messages that are dead letters now. */
  onDead: (lane: number, ids: readonly string[]) => void
  /** The lane was lost without being released. The actor must abandon this consumer. */
  onLost: () => void
  /** The consumer met a bug and has stopped. */
  onFatal: (error: unknown) => void
}

/** Consumes one held lane until stopped. */
export class Consumer {
  readonly #options: ConsumerOptions
  readonly #stop = new AbortController()
  readonly #abortHandlers = new AbortController()
  #isAbandoned = false
  /** Attempts that have a slot and are not settled. */
  readonly #attempts = new Set<Promise<void>>()
  /** Messages in hand: started, or queued for a slot. Retries are those that were started before. */
  #inHandCount = 0
  #retriesInHandCount = 0
  /** Ids of suspects found here. After a crash of this process, the queue knows more of them. */
  readonly #suspects = new Set<string>()
  /** Ends the loop's pause when too many messages are in hand. */
  #endPause = () => {}
  #loop: Promise<void> | undefined

  constructor(options: ConsumerOptions) {
    this.#options = options
  }

  /** Starts consuming. Returns at once. */
  run(): void {
    this.#loop = this.#consume().catch((error: unknown) => this.#fail(error))
  }

  /**
   * Claims nothing more and finishes the running attempts: handlers get `graceMs`, then their signal is aborted and
   * their start is not counted. Messages queued for a slot stay pending, as other lanes' handlers may take long.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stop.abort()
    const cancel = this.#options.clock.after(graceMs, () => this.#abortHandlers.abort())
    this.#endPause()
    this.#options.queue.wake(this.#options.lane)
    await this.#loop
    await Promise.all(this.#attempts)
    cancel()
  }

  /**
   * Stops at once, after the lane was lost. Handlers are aborted and nothing more is written: this process may hold
   * the lane again by then, and another consumer may have claimed the same messages.
   */
  abandon(): void {
    this.#isAbandoned = true
    void this.stop(0)
  }

  async #consume(): Promise<void> {
    const { lane, queue, clock, runner, breaker } = this.#options
    const pausing = breaker.pause
    const maxCount = runner === null ? CLAIM_COUNT : CLAIM_WITH_HANDLER_COUNT
    while (!this.#stop.signal.aborted) {
      await pausing.over(this.#stop.signal)
      if (this.#stop.signal.aborted) break
      const freeCount = maxCount - this.#inHandCount
      if (freeCount <= maxCount / 2) {
        await new Promise<void>((resolve) => {
          this.#endPause = resolve
        })
        continue
      }
      const retryCount =
        runner === null ? freeCount : Math.min(freeCount, CLAIM_RETRY_COUNT - this.#retriesInHandCount)
      const claimed = await this.#retryWhileUnavailable(
        () => queue.claim(lane, freeCount, CLAIM_WAIT_MS, retryCount),
        this.#stop.signal,
      )
      const pause = clock.sleep(DELIVERY_MS, this.#stop.signal)
      const found = queue.deliveredByFormerHolder(lane)
      if (found.length > 0) await this.#show(found)
      // What was claimed meanwhile waits in hand.
      if (runner === null) await pausing.over(this.#stop.signal)
      if (this.#stop.signal.aborted && runner === null && pausing.isPaused) break
      if (runner !== null) for (const message of claimed) void this.#handle(runner, message)
      else if (claimed.length > 0) await this.#settle(claimed.map(({ id }) => ({ id, as: 'done' })))
      if (claimed.length < freeCount) await pause
    }
  }

  /** Never rejects. */
  async #handle(runner: Runner, message: Claimed): Promise<void> {
    const { lane, queue, breaker } = this.#options
    const isSuspect = message.suspect || this.#suspects.has(message.id)
    const isRetry = isSuspect || message.starts > 0
    this.#inHandCount++
    if (isRetry) this.#retriesInHandCount++
    const release = await runner.acquire(isSuspect ? 'alone' : isRetry ? 'retry' : 'new')
    await runner.ready()
    const pass = await breaker.admit(message.id, isRetry, this.#stop.signal)
    // After a stop it is not started. There is nothing to settle: it is pending in its lane.
    if (pass !== undefined && !this.#stop.signal.aborted) {
      const attempt = this.#attempt(runner, message, { isAlone: isSuspect, pass }).catch((error: unknown) =>
        this.#fail(error),
      )
      this.#attempts.add(attempt)
      await attempt
      this.#attempts.delete(attempt)
    }
    pass?.end()
    release()
    this.#inHandCount--
    // A claim that waits may now take a retry that is due.
    if (isRetry && this.#retriesInHandCount-- >= CLAIM_RETRY_COUNT) queue.wake(lane)
    this.#endPause()
  }

  async #attempt(
    runner: Runner,
    message: Claimed,
    { isAlone, pass }: { isAlone: boolean; pass: Pass },
  ): Promise<void> {
    const { lane, queue, breaker, clock, figures } = this.#options
    const { id, text } = message
    await this.#retryWhileUnavailable(() => queue.start(lane, [id]))
    // On a full disk that may have taken long.
    if (this.#stop.signal.aborted || breaker.pause.isPaused) return this.#settle([{ id, as: 'back' }])
    const onStart = () => pass.begin()
    const options = { attempt: message.starts + 1, isAlone, abort: this.#abortHandlers.signal, onStart }
    const beganAt = clock.monotonic()
    const run = await runner.run({ id, text }, options)
    figures.observe('mailroom_handler_duration_seconds', (clock.monotonic() - beganAt) / 1000)
    const settlement = this.#judge(run, message, { target: runner.target, pass })
    figures.count('mailroom_attempts_total', { outcome: outcomeOf(settlement) })
    if (run.as !== 'done' && run.isSuspect && settlement.as !== 'dead') this.#suspects.add(id)
    else this.#suspects.delete(id)
    await this.#settle([settlement])
  }

  /** What becomes of a message that has run. */
  #judge(run: Run, message: Claimed, { target, pass }: { target: string; pass: Pass }): Settlement {
    const { clock, random, logger, policy, retentionMs, onFailed } = this.#options
    const { id, starts, replayedAt } = message
    if (run.as === 'done') pass.succeeded()
    if (run.as !== 'failed') return { id, as: run.as }
    const { error, isOutage, retry } = run
    onFailed(id, error)
    if (isOutage && retry !== false) {
      const delayMs = pass.metOutage(error, retry?.afterMs)
      if (delayMs !== undefined) {
        logger.debug({ id, error, delayMs }, 'the target was away; the attempt does not count')
        // A dead letter that was replayed has its time anew.
        const isOver = Math.max(timeOf(id), replayedAt) < clock.ago(retentionMs)
        return isOver ? { id, as: 'dead', reason: 'outage', error } : { id, as: 'back', delayMs, error }
      }
    }
    fail(pass, run)
    logger.warn({ id, attempt: starts + 1, target, error }, 'an attempt failed')
    return settlementOf(run, message, { policy, random, target })
  }

  async #settle(settlements: readonly Settlement[]): Promise<void> {
    const { lane, queue, figures, onSettled, onDead } = this.#options
    const delivered = await this.#retryWhileUnavailable(() => queue.settle(lane, settlements))
    figures.count('mailroom_delivered_total', {}, delivered.length)
    for (const { id, deliveredAt } of delivered) {
      figures.observe('mailroom_delivery_latency_seconds', Math.max(0, deliveredAt - timeOf(id)) / 1000)
    }
    if (delivered.length > 0) await this.#show(delivered)
    const dead = settlements.flatMap(({ id, as }) => (as === 'dead' ? id : []))
    figures.count('mailroom_dead_total', {}, dead.length)
    onSettled(dead)
    onDead(lane, dead)
  }

  async #show(delivered: readonly Delivered[]): Promise<void> {
    const { lane, onDelivered, onSettled } = this.#options
    await onDelivered(lane, delivered)
    onSettled(delivered.map(({ id }) => id))
  }

  /** Retries an idempotent call while the queue is unavailable (for example, the disk is full). */
  async #retryWhileUnavailable<T>(call: () => Promise<T>, until = this.#abortHandlers.signal): Promise<T> {
    for (;;) {
      if (this.#isAbandoned) {
        const facts = { lane: this.#options.lane, name: 'this consumer' }
        throw new MailroomError('MR_LANE_ELSEWHERE', facts)
      }
      try {
        return await call()
      } catch (error) {
        if (!isMailroomError(error, 'MR_STORE_UNAVAILABLE') || until.aborted) throw error
        this.#options.logger.warn({ lane: this.#options.lane, error: error.message }, 'queue unavailable')
        await this.#options.clock.sleep(QUEUE_RETRY_MS, until)
      }
    }
  }

  /** After a stop an unavailable queue is no failure: the lane's next holder finds the messages pending. */
  #fail(error: unknown): void {
    const { lane, logger, onFatal, onLost } = this.#options
    if (isMailroomError(error, 'MR_LANE_ELSEWHERE') && !this.#stop.signal.aborted) onLost()
    else if (!this.#stop.signal.aborted || !isMailroomError(error)) onFatal(error)
    else logger.warn({ lane, error: error.message }, 'the queue failed while the lane was being released')
  }
}

/** What came of an attempt. */
function outcomeOf(settlement: Settlement): (typeof OUTCOMES)[number] {
  switch (settlement.as) {
    case 'done':
      return 'delivered'
    case 'back':
      return settlement.error === undefined ? 'interrupted' : 'outage'
    default:
      return settlement.as
  }
}
