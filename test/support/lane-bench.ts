/** One lane on a simulated Hazelcast cluster, in virtual time: its holder, and what a former one may still write. */

import { createLogger } from '../../src/runtime/logger.ts'
import { POST_DEADLINE_MS } from '../../src/runtime/timings.ts'
import type { Cluster, ClusterMap } from '../../src/storage/hazelcast/cluster.ts'
import { FOR_EVER_MS } from '../../src/storage/hazelcast/cluster.ts'
import {
  type DeadEntry,
  type DeliveredEntry,
  type LoneEntry,
  laneBounds,
  laneKey,
  NAMES,
} from '../../src/storage/hazelcast/entries.ts'
import type { Lone } from '../../src/storage/hazelcast/lone-messages.ts'
import { openHazelcast } from '../../src/storage/hazelcast/open.ts'
import { idGenerator } from '../../src/storage/ids.ts'
import { UNSTARTED } from '../../src/storage/lane.ts'
import type { Delivered, Queue } from '../../src/storage/ports.ts'
import { SimProcess } from '../simulation/process.ts'
import { Rng } from '../simulation/rng.ts'
import { Scheduler } from '../simulation/scheduler.ts'
import { SimCluster } from '../simulation/sim-cluster.ts'

/** The only one. */
export const LANE = 0
const HOUR_MS = 3_600_000

/** The lane. */
export class LaneBench {
  readonly #scheduler = new Scheduler()
  readonly #process: SimProcess
  readonly #cluster: Cluster
  readonly #nextIds: ReturnType<typeof idGenerator>
  readonly pending: ClusterMap
  readonly queue: Queue
  /** Called before the holder takes something out of a map; may wait, or throw. `remove`: what it was about to do. */
  beforeDelete: (remove: () => Promise<unknown>) => Promise<void> = async () => {}

  /** Called before the holder reads values or keys of a map; may wait. */
  beforeRead: () => Promise<void> = async () => {}

  constructor() {
    const machine = { name: 'a', clockOffsetMs: 0, boot: 1 }
    this.#process = new SimProcess(this.#scheduler, 'messages-2', machine, new Rng(1))
    const { clock } = this.#process
    this.#cluster = new SimCluster('queue', this.#scheduler, new Rng(2), {}).connect(this.#process)
    this.#nextIds = idGenerator(clock, () => 0.5)
    this.pending = this.#cluster.map(NAMES.pending)
    this.queue = openHazelcast({
      ...{ queue: this.#seen(), owner: 'messages-2', laneCount: 1, retentionMs: HOUR_MS },
      ...{ clock, random: () => 0.5, logger: createLogger('silent', {}) },
    }).queue
  }

  /** What comes of it in virtual time. */
  async run<T>(work: Promise<T>): Promise<T> {
    let settled = false
    const end = () => {
      settled = true
    }
    work.then(end, end)
    while (!settled) await this.#scheduler.pass(10)
    return work
  }

  pass(ms: number): Promise<void> {
    return this.#scheduler.pass(ms)
  }

  /** A batch that waits. @returns Its messages' ids. */
  async accept(...texts: string[]): Promise<string[]> {
    const ids = this.#nextIds(texts.length)
    const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
    const deadlineAt = this.#process.clock.monotonic() + POST_DEADLINE_MS
    await this.run(
      this.queue.accept(
        { messages, deadlineAt },
        async () => [],
        async () => undefined,
      ),
    )
    return ids
  }

  /** The former holder's write into the list. */
  async deliver(id: string, ...texts: (string | null)[]): Promise<void> {
    const entry: DeliveredEntry = { texts, deliveredAt: 7, attempts: 3 }
    const list = this.#cluster.map(NAMES.delivered)
    await this.run(list.putIfAbsent(laneKey(LANE, id), JSON.stringify(entry), HOUR_MS))
  }

  /** The former holder's write into the dead letters. */
  async bury(id: string, text: string): Promise<void> {
    const entry: DeadEntry = {
      ...{ text, reason: 'tried', attempts: 5, firstError: 'no', lastError: 'no', deadAt: 7 },
    }
    const dead = this.#cluster.map(NAMES.dead)
    await this.run(dead.putIfAbsent(laneKey(LANE, id), JSON.stringify(entry), FOR_EVER_MS))
  }

  /** A message that waits alone, whoever wrote it. */
  async wait(id: string, lone: Partial<Lone>): Promise<void> {
    const entry: LoneEntry = { text: 'a', ...UNSTARTED, replayed: false, ...lone }
    await this.run(this.pending.set(laneKey(LANE, id), JSON.stringify(entry), FOR_EVER_MS))
  }

  /** Keys in `pending`. */
  waiting(): Promise<string[]> {
    return this.run(this.pending.keys(...laneBounds(LANE)))
  }

  /** Ids of what waits, and of what is then shown as a former holder left it. */
  async claim(): Promise<{ claimed: string[]; late: string[] }> {
    const claimed = await this.run(this.queue.claim(LANE, 9, 0))
    return { claimed: claimed.map(({ id }) => id), late: this.queue.deliveredByFormerHolder(LANE).map(told) }
  }

  /** What is shown of these when they are settled as done. */
  async settle(...ids: string[]): Promise<string[]> {
    const shown = await this.run(
      this.queue.settle(
        LANE,
        ids.map((id) => ({ id, as: 'done' })),
      ),
    )
    return shown.map(told)
  }

  async hold(): Promise<void> {
    await this.run(this.queue.hold(LANE))
  }

  /** The cluster as the holder sees it. */
  #seen(): Cluster {
    const cluster = this.#cluster
    const removing = async <T>(remove: () => Promise<T>): Promise<T> => {
      await this.beforeDelete(remove)
      return remove()
    }
    const seen = (map: ClusterMap): ClusterMap => ({
      ...map,
      getAll: async (keys) => {
        await this.beforeRead()
        return map.getAll(keys)
      },
      keys: async (from, to) => {
        await this.beforeRead()
        return map.keys(from, to)
      },
      delete: (key) => removing(() => map.delete(key)),
      removeIfSame: (key, value) => removing(() => map.removeIfSame(key, value)),
    })
    return {
      map: (name) => seen(cluster.map(name)),
      queue: (name) => cluster.queue(name),
      missing: () => cluster.missing(),
      onConnect: (listener) => cluster.onConnect(listener),
      memory: () => cluster.memory(),
      members: () => cluster.members(),
      close: () => cluster.close(),
    }
  }
}

/** By whom it was put into the list. */
function told({ id, text, deliveredAt }: Delivered): string {
  return `${id} ${text} ${deliveredAt === 7 ? 'then' : 'now'}`
}
