/** Where a message is, and what is away, as clients see them: instants as ISO 8601. */
import type { Found } from '../../actors/protocol.ts'
import type { Outage } from '../../runtime/cluster/directory.ts'

/** The state of a message, in the order of `GET /messages/{id}`. */
export function placeJson({ state, deliveredTo, heldBy, attempts, ...found }: Omit<Found, 'id' | 'text'>) {
  const { firstError, lastError } = found
  return {
    ...{ state, deliveredTo, deliveredAt: isoOrNull(found.deliveredAt), heldBy, attempts },
    ...{
      firstError,
      lastError,
      nextAttemptAt: isoOrNull(found.nextAttemptAt),
      outage: outageJson(found.outage),
    },
    ...(found.paused && { paused: true }),
  }
}

/** An outage, or null. */
export function outageJson(outage: Outage | null) {
  if (outage === null) return null
  return { ...outage, since: isoOrNull(outage.since), nextProbeAt: isoOrNull(outage.nextProbeAt) }
}

/** An instant (ms since 1970). */
export function isoOrNull(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString()
}
