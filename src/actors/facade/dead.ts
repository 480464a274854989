/** Dead letters of all messages actors. */
import type { Clock } from '../../runtime/clock.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { BULK_SLICE_MS } from '../../runtime/timings.ts'
import { join } from '../../storage/dead-groups.ts'
import { idBefore, MIN_ID } from '../../storage/ids.ts'
import { DEAD_GROUPS_MAX, PAGE_MAX_COUNT } from '../../storage/limits.ts'
import { mergeById, walk } from '../../storage/paging.ts'
import type { Dead, DeadFilter, DeadGroup, DeadGroups } from '../../storage/ports.ts'
import type { DeadChanged, DeadCounts, SiftedPage } from '../protocol.ts'
import { type Holders, unavailable } from './holders.ts'
import { inSteps } from './steps.ts'
import type { ReadTurns } from './turns.ts'

/** Dead letters that are changed at once: each lane of them in one commit, and within a call's deadline on a slow cluster. */
const STEP_COUNT = 200

/** Dead letters that a lane counts at a time. */
const GROUP_STEP_COUNT = PAGE_MAX_COUNT
/** Groups that are counted apart; letters of any more are among the others. */
const GROUPS_KEPT = 10 * DEAD_GROUPS_MAX

/** What dead letters need of their facade. */
export interface DeadLettersOptions {
  clock: Clock
  holders: Holders
  turns: ReadTurns
  laneCount: number
  /** As `mergeById` reads them. */
  pagesAtOnce: number
}

/** The methods of `Facade` for dead letters. */
export class DeadLetters {
  readonly #options: DeadLettersOptions

  constructor(options: DeadLettersOptions) {
    this.#options = options
  }

  async list({ after = MIN_ID, limit }: { after?: string; limit: number }): Promise<Dead[]> {
    const { holders, turns, pagesAtOnce } = this.#options
    const sources = holders.all().map(
      (holder) =>
        (cursor = after, count: number) =>
          holder.dead({ after: cursor, limit: count }),
    )
    const merge = { limit, order: 'ascending', atOnce: pagesAtOnce } as const
    return turns.take('dead', limit, () => mergeById(sources, merge))
  }

  async find(id: string): Promise<Dead | undefined> {
    const [letter] = await this.list({ after: idBefore(id), limit: 1 })
    return letter?.id === id ? letter : undefined
  }

  async replay(id: string): Promise<boolean> {
    return anyOf(this.#options.holders.all().map((holder) => holder.replay(id)))
  }

  async purge(id: string): Promise<boolean> {
    return anyOf(this.#options.holders.all().map((holder) => holder.purge(id)))
  }
  /** As `Facade.changeDead`. */
  async change(
    change: 'replay' | 'purge',
    { after = MIN_ID, limit, ...filter }: { after?: string; limit: number } & DeadFilter,
  ): Promise<DeadChanged> {
    const { clock, holders } = this.#options
    const sum = { checked: 0, changed: 0, last: after as string | null }
    await inSteps(clock, sum, { limit, stepCount: STEP_COUNT }, async (count) => {
      const letters = await this.#sift({ after: sum.last!, limit: count }, filter)
      const byLane = Map.groupBy(
        letters.filter(({ isMeant }) => isMeant),
        ({ lane }) => lane,
      )
      const results = await Promise.allSettled(
        [...byLane].map(async ([lane, meant]) => {
          const holder = holders.at(holders.entryOf(lane))
          const ids = meant.map(({ id }) => id)
          return change === 'replay' ? holder.replayMany(lane, ids) : holder.purgeMany(lane, ids)
        }),
      )
      const failed = results.find((result) => result.status === 'rejected')
      const changed = results.reduce(
        (count, each) => count + (each.status === 'fulfilled' ? each.value : 0),
        0,
      )
      sum.changed += changed
      sum.checked += failed === undefined ? letters.length : changed
      // The step is taken again: it finds those that are left.
      if (failed !== undefined) throw inDoubt(failed.reason)
      sum.last = letters.length < count ? null : letters.at(-1)!.id
      return sum.last !== null
    })
    return sum
  }

  /** As `Facade.deadGroups`. Lane by lane: each counts its own, and no letter comes here. */
  async groups({ lane, after = MIN_ID }: { lane: number; after?: string }): Promise<DeadCounts> {
    const { clock, holders, turns, laneCount } = this.#options
    const counts = new GroupCounts()
    const source = async (place: { lane: number; after: string }, limit: number) => {
      const holder = holders.at(holders.entryOf(place.lane))
      const { last, ...page } = await holder.groupDead(place.lane, { after: place.after, limit })
      counts.add(page)
      const beyond = place.lane + 1 < laneCount ? { lane: place.lane + 1, after: MIN_ID } : null
      return { items: page.groups, next: last === null ? beyond : { ...place, after: last } }
    }
    let rest: DeadCounts['next'] = null
    return turns.take('groups of the dead', 1, async () => {
      const turn = { clock, ms: BULK_SLICE_MS }
      for await (const { next } of walk(source, { lane, after }, { partCount: GROUP_STEP_COUNT, turn }))
        rest = next
      return counts.shown(rest)
    })
  }

  /** Looks at the first letters of all lanes after an id. @throws {MailroomError} When it cannot look into a lane. */
  async #sift(range: { after: string; limit: number }, filter: DeadFilter): Promise<SiftedPage['letters']> {
    const { holders, laneCount } = this.#options
    const answers: SiftedPage[][] = []
    const sources = holders.all().map((holder) => {
      const own: SiftedPage[] = []
      answers.push(own)
      return async (after = range.after, limit: number) => {
        const page = await holder.sift({ after, limit }, filter)
        own.push(page)
        return page.letters
      }
    })
    const letters = await mergeById(sources, { limit: range.limit, order: 'ascending' })
    const inAll = (pages: SiftedPage[]) =>
      pages[0]?.lanes.filter((lane) => pages.every(({ lanes }) => lanes.includes(lane))) ?? []
    const missingCount = laneCount - new Set(answers.flatMap(inAll)).size
    if (missingCount > 0)
      throw unavailable(`${missingCount} of ${laneCount} lanes are on their way to another actor`)
    return letters
  }
}

/** Counts of dead letters by group, of so many groups at most. */
class GroupCounts {
  counted = 0
  readonly #groups = new Map<string, DeadGroup>()

  add({ groups, counted }: Omit<DeadGroups, 'last'>): void {
    this.counted += counted
    for (const group of groups) {
      const known = this.#groups.get(group.group)
      if (known !== undefined) join(known, group)
      else if (this.#groups.size < GROUPS_KEPT) this.#groups.set(group.group, group)
    }
  }

  shown(next: DeadCounts['next']): DeadCounts {
    const groups = [...this.#groups.values()].sort((a, b) => b.count - a.count || b.newestAt - a.newestAt)
    const largest = groups.slice(0, DEAD_GROUPS_MAX)
    const inThem = largest.reduce((sum, { count }) => sum + count, 0)
    return { groups: largest, counted: this.counted, others: this.counted - inThem, next }
  }
}

/** The error of a change that may have been made in part. Any other than ours is a bug and stays as it is. */
function inDoubt(error: unknown): unknown {
  if (!isMailroomError(error)) return error
  return new MailroomError(error.code, error.details, { outcome: 'unknown', cause: error })
}

/** True when any answer is true, even if others failed. False when all are false. Else the first failure. */
async function anyOf(answers: Promise<boolean>[]): Promise<boolean> {
  const results = await Promise.allSettled(answers)
  if (results.some((result) => result.status === 'fulfilled' && result.value)) return true
  await Promise.all(answers)
  return false
}
