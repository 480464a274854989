/** Which dead letters are meant: by source, by reason, by group, by the time of death. */
import { contentOf } from './content.ts'
import { groupNameOf } from './dead-groups.ts'
import type { Dead, DeadFilter } from './ports.ts'

/** The name of a source. */
export const SOURCE_NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/
/** The same in words. */
export const SOURCE_NAME_WORDS = 'a name of 1 to 64 of a-z, 0-9, _ and -, the first one a letter or digit'
/** The longest beginning of a reason. */
export const REASON_MAX_CHARACTERS = 1000
/** What a group is named by: 16 hex digits. */
export const GROUP_NAME = /^[0-9a-f]{16}$/
/** The same in words. */
export const GROUP_NAME_WORDS = 'the name of a group of GET /dead/groups, 16 hex digits'

/** True when a filter means a dead letter. @param letter `text`: the stored text, or its head with the line feed. */
export function isMeant(
  { source, reason = '', group, diedBefore = Number.POSITIVE_INFINITY }: DeadFilter,
  letter: Pick<Dead, 'text' | 'reason' | 'lastError' | 'deadAt'>,
): boolean {
  return (
    letter.deadAt < diedBefore &&
    letter.reason.startsWith(reason) &&
    (group === undefined || groupNameOf(letter) === group) &&
    (source === undefined || contentOf(letter.text).source === source)
  )
}
