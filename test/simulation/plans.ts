/** How fast-check draws and shrinks the plans of histories. */
import fc from 'fast-check'
import { CLUSTER_KINDS, COMMON_KINDS, DISK_KINDS, type Fault, type FaultKind } from './faults.ts'
import type { Plan } from './sim-world.ts'

/** The last moment a fault can come, in ms since the clients began. */
const LAST_MS = 2800
const MAX_FAULTS = 4

/** Kinds of faults a backend's world knows. */
export function kindsOf(backend: Plan['backend']): readonly FaultKind[] {
  return [...COMMON_KINDS, ...(backend === 'embedded' ? DISK_KINDS : CLUSTER_KINDS)]
}

/** Any plan of a backend: shrinks to fewer, earlier, shorter faults. */
export function anyPlan(backend: Plan['backend']): fc.Arbitrary<Plan> {
  return fc.record({
    backend: fc.constant(backend),
    seed: fc.nat(),
    handler: fc.boolean(),
    faults: fc.array(anyFault(backend), { minLength: 1, maxLength: MAX_FAULTS }),
  })
}

function anyFault(backend: Plan['backend']): fc.Arbitrary<Fault> {
  return fc.record({
    kind: fc.constantFrom(...kindsOf(backend)),
    atMs: fc.integer({ min: 0, max: LAST_MS }),
    forMs: fc.integer({ min: 100, max: 3000 }),
    which: fc.nat({ max: 999 }),
    strength: fc.integer({ min: 0, max: 100 }).map((hundredths) => hundredths / 100),
  })
}
