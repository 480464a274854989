/**
 * Lanes: the fixed shares of the queue. The holder of each lane is a pure function of the number of lanes and the
 * living messages actors, so every process computes the same.
 */

/** `messages-10` comes after `messages-9`. */
const byNumber = new Intl.Collator('en', { numeric: true })

/**
 * Assigns the lanes 0 to laneCount - 1 to the living actors, as evenly as possible.
 *
 * @param names The living messages actors; the order does not matter.
 * @returns By lane: the name of its holder. Empty when no actor lives.
 */
export function assignLanes(laneCount: number, names: readonly string[]): string[] {
  if (names.length === 0) return []
  // The collator finds `node-1` and `node-01` equal. Compare them as strings, so that the order of `names` is irrelevant.
  const sorted = [...names].sort((a, b) => byNumber.compare(a, b) || (a < b ? -1 : 1))
  return Array.from({ length: laneCount }, (_, lane) => sorted[lane % sorted.length]!)
}
