/** The history checker: what clients were told against what the lists hold at the end. */
import assert from 'node:assert/strict'
import type { History } from './load.ts'
import type { Item, RunningSystem } from './running-system.ts'

/** What is wrong, by kind; all empty when the promise held. */
export interface Verdict {
  /** Acknowledged, and not in the log. */
  lost: string[]
  /** Twice in one list, in two stores, or one text under two ids. */
  duplicated: string[]
  /** Read, and never attempted; or under an id with another text. */
  unexpected: string[]
  /** In one of the lists only. */
  torn: string[]
}

/** The final read of both lists. `dead`: ids of the dead letters, which stand for the delivered list. */
export interface FinalRead {
  logged: readonly Item[]
  stores: ReadonlyMap<string, readonly Item[]>
  dead?: readonly string[]
}

/**
 * Compares a history with a final read.
 *
 * @throws {AssertionError} When nothing was acknowledged: such a run proves nothing.
 */
export function check(history: History, { logged, stores, dead = [] }: FinalRead): Verdict {
  assert.ok(history.acknowledged.size > 0, 'something was acknowledged')
  const verdict: Verdict = { lost: [], duplicated: [], unexpected: [], torn: [] }
  const log = new Map<string, string>()
  const texts = new Set<string>()
  for (const { id, text } of logged) {
    if (log.has(id) || texts.has(text)) verdict.duplicated.push(id)
    if (!history.attempted.has(text)) verdict.unexpected.push(id)
    log.set(id, text)
    texts.add(text)
  }
  for (const [id, text] of history.acknowledged) {
    if (!log.has(id)) verdict.lost.push(id)
    else if (log.get(id) !== text) verdict.unexpected.push(id)
  }
  const settled = new Set<string>()
  const settle = (id: string) => {
    if (settled.has(id)) verdict.duplicated.push(id)
    if (!log.has(id)) verdict.torn.push(id)
    settled.add(id)
  }
  for (const items of stores.values()) {
    for (const [index, { id, text }] of items.entries()) {
      settle(id)
      if (log.has(id) && log.get(id) !== text) verdict.unexpected.push(id)
      if (index > 0 && items[index - 1]!.id >= id) verdict.unexpected.push(id)
    }
  }
  for (const id of dead) settle(id)
  for (const id of log.keys()) if (!settled.has(id)) verdict.torn.push(id)
  return verdict
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
  let read = await system.lists()
  await system
    .until('both lists are the same size', async () => {
      read = await system.lists()
      return [...read.stores.values()].reduce((sum, items) => sum + items.length, 0) >= read.logged.length
    })
    .catch(() => {})
  assert.deepEqual(check(history, read), { lost: [], duplicated: [], unexpected: [], torn: [] })
  return read
}
