/** Loads a lane's list into memory: the newest part of it, as much as fits. */
import type { Clock } from '../../runtime/clock.ts'
import { MIN_ID } from '../../storage/ids.ts'
import type { Message, Queue } from '../../storage/ports.ts'
import { weightOf } from './store.ts'

const LOAD_COUNT = 100

/** The newest part of a lane's list. */
export interface Newest {
  /** Ascending. */
  messages: Message[]
  /** The list has nothing above this id that is not in `messages`. */
  completeAbove: string
}

/**
 * Reads the newest `maxBytes` (as the store weighs them) of a held lane's list, or all of it.
 *
 * @throws {MailroomError} As `queue.delivered`.
 */
export async function newestOf(queue: Queue, lane: number, maxBytes: number, clock: Clock): Promise<Newest> {
  const newestFirst: Message[] = []
  let bytes = 0
  for (;;) {
    const before = newestFirst.at(-1)?.id
    const page = await queue.delivered(lane, { ...(before && { before }), limit: LOAD_COUNT })
    for (const message of page) bytes += weightOf(message)
    newestFirst.push(...page)
    if (page.length < LOAD_COUNT) return { messages: newestFirst.reverse(), completeAbove: MIN_ID }
    if (bytes >= maxBytes) return { completeAbove: newestFirst.at(-1)!.id, messages: newestFirst.reverse() }
    // A backend may answer without waiting for anything: others get their turn between two pages.
    await new Promise<void>((resolve) => clock.soon(resolve))
  }
}
