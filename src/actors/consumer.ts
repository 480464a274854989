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
import type { Clock, Random } from '../runtime/clock.ts'
import { isMailroomError } from '../runtime/errors.ts'
import { atOf } from '../runtime/ids.ts'
import type { Logger } from '../runtime/logger.ts'
import { type Claimed, type Delivered, MAX_STARTS, type Queue, type Settlement } from '../runtime/ports.ts'
import { type Handler, runHandler } from './handler.ts'

const CLAIM_COUNT = 1000
const CLAIM_WITH_HANDLER_COUNT = 64
/** A wake-up that was lost costs at most this. */
const CLAIM_WAIT_MS = 500
const RETRY_BASE_MS = 500
const RETRY_MAX_MS = 60_000
const STORE_PAUSE_MS = 250

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
  /** A message was found whose start was open when a worker died. */
  onSuspect: () => void
  /** The consumer cannot go on in this process: a bug, or a handler that ignores its signal. */
  onFatal: (error: unknown) => void
}

/** Consumes one held lane until stopped. */
export class Consumer {
  readonly #options: ConsumerOptions
  readonly #stop = new AbortController()
  readonly #cut = new AbortController()
  readonly #running = new Set<Promise<void>>()
  #loop: Promise<void> | undefined

  constructor(options: ConsumerOptions) {
    this.#options = options
  }

  /** Begins consuming. */
  run(): void {
    this.#loop = this.#consume().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#options.onFatal(error)
    })
  }

  /**
   * Takes nothing new and ends what runs: handlers get `graceMs`, then their signal is aborted and their
   * start given back. The caller must have made `claim` return (by giving the lane up or a wake).
   */
  async stop(graceMs: number): Promise<void> {
    this.#stop.abort()
    const cancel = this.#options.clock.after(graceMs, () => this.#cut.abort())
    this.#options.queue.wake(this.#options.lane)
    await this.#loop
    await Promise.all(this.#running)
    cancel()
  }

  async #consume(): Promise<void> {
    const { lane, queue, handler } = this.#options
    const maxCount = handler === null ? CLAIM_COUNT : CLAIM_WITH_HANDLER_COUNT
    while (!this.#stop.signal.aborted) {
      const room = maxCount - this.#running.size
      if (room <= maxCount / 2) {
        await Promise.race(this.#running)
        continue
      }
      const claimed = await queue.claim(lane, room, CLAIM_WAIT_MS)
      if (handler === null) {
        if (claimed.length > 0) await this.#settle(claimed.map(({ id }) => ({ id, as: 'done' })))
        continue
      }
      for (const message of claimed) {
        if (message.suspect) this.#options.onSuspect()
        const run = this.#handle(handler, message)
          .catch((error: unknown) => this.#options.onFatal(error))
          .finally(() => this.#running.delete(run))
        this.#running.add(run)
      }
    }
  }

  async #handle(handler: Handler, message: Claimed): Promise<void> {
    const { slots, slotCount } = this.#options
    await slots.runExclusive(
      async () => {
        // Not begun when the lane is given up: nothing to settle, it waits in its line.
        if (this.#stop.signal.aborted) return
        await this.#attempt(handler, message)
      },
      message.suspect ? slotCount : 1,
    )
  }

  async #attempt(handler: Handler, { id, text, starts }: Claimed): Promise<void> {
    const { lane, queue, clock, handlerTimeoutMs, logger } = this.#options
    await this.#insist(() => queue.start(lane, [id]))
    const attempt = starts + 1
    const run = await runHandler(
      handler,
      { id, text, at: atOf(id) },
      { attempt, timeoutMs: handlerTimeoutMs, cut: this.#cut.signal, clock },
    )
    if (run.as === 'done') return this.#settle([{ id, as: 'done' }])
    if (run.as === 'cut') return this.#settle([{ id, as: 'back' }])
    const error =
      run.as === 'ignored'
        ? `Handler timeout of ${handlerTimeoutMs} ms, and it ignored its signal`
        : run.error
    logger.warn({ id, attempt, error }, 'handler failed')
    await this.#settle([
      attempt >= MAX_STARTS
        ? { id, as: 'dead', reason: `The handler failed ${attempt} times`, error }
        : { id, as: 'retry', dueAt: clock.now() + this.#backoffMs(attempt), error },
    ])
    // Still running, and not to be stopped in any other way: its worker ends, the start is already settled.
    if (run.as === 'ignored') this.#options.onFatal(new Error(`Message ${id}: ${error}`))
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

  /** Repeats a write while its store is away (a full disk, say): it changes nothing to repeat it. */
  async #insist<T>(write: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await write()
      } catch (error) {
        if (!isMailroomError(error, 'MR_STORE_UNAVAILABLE') || this.#cut.signal.aborted) throw error
        this.#options.logger.warn({ lane: this.#options.lane, error: error.message }, 'queue unavailable')
        await this.#options.clock.sleep(STORE_PAUSE_MS, this.#cut.signal)
      }
    }
  }
}
