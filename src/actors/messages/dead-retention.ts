/** `--dead-retention`: dead letters that are older are purged, so that their marks keep them from coming back. */
import { MIN_ID, timeOf } from '../../storage/ids.ts'
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
  for (let after = MIN_ID; ; ) {
    const letters = await queue.sift(lane, { after, limit: STEP_COUNT }, { diedBefore })
    const old = letters.filter(({ isMeant }) => isMeant).map(({ id }) => id)
    if (old.length > 0) yield await queue.purge(lane, old)
    const last = letters.at(-1)
    // A message that is younger has died later.
    if (last === undefined || letters.length < STEP_COUNT || timeOf(last.id) > diedBefore) return
    after = last.id
  }
}
