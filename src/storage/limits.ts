/** Sizes and counts that more than one room must agree on. Bytes are bytes of UTF-8; derived values are expressions. */

const KiB = 1024
const MiB = 1024 * KiB

/** What `--max-message` is when it is not given. */
export const MESSAGE_DEFAULT_BYTES = MiB
/** The most that `--max-message` may be on the embedded backend: a text, as it was posted. */
export const MESSAGE_MAX_BYTES = 25 * MiB
/** The same on Hazelcast. */
export const MESSAGE_MAX_HAZELCAST_BYTES = MiB
/** What a stored text may have beside a body of `--max-message`: what Base64 adds is a third, and this is for its head. */
export const HEAD_ROOM_BYTES = 64 * KiB
/** Texts that one actor has in hand at a time, of each kind: in its mailbox, claimed, in its store, in answers. One message may be more. */
export const HAND_MAX_BYTES = 32 * MiB
/** The most messages of one batch: the last two base-32 digits of an id hold 1,023. */
export const BATCH_MAX_COUNT = 1000
/** The texts of one batch of single posts. A larger message is a batch of its own. */
export const BATCH_MAX_BYTES = MiB
/** The most items of one page. */
export const PAGE_MAX_COUNT = 1000
/** Messages of the log that one call with a filter looks at. A batch that lacks what is looked for counts as one. */
export const SEARCH_MAX_COUNT = 10 * PAGE_MAX_COUNT
/** The most characters of a preview. */
export const PREVIEW_MAX_CHARACTERS = 1000
/** The most characters that a search looks for. */
export const CONTAINS_MAX_CHARACTERS = 200
/** Groups of dead letters in one answer. */
export const DEAD_GROUPS_MAX = 100
/** The texts of one page in an actor's answer. A page ends early when its texts reach this size. */
export const PAGE_MAX_BYTES = BATCH_MAX_BYTES / 2
/** Texts that a lane's holder brings into memory with one claim. */
export const CLAIM_MAX_BYTES = 4 * BATCH_MAX_BYTES
/** Embedded backend: a write-ahead log of this size is moved into its file. */
export const WAL_MAX_BYTES = 16 * MiB
/** Embedded backend: the file that holds room for what makes room, when the disk is full. */
export const RESERVE_BYTES = 16 * MiB
/** Embedded backend: no message is started for the first time, which copies its text, when less is free: outcomes need it. */
export const START_HEADROOM_BYTES = 16 * MiB
/** Embedded backend: posts are refused when less is free. A write-ahead log can still be moved, and deliveries recorded. */
export const DISK_HEADROOM_BYTES = WAL_MAX_BYTES + 8 * BATCH_MAX_BYTES
/** A message becomes a dead letter after this many starts in which the process that ran its handler died. */
export const MAX_DEATHS = 5
/** The lanes of a new data directory or cluster: the most messages actors it can ever have. */
export const DEFAULT_LANES = 16
/** Hazelcast: the part of a member's heap that an idle member takes, and a little more. */
export const IDLE_MEMBER_BYTES = 32 * MiB

/** The most bytes of a stored text. @param maxMessageBytes `--max-message`. */
export function storedMaxBytes(maxMessageBytes: number): number {
  return Math.ceil((maxMessageBytes * 4) / 3) + HEAD_ROOM_BYTES
}

/**
 * What a hand that refuses, or waits in no order of size, may have: a largest text fits beside half of `HAND_MAX_BYTES` of
 * others. Else under steady load it would never be admitted.
 *
 * @param mostBytes What one thing in hand may have.
 */
export function handMaxBytes(mostBytes: number): number {
  return Math.max(HAND_MAX_BYTES, HAND_MAX_BYTES / 2 + mostBytes)
}

/** The most bytes of a body in JSON: any text of `--max-message` fits, unless most of its characters are escaped. */
export function bodyMaxBytes(maxMessageBytes: number): number {
  return Math.max(BATCH_MAX_BYTES, 2 * maxMessageBytes)
}

/** The most bytes of a line of NDJSON, without its line feed. @param maxMessageBytes `--max-message`. */
export function lineMaxBytes(maxMessageBytes: number): number {
  return Math.max(BATCH_MAX_BYTES / 2, 2 * maxMessageBytes)
}

/** Pages, each with a largest message beside it, that an actor may read at once: at least one. */
export function pagesAtOnce(maxMessageBytes: number): number {
  return Math.max(1, Math.floor(HAND_MAX_BYTES / (PAGE_MAX_BYTES + storedMaxBytes(maxMessageBytes))))
}

/** What must be free for a post, in bytes: as `DISK_HEADROOM_BYTES`, for messages of up to `--max-message`. */
export function headroomBytes(maxMessageBytes: number): number {
  return DISK_HEADROOM_BYTES + 8 * Math.max(0, maxMessageBytes - BATCH_MAX_BYTES)
}
