/** By when an acknowledged message must be in a messages actor's list, as docs/reliability.md promises. */
import type { DueAt } from '../support/checker.ts'
import type { Disturbance } from './faults.ts'

/** Without faults, in ms. */
const QUIET_MS = 1000

/** What of a history decides when its messages are due. Instants are in virtual time. */
export interface DueOptions {
  disturbances: readonly Disturbance[]
  /** True for a message whose time its handler takes. */
  isSlow: (id: string) => boolean
  /** True for a message that a cluster held which came back empty. */
  isLost: (id: string) => boolean
  /** What was acknowledged since then found a system that had recovered, whatever its handlers had done. */
  recoveredAt: number
}

/**
 * A message is due when so much time without faults has passed as the last of them needs: what a fault interrupts
 * begins anew with its end.
 */
export function dueOf({ disturbances, isSlow, isLost, recoveredAt }: DueOptions): DueAt {
  const inOrder = disturbances.toSorted((a, b) => a.from - b.from)
  return (id, acknowledgedAt) => {
    if (isSlow(id) && acknowledgedAt < recoveredAt) return Number.POSITIVE_INFINITY
    if (isLost(id)) return Number.POSITIVE_INFINITY
    let since = acknowledgedAt
    let neededMs = QUIET_MS
    for (const { from, until, recoveryMs } of inOrder) {
      if (from > since + neededMs) break
      if (until + recoveryMs < acknowledgedAt) continue
      since = Math.max(since, until)
      neededMs = Math.max(neededMs, recoveryMs)
    }
    return since + neededMs
  }
}
