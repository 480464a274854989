/** `--dead-retention`: dead letters that are older are purged, so that their marks keep them from coming back. */
import { MIN_ID, timeOf } from '../../storage/ids.ts'
import { walk } from '../../storage/paging.ts'
import type { Queue } from '../../storage/ports.ts'

/** Dead letters that are looked at, and purged in one call. */
const STEP_COUNT = 200

/**
 * Purges the dead letters of a held lane that died before an instant (ms since 1970).
 *
 * @returns After each step that purged some, how many.
 * @throws {MailroomError} As `Queue.sift` and `Queue.purge`; what the steps before have purged is gone.
 */
export async function* purgeOld(
  queue: Pick<Queue, 'sift' | 'purge'>,
  lane: number,
  diedBefore: number,
): AsyncGenerator<number> {
  const sift = async (after: string, limit: number) => {
    const items = await queue.sift(lane, { after, limit }, { diedBefore })
    const last = items.length < limit ? undefined : items.at(-1)
    // A message that is younger has died later.
    return { items, next: last === undefined || timeOf(last.id) > diedBefore ? null : last.id }
  }
  for await (const { items } of walk(sift, MIN_ID, { partCount: STEP_COUNT })) {
    const old = items.filter(({ isMeant }) => isMeant).map(({ id }) => id)
    if (old.length > 0) yield await queue.purge(lane, old)
  }
}
