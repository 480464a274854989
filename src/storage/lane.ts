/**
 * The rules of a message's attempts, once for all backends. A message waits in its batch until its handler is started;
 * from then on it has a record, until it is delivered or dead:
 *
 *   waiting ──▶ started (open) ──▶ delivered
 *      ▲            │ failed: retry later      ▲ │ handler gave up, or killed its process five times
 *      │            ▼                          │ ▼
 *      └── back ── record ◀───── replay ────── dead ──▶ purged
 *
 * All functions are pure. A backend reads the record, asks here what becomes of the message, and writes the answer
 * durably before it acts on it.
 */
import { MAX_DEATHS } from './limits.ts'
import type { Claimed, Dead, Delivered, Settlement, Whereabouts } from './ports.ts'

/** What is known of a message that was started, is to be retried, or was replayed. */
export interface Attempts {
  /** Handler starts so far, the open one included. Those that an outage or a drain gave back do not count. */
  starts: number
  /** Of these, in how many the process that ran the handler died. They are none of `--attempts`. */
  deaths: number
  /** The next start is not before this instant (ms). The backend says on which clock. */
  dueAt: number
  /** The last start has no outcome yet. */
  open: boolean
  /** Its handler may have ended a worker: the next start is alone in a process. */
  suspect: boolean
  /** When it was replayed last (ms since 1970); 0: never. */
  replayedAt: number
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

/** Of a message that was never started. */
export const UNSTARTED: Attempts = {
  ...{ starts: 0, deaths: 0, dueAt: 0, open: false, suspect: false, replayedAt: 0 },
  ...{ firstError: '', lastError: '' },
}

/** What a claim says of a message that was never started. */
export const CLAIMED_FIRST: Omit<Claimed, 'id' | 'text'> = claimedOf(UNSTARTED)

/** What a claim says of a message that was started before, or replayed. */
export function claimedOf({
  starts,
  deaths,
  suspect,
  replayedAt,
}: Pick<Attempts, 'starts' | 'deaths' | 'suspect' | 'replayedAt'>): Omit<Claimed, 'id' | 'text'> {
  return { starts, deaths, suspect, replayedAt }
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
  const { starts, deaths } = known
  switch (settlement.as) {
    case 'done':
      return { is: 'delivered', attempts: attemptsOf(known) }
    case 'retry': {
      const { delayMs, error, isDeath = false } = settlement
      const { replayedAt } = known
      const counts = { starts, deaths: deaths + Number(isDeath), suspect: isDeath, replayedAt }
      const dueAt = now + delayMs
      return { is: 'waiting', attempts: { ...UNSTARTED, ...counts, dueAt, ...errorsOf(known, error) } }
    }
    case 'back': {
      const { delayMs, error } = settlement
      const counted = known.open ? starts - 1 : starts
      const dueAt = delayMs === undefined ? 0 : now + delayMs
      const errors = error === undefined ? {} : errorsOf(known, error)
      return { is: 'waiting', attempts: { ...known, starts: counted, open: false, dueAt, ...errors } }
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
  if (known.open) return { ...known, deaths: known.deaths + 1, open: false, suspect: true, dueAt: 0 }
  return { ...known, dueAt: Math.min(known.dueAt, latestDue) }
}

/** The letter of an adopted message that has ended as many processes as it may; undefined when it may be started again. */
export function killerLetter(known: Attempts): Letter | undefined {
  if (known.deaths < MAX_DEATHS) return undefined
  return letterOf(known, deathsReason(known.deaths), 'the worker died')
}

/** Why a message is dead that has ended so many processes. */
export function deathsReason(deaths: number): string {
  return `The process that ran its handler died ${deaths} times`
}

/**
 * What is told of a message that waits.
 *
 * @param now The present instant, on the clock of `dueAt`; `wallNow`: the same in ms since 1970.
 */
export function queuedAt(now: number, wallNow: number, known: Attempts = UNSTARTED): Whereabouts {
  const { starts, open, dueAt } = known
  const nextAttemptAt = !open && dueAt > now ? Math.round(wallNow + dueAt - now) : null
  return { state: 'queued', attempts: starts, deliveredAt: null, ...errorsToldOf(known), nextAttemptAt }
}

/** What is told of a message that is in the delivered list. */
export function deliveredAt(found: Pick<Delivered, 'deliveredAt' | 'attempts'>): Whereabouts {
  const { attempts, deliveredAt: at } = found
  return { state: 'delivered', attempts, deliveredAt: at, ...errorsToldOf(UNSTARTED), nextAttemptAt: null }
}

/** What is told of a dead letter; one that was purged has no error. */
export function deadAfter(letter: Pick<Dead, 'attempts' | 'firstError' | 'lastError'>): Whereabouts {
  const { attempts } = letter
  return { state: 'dead', attempts, deliveredAt: null, ...errorsToldOf(letter), nextAttemptAt: null }
}

function errorsToldOf({ firstError, lastError }: Pick<Attempts, 'firstError' | 'lastError'>) {
  return { firstError: firstError || null, lastError: lastError || null }
}

function letterOf(known: Attempts, reason: string, error: string): Letter {
  return { reason, attempts: known.starts, ...errorsOf(known, error) }
}

function errorsOf({ firstError }: Attempts, error: string): Pick<Attempts, 'firstError' | 'lastError'> {
  return { firstError: firstError || error, lastError: error }
}
