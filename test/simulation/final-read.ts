/** Reads both lists and the dead letters once all deliveries have ended. */
import type { FinalRead } from '../support/checker.ts'
import type { Clients } from './clients.ts'
import type { SimNode } from './node.ts'
import type { Scheduler } from './scheduler.ts'
import { passUntil, within } from './waiting.ts'

/** Lanes stand still by then. */
const STILL_MS = 120_000
/** So often, a second apart, it waits for what is delivered to be shown. */
const SHOW_TURNS = 6

/** While lanes move, two stores can show the same: read again then. */
export async function finalRead(scheduler: Scheduler, clients: Clients, nodes: readonly SimNode[]) {
  const holders = () => nodes.flatMap((node) => node.entries()).filter(({ role }) => role === 'messages')
  const standing = () =>
    JSON.stringify(
      holders().map(({ name, state, restarts, lanes }) => [name, state, restarts, Object.keys(lanes ?? {})]),
    )
  for (let turn = 0; turn < 20; turn++) {
    await passUntil(scheduler, STILL_MS, () => nodes.every((node) => node.settled()))
    const before = standing()
    const names = holders().map(({ name }) => name)
    let stood = true
    // All the while, not only at its end: a lane may leave and come back.
    const look = () => {
      stood &&= standing() === before
    }
    const read = await within(scheduler, 20_000, clients.finalRead(names), look)
    if (read !== undefined && stood && (turn > SHOW_TURNS || showsAll(read))) return read
    await scheduler.pass(1000)
  }
  return undefined
}

/** Durably delivered is not yet shown: its holder may wait for the last answer of its settlement. */
function showsAll({ logged, stores, dead = [] }: Omit<FinalRead, 'pending'>): boolean {
  const shown = [...stores.values()].reduce((sum, items) => sum + items.length, dead.length)
  return shown >= logged.length
}
