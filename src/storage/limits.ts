/** Sizes and counts that more than one room must agree on. Bytes are bytes of UTF-8; derived values are expressions. */

const KiB = 1024
const MiB = 1024 * KiB

/** The largest text of a message. */
export const TEXT_MAX_BYTES = 64 * KiB
/** The most messages of one batch: the last two base-32 digits of an id hold 1,023. */
export const BATCH_MAX_COUNT = 1000
/** The texts of one batch. */
export const BATCH_MAX_BYTES = MiB
/** The most items of one page. */
export const PAGE_MAX_COUNT = 1000
/** The texts of one page in an actor's answer. A page ends early when its texts reach this size. */
export const PAGE_MAX_BYTES = BATCH_MAX_BYTES / 2
/** Texts that a lane's holder brings into memory with one claim. */
export const CLAIM_MAX_BYTES = 4 * BATCH_MAX_BYTES
/** Embedded backend: a write-ahead log of this size is moved into its file. */
export const WAL_MAX_BYTES = 16 * MiB
/** Embedded backend: posts are refused when less is free. A write-ahead log can still be moved, and deliveries recorded. */
export const DISK_HEADROOM_BYTES = WAL_MAX_BYTES + 8 * BATCH_MAX_BYTES
/** A message becomes a dead letter after this many starts in which the process that ran its handler died. */
export const MAX_DEATHS = 5
/** The lanes of a new data directory or cluster: the most messages actors it can ever have. */
export const DEFAULT_LANES = 16
/** Hazelcast: the part of a member's heap that an idle member takes, and a little more. */
export const IDLE_MEMBER_BYTES = 32 * MiB
