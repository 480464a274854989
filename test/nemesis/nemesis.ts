/**
 * The nemesis: under load, faults strike a node, in an order that a seed decides; each kind comes once in every deal,
 * and some come two at once. At the end of a deal the checker compares what clients were told with both lists.
 */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { check, type Excused, type Verdict } from '../support/checker.ts'
import { Contention } from '../support/contention.ts'
import { History } from '../support/history.ts'
import { Load } from '../support/load.ts'
import { isAlive, type System, sleep } from '../support/system.ts'
import { type Dice, diceOf } from './dice.ts'
import { type Fault, pairOf } from './faults.ts'
import { emptyRow, type Row } from './table.ts'

const CLIENTS = { connections: 16, pauseMs: 10 }
const FEW_CLIENTS = { connections: 4, pauseMs: 20 }
const BETWEEN_COUNT = 120
const RECOVERY_MS = 60_000
const READ_MS = 100
const PAGE_COUNT = 300
const LOOKS = 20
const LOOK_MS = 500

/** What a test gives to what it begins. */
export type Ended = Pick<TestContext, 'after' | 'diagnostic'>

/** A node, and all that is done to it in a deal. */
export interface Arena {
  system: System
  faults: readonly Fault[]
  /** Its faults leave less time for load: a redrive, for example. */
  isSlow?: boolean
  /** What the promise does not cover after the faults so far; all is covered without it. */
  excused?: (history: History) => Excused
}

/** What a deal is made of. */
interface Deal {
  /** Starts a node, which ends with what it is given. */
  begin: (context: Ended) => Promise<Arena>
  /** How often two faults strike at once. */
  pairs: number
}

/**
 * Deals until `minutes` have passed, each on a node of its own; the last deal is finished.
 *
 * @returns A row for each kind of fault.
 * @throws {AssertionError} When a node does not recover, or a request fails that may not.
 */
export async function nemesis(
  context: Ended,
  { seed, minutes, ...each }: Deal & { seed: number; minutes: number },
): Promise<Map<string, Row>> {
  const dice = diceOf(seed)
  const rows = new Map<string, Row>()
  const endAt = performance.now() + minutes * 60_000
  do await deal(context, { ...each, dice, rows })
  while (performance.now() < endAt)
  return rows
}

/** Every fault once, and some two at once. */
async function deal(
  context: Ended,
  { begin, pairs: count, dice, rows }: Deal & { dice: Dice; rows: Map<string, Row> },
): Promise<void> {
  const ends: (() => void | Promise<void>)[] = []
  const inside: Ended = {
    after: (end) => void ends.push(end as () => Promise<void>),
    diagnostic: (message) => context.diagnostic(message),
  }
  // When the deal fails half-way, the test ends what it began.
  const endAll = async () => {
    for (const end of ends.splice(0).reverse()) await end()
  }
  context.after(endAll)
  const { system, faults, excused, isSlow = false } = await begin(inside)
  const contention = new Contention(inside)
  const history = new History()
  const pairs = Array.from({ length: count }, () => pairOf(faults, dice))
  for (const fault of shuffled([...faults, ...pairs], dice)) {
    const row = rows.get(fault.name) ?? emptyRow()
    rows.set(fault.name, row)
    await strike({ fault, system, dice, row, history, context: inside, contention, isSlow })
  }
  const verdict = await verdictOf(system, history, excused?.(history))
  for (const [kind, ids] of Object.entries(verdict) as [keyof Verdict, string[]][]) {
    for (const id of ids) {
      const name = history.acknowledged.get(id)?.split(':')[0] ?? 'not acknowledged'
      const row = rows.get(name) ?? emptyRow()
      rows.set(name, row)
      row.wrong[kind]++
    }
  }
  await endAll()
}

interface Strike {
  fault: Fault
  system: System
  dice: Dice
  row: Row
  history: History
  context: Ended
  contention: Contention
  isSlow: boolean
}

/** One fault under load: from a node that is well to a node that is well. */
async function strike({
  fault,
  system,
  dice,
  row,
  history,
  context,
  contention,
  isSlow,
}: Strike): Promise<void> {
  const label = `${fault.name}: ${history.attempted.size}`
  const load = new Load(context, system.url, { ...(isSlow ? FEW_CLIENTS : CLIENTS), label })
  const reader = readLog(system, history)
  context.after(() => reader.stop())
  await load.more(BETWEEN_COUNT)
  const since = await fault.strike(system, dice).catch((cause) => {
    throw new Error(fault.name, { cause })
  })
  if (fault.postsWithinMs !== undefined) {
    await load.more(1)
    const [tookMs, allowedMs] = [performance.now() - since, contention.allow(fault.postsWithinMs)]
    assert.ok(tookMs <= allowedMs, `${fault.name}: posts were taken again after ${tookMs} of ${allowedMs} ms`)
  }
  await system.until(`it is well after ${fault.name}`, () => isWell(system, history), RECOVERY_MS)
  row.recoveryMs.push(performance.now() - since)
  await load.more(BETWEEN_COUNT)
  await reader.stop()
  const { attempted, acknowledged, acknowledgedAt, postedAt, failures } = await load.stop()
  row.injected++
  row.attempted += attempted.size
  row.acknowledged += acknowledged.size
  row.failed += failures.length
  for (const text of attempted) history.attempted.add(text)
  for (const [text, at] of postedAt) history.postedAt.set(text, at)
  for (const [id, text] of acknowledged) history.acknowledge(id, text, acknowledgedAt.get(id)!)
  if (fault.silent) assert.deepEqual(failures, [], `${fault.name}: no client may notice`)
}

/** Reads the newest page of the log all the time: what was acknowledged before a read began must be in it. */
function readLog(system: System, history: History): { stop(): Promise<void> } {
  let stopped = false
  const reading = (async () => {
    while (!stopped) {
      const beganAt = Date.now()
      const page = await system
        .get<{ items: { id: string }[] }>(`/log?limit=${PAGE_COUNT}`)
        .catch(() => undefined)
      const ids = (page?.items ?? []).map(({ id }) => id).reverse()
      if (ids.length > 0)
        history.logReads.push({
          beganAt,
          endedAt: Date.now(),
          ids,
          ...(ids.length === PAGE_COUNT && { above: ids[0]! }),
        })
      await sleep(READ_MS)
    }
  })()
  return {
    stop() {
      stopped = true
      return reading
    },
  }
}

/** Every actor is there and ready, a message is accepted, and it is delivered. */
async function isWell(system: System, history: History): Promise<boolean> {
  const { ok } = await fetch(`${system.url}/readyz`, { signal: AbortSignal.timeout(2000) })
  const actors = await system.actors()
  if (!ok || !actors.every(({ pid, state }) => state === 'ready' && isAlive(pid))) return false
  const text = `probe: ${history.attempted.size}`
  history.attempted.add(text)
  history.postedAt.set(text, Date.now())
  const { id } = await system.send<{ id: string }>('POST', '/messages', { text })
  history.acknowledge(id, text, Date.now())
  return (await system.get<{ state: string }>(`/messages/${id}?wait=2`)).state === 'delivered'
}

/** What the checker says once nothing waits. */
async function verdictOf(system: System, history: History, excused: Excused | undefined): Promise<Verdict> {
  await system.until('nothing waits', async () =>
    (await system.actors()).every(({ state, waiting = 0 }) => state === 'ready' && waiting === 0),
  )
  let verdict: Verdict | undefined
  const isClean = async () => {
    verdict = undefined
    verdict = check(history, await system.lists(), { ...(excused && { excused }) })
    return Object.values(verdict).every((ids) => ids.length === 0)
  }
  // What was delivered a moment ago may not be in what its actor last told; a list may say that it is not whole.
  for (let look = 0; look < LOOKS && !(await isClean().catch(() => false)); look++) await sleep(LOOK_MS)
  return verdict ?? assert.fail('no list could be read whole')
}

function shuffled<T>(items: readonly T[], dice: Dice): T[] {
  return items
    .map((item) => ({ item, place: dice() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item)
}
