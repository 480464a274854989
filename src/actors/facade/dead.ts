/** Dead letters of all messages actors, and the redrive of messages that the queue lost. */
import type { Clock } from '../../runtime/clock.ts'
import { REDRIVE_SLICE_MS } from '../../runtime/timings.ts'
import { MIN_ID } from '../../storage/ids.ts'
import { mergeById } from '../../storage/paging.ts'
import type { Dead } from '../../storage/ports.ts'
import type { Redriven } from '../protocol.ts'
import type { Holders } from './holders.ts'
import type { LoggingPool } from './logging-pool.ts'

/** The methods of `Facade` for dead letters, and `redrive`. */
export class DeadLetters {
  readonly #clock: Clock
  readonly #holders: Holders
  readonly #logging: LoggingPool

  constructor(clock: Clock, holders: Holders, logging: LoggingPool) {
    this.#clock = clock
    this.#holders = holders
    this.#logging = logging
  }

  async list(range: { after?: string; limit: number }): Promise<Dead[]> {
    const sources = this.#holders.all().map((holder) => (cursor: string | undefined, limit: number) => {
      const after = cursor ?? range.after
      return holder.dead({ ...(after !== undefined && { after }), limit })
    })
    return mergeById(sources, range.limit, 'ascending')
  }

  async find(id: string): Promise<Dead | undefined> {
    // An exclusive bound just below the id: its last digit, less one.
    const lastDigit = String.fromCharCode(id.charCodeAt(id.length - 1) - 1)
    const [letter] = await this.list({ after: id.slice(0, -1) + lastDigit, limit: 1 })
    return letter?.id === id ? letter : undefined
  }

  async replay(id: string): Promise<boolean> {
    return anyOf(this.#holders.all().map((holder) => holder.replay(id)))
  }

  async purge(id: string): Promise<boolean> {
    return anyOf(this.#holders.all().map((holder) => holder.purge(id)))
  }

  async redrive({ after = MIN_ID, limit }: { after?: string; limit: number }): Promise<Redriven> {
    const endAt = this.#clock.monotonic() + REDRIVE_SLICE_MS
    const sum = { checked: 0, redriven: 0, last: after }
    while (sum.checked < limit && this.#clock.monotonic() < endAt) {
      const page = await this.#logging.page({ after: sum.last, limit: limit - sum.checked })
      if (page.length === 0) return { ...sum, last: null }
      const byLane = Map.groupBy(page, ({ lane }) => lane)
      const counts = await Promise.all(
        // An async function, so that a lane without a holder rejects its promise. A throw inside `map` would leave
        // the promises of the earlier lanes without a handler for their rejections.
        [...byLane].map(async ([lane, messages]) =>
          this.#holders.at(this.#holders.entryOf(lane)).redrive(lane, messages),
        ),
      )
      sum.checked += page.length
      for (const count of counts) sum.redriven += count
      sum.last = page.at(-1)!.id
    }
    return sum
  }
}

/** True when any answer is true, even if others failed. False when all are false. Else the first failure. */
async function anyOf(answers: Promise<boolean>[]): Promise<boolean> {
  const results = await Promise.allSettled(answers)
  if (results.some((result) => result.status === 'fulfilled' && result.value)) return true
  await Promise.all(answers)
  return false
}
