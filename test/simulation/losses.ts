/** What emptied clusters held (only that may be missing in the end), and the processes that must report the loss. */
import { deliveredOf, loggedOf, NAMES, partsOf } from '../../src/storage/hazelcast/entries.ts'
import { idAtPlace } from '../../src/storage/ids.ts'
import type { SimCluster } from './sim-cluster.ts'

/** All losses of one history. */
export class Losses {
  /** Ids of messages that an emptied log held. */
  readonly logged = new Set<string>()
  /** Ids of messages that an emptied queue held: pending, delivered or dead. */
  readonly queued = new Set<string>()
  /** Ids of messages that an emptied cluster held and disks have, too: they may be late, and be away for a moment. */
  readonly held = new Set<string>()
  /** Idempotency keys that an emptied queue held. */
  readonly keys = new Set<string>()
  /** Told when a queue has lost all it held. */
  onQueueLost: () => void = () => {}
  /** So many times a log, or a queue, lost all it held. */
  logCount = 0
  queueCount = 0

  get count(): number {
    return this.logCount + this.queueCount
  }

  /** All that was lost is on disks, too: it comes back. */
  comesBack(): void {
    for (const id of [...this.logged, ...this.queued]) this.held.add(id)
    this.logged.clear()
    this.queued.clear()
    this.keys.clear()
  }

  /** A log is about to lose what it holds. */
  ofLog(log: SimCluster): void {
    this.logCount++
    for (const id of loggedIn(log)) this.logged.add(id)
  }

  /** A queue is about to lose what it holds. */
  ofQueue(queue: SimCluster): void {
    this.queueCount++
    for (const id of queuedIn(queue)) this.queued.add(id)
    for (const key of queue.partitions.entries(NAMES.keys).keys()) this.keys.add(key)
    this.onQueueLost()
  }
}

/** Ids of all messages in a log. */
export function loggedIn(log: SimCluster): string[] {
  return [...log.partitions.entries(NAMES.log)].flatMap(([key, value]) =>
    loggedOf(key, value).map(({ id }) => id),
  )
}

/** Ids of messages whose dead letters were purged. */
export function purgedIn({ partitions }: SimCluster): Set<string> {
  const marks = [...partitions.entries(NAMES.dead).keys()].filter((key) => key.endsWith('!'))
  return new Set(marks.map((key) => partsOf(key).id.replace('!', '')))
}

/** Ids of all messages in a queue: pending, delivered or dead. */
export function queuedIn({ partitions }: SimCluster): Set<string> {
  const pending = [...partitions.entries(NAMES.pending).keys()].flatMap((key) => {
    const { id, count } = partsOf(key)
    return count === undefined ? [id] : Array.from({ length: count }, (_, index) => idAtPlace(id, index + 1))
  })
  const delivered = [...partitions.entries(NAMES.delivered)].flatMap(([key, value]) =>
    deliveredOf(partsOf(key).id, value).map(({ id }) => id),
  )
  // A purged one has a mark, which is no letter, and is left alone.
  const dead = [...partitions.entries(NAMES.dead).keys()].map((key) => partsOf(key).id.replace('!', ''))
  return new Set([...pending, ...delivered, ...dead])
}
