/**
 * Long runs, on demand: `npm run soak -- --minutes 30`. Each ring gets its part of the time and says what it found.
 *
 *   --minutes N   all rings together (30)
 *   --seed S      where they begin; printed when it was drawn
 *   --ring NAME   one ring only
 *   --plan JSON   one history of the simulation again, told event by event
 */
import { parseArgs } from 'node:util'
import { nemesisRing, stopsRing } from './nemesis/soak-ring.ts'
import { replay } from './simulation/replay.ts'
import type { Plan } from './simulation/sim-world.ts'
import { simulationRing } from './simulation/soak-ring.ts'
import type { Ring } from './support/ring.ts'

/** All there are. */
const RINGS: readonly Ring[] = [simulationRing, nemesisRing, stopsRing]

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string' },
    ring: { type: 'string' },
    plan: { type: 'string' },
  },
})
const say = (line: string) => console.log(line)

async function soak(): Promise<boolean> {
  if (values.plan !== undefined) return replay(JSON.parse(values.plan) as Plan, say)
  const rings = RINGS.filter(({ name }) => values.ring === undefined || name === values.ring)
  const minutes = Number(values.minutes) / rings.length
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
  if (rings.length === 0 || !(minutes > 0) || !Number.isInteger(seed)) {
    throw new Error(`expected --minutes above 0, a whole --seed, --ring of ${RINGS.map(({ name }) => name)}`)
  }
  let held = true
  for (const ring of rings) {
    say(`${ring.name}: ${minutes} minutes from seed ${seed} on`)
    held = (await ring.run({ minutes, seed, say })) && held
  }
  return held
}

process.exitCode = (await soak()) ? 0 : 1
