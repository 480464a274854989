/**
 * Finds plans that show the rare planted bugs. Any change to the order of events can make an old plan show nothing: run
 * this then, and put what it prints into `RARE_BUGS`. It varies the old plan's numbers until the planted bug is caught
 * and the promise is kept without it.
 *
 *   node test/simulation/find-plans.ts
 */
import { RARE_BUGS } from './bugs.ts'
import { wrongWith } from './job.ts'
import { Rng } from './rng.ts'
import type { Plan } from './sim-world.ts'

const TRIES = 50_000

const rng = new Rng(Date.now())
for (const { name, planted, plan } of RARE_BUGS) {
  const isShown = async (candidate: Plan) =>
    (await wrongWith(candidate, planted)) !== '' && (await wrongWith(candidate)) === ''
  if (await isShown(plan)) {
    console.log(`${name}: its plan shows it`)
    continue
  }
  let found: Plan | undefined
  for (let tries = 0; tries < TRIES && found === undefined; tries++) {
    const candidate = varied(plan)
    if (await isShown(candidate)) found = candidate
  }
  console.log(`${name}: ${found === undefined ? `none in ${TRIES} tries` : JSON.stringify(found)}`)
}

function varied({ faults, ...plan }: Plan): Plan {
  return {
    ...plan,
    seed: rng.below(2 ** 31),
    faults: faults.map((fault) => ({
      ...fault,
      atMs: Math.round(fault.atMs * rng.between(0.7, 1.3)),
      forMs: Math.round(fault.forMs * rng.between(0.5, 1.5)),
      which: rng.below(1000),
      strength: Math.round(rng.next() * 100) / 100,
    })),
  }
}
