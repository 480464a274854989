/** Claims pending messages of a held lane: lone messages that are due, then batches, which are loaded as needed. */

import type { Clock } from '../../runtime/clock.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { OVERDUE_MS, REAPPEND_DEADLINE_MS, WAKE_POLL_MS } from '../../runtime/timings.ts'
import { placeOf, timeOf } from '../ids.ts'
import { CLAIMED_FIRST, claimedOf } from '../lane.ts'
import { bodyMaxBytes, HAND_MAX_BYTES, storedMaxBytes } from '../limits.ts'
import { type Claimed, type Delivered, type LaneBatch, textBytesOf } from '../ports.ts'
import type { Known, LoadedBatch } from './backlog.ts'
import { type ClusterQueue, FOR_EVER_MS, makeSure } from './cluster.ts'
import { messagesOf, type PendingEntry, partsOf } from './entries.ts'
import type { LaneState } from './lane-state.ts'

/** What a claimer needs of its lane. */
export interface ClaimerOptions {
  state: LaneState
  /** The lane's queue, which brings wake-ups. */
  mail: ClusterQueue
  clock: Clock
  /** Puts a batch into the log, once more. */
  repair: (batch: LaneBatch) => Promise<unknown>
  /** `--max-message`: what a text that is fetched may have. */
  maxMessageBytes: number
}

/** What one claim fetches at once: others are to find room, too. */
const FETCH_MAX_BYTES = HAND_MAX_BYTES / 2

/** Claims for one lane, one claim at a time. */
export class Claimer {
  readonly #options: ClaimerOptions
  readonly #state: LaneState
  #parked: Promise<unknown> | undefined
  /** Set by a wake that nobody waited for. */
  #woken = false
  #wake = () => {}

  constructor(options: ClaimerOptions) {
    this.#options = options
    this.#state = options.state
  }

  /** Something may wait. */
  wake(): void {
    this.#woken = true
    this.#wake()
  }

  /** Resolves when nothing is under way: what a wait takes from the queue stands in `pending`. */
  async rest(): Promise<void> {
    await this.#parked
  }

  /** As `Queue.claim`. */
  async claim(maxCount: number, waitMs: number, maxRetryCount: number): Promise<Claimed[]> {
    const { clock } = this.#options
    const { lone } = this.#state
    const endAt = clock.monotonic() + waitMs
    let isLast = false
    for (;;) {
      this.#state.refuseReleased()
      this.#woken = false
      const claimed = await this.#claimNow(maxCount, maxRetryCount)
      this.#state.refuseReleased()
      // It may have to end first what it has now.
      if (claimed.length > 0) this.#state.retryRoom.leaveLine()
      const leftMs = endAt - clock.monotonic()
      if (claimed.length > 0 || leftMs <= 0 || isLast) return claimed
      await this.#park(Math.min(leftMs, Math.max(1, lone.nextDueInMs())))
      isLast = this.#woken || this.#state.hasDeliveredByFormerHolder
    }
  }

  /** What has been taken in hand is returned, whatever fails after it. */
  async #claimNow(maxCount: number, maxRetryCount: number): Promise<Claimed[]> {
    const state = this.#state
    const claimed: Claimed[] = []
    try {
      if (!(await this.#claimLone(claimed, maxRetryCount))) return claimed
      while (!state.released && claimed.length < maxCount) {
        for (const hand of state.backlog.take(maxCount - claimed.length)) {
          if (state.lone.has(hand.id)) {
            state.room.give(Buffer.byteLength(hand.text))
            state.leaveBatch(hand) // A start that seemed to have failed was written after all.
            continue
          }
          state.inHand.set(hand.id, hand)
          claimed.push({ id: hand.id, text: hand.text, ...CLAIMED_FIRST })
        }
        if (claimed.length < maxCount && !(await this.#loadMore(maxCount - claimed.length, claimed))) break
      }
    } catch (error) {
      if (claimed.length === 0 || !isMailroomError(error)) throw error
    }
    return claimed
  }

  /** Up to their part of the room: new messages are claimed beside them. @returns False when there is no room at all. */
  async #claimLone(claimed: Claimed[], maxCount: number): Promise<boolean> {
    const state = this.#state
    const each = storedMaxBytes(this.#options.maxMessageBytes)
    const due: string[] = []
    let isRoom = true
    for (const id of state.lone.due((id) => !state.inHand.has(id)).slice(0, maxCount)) {
      if (!state.retryRoom.take(each, due.length === 0)) break
      isRoom = state.room.take(each, due.length === 0)
      if (!isRoom) {
        state.retryRoom.give(each)
        break
      }
      due.push(id)
    }
    try {
      await this.#fetchLone(due, claimed)
    } finally {
      // From here on the texts have what they have.
      const rest = each * due.length - textBytesOf(claimed)
      state.room.give(rest)
      state.retryRoom.give(rest)
    }
    return due.length > 0 || isRoom
  }

  async #fetchLone(due: readonly string[], claimed: Claimed[]): Promise<void> {
    const state = this.#state
    if (due.length === 0) return
    const [entries, delivered] = await Promise.all([state.lone.fetch(due), state.list.findSure(due)])
    await state.foundDelivered(delivered)
    await state.foundGone(due.filter((id) => !entries.has(id) && !delivered.has(id)))
    for (const id of due) {
      const text = entries.get(id)?.text
      const lone = state.lone.get(id)
      if (lone === undefined) continue
      if (delivered.has(id)) state.forgetDelivered(id)
      else if (text === undefined) state.lone.forget(id)
      else {
        state.inHand.set(id, { id, text, batch: undefined, isRetry: true })
        claimed.push({ id, text, ...claimedOf(lone) })
      }
    }
  }

  /** What the texts of a batch may have together. */
  #mostBytes(count: number): number {
    const { maxMessageBytes } = this.#options
    const one = storedMaxBytes(maxMessageBytes)
    return Math.min(count * one, bodyMaxBytes(maxMessageBytes) + one)
  }

  /** Brings batches here. @returns False when none waits, or there is no room for one. */
  async #loadMore(maxCount: number, claimed: readonly Claimed[]): Promise<boolean> {
    const { backlog, room } = this.#state
    if (backlog.waitingCount === 0) {
      for (const key of await this.#options.mail.drain(maxCount)) this.#arrived(key)
    }
    let bytes = 0
    const chosen = backlog.next(maxCount, (count, isFirst) => {
      const most = this.#mostBytes(count)
      if (!isFirst && bytes + most > FETCH_MAX_BYTES) return false
      if (!room.take(most, isFirst && claimed.length === 0)) return false
      bytes += most
      return true
    })
    if (chosen.length === 0) return false
    try {
      bytes -= await this.#load(chosen)
    } finally {
      room.give(bytes)
    }
    return true
  }

  /** @returns The bytes of the texts that were loaded. @throws When no batch could be loaded. */
  async #load(chosen: readonly { key: string; known: Known }[]): Promise<number> {
    const { backlog, pending, list } = this.#state
    let bytes = 0
    const unsure = chosen.filter(({ known }) => !known.isFresh).map(({ key }) => key)
    const [values, delivered] = await Promise.all([
      pending.getAll(chosen.map(({ key }) => key)),
      list.batchesSure(unsure.map((key) => partsOf(key).id)),
    ])
    await this.#state.foundDelivered(delivered)
    // A former holder settled these, perhaps only after the list was looked into.
    const gone = unsure.filter((key) => !values.has(key)).map((key) => partsOf(key).id)
    if (gone.length > 0) await this.#state.foundDelivered(await list.batchesSure(gone))
    const failures: unknown[] = []
    await Promise.all(
      chosen.map(async ({ key, known }) => {
        const value = values.get(key)
        if (value === undefined) return backlog.remove(key)
        const batch = this.#batchOf(key, value, delivered)
        if (batch.ready.length === 0) return this.#state.leavePending(key)
        try {
          if (known.isLogged || (await this.#log(batch, value))) {
            for (const [index] of batch.texts.entries())
              if (!batch.open.has(index + 1)) batch.texts[index] = ''
            bytes += textBytesOf(batch.texts.map((text) => ({ text })))
            backlog.loaded(batch)
          } else backlog.remove(key)
        } catch (error) {
          backlog.postpone(key)
          failures.push(error)
        }
      }),
    )
    if (failures.length === chosen.length) throw failures[0]
    return bytes
  }

  /** Of a batch, only what is not settled and not alone is ready. */
  #batchOf(key: string, value: string, delivered: ReadonlyMap<string, Delivered>): LoadedBatch {
    const { lone, dead } = this.#state
    const { id: batchKey } = partsOf(key)
    const { texts } = JSON.parse(value) as PendingEntry
    const ready = messagesOf(batchKey, texts)
      .map(({ id }) => id)
      .filter((id) => !dead.has(id) && !lone.has(id) && !delivered.has(id))
      .map(placeOf)
    return { batchKey, key, texts, ready, open: new Set(ready) }
  }

  /** Puts a batch that was found into the log. @returns False when it waits no more. */
  async #log({ batchKey, key, texts }: LoadedBatch, value: string): Promise<boolean> {
    const { lane, pending } = this.#state
    const { clock, repair } = this.#options
    // Perhaps it is on one member only: it is not to stand in the log alone.
    const sure = await makeSure(pending, new Map([[key, value]]), FOR_EVER_MS)
    if (!sure.has(key)) return false
    const deadlineAt = clock.monotonic() + REAPPEND_DEADLINE_MS
    const { keyed } = JSON.parse(value) as PendingEntry
    try {
      await repair({ lane, messages: messagesOf(batchKey, texts), ...(keyed && { keyed }), deadlineAt })
    } catch (error) {
      // Whatever keeps a logging actor from it, to us the log is away: no reason for this process to end.
      if (!isMailroomError(error)) throw error
      const facts = { store: 'log', reason: error.message }
      throw new MailroomError('MR_STORE_UNAVAILABLE', facts, { outcome: error.outcome, cause: error })
    }
    return true
  }

  /** A wake-up came. One that is late may be of a batch that another holder has begun. */
  #arrived(key: string): void {
    const { id, count } = partsOf(key)
    if (count === undefined || this.#state.leaving.has(key)) return
    this.#state.backlog.woken(key, timeOf(id) > this.#options.clock.ago(OVERDUE_MS))
  }

  /** Waits for a wake-up, at most so long. */
  async #park(waitMs: number): Promise<void> {
    if (this.#woken || this.#state.released) return
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    let failure: unknown
    this.#parked ??= this.#options.mail.poll(WAKE_POLL_MS).then(
      (key) => {
        if (key !== undefined) this.#arrived(key)
        this.#parked = undefined
        this.#wake()
      },
      (error: unknown) => {
        failure = error
        this.#parked = undefined
        this.#wake()
      },
    )
    await this.#options.clock.sleep(waitMs, woken.signal)
    if (failure !== undefined) throw failure
  }
}
