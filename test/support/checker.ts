/** The history checker: what clients were told against what they read, then and at the end. */
import assert from 'node:assert/strict'
import type { History } from './history.ts'
import type { Item, RunningSystem } from './running-system.ts'

/** What is wrong, by kind: ids. All empty when the promise held. */
export interface Verdict {
  /** Acknowledged, and not in the log. */
  lost: string[]
  /** Twice in one list, in two stores, or one text under two ids. */
  duplicated: string[]
  /** Read, and never attempted, or refused for good; under an id with another text; out of order. */
  unexpected: string[]
  /** In one of the lists only. */
  torn: string[]
  /** Acknowledged, then absent from a log read begun later; seen delivered, then gone; passed by a follower. */
  stale: string[]
  /** Pending at the end. */
  stuck: string[]
  /** Acknowledged, and in a messages actor's list only after it was to be there. */
  late: string[]
}

/** When a message is to be in a list, on the clock of the acknowledgements; infinite: not judged. */
export type DueAt = (id: string, acknowledgedAt: number) => number

/** What the promise does not cover in a run: only this is excused, and nothing else. */
export interface Excused {
  /** Ids that need not be in the log any more. */
  logged: ReadonlySet<string>
  /** Id of `logged` -> since when. A read of the log that ended before must have shown it. Default: always. */
  loggedSince?: ReadonlyMap<string, number>
  /** Ids of `logged` that were put back: in the end they must be in the log. Default: none. */
  restored?: ReadonlySet<string>
  /** Ids that, if they are not in the log, need not be in a list either. */
  delivered: ReadonlySet<string>
  /** Texts that may stand under more than one id: their idempotency key is forgotten. */
  repeated: ReadonlySet<string>
  /** Ids that were purged when they were dead letters, or may have been: they need be in the log only. */
  purged: ReadonlySet<string>
}

/** The final read of both lists. */
export interface FinalRead {
  logged: readonly Pick<Item, 'id' | 'text'>[]
  stores: ReadonlyMap<string, readonly Pick<Item, 'id' | 'text'>[]>
  /** Ids of the dead letters, which stand for the delivered list. */
  dead?: readonly string[]
  /** Ids of what is neither delivered nor dead. */
  pending?: readonly string[]
}

/** A verdict on a run that kept the promise. */
export const NOTHING_WRONG: Verdict = {
  ...{ lost: [], duplicated: [], unexpected: [], torn: [], stale: [], stuck: [], late: [] },
}

const NOTHING_LOST: Excused = {
  logged: new Set(),
  delivered: new Set(),
  repeated: new Set(),
  purged: new Set(),
}

/**
 * Compares a history with a final read.
 *
 * @param final Undefined when it could not be had.
 * @param options.dueAt Without it, times are not judged.
 * @param options.excused Nothing, when not told.
 * @throws {AssertionError} When nothing was acknowledged, or there is no final read: such a run proves nothing.
 */
export function check(
  history: History,
  final: FinalRead | undefined,
  { dueAt, excused = NOTHING_LOST }: { dueAt?: DueAt; excused?: Excused } = {},
): Verdict {
  assert.ok(history.acknowledged.size > 0, 'something was acknowledged')
  assert.ok(final !== undefined, 'the final read succeeded')
  const { logged, stores, dead = [], pending = [] } = final
  const verdict: Verdict = { ...structuredClone(NOTHING_WRONG), stuck: [...pending] }
  const log = new Map<string, string>()
  const texts = new Set<string>()
  for (const { id, text } of logged) {
    if (log.has(id) || (texts.has(text) && !excused.repeated.has(text))) verdict.duplicated.push(id)
    if (!history.attempted.has(text) || history.denied.has(text)) verdict.unexpected.push(id)
    log.set(id, text)
    texts.add(text)
  }
  for (const [id, text] of history.acknowledged) {
    if (!log.has(id)) {
      if (!excused.logged.has(id) || excused.restored?.has(id)) verdict.lost.push(id)
    } else if (log.get(id) !== text && !history.bodies.get(text)?.has(log.get(id)!))
      verdict.unexpected.push(id)
  }
  for (const [first, bodies] of history.bodies) {
    if (excused.repeated.has(first)) continue
    const stored = [...log].filter(([, text]) => bodies.has(text))
    if (stored.length > 1) verdict.duplicated.push(...stored.map(([id]) => id))
  }
  const settled = new Set<string>()
  const settle = (id: string) => {
    if (settled.has(id)) verdict.duplicated.push(id)
    if (!log.has(id) && !excused.logged.has(id)) verdict.torn.push(id)
    settled.add(id)
  }
  for (const items of stores.values()) {
    checkOrder(
      items.map(({ id }) => id),
      verdict,
    )
    for (const { id, text } of items) {
      settle(id)
      if (log.has(id) && log.get(id) !== text) verdict.unexpected.push(id)
    }
  }
  for (const id of dead) settle(id)
  for (const id of log.keys()) if (!settled.has(id) && !excused.purged.has(id)) verdict.torn.push(id)
  const isGone = (id: string) => !log.has(id) && excused.logged.has(id) && excused.delivered.has(id)
  const { logged: forgotten, loggedSince } = excused
  const isForgotten = (id: string, endedAt = Number.POSITIVE_INFINITY) =>
    forgotten.has(id) && endedAt >= (loggedSince?.get(id) ?? Number.NEGATIVE_INFINITY)
  checkReads(history, { settled, isGone, isForgotten }, verdict)
  if (dueAt !== undefined) checkTimes(history, dueAt, verdict)
  return verdict
}

function checkTimes({ acknowledgedAt, shownAt }: History, dueAt: DueAt, verdict: Verdict): void {
  for (const [id, at] of acknowledgedAt) {
    const due = dueAt(id, at)
    if (Number.isFinite(due) && !((shownAt.get(id) ?? Number.POSITIVE_INFINITY) <= due)) verdict.late.push(id)
  }
}

/** What the end of a run says about what was read on the way. */
interface End {
  settled: ReadonlySet<string>
  /** True for what need not be in any list. */
  isGone: (id: string) => boolean
  /** True for what the log need not show in a read that ended then. */
  isForgotten: (id: string, endedAt?: number) => boolean
}

/** What was read on the way. */
function checkReads(history: History, { settled, isGone, isForgotten }: End, verdict: Verdict): void {
  const { acknowledgedAt, logReads, deliveredReads, followed } = history
  const stale = new Set<string>()
  for (const { beganAt, endedAt, ids, above = '', upTo = '~' } of logReads) {
    checkOrder(ids, verdict)
    const shown = new Set(ids)
    for (const [id, at] of acknowledgedAt) {
      if (at >= beganAt || id <= above || id > upTo || shown.has(id)) continue
      if (!isForgotten(id, endedAt)) stale.add(id)
    }
  }
  for (const ids of deliveredReads) {
    checkOrder(ids, verdict)
    for (const id of ids) if (!settled.has(id) && !isGone(id)) stale.add(id)
  }
  for (const shown of followed) {
    for (const id of acknowledgedAt.keys()) if (!shown.has(id) && !isForgotten(id)) stale.add(id)
  }
  verdict.stale.push(...stale)
}

/** A list is ascending by id, and shows none twice. */
function checkOrder(ids: readonly string[], verdict: Verdict): void {
  for (let index = 1; index < ids.length; index++) {
    if (ids[index - 1]! === ids[index]!) verdict.duplicated.push(ids[index]!)
    else if (ids[index - 1]! > ids[index]!) verdict.unexpected.push(ids[index]!)
  }
}

/** Waits until nothing waits in `system`, then reads both lists and asserts that the promise held. */
export async function assertNothingWrong(
  system: RunningSystem,
  history: History,
  waitMs = 30_000,
): Promise<FinalRead> {
  await system.until(
    'all that is logged is settled',
    async () => {
      const actors = await system.actors()
      return actors.every(({ state, waiting = 0 }) => state === 'ready' && waiting === 0)
    },
    waitMs,
  )
  // What a member merges in when it joins again is found, logged and delivered after this wait, and during the reads.
  let read = await system.lists()
  let verdict = check(history, read)
  const isWhole = async () => {
    read = await system.lists()
    verdict = check(history, read)
    return verdict.torn.length === 0
  }
  await system.until('both lists have the same messages', isWhole).catch(() => {})
  // Where they are now tells a message that was lost from one that only one kind of read misses.
  const found = verdict.torn.slice(0, 20).map((id) => system.get(`/messages/${id}`).catch(String))
  assert.deepEqual({ ...verdict, found: await Promise.all(found) }, { ...NOTHING_WRONG, found: [] })
  return read
}
