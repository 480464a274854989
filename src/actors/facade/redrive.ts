/** Redrive: what one Hazelcast cluster has lost is put back from the other, page by page. */
import type { Clock } from '../../runtime/clock.ts'
import { REDRIVE_AGE_MS } from '../../runtime/timings.ts'
import { idAt, MIN_ID } from '../../storage/ids.ts'
import type { Logging, Messages, Redriven, Restored } from '../protocol.ts'
import { inSteps } from './steps.ts'

/** Messages in one call to an actor. A call for so few ends within its deadline on a slow cluster, too. */
const STEP_COUNT = 100

/** What a redrive needs of its facade. */
export interface RedriveOptions {
  clock: Clock
  /** The holder of a lane. @throws {MailroomError} `MR_STORE_UNAVAILABLE` when it has none. */
  holderOf: (lane: number) => Pick<Messages, 'redrive' | 'stored'>
  logging: Pick<Logging, 'page' | 'restore'>
  laneCount: number
  /** False on the embedded backend. */
  isOnClusters: boolean
}

/** Answers `Facade.redrive` and `Facade.restore`. */
export class Redrive {
  readonly #options: RedriveOptions

  constructor(options: RedriveOptions) {
    this.#options = options
  }

  /** From the log into the queue. */
  async toQueue({ after = MIN_ID, limit }: { after?: string; limit: number }): Promise<Redriven> {
    const sum = { checked: 0, redriven: 0, last: after as string | null }
    const { clock, logging, holderOf } = this.#options
    await inSteps(clock, sum, { limit, stepCount: STEP_COUNT }, async (count) => {
      const page = await logging.page({ after: sum.last!, limit: count })
      const byLane = Map.groupBy(page, ({ lane }) => lane)
      const counts = await Promise.all(
        // An async function, so that a lane without a holder rejects its promise. A throw inside `map` would leave
        // the promises of the earlier lanes without a handler for their rejections.
        [...byLane].map(async ([lane, messages]) => holderOf(lane).redrive(lane, messages)),
      )
      sum.checked += page.length
      for (const redriven of counts) sum.redriven += redriven
      sum.last = page.at(-1)?.id ?? null
      return sum.last !== null
    })
    return sum
  }

  /** From the queue into the log, lane by lane; in each lane up to the first message whose POST may still be under way. */
  async toLog({
    lane: firstLane,
    after: firstAfter,
    since = MIN_ID,
    limit,
  }: {
    lane: number
    after?: string
    since?: string
    limit: number
  }): Promise<Restored> {
    const { clock, logging, holderOf, laneCount, isOnClusters } = this.#options
    const sum = { checked: 0, restored: 0, lost: 0 }
    const youngest = idAt(clock.ago(REDRIVE_AGE_MS))
    let [lane, after] = [isOnClusters ? firstLane : laneCount, firstAfter ?? since]
    await inSteps(clock, sum, { limit, stepCount: STEP_COUNT }, async (count) => {
      if (lane >= laneCount) return false
      const page = await holderOf(lane).stored(lane, { after, limit: count })
      const old = page.filter(({ id }) => id < youngest)
      const lacked = new Set(old.length === 0 ? [] : await logging.restore(lane, old))
      sum.checked += old.length
      for (const { id, text } of old) {
        if (lacked.has(id) && text === null) sum.lost++
        else if (lacked.has(id)) sum.restored++
      }
      if (page.length > 0 && old.length === page.length) after = page.at(-1)!.id
      else {
        lane++
        after = since
      }
      return lane < laneCount
    })
    return { ...sum, next: lane < laneCount ? { lane, after } : null }
  }
}
