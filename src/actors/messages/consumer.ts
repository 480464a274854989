/**
 * The consumer of one lane a messages actor holds: claims what waits, has each message handled, settles it,
 * then hands it on to be shown. Runs beside the actor's mailbox.
 *
 *   claim ──▶ (no handler) ──────────────────────▶ settle done ──▶ onDelivered
 *        └──▶ start ──▶ handler ──▶ done, retry at, dead or back ──▶ settle ──▶ onDelivered
 *
 * Commit first, then show: what a reader saw never vanishes. An attempt is counted, durably, before its
 * handler runs. Handlers of all lanes share the actor's slots; a suspect (its start was open when a worker
 * died) takes all slots, so that it runs alone.
 */

import type { Semaphore } from 'async-mutex'
import type { Clock, Random } from '../../runtime/clock.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import { CLAIM_WAIT_MS, QUEUE_RETRY_MS, RETRY_BASE_MS, RETRY_MAX_MS } from '../../runtime/timings.ts'
import { atOf } from '../../storage/ids.ts'
import { MAX_STARTS } from '../../storage/limits.ts'
import type { Claimed, Delivered, Queue, Settlement } from '../../storage/ports.ts'
import { type Handler, runHandler } from './handler.ts'

const CLAIM_COUNT = 1000
const CLAIM_WITH_HANDLER_COUNT = 64

/** What a consumer needs of its actor. */
export interface ConsumerOptions {
  lane: number
  queue: Queue
  clock: Clock
  random: Random
  logger: Logger
  /** Null: messages are only stored. */
  handler: Handler | null
  handlerTimeoutMs: number
  /** `--handler-concurrency` slots, shared by the actor's lanes. */
  slots: Semaphore
  slotCount: number
  /** What the lane's list now holds more, ascending. */
  onDelivered: (lane: number, delivered: readonly Delivered[]) => Promise<void>
  /** Called after a settlement, with all ids it was about. */
  onSettled: (ids: readonly string[]) => void
  /** The lane was lost without being given up: nothing is done with it here any more. */
  onLost: () => void
  /** A handler ignores its signal: it runs until this process ends. */
  onRunaway: (error: Error) => void
  /** The consumer cannot go on in this process: a bug. */
  onFatal: (error: unknown) => void
}

/** Consumes one held lane until stopped. */
export class Consumer {
  readonly #options: ConsumerOptions
  readonly #stop = new AbortController()
  readonly #cut = new AbortController()
  #isAbandoned = false
  /** Attempts begun and not yet settled. */
  readonly #attempts = new Set<Promise<void>>()
  /** Messages in hand: begun, or waiting for a slot. */
  #inHandCount = 0
  /** Makes a loop that waits for room look again. */
  #stir = () => {}
  #loop: Promise<void> | undefined

  constructor(options: ConsumerOptions) {
    this.#options = options
  }

  /** Begins consuming. */
  run(): void {
    this.#loop = this.#consume().catch((error: unknown) => this.#fail(error))
  }

  /**
   * Takes nothing new and ends what runs: handlers get `graceMs`, then their signal is aborted and their
   * start given back. What waits for a slot is not waited for: other lanes' handlers may take long.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stop.abort()
    const cancel = this.#options.clock.after(graceMs, () => this.#cut.abort())
    this.#stir()
    this.#options.queue.wake(this.#options.lane)
    await this.#loop
    await Promise.all(this.#attempts)
    cancel()
  }

  /**
   * The lane was lost: nothing of it is this consumer's any more. Its handlers are cut short, and nothing more is
   * written: the lane may be held again by this very process, with the same messages in other hands.
   */
  abandon(): void {
    this.#isAbandoned = true
    void this.stop(0)
  }

  async #consume(): Promise<void> {
    const { lane, queue, handler, onDelivered } = this.#options
    const maxCount = handler === null ? CLAIM_COUNT : CLAIM_WITH_HANDLER_COUNT
    while (!this.#stop.signal.aborted) {
      const room = maxCount - this.#inHandCount
      if (room <= maxCount / 2) {
        await new Promise<void>((resolve) => {
          this.#stir = resolve
        })
        continue
      }
      const claimed = await this.#insist(() => queue.claim(lane, room, CLAIM_WAIT_MS), this.#stop.signal)
      const late = queue.late(lane)
      if (late.length > 0) await onDelivered(lane, late)
      if (handler === null) {
        if (claimed.length > 0) await this.#settle(claimed.map(({ id }) => ({ id, as: 'done' })))
        continue
      }
      for (const message of claimed) void this.#handle(handler, message)
    }
  }

  /** Never rejects. */
  async #handle(handler: Handler, message: Claimed): Promise<void> {
    const { slots, slotCount } = this.#options
    this.#inHandCount++
    const [, release] = await slots.acquire(message.suspect ? slotCount : 1)
    // Not begun when the lane is given up: nothing to settle, it waits in its line.
    if (!this.#stop.signal.aborted) {
      const attempt = this.#attempt(handler, message).catch((error: unknown) => this.#fail(error))
      this.#attempts.add(attempt)
      await attempt
      this.#attempts.delete(attempt)
    }
    release()
    this.#inHandCount--
    this.#stir()
  }

  async #attempt(handler: Handler, { id, text, starts }: Claimed): Promise<void> {
    const { lane, queue, clock, handlerTimeoutMs, logger } = this.#options
    await this.#insist(() => queue.start(lane, [id]))
    if (this.#stop.signal.aborted) return this.#settle([{ id, as: 'back' }])
    const attempt = starts + 1
    const run = await runHandler(
      handler,
      { id, text, at: atOf(id) },
      { attempt, timeoutMs: handlerTimeoutMs, cut: this.#cut.signal, clock },
    )
    const ignored = run.as !== 'done' && run.ignored
    if (run.as === 'failed') {
      const error = ignored ? `${run.error}, and it ignored its signal` : run.error
      logger.warn({ id, attempt, error }, 'handler failed')
      await this.#settle([
        attempt >= MAX_STARTS
          ? { id, as: 'dead', reason: `The handler failed ${attempt} times`, error }
          : { id, as: 'retry', dueAt: clock.now() + this.#backoffMs(attempt), error },
      ])
    } else {
      await this.#settle([{ id, as: run.as === 'cut' ? 'back' : 'done' }])
    }
    // The start is settled: this message alone is blamed.
    if (ignored) this.#options.onRunaway(new Error(`The handler of message ${id} ignored its signal`))
  }

  #backoffMs(attempt: number): number {
    const capMs = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** (attempt - 1))
    return capMs * (0.5 + this.#options.random() / 2)
  }

  async #settle(settlements: readonly Settlement[]): Promise<void> {
    const { lane, queue, onDelivered, onSettled } = this.#options
    const delivered = await this.#insist(() => queue.settle(lane, settlements))
    if (delivered.length > 0) await onDelivered(lane, delivered)
    onSettled(settlements.map(({ id }) => id))
  }

  /** Repeats a call while the store is away (a full disk, say): it changes nothing to repeat it. */
  async #insist<T>(call: () => Promise<T>, until = this.#cut.signal): Promise<T> {
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

  /** What could not be written before the lane is given up is found in its line by its next holder. */
  #fail(error: unknown): void {
    const { lane, logger, onFatal, onLost } = this.#options
    if (isMailroomError(error, 'MR_LANE_ELSEWHERE') && !this.#stop.signal.aborted) onLost()
    else if (!this.#stop.signal.aborted || !isMailroomError(error)) onFatal(error)
    else logger.warn({ lane, error: error.message }, 'lane given up meanwhile')
  }
}
