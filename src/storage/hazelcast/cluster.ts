/**
 * What the protocol needs of a Hazelcast cluster, and no more: string maps, string queues, each call within a
 * deadline of its own. `client.ts` makes it of a real cluster; a simulated context can make it of memory.
 *
 * Every call that fails throws `MR_STORE_UNAVAILABLE` and settles within its deadline. Its outcome is `none`
 * when the call never left this process, else `unknown`: it may have happened, and may yet happen. What is
 * unknown is not durable: the primary may have it and its backup not.
 */
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'

/**
 * A distributed map of strings. Keys sort as JavaScript compares them (ASCII only). Times to live count in whole
 * seconds: an entry may end up to a second early.
 */
export interface ClusterMap {
  get(key: string): Promise<string | undefined>
  /** Those that are there, by key, in no order. */
  getAll(keys: readonly string[]): Promise<Map<string, string>>
  /** All keys from `from` to `to`, both inclusive, in no order. Cost grows with what it finds. */
  keys(from: string, to: string): Promise<string[]>
  /** @returns What was there before, which then stays: that, unlike a new entry, is not known to be durable. */
  putIfAbsent(key: string, value: string, ttlMs: number): Promise<string | undefined>
  set(key: string, value: string, ttlMs: number): Promise<void>
  /** Writes only over this very value, which may be `next` itself. @returns Whether it did. */
  replaceIfSame(key: string, value: string, next: string, ttlMs: number): Promise<boolean>
  /** @returns False when the entry is not there. */
  setTtl(key: string, ttlMs: number): Promise<boolean>
  delete(key: string): Promise<void>
  /** Removes only this very value. @returns Whether it did. */
  removeIfSame(key: string, value: string): Promise<boolean>
  /** Entries. Cheap. */
  size(): Promise<number>
}

/** A distributed queue of strings: at most once, as what is taken is gone before the taker has it. */
export interface ClusterQueue {
  /** @returns False when it is full. */
  offer(item: string): Promise<boolean>
  /** Up to `maxCount`, oldest first; never waits. */
  drain(maxCount: number): Promise<string[]>
  /** The oldest; waits up to `waitMs` for one. */
  poll(waitMs: number): Promise<string | undefined>
}

/** What a member has and holds, in bytes, when it last measured it. */
export interface MemberMemory {
  /** The most its heap may take. */
  heapBytes: number
  /** What its heap takes now, garbage included. */
  usedBytes: number
  /** About what its primary replicas take, with their indexes: of all members together, one copy of everything. */
  ownedBytes: number
  /** The most copies that a map of it has. */
  copies: number
  /** Partitions of which it has the primary replica. */
  partitionCount: number
}

/** What a member reports of itself; a half is null when it does not answer, or does not report it. */
export interface MemberReport {
  /** `host:port` */
  address: string
  memory: MemberMemory | null
  health: {
    /** Members that it sees, itself included. */
    seenCount: number
    /** In the whole cluster each partition has its backups, and none migrates. */
    isSafe: boolean
    /** Migrations of partitions that wait: known to the oldest member only. */
    migrationCount: number
    /** `ACTIVE`, or why not. */
    nodeState: string
    clusterState: string
  } | null
}

/** A connection to a cluster: made in the background, made again for ever. */
export interface Cluster {
  map(name: string): ClusterMap
  queue(name: string): ClusterQueue
  /** What is wrong with it, human-readable; undefined when calls are worth trying. */
  missing(): string | undefined
  /** Calls `listener` each time the connection stands (again); once at once when it stands already. */
  onConnect(listener: () => void): void
  /** The memory of each member; null for one that does not answer in time. @throws {MailroomError} As calls do. */
  memory(): Promise<(MemberMemory | null)[]>
  /** A report of each member. @throws {MailroomError} As calls do. */
  members(): Promise<MemberReport[]>
  /** Leaves the cluster. May be called twice. */
  close(): Promise<void>
}

/** Passes over a call that failed and is tried again some other time. @throws What is no failed call: a bug. */
export function onlyAway(error: unknown): void {
  if (!isMailroomError(error)) throw error
}

/** For the failure of a call after which something may stand in the cluster, whatever became of that call. */
export function throwInDoubt(error: unknown): never {
  if (!isMailroomError(error)) throw error
  throw new MailroomError(error.code, error.details, { outcome: 'unknown', cause: error })
}

/** A time to live that does not end. */
export const FOR_EVER_MS = 0

/**
 * Puts an entry unless there is one, and makes sure of what then stands there: what was there before may be the
 * rest of a write whose outcome nobody knows, on one member only. Written again, it is on all.
 *
 * @returns What stands there, durably.
 */
export async function putOnce(map: ClusterMap, key: string, value: string, ttlMs: number): Promise<string> {
  for (;;) {
    const found = await map.putIfAbsent(key, value, ttlMs)
    if (found === undefined) return value
    // Gone in between: it was on a member that is no more.
    if (await map.replaceIfSame(key, found, found, ttlMs).catch(throwInDoubt)) return found
  }
}

/**
 * Makes sure of entries that were found: each is written again as it stands, as it may be on one member only.
 *
 * @returns Those that stood so still.
 */
export async function makeSure(
  map: ClusterMap,
  found: ReadonlyMap<string, string>,
  ttlMs: number,
): Promise<Map<string, string>> {
  const sure = new Map<string, string>()
  await Promise.all(
    [...found].map(async ([key, value]) => {
      if (await map.replaceIfSame(key, value, value, ttlMs)) sure.set(key, value)
    }),
  )
  return sure
}
