/** Plans that failed once, each with the fault it found. They must never fail again. */
import type { Plan } from './sim-world.ts'

/** A plan and the fault in the code that it found. */
export interface Committed {
  found: string
  plan: Plan
}

export const COMMITTED: readonly Committed[] = [
  {
    found: 'a page left out what another page, read meanwhile, trimmed from the cache',
    plan: {
      ...{ backend: 'hazelcast', seed: 1755604167, handler: false },
      faults: [
        { kind: 'a process dies at any moment', atMs: 0, forMs: 100, which: 33, strength: 0 },
        { kind: 'a process dies at a call', atMs: 632, forMs: 100, which: 696, strength: 0.5 },
      ],
    },
  },
  {
    found: 'a lease without end: its lane was never taken again',
    plan: {
      ...{ backend: 'hazelcast', seed: 5, handler: false },
      faults: [
        { kind: 'calls to a cluster are lost', atMs: 73, forMs: 1071, which: 175, strength: 0.9 },
        { kind: 'a process dies at any moment', atMs: 508, forMs: 1035, which: 545, strength: 0.23 },
        { kind: 'messages actors are scaled', atMs: 937, forMs: 1427, which: 513, strength: 0.81 },
      ],
    },
  },
  {
    found: 'a holder took what it found in the log for durable',
    plan: {
      ...{ backend: 'hazelcast', seed: 5, handler: false },
      faults: [
        { kind: 'copies stay out', atMs: 73, forMs: 1071, which: 174, strength: 0.9 },
        { kind: 'a process dies at a call', atMs: 508, forMs: 1035, which: 544, strength: 0.23 },
        { kind: 'messages actors are scaled', atMs: 937, forMs: 1427, which: 512, strength: 0.81 },
      ],
    },
  },
  {
    found: 'a successor took what it found in the list for durable, and out of pending',
    plan: {
      ...{ backend: 'hazelcast', seed: 20, handler: true },
      faults: [
        { kind: 'calls to a cluster straggle', atMs: 1409, forMs: 2638, which: 226, strength: 0.35 },
        { kind: 'copies stay out', atMs: 2221, forMs: 1309, which: 837, strength: 0.15 },
        { kind: 'a process dies at any moment', atMs: 1252, forMs: 1841, which: 54, strength: 0.07 },
      ],
    },
  },
  {
    found: 'a lease was renewed for ever by who did not hold the lane',
    plan: {
      ...{ backend: 'hazelcast', seed: 1890250177, handler: false },
      faults: [
        { kind: 'messages actors are scaled', atMs: 0, forMs: 100, which: 0, strength: 0.34 },
        { kind: 'a member freezes', atMs: 0, forMs: 771, which: 3, strength: 0.02 },
        { kind: 'a member freezes', atMs: 232, forMs: 1790, which: 3, strength: 0.94 },
      ],
    },
  },
  {
    found: 'a holder put into the log what was pending on one member only',
    plan: {
      ...{ backend: 'hazelcast', seed: 1937745204, handler: true },
      faults: [
        { kind: 'copies stay out', atMs: 0, forMs: 1659, which: 87, strength: 0.57 },
        { kind: 'a process freezes', atMs: 2274, forMs: 2010, which: 663, strength: 0.7 },
        { kind: 'logging actors are scaled', atMs: 659, forMs: 1726, which: 109, strength: 0.52 },
        { kind: 'a process dies at any moment', atMs: 2674, forMs: 2535, which: 658, strength: 0.15 },
      ],
    },
  },
  {
    found: 'a consumer of a lane that was lost started a message in the hands of the one after it',
    plan: {
      ...{ backend: 'hazelcast', seed: 608782856, handler: true },
      faults: [{ kind: 'calls to a cluster are lost', atMs: 0, forMs: 2872, which: 725, strength: 0.03 }],
    },
  },
  {
    found:
      'a holder whose clock went back took what no wake-up brought for too young, as long as that was so',
    plan: {
      ...{ backend: 'hazelcast', seed: 2147483636, handler: false },
      faults: [
        { kind: 'calls to a cluster are lost', atMs: 1424, forMs: 2110, which: 947, strength: 0.9 },
        { kind: 'the wall clock steps', atMs: 1424, forMs: 2110, which: 946, strength: 0.03 },
      ],
    },
  },
  {
    found: 'a lane that was to move waited for the end of a lease whose holder had died, and was there again',
    plan: {
      ...{ backend: 'hazelcast', seed: 499684110, handler: false },
      faults: [{ kind: 'a process dies at any moment', atMs: 3, forMs: 1282, which: 810, strength: 0.71 }],
    },
  },
  {
    found: 'a lane of a cluster that came back empty was taken while its former holder still had it in mind',
    plan: {
      ...{ backend: 'hazelcast', seed: 1618431174, handler: false },
      faults: [
        { kind: 'a cluster comes back empty', atMs: 0, forMs: 100, which: 105, strength: 0 },
        { kind: 'a node dies', atMs: 55, forMs: 102, which: 437, strength: 0.67 },
      ],
    },
  },
  {
    found: 'so it was by a process that had just begun, and knew no cluster before',
    plan: {
      ...{ backend: 'hazelcast', seed: 2124005284, handler: false },
      faults: [
        { kind: 'a cluster comes back empty', atMs: 411, forMs: 100, which: 961, strength: 0 },
        { kind: 'messages actors are scaled', atMs: 2626, forMs: 100, which: 0, strength: 0.71 },
        { kind: 'a member dies', atMs: 2, forMs: 507, which: 696, strength: 0.59 },
      ],
    },
  },
  {
    found: 'a redrive left out what its holder remembered from before the cluster was empty',
    plan: {
      ...{ backend: 'hazelcast', seed: 1001580054, handler: true },
      faults: [{ kind: 'a cluster comes back empty', atMs: 568, forMs: 100, which: 0, strength: 0 }],
    },
  },
  {
    found: 'who could not write that a letter is purged went on with the same file',
    plan: {
      ...{ backend: 'embedded', seed: 2147483622, handler: true },
      faults: [{ kind: 'fdatasync fails', atMs: 830, forMs: 100, which: 0, strength: 0.48 }],
    },
  },
  {
    found: 'what was purged while a replay was half made was run for ever, as it kills its worker',
    plan: {
      ...{ backend: 'hazelcast', seed: 15, handler: true },
      faults: [
        { kind: 'copies stay out', atMs: 547, forMs: 562, which: 0, strength: 0.65 },
        { kind: 'calls to a cluster straggle', atMs: 1956, forMs: 553, which: 22, strength: 0.27 },
        { kind: 'a node dies', atMs: 1933, forMs: 1310, which: 448, strength: 0.78 },
        { kind: 'a process dies at any moment', atMs: 2, forMs: 110, which: 997, strength: 0.61 },
      ],
    },
  },
  {
    found:
      'what a holder had delivered, and did not live to record, was delivered again after the cluster was empty',
    plan: {
      ...{ backend: 'hazelcast', seed: 0, handler: false, journal: true },
      faults: [
        { kind: 'all restart with a cluster', atMs: 1869, forMs: 100, which: 52, strength: 0 },
        { kind: 'a process dies at a call', atMs: 1846, forMs: 100, which: 668, strength: 0.18 },
        { kind: 'requests are lost', atMs: 2494, forMs: 1222, which: 554, strength: 0.76 },
      ],
    },
  },
  {
    found: 'a post with a key was stored twice, as an emptied cluster took the key before its keys were back',
    plan: {
      ...{ backend: 'hazelcast', seed: 1574431220, handler: false, journal: true },
      faults: [
        { kind: 'a process dies at a call', atMs: 0, forMs: 100, which: 0, strength: 0 },
        { kind: 'a cluster comes back empty', atMs: 0, forMs: 100, which: 49, strength: 0 },
        { kind: 'calls to a cluster are lost', atMs: 174, forMs: 2753, which: 891, strength: 0.33 },
        { kind: 'a member freezes', atMs: 1132, forMs: 989, which: 933, strength: 0.24 },
      ],
    },
  },
  {
    found: 'a lane was refilled without the records of an actor that was restarting',
    plan: {
      ...{ backend: 'hazelcast', seed: 9, handler: false, journal: true },
      faults: [
        { kind: 'a cluster comes back empty', atMs: 33, forMs: 100, which: 339, strength: 0 },
        { kind: 'a process freezes', atMs: 1772, forMs: 1270, which: 218, strength: 0.65 },
        { kind: 'copies stay out', atMs: 2746, forMs: 1747, which: 439, strength: 0.88 },
      ],
    },
  },
  {
    found: 'a key was forgotten with its queue, as who wrote the log died before it wrote the journal',
    plan: {
      ...{ backend: 'hazelcast', seed: 0, handler: true, journal: true },
      faults: [
        { kind: 'all restart with a cluster', atMs: 0, forMs: 100, which: 619, strength: 0 },
        { kind: 'a process dies at a call', atMs: 0, forMs: 100, which: 0, strength: 0 },
      ],
    },
  },
  {
    found: 'what was read was gone after both clusters were lost, as only the log had it',
    plan: {
      ...{ backend: 'hazelcast', seed: 935084919, handler: false, journal: true },
      faults: [
        { kind: 'all restart with a cluster', atMs: 2073, forMs: 100, which: 271, strength: 0.94 },
        { kind: 'a member dies', atMs: 1950, forMs: 242, which: 259, strength: 0.93 },
        { kind: 'delivery is paused', atMs: 866, forMs: 1700, which: 209, strength: 0.68 },
        { kind: 'logging actors are scaled', atMs: 2322, forMs: 1599, which: 33, strength: 0.47 },
      ],
    },
  },
  {
    found: 'what a log was filled with from a journal was in no lane',
    plan: {
      ...{ backend: 'hazelcast', seed: 35918247, handler: false, journal: true },
      faults: [
        { kind: 'a cluster comes back empty', atMs: 990, forMs: 1748, which: 7, strength: 0 },
        { kind: 'a cluster is away', atMs: 66, forMs: 741, which: 26, strength: 0.02 },
        { kind: 'requests are lost', atMs: 1801, forMs: 659, which: 171, strength: 0.93 },
        { kind: 'the network is slow', atMs: 1808, forMs: 529, which: 367, strength: 0.67 },
      ],
    },
  },
  {
    found:
      'a repeat with another body was delivered in place of the first, as its line had come back without it',
    plan: {
      ...{ backend: 'hazelcast', seed: 2147483641, handler: true, journal: true },
      faults: [
        { kind: 'all restart with a cluster', atMs: 924, forMs: 100, which: 358, strength: 0.37 },
        { kind: 'a cluster is away', atMs: 254, forMs: 1157, which: 535, strength: 0.81 },
      ],
    },
  },
  {
    found:
      'a log that came back empty was taken for whole, as its journal told that by a clock that was set back',
    plan: {
      ...{ backend: 'hazelcast', seed: 770320964, handler: false, journal: true },
      faults: [
        { kind: 'the wall clock steps', atMs: 0, forMs: 100, which: 0, strength: 0 },
        { kind: 'all restart with a cluster', atMs: 0, forMs: 100, which: 3, strength: 0 },
        { kind: 'a process dies at a call', atMs: 0, forMs: 100, which: 0, strength: 0 },
      ],
    },
  },
  {
    found:
      'a holder logged what a dead facade had left in pending without its key, which was forgotten with its queue',
    plan: {
      ...{ backend: 'hazelcast', seed: 1626963520, handler: true, journal: true },
      faults: [
        { kind: 'a node dies', atMs: 0, forMs: 1335, which: 0, strength: 0 },
        { kind: 'a member dies', atMs: 1724, forMs: 2989, which: 369, strength: 0.03 },
        { kind: 'a cluster comes back empty', atMs: 2384, forMs: 1750, which: 3, strength: 0.78 },
        { kind: 'a member freezes', atMs: 2250, forMs: 110, which: 9, strength: 0.03 },
      ],
    },
  },
  {
    found: 'a facade that had not met the other node again took a post whose key only that node knew',
    plan: {
      ...{ backend: 'hazelcast', seed: 0, handler: true, journal: true },
      faults: [
        { kind: 'a cluster comes back empty', atMs: 3, forMs: 149, which: 192, strength: 0.09 },
        { kind: 'all restart with a cluster', atMs: 640, forMs: 1402, which: 359, strength: 0.8 },
      ],
    },
  },
  {
    found:
      'the target went away while the own process of a message loaded: starts that began meanwhile had succeeded, so its attempt was used up',
    plan: {
      ...{ backend: 'hazelcast', seed: 20, handler: true, journal: true, met: true },
      faults: [
        { kind: 'the target is away', atMs: 1859, forMs: 100, which: 0, strength: 0 },
        { kind: 'a cluster comes back empty', atMs: 222, forMs: 2752, which: 0, strength: 0 },
        { kind: 'a member dies', atMs: 1547, forMs: 2247, which: 923, strength: 0.35 },
      ],
    },
  },
]
