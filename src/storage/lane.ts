/**
 * The rules of a message's attempts, once for all backends. A message waits in its batch until its handler is started;
 * from then on it has a record, until it is delivered or dead:
 *
 *   waiting ──▶ started (open) ──▶ delivered
 *      ▲            │ failed: retry later      ▲ │ handler gave up, or killed its worker five times
 *      │            ▼                          │ ▼
 *      └── back ── record ◀───── replay ────── dead ──▶ purged
 *
 * All functions are pure. A backend reads the record, asks here what becomes of the message, and writes the answer
 * durably before it acts on it.
 */
import { MAX_STARTS } from './limits.ts'
import type { Settlement } from './ports.ts'

/** What is known of a message that was started, is to be retried, or was replayed. */
export interface Attempts {
  /** Handler starts so far, the open one included. */
  starts: number
  /** The next start is not before this instant (ms). The backend says on which clock. */
  dueAt: number
  /** The last start has no outcome yet. */
  open: boolean
  /** Its handler may have ended a worker: the next start is alone in a process. */
  suspect: boolean
  /** Empty while no attempt has failed. */
  firstError: string
  lastError: string
}

/** A dead letter, without its text and its time. */
export interface Letter {
  reason: string
  attempts: number
  firstError: string
  lastError: string
}

/** What becomes of a message. */
export type Fate =
  | { is: 'delivered'; attempts: number }
  | { is: 'waiting'; attempts: Attempts }
  | { is: 'dead'; letter: Letter }

/** Of a message that was never started, or was replayed. */
export const UNSTARTED: Attempts = {
  ...{ starts: 0, dueAt: 0, open: false, suspect: false, firstError: '', lastError: '' },
}

/** The attempts of a message that is delivered now. Without a handler it counts as one. */
export function attemptsOf({ starts }: Attempts = UNSTARTED): number {
  return Math.max(1, starts)
}

/** The record of a message whose handler is to be called now. */
export function startedOnce(known: Attempts = UNSTARTED): Attempts {
  return { ...known, starts: known.starts + 1, open: true }
}

/** The settlements of one call, each id once: of one that is given twice, the last counts. */
export function eachOnce(settlements: readonly Settlement[]): Settlement[] {
  return [...new Map(settlements.map((settlement) => [settlement.id, settlement])).values()]
}

/**
 * What becomes of a message that was claimed.
 *
 * @param now The present instant, on the clock of `dueAt`.
 */
export function settledAs(settlement: Settlement, now: number, known: Attempts = UNSTARTED): Fate {
  const { starts, firstError } = known
  switch (settlement.as) {
    case 'done':
      return { is: 'delivered', attempts: attemptsOf(known) }
    case 'retry': {
      const { delayMs, error } = settlement
      const errors = { firstError: firstError || error, lastError: error }
      return { is: 'waiting', attempts: { ...UNSTARTED, starts, dueAt: now + delayMs, ...errors } }
    }
    case 'back': {
      const counted = known.open ? starts - 1 : starts
      return { is: 'waiting', attempts: { ...known, starts: counted, open: false, dueAt: 0 } }
    }
    case 'dead':
      return { is: 'dead', letter: letterOf(known, settlement.reason, settlement.error) }
  }
}

/**
 * The record of a message whose lane has a new holder. A start that is still open ended with the process of the last
 * holder, perhaps because of this message.
 *
 * @param latestDue No start is due later: the clock of the last holder may have been ahead.
 */
export function adopted(known: Attempts, latestDue: number): Attempts {
  if (known.open) return { ...known, open: false, suspect: true, dueAt: 0 }
  return { ...known, dueAt: Math.min(known.dueAt, latestDue) }
}

/** The letter of an adopted message that has ended as many workers as it may; undefined when it may be started again. */
export function killerLetter(known: Attempts): Letter | undefined {
  if (!known.suspect || known.starts < MAX_STARTS) return undefined
  return letterOf(known, `Its worker died ${known.starts} times while the handler ran`, 'the worker died')
}

function letterOf({ starts, firstError }: Attempts, reason: string, error: string): Letter {
  return { reason, attempts: starts, firstError: firstError || error, lastError: error }
}
