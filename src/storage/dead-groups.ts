/** Groups of dead letters: those of one reason whose last errors begin alike. */
import { createHash } from 'node:crypto'
import type { Dead, DeadGroup } from './ports.ts'

/** What a group shows of a reason, and of the first line of an error. */
const SHOWN_CHARACTERS = 200

type Letter = Pick<Dead, 'id' | 'reason' | 'lastError' | 'deadAt'>

/** The name of a letter's group. */
export function groupNameOf(letter: Pick<Dead, 'reason' | 'lastError'>): string {
  return nameOf(reasonOf(letter), errorOf(letter))
}

/** The groups of these letters. */
export function groupsOf(letters: Iterable<Letter>): DeadGroup[] {
  const groups = new Map<string, DeadGroup>()
  for (const { id, deadAt, ...letter } of letters) {
    const [reason, error] = [reasonOf(letter), errorOf(letter)]
    const key = `${reason}\n${error}`
    const group = groups.get(key)
    if (group !== undefined) join(group, { count: 1, oldestAt: deadAt, newestAt: deadAt })
    else {
      const counted = { count: 1, example: id, oldestAt: deadAt, newestAt: deadAt }
      groups.set(key, { group: nameOf(reason, error), reason, error, ...counted })
    }
  }
  return [...groups.values()]
}

/** Adds to a group what else was counted of it. */
export function join(
  group: DeadGroup,
  { count, oldestAt, newestAt }: Pick<DeadGroup, 'count' | 'oldestAt' | 'newestAt'>,
): void {
  group.count += count
  group.oldestAt = Math.min(group.oldestAt, oldestAt)
  group.newestAt = Math.max(group.newestAt, newestAt)
}

function reasonOf({ reason }: Pick<Dead, 'reason'>): string {
  return reason.slice(0, SHOWN_CHARACTERS).toWellFormed()
}

/** The first line, each number as one `#`: ids, times and counts differ between letters of one cause. */
function errorOf({ lastError }: Pick<Dead, 'lastError'>): string {
  const [line = ''] = lastError.slice(0, 2 * SHOWN_CHARACTERS).split('\n', 1)
  return line.replaceAll(/\d+/g, '#').slice(0, SHOWN_CHARACTERS).toWellFormed()
}

function nameOf(reason: string, error: string): string {
  return createHash('sha256').update(`${reason}\n${error}`).digest('hex').slice(0, 16)
}
