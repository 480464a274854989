/** The nemesis, for as long as wanted: deal after deal in all arenas, in orders of their own. */
import { inspect } from 'node:util'
import { memberProgram } from '../../tools/hazelcast/jar.ts'
import type { Ring } from '../support/ring.ts'
import { clustersArena } from './clusters.ts'
import { diceOf } from './dice.ts'
import { embeddedArena } from './embedded.ts'
import { hazelcastArena } from './hazelcast.ts'
import { type Ended, nemesis } from './nemesis.ts'
import { tableOf } from './table.ts'
import { wholeStops } from './whole-stops.ts'

const ARENAS = { embedded: embeddedArena, hazelcast: hazelcastArena, clusters: clustersArena }

/** A third of the time in each arena; a deal that was begun is finished. */
export const nemesisRing: Ring = {
  name: 'nemesis',
  async run({ minutes, seed, say }) {
    memberProgram(say) // Says now what is missing, not after a third of the time.
    let held = true
    for (const [arena, begin] of Object.entries(ARENAS)) {
      const ends: (() => void | Promise<void>)[] = []
      const context: Ended = {
        after: (end) => void ends.push(end as () => Promise<void>),
        diagnostic: say,
      }
      try {
        const rows = await nemesis(context, {
          begin,
          pairs: arena === 'clusters' ? 0 : 4,
          seed,
          minutes: minutes / 3,
        })
        say(`${arena}, seed ${seed}\n${tableOf(rows)}`)
        for (const { wrong } of rows.values()) held &&= Object.values(wrong).every((count) => count === 0)
      } catch (error) {
        held = false
        say(`${arena}, seed ${seed}: ${inspect(error)}`)
      } finally {
        for (const end of ends.reverse()) await end()
      }
    }
    return held
  },
}

/** Whole stops of two nodes and two clusters of three members: ten at least. */
export const stopsRing: Ring = {
  name: 'stops',
  async run({ minutes, seed, say }) {
    memberProgram(say)
    const endAt = performance.now() + minutes * 60_000
    const dice = diceOf(seed)
    do {
      const ends: (() => void | Promise<void>)[] = []
      const after = (end: unknown) => void ends.push(end as () => Promise<void>)
      try {
        await wholeStops({ after, diagnostic: say }, { times: 10, members: 3, dice, say })
      } catch (error) {
        say(`seed ${seed}: ${inspect(error)}`)
        return false
      } finally {
        for (const end of ends.reverse()) await end()
      }
    } while (performance.now() < endAt)
    return true
  },
}
