/**
 * Planted bugs. Each breaks the simulated world (never the code under test) in one way. They test the simulation
 * itself: it must catch each of them.
 */

import type { RecentPart, SiftedPage } from '../../src/actors/protocol.ts'
import type { ActorContext } from '../../src/runtime/cluster/actor-context.ts'
import { isMailroomError, MailroomError } from '../../src/runtime/errors.ts'
import { CURSOR_DELAY_MS } from '../../src/runtime/timings.ts'
import type { NodeConfig } from '../../src/settings/config.ts'
import { type Cluster, type ClusterMap, FOR_EVER_MS, onlyAway } from '../../src/storage/hazelcast/cluster.ts'
import { laneKey, NAMES } from '../../src/storage/hazelcast/entries.ts'
import { UNSTARTED } from '../../src/storage/lane.ts'
import type { Backend, Queue, Receipt } from '../../src/storage/ports.ts'
import { Outcomes } from '../../src/storage/records.ts'
import type { HazelcastBugs } from './hazelcast-backend.ts'
import { withMap, withQueues } from './other-cluster.ts'
import type { Plan, Planted } from './sim-world.ts'

const MINUTE_MS = 60_000
const EVERY_LANE = Array.from({ length: 256 }, (_, lane) => lane)

/** One planted bug. */
export interface Bug {
  name: string
  backend: Plan['backend']
  planted: Planted
  /** As in `Job`. */
  journal?: boolean
  events?: boolean
}

/** All of them. */
export const BUGS: readonly Bug[] = [
  embedded('a 201 before the log is written', { writer: { acknowledgesFirst: true } }),
  embedded('a log without fdatasync', { disk: { logWithoutSync: true } }),
  embedded('a full disk counts as success', { writer: { swallowsFull: true } }),
  embedded('the log forgets idempotency keys', { writer: { forgetsKeys: true } }),
  embedded('a logging actor reads its own file only', { readsOwnFileOnly: true }),
  embedded('the cursor passes unsettled messages', { home: { cursorRunsAhead: true } }),
  embedded('the cursor is durable before the list', { home: { cursorFirst: true } }),
  embedded('a retry is not recorded', { home: { losesRetries: true } }),
  embedded('open starts are forgotten', { home: { forgetsOpenStarts: true } }),
  embedded('a pause is forgotten', { forgetsPause: true }),
  embedded('a lane can be locked twice', { locksNothing: true }),
  embedded('no wake-ups, and a poll every 20 s', { sleepsMs: 20_000 }),
  journaled('a batch is acknowledged before its journal has it', { journals: { acknowledgesEarly: true } }),
  journaled('a log is filled from what its process has written only', {
    journals: { readsOwnOnly: 'logging' },
  }),
  journaled('the records of a former holder are not asked for', { journals: { readsOwnOnly: 'messages' } }),
  journaled('what was settled runs again', {
    refill: ({ put }) => ({ put: (lane, messages) => put(lane, messages, new Outcomes([])) }),
  }),
  journaled('keys are not put back', { refill: () => ({ putKeys: async () => {} }) }),
  journaled('lanes are not refilled', { refill: () => ({ lacking: async () => new Map() }) }),
  {
    name: 'a dead worker is restarted after 20 s',
    backend: 'embedded',
    planted: { node: { restartAfterMs: 20_000 } },
  },
  {
    name: 'messages are stamped with the wall clock',
    backend: 'embedded',
    planted: { node: { stampsWithWallClock: true } },
  },
  {
    name: 'a lost reply is reported as a failed connect',
    backend: 'embedded',
    planted: { network: { liesAboutLoss: true } },
  },
  {
    name: 'an outage counts as an attempt',
    backend: 'embedded',
    planted: { runs: { countsOutages: true } },
  },
  {
    name: 'an outage never ends',
    backend: 'embedded',
    planted: { runs: { neverBack: true } },
  },
  embedded('the delay after an outage is an hour', { home: { delaysBackMs: 3_600_000 } }),
  followed('a cursor is not behind', 'embedded', { events: { cursorAheadMs: CURSOR_DELAY_MS } }),
  followed('a cursor of Hazelcast is not behind', 'hazelcast', {
    events: { cursorAheadMs: CURSOR_DELAY_MS },
  }),
  followed('what a lane settled before it moved is not looked up', 'embedded', {
    messages: ({ recent, ...methods }) => ({
      ...methods,
      recent: async (...args) =>
        ((await recent!(...args)) as (RecentPart | null)[]).map((part) => part && { ...part, isNew: false }),
    }),
  }),
  followed('a gap is not told', 'embedded', {
    events: { loses: (frame) => frame.includes('event: gap') },
  }),
  {
    name: 'a write is acknowledged before its backup has it',
    backend: 'hazelcast',
    planted: { hazelcast: { cluster: { withoutSyncBackup: true } } },
  },
  {
    name: 'the log before pending',
    backend: 'hazelcast',
    planted: { hazelcast: { wrap: (backend) => logFirst(backend) } },
  },
  {
    name: 'a batch without a wake-up is not re-appended to the log',
    backend: 'hazelcast',
    planted: { hazelcast: { repairsNothing: true } },
  },
  distorted('no scan of pending', NAMES.pending, () => ({ keys: async () => [] })),
  distorted('pending expires', NAMES.pending, (map) => ({
    putIfAbsent: (key, value) => map.putIfAbsent(key, value, 3000),
  })),
  distorted('an unknown outcome counts as success', NAMES.pending, (map) => ({
    putIfAbsent: (key, value, ttlMs) => orDone(map.putIfAbsent(key, value, ttlMs)),
  })),
  distorted('removed from pending before it is in the list', NAMES.delivered, (list, _, cluster) => {
    const pending = cluster.map(NAMES.pending)
    return {
      putIfAbsent: async (key, value, ttlMs) => {
        for (const each of await pending.keys(key, `${key}~`)) await pending.delete(each)
        return list.putIfAbsent(key, value, ttlMs)
      },
    }
  }),
  distorted('the list is overwritten', NAMES.delivered, (list) => ({
    putIfAbsent: async (key, value, ttlMs) => void (await list.set(key, value, ttlMs)),
    getAll: async () => new Map(),
  })),
  distorted('keys are forgotten', NAMES.keys, () => ({ putIfAbsent: async () => undefined })),
  distorted('dead letters are not written', NAMES.dead, () => ({ putIfAbsent: async () => undefined })),
  distorted('a replay is not written', NAMES.pending, (map) => ({
    set: async (key, value, ttlMs) => {
      if (!(JSON.parse(value) as { replayed: boolean }).replayed) await map.set(key, value, ttlMs)
    },
  })),
  distorted('a purged letter leaves no mark', NAMES.dead, (map) => ({
    putIfAbsent: async (key, value, ttlMs) =>
      key.endsWith('!') ? undefined : map.putIfAbsent(key, value, ttlMs),
  })),
  distorted('starts are not written', NAMES.pending, (map) => ({
    set: async (key, value, ttlMs) => {
      if (!(JSON.parse(value) as { open: boolean }).open) await map.set(key, value, ttlMs)
    },
  })),
  distorted('an unknown outcome is reported as none', NAMES.pending, (map) => ({
    putIfAbsent: (key, value, ttlMs) => reportedAsNone(map.putIfAbsent(key, value, ttlMs)),
  })),
  {
    name: 'a repeat of a source does not look into the log',
    backend: 'hazelcast',
    planted: {
      hazelcast: {
        wrap: (backend) =>
          withBackendQueue(backend, (queue) => ({
            accept: (batch, append) => queue.accept(batch, append, async () => undefined),
          })),
      },
    },
  },
  {
    name: 'no wake-up is sent',
    backend: 'hazelcast',
    planted: {
      hazelcast: { distort: (cluster) => withQueues(cluster, () => ({ offer: async () => true })) },
    },
  },
  distorted('a scan of pending once a minute', NAMES.pending, (map, { clock }) => {
    let nextAt = 0
    return {
      keys: async (from, to) => {
        if (clock.monotonic() < nextAt) return []
        const found = await map.keys(from, to)
        nextAt = clock.monotonic() + MINUTE_MS
        return found
      },
    }
  }),
  distorted('a lease lasts a minute', NAMES.leases, (map) => ({
    putIfAbsent: (key, value) => map.putIfAbsent(key, value, MINUTE_MS),
    setTtl: (key) => map.setTtl(key, MINUTE_MS),
  })),
  {
    name: 'the queue is authoritative, not pending',
    backend: 'hazelcast',
    planted: { hazelcast: { distort: (cluster) => takingFromPending(cluster) } },
  },
  distorted('a lane has two holders at once', NAMES.leases, () => alwaysLeased()),
  distorted('a loss is not noticed', NAMES.meta, (map) => alwaysTheFirst(map)),
  {
    name: 'what was known of the clusters is not stored',
    backend: 'hazelcast',
    planted: { node: { forgetsClusters: true } },
  },
  {
    name: 'a reconnect puts back what was taken before',
    backend: 'hazelcast',
    planted: { hazelcast: { distort: (cluster) => puttingBack(cluster) } },
  },
  redriving('a redrive ignores settlements', (_, pending) => ({
    async redrive(lane, messages) {
      for (const { id, text } of messages) {
        await pending.putIfAbsent(
          laneKey(lane, id),
          JSON.stringify({ text, ...UNSTARTED, replayed: false }),
          FOR_EVER_MS,
        )
      }
      return messages.length
    },
  })),
  redriving('a redrive leaves out the last of a page', (queue) => ({
    redrive: (lane, messages) => queue.redrive(lane, messages.slice(0, -1)),
  })),
  redriving('a redrive into the log leaves out the last of a page', (queue) => ({
    stored: async (lane, range) => (await queue.stored(lane, range)).slice(0, -1),
  })),
  {
    name: 'a bulk replay leaves out the last of a page',
    backend: 'hazelcast',
    planted: {
      hazelcast: {
        wrap: (backend) =>
          withBackendQueue(backend, (queue) => ({
            replay: (lane, ids) => queue.replay(lane, ids.length > 1 ? ids.slice(0, -1) : ids),
          })),
      },
    },
  },
]

/** Those that need more luck than 1,000 histories have, and the plans that show them. */
export const RARE_BUGS: readonly (Bug & { plan: Plan })[] = [
  {
    ...journaled('a post with a key is taken before the keys are put back', { blindFacades: true }),
    plan: {
      ...{ backend: 'hazelcast', seed: 0, handler: true, journal: true },
      faults: [
        { kind: 'a cluster comes back empty', atMs: 3, forMs: 149, which: 192, strength: 0.09 },
        { kind: 'all restart with a cluster', atMs: 640, forMs: 1402, which: 359, strength: 0.8 },
      ],
    },
  },
  {
    name: 'a bulk replay passes over the lanes that nobody holds',
    backend: 'embedded',
    planted: {
      messages: ({ sift, ...methods }) => ({
        ...methods,
        sift: async (...args) => ({ ...((await sift!(...args)) as SiftedPage), lanes: EVERY_LANE }),
      }),
    },
    plan: {
      ...{ backend: 'embedded', seed: 2147483645, handler: true },
      faults: [
        { kind: 'the disk is full', atMs: 971, forMs: 579, which: 371, strength: 0.41 },
        { kind: 'delivery is paused', atMs: 260, forMs: 2393, which: 759, strength: 0 },
      ],
    },
  },
  {
    ...embedded('a failed fdatasync is repeated', { disk: { retriesFailedSync: true } }),
    plan: {
      ...{ backend: 'embedded', seed: 1536616957, handler: false },
      faults: [
        { kind: 'fdatasync fails', atMs: 756, forMs: 596, which: 109, strength: 0.57 },
        { kind: 'the power fails', atMs: 930, forMs: 368, which: 831, strength: 0.27 },
      ],
    },
  },
  {
    ...embedded('writes of a killed writer count as durable', { disk: { opensWithoutSync: true } }),
    plan: {
      ...{ backend: 'embedded', seed: 1046103704, handler: false },
      faults: [
        { kind: 'a process dies at any moment', atMs: 210, forMs: 143, which: 471, strength: 0.11 },
        { kind: 'the power fails', atMs: 765, forMs: 1316, which: 52, strength: 0.94 },
      ],
    },
  },
  {
    // The first dead letters come after 7 s: later than the faults of a plan that is drawn.
    ...embedded('a purge is answered before its fdatasync', { home: { answersUnsynced: true } }),
    plan: {
      ...{ backend: 'embedded', seed: 677037618, handler: true },
      faults: [{ kind: 'the power fails', atMs: 10067, forMs: 153, which: 695, strength: 0.86 }],
    },
  },
  {
    ...distorted('a redrive trusts the memory of its holder', NAMES.leases, (map) => {
      const own = new Map<string, string>()
      return {
        putIfAbsent: (key, value, ttlMs) => {
          own.set(key, value)
          return map.putIfAbsent(key, value, ttlMs)
        },
        get: async (key) => own.get(key),
      }
    }),
    plan: {
      ...{ backend: 'hazelcast', seed: 149386113, handler: true },
      faults: [
        { kind: 'a cluster is away', atMs: 1005, forMs: 2241, which: 134, strength: 0.18 },
        { kind: 'a process dies at a call', atMs: 3159, forMs: 2198, which: 733, strength: 0.36 },
        { kind: 'a cluster comes back empty', atMs: 1090, forMs: 116, which: 978, strength: 0.33 },
      ],
    },
  },
]

function journaled(name: string, hazelcastBugs: HazelcastBugs): Bug {
  return { name, backend: 'hazelcast', planted: { hazelcast: hazelcastBugs }, journal: true }
}

function followed(name: string, backend: Plan['backend'], planted: Planted): Bug {
  return { name, backend, planted, events: true }
}

function embedded(name: string, planted: NonNullable<Planted['embedded']>): Bug {
  return { name, backend: 'embedded', planted: { embedded: planted } }
}

/** One map of the clusters behaves otherwise. */
function distorted(
  name: string,
  of: string,
  change: (map: ClusterMap, world: ActorContext<NodeConfig>, cluster: Cluster) => Partial<ClusterMap>,
): Bug {
  const distort = (cluster: Cluster, world: ActorContext<NodeConfig>) =>
    withMap(cluster, of, (map) => change(map, world, cluster))
  return { name, backend: 'hazelcast', planted: { hazelcast: { distort } } }
}

/** A holder of a lane redrives in another way. */
function redriving(name: string, change: (queue: Queue, pending: ClusterMap) => Partial<Queue>): Bug {
  const clusters = new WeakMap<ActorContext<NodeConfig>, Cluster>()
  const distort = (cluster: Cluster, world: ActorContext<NodeConfig>): Cluster => {
    clusters.set(world, cluster)
    return cluster
  }
  const wrap = (backend: Backend, world: ActorContext<NodeConfig>): Backend =>
    withBackendQueue(backend, (queue) => change(queue, clusters.get(world)!.map(NAMES.pending)))
  return { name, backend: 'hazelcast', planted: { hazelcast: { distort, wrap } } }
}

/** The queue of a backend, if it has one, behaves otherwise. */
function withBackendQueue(backend: Backend, change: (queue: Queue) => Partial<Queue>): Backend {
  let queue: Queue
  try {
    queue = backend.queue
  } catch {
    return backend // A logging actor's has none.
  }
  const changed: Partial<Queue> = change(queue)
  const swapped = new Proxy(queue, {
    get(target, name) {
      if (name in changed) return changed[name as keyof Queue]
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return Object.create(backend, { queue: { value: swapped } }) as Backend
}

/** Appends, and only then lets the queue accept. */
function logFirst(backend: Backend): Backend {
  let next = 0
  return withBackendQueue(backend, (queue) => ({
    accept: async (batch, append, find) => {
      if (batch.key !== undefined) return queue.accept(batch, append, find)
      const receipts: Receipt[] = await append({ ...batch, lane: next++ % queue.laneCount })
      await queue.accept(batch, async () => receipts, find)
      return receipts
    },
  }))
}

/** A mark that is what this process first saw of it, whatever stands there. */
function alwaysTheFirst(map: ClusterMap): Partial<ClusterMap> {
  const seen = new Map<string, string>()
  return {
    getAll: async (keys) => new Map([...(await map.getAll(keys)), ...seen]),
    putIfAbsent: async (key, value, ttlMs) => {
      const found = await map.putIfAbsent(key, value, ttlMs)
      if (key === 'begun' && !seen.has(key)) seen.set(key, found ?? value)
      return found
    },
  }
}

/** What a process took from pending it puts there again when it is connected again. */
function puttingBack(cluster: Cluster): Cluster {
  const pending = cluster.map(NAMES.pending)
  const taken = new Map<string, string>()
  cluster.onConnect(() => {
    for (const [key, value] of taken) pending.putIfAbsent(key, value, FOR_EVER_MS).catch(onlyAway)
  })
  return withMap(cluster, NAMES.pending, (map) => ({
    getAll: async (keys) => {
      const found = await map.getAll(keys)
      for (const [key, value] of found) taken.set(key, value)
      return found
    },
  }))
}

/** Leases that say yes to everyone. */
function alwaysLeased(): Partial<ClusterMap> {
  const taken = new Map<string, string>()
  return {
    putIfAbsent: async (key, value) => void taken.set(key, value),
    getAll: async () => taken,
    setTtl: async () => true,
  }
}

/** Whoever takes a key from the mail takes its batch out of pending, and keeps it to itself. */
function takingFromPending(cluster: Cluster): Cluster {
  const pending = cluster.map(NAMES.pending)
  const taken = new Map<string, string>()
  const take = async (keys: readonly string[]) => {
    for (const [key, value] of await pending.getAll(keys)) taken.set(key, value)
    await Promise.all(keys.map((key) => pending.delete(key)))
  }
  const remembering = withMap(cluster, NAMES.pending, (map) => ({
    getAll: async (keys) => {
      const found = await map.getAll(keys.filter((key) => !taken.has(key)))
      for (const key of keys) if (taken.has(key)) found.set(key, taken.get(key)!)
      return found
    },
  }))
  return withQueues(remembering, (queue) => ({
    drain: async (maxCount) => {
      const keys = await queue.drain(maxCount)
      if (keys.length > 0) await take(keys)
      return keys
    },
    poll: async (waitMs) => {
      const key = await queue.poll(waitMs)
      if (key !== undefined) await take([key])
      return key
    },
  }))
}

async function orDone<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (isMailroomError(error) && error.outcome === 'unknown') return undefined
    throw error
  }
}

async function reportedAsNone<T>(call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    if (!isMailroomError(error)) throw error
    throw new MailroomError(error.code, error.details, { outcome: 'none' })
  }
}
