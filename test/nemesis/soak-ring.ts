/** The nemesis, for as long as wanted: deal after deal on both backends, in orders of their own. */
import { memberProgram } from '../../tools/hazelcast/jar.ts'
import type { Ring } from '../support/ring.ts'
import { embeddedArena } from './embedded.ts'
import { hazelcastArena } from './hazelcast.ts'
import { type Ended, nemesis } from './nemesis.ts'
import { tableOf } from './table.ts'

const ARENAS = { embedded: embeddedArena, hazelcast: hazelcastArena }

/** Half of the time on each backend; a deal that was begun is finished. */
export const nemesisRing: Ring = {
  name: 'nemesis',
  async run({ minutes, seed, say }) {
    memberProgram(say) // Says now what is missing, not after half of the time.
    let held = true
    for (const [backend, begin] of Object.entries(ARENAS)) {
      const ends: (() => void | Promise<void>)[] = []
      const context: Ended = {
        after: (end) => void ends.push(end as () => Promise<void>),
        diagnostic: say,
      }
      try {
        const rows = await nemesis(context, { begin, pairs: 4, seed, minutes: minutes / 2 })
        say(`${backend}, seed ${seed}\n${tableOf(rows)}`)
        for (const { wrong } of rows.values()) held &&= Object.values(wrong).every((count) => count === 0)
      } catch (error) {
        held = false
        say(`${backend}, seed ${seed}: ${(error as Error).stack}`)
      } finally {
        for (const end of ends.reverse()) await end()
      }
    }
    return held
  },
}
