/**
 * Lanes: the fixed shares of the queue. Who holds which is a pure function of the lanes and the living
 * messages actors, the same wherever it is computed; so nobody has to be asked.
 */

/** `messages-10` comes after `messages-9`. */
const byNumber = new Intl.Collator('en', { numeric: true })

/**
 * Deals the lanes 0..laneCount-1 to the living actors, as evenly as can be.
 *
 * @param names The living messages actors; the order does not matter.
 * @returns Lane -> name of its holder; empty when nobody lives.
 */
export function assignLanes(laneCount: number, names: readonly string[]): string[] {
  if (names.length === 0) return []
  // Names that read alike (`node-1`, `node-01`) are told apart, else their order would be that of `names`.
  const sorted = [...names].sort((a, b) => byNumber.compare(a, b) || (a < b ? -1 : 1))
  return Array.from({ length: laneCount }, (_, lane) => sorted[lane % sorted.length]!)
}
