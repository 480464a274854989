/**
 * A real Hazelcast cluster: the only door to hazelcast-client, and the place of everything its client does not do
 * by itself. Every call has a deadline of our own, as some of its promises never settle. The client connects in
 * the background, and is made anew when it gave up. When calls keep running into their deadline, one probe at a
 * time finds out when it is worth calling again; until then calls are refused at once.
 */

import {
  Client,
  type ClientConfig,
  type IMap,
  type IQueue,
  Predicates,
  ReconnectMode,
  SplitBrainProtectionError,
} from 'hazelcast-client'
import type { Clock } from '../../runtime/clock.ts'
import { inWords, MailroomError } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import {
  CLUSTER_CALL_MS,
  CLUSTER_GIVE_UP_MS,
  CLUSTER_PROBE_MS,
  CLUSTER_RANGE_MS,
  CLUSTER_RETRY_MS,
  MEMBER_CALL_RETRY_MS,
  MEMBER_CONNECT_MS,
  MEMBER_HEARTBEAT_MS,
  MEMBER_REPORT_MS,
  MEMBER_RETRY_MAX_MS,
  MEMBER_RETRY_MIN_MS,
  MEMBER_SILENCE_MS,
} from '../../runtime/timings.ts'
import type { Cluster, ClusterMap, ClusterQueue, MemberMemory, MemberReport } from './cluster.ts'
import { NAMES, RANGED } from './entries.ts'
import { memoryOf, reportsOf } from './member-reports.ts'
import './client-mends.ts'

/** Calls in a row that ran into their deadline: then only probes are made. */
const BREAKER_COUNT = 4

/** What a probe writes, in the map `meta`. */
const PROBE_KEY = 'probe'
const PROBE_TTL_MS = 1000

/** Where a cluster is. */
interface ClusterAddress {
  clusterName: string
  /** `host:port` of some of its members. */
  members: readonly string[]
}

/** What a connection needs. */
export interface HazelcastClusterOptions extends ClusterAddress {
  /** In words for people: `log` or `queue`. */
  store: string
  instanceName: string
  clock: Clock
  logger: Logger
}

/** A cluster that is there. */
interface Connection {
  client: Client
  maps: Map<string, Promise<IMap<string, string>>>
  queues: Map<string, Promise<IQueue<string>>>
}

/** `Cluster` over the network. */
export class HazelcastCluster implements Cluster {
  readonly #options: HazelcastClusterOptions
  readonly #listeners: (() => void)[] = []
  #connection: Connection | undefined
  #isUp = false
  #expiredCount = 0
  #probing = false
  /** Why the cluster refused a call, until it takes a write. */
  #refusal: string | undefined
  #closed = new AbortController()

  constructor(options: HazelcastClusterOptions) {
    this.#options = options
    void this.#connect()
  }

  map(name: string): ClusterMap {
    const on = <T>(work: (map: IMap<string, string>) => Promise<T>, deadlineMs = CLUSTER_CALL_MS) =>
      this.#call(async (connection) => work(await mapOf(connection, name)), deadlineMs)
    return {
      get: (key) => on(async (map) => (await map.get(key)) ?? undefined),
      getAll: (keys) =>
        keys.length === 0
          ? Promise.resolve(new Map())
          : on(async (map) => new Map(await map.getAll([...keys]))),
      keys: (from, to) =>
        on((map) => map.keySetWithPredicate(Predicates.between('__key', from, to)), CLUSTER_RANGE_MS),
      putIfAbsent: (key, value, ttlMs) =>
        on(async (map) => (await map.putIfAbsent(key, value, ttlMs)) ?? undefined),
      set: (key, value, ttlMs) => on((map) => map.set(key, value, ttlMs)),
      replaceIfSame: (key, value, next, ttlMs) =>
        on(async (map) => {
          // A replaced entry has no end until it is given one again.
          if (!(await map.replaceIfSame(key, value, next))) return false
          return ttlMs === 0 || map.setTtl(key, ttlMs)
        }),
      setTtl: (key, ttlMs) => on((map) => map.setTtl(key, ttlMs)),
      delete: (key) => on((map) => map.delete(key)),
      removeIfSame: (key, value) => on(async (map) => (await map.remove(key, value)) === true),
      size: () => on((map) => map.size()),
    }
  }

  queue(name: string): ClusterQueue {
    const on = <T>(work: (queue: IQueue<string>) => Promise<T>, deadlineMs = CLUSTER_CALL_MS) =>
      this.#call(async (connection) => work(await queueOf(connection, name)), deadlineMs)
    return {
      offer: (item) => on((queue) => queue.offer(item)),
      drain: (maxCount) =>
        on(async (queue) => {
          const items: string[] = []
          await queue.drainTo(items, maxCount)
          return items
        }),
      poll: (waitMs) =>
        on(async (queue) => (await queue.poll(waitMs)) ?? undefined, waitMs + CLUSTER_CALL_MS),
    }
  }

  missing(): string | undefined {
    const { store, clusterName, members } = this.#options
    const name = `the ${store}'s Hazelcast cluster ${clusterName} at ${members.join(', ')}`
    if (!this.#isUp) return `${name}: not connected`
    if (this.#expiredCount >= BREAKER_COUNT) return `${name}: it does not answer`
    return this.#refusal && `${name}: ${this.#refusal}`
  }

  onConnect(listener: () => void): void {
    this.#listeners.push(listener)
    if (this.#isUp) listener()
  }

  memory(): Promise<(MemberMemory | null)[]> {
    return this.#ofMembers(memoryOf)
  }

  members(): Promise<MemberReport[]> {
    return this.#ofMembers(reportsOf)
  }

  async close(): Promise<void> {
    this.#closed.abort()
    this.#isUp = false
    await this.#connection?.client.shutdown()
    this.#connection = undefined
  }

  /** Until there is a connection; again when its client has given up. */
  async #connect(): Promise<void> {
    const { clock, logger, store } = this.#options
    while (!this.#closed.signal.aborted) {
      try {
        const client = await Client.newHazelcastClient(this.#config())
        const connection: Connection = { client, maps: new Map(), queues: new Map() }
        if (this.#closed.signal.aborted) return await client.shutdown()
        this.#connection = connection
        for (const name of RANGED) {
          // Members that were not set up for us get the index that ranges need; those that were have it.
          if (store === (name === NAMES.log ? 'log' : 'queue')) await addIndex(connection, name)
        }
        this.#up()
        return
      } catch (error) {
        logger.warn({ error: inWords(error) }, `cannot connect to the ${store}'s cluster; trying again`)
        await clock.sleep(CLUSTER_RETRY_MS, this.#closed.signal)
      }
    }
  }

  #config(): ClientConfig {
    const { clusterName, members, instanceName, logger } = this.#options
    const tell = (_object: string, message: string) => logger.debug({ cluster: clusterName }, message)
    return {
      clusterName,
      instanceName,
      network: {
        clusterMembers: [...members],
        connectionTimeout: MEMBER_CONNECT_MS,
        smartRouting: true,
        redoOperation: false,
      },
      connectionStrategy: {
        asyncStart: false,
        reconnectMode: ReconnectMode.ASYNC,
        connectionRetry: {
          initialBackoffMillis: MEMBER_RETRY_MIN_MS,
          maxBackoffMillis: MEMBER_RETRY_MAX_MS,
          ...{ multiplier: 1.5, jitter: 0.2 },
          clusterConnectTimeoutMillis: CLUSTER_GIVE_UP_MS,
        },
      },
      backupAckToClientEnabled: false,
      metrics: { enabled: false },
      customLogger: {
        log: (_level, object, message) => tell(object, message),
        ...{ error: tell, warn: tell, info: tell, debug: tell, trace: () => {} },
      },
      lifecycleListeners: [(state) => this.#hear(state)],
      properties: {
        'hazelcast.client.heartbeat.interval': MEMBER_HEARTBEAT_MS,
        'hazelcast.client.heartbeat.timeout': MEMBER_SILENCE_MS,
        'hazelcast.client.invocation.timeout.millis': CLUSTER_CALL_MS,
        'hazelcast.client.invocation.retry.pause.millis': MEMBER_CALL_RETRY_MS,
      },
    }
  }

  #hear(state: string): void {
    const { logger, store } = this.#options
    if (state === 'DISCONNECTED' && this.#isUp) {
      this.#isUp = false
      logger.warn(`lost the ${store}'s cluster`)
    }
    if (state === 'CONNECTED' && this.#connection !== undefined && !this.#isUp) this.#up()
    if (state === 'SHUTDOWN' && !this.#closed.signal.aborted && this.#connection !== undefined) {
      this.#isUp = false
      this.#connection = undefined
      void this.#connect()
    }
  }

  #up(): void {
    const { logger, store } = this.#options
    this.#isUp = true
    this.#expiredCount = 0
    this.#refusal = undefined
    const members = this.#connection?.client.getCluster().getMembers().length ?? 0
    logger.info({ members }, `connected to the ${store}'s cluster`)
    if (members < 2)
      logger.warn(`the ${store}'s cluster has one member: what it holds is gone when that ends`)
    for (const listener of this.#listeners) listener()
  }

  async #call<T>(work: (connection: Connection) => Promise<T>, deadlineMs: number): Promise<T> {
    // While it refuses writes, reads may work.
    const missing = this.#isUp && this.#expiredCount < BREAKER_COUNT ? undefined : this.missing()
    if (missing !== undefined || this.#connection === undefined) throw this.#unavailable(missing ?? 'closed')
    return this.#within(work(this.#connection), deadlineMs)
  }

  /** Beside the circuit breaker: a member that does not answer this may still serve calls. */
  async #ofMembers<T>(ask: (client: Client, signal: AbortSignal) => Promise<T>): Promise<T> {
    const missing = this.missing()
    if (missing !== undefined || this.#connection === undefined) throw this.#unavailable(missing ?? 'closed')
    const expired = new AbortController()
    const cancel = this.#options.clock.after(MEMBER_REPORT_MS, () => expired.abort())
    try {
      return await ask(this.#connection.client, expired.signal)
    } finally {
      cancel()
    }
  }

  async #within<T>(call: Promise<T>, deadlineMs: number): Promise<T> {
    const expired = Promise.withResolvers<never>()
    const cancel = this.#options.clock.after(deadlineMs, () => {
      this.#expiredCount++
      if (this.#expiredCount >= BREAKER_COUNT) void this.#probe()
      expired.reject(this.#unavailable(`no answer in ${deadlineMs} ms`, 'unknown'))
    })
    try {
      const value = await Promise.race([call, expired.promise])
      this.#expiredCount = 0
      return value
    } catch (error) {
      if (error instanceof MailroomError) throw error
      const refusal = refusalOf(error)
      if (refusal !== undefined) {
        this.#refusal = refusal
        void this.#probe()
        throw this.#unavailable(refusal, 'unknown', error)
      }
      // Also of a client that says that it is offline: it may have sent this call before.
      throw this.#unavailable(inWords(error), 'unknown', error)
    } finally {
      cancel()
    }
  }

  /** One write at a time, until one is done. */
  async #probe(): Promise<void> {
    if (this.#probing) return
    this.#probing = true
    const { clock, logger, store } = this.#options
    const isDown = () => this.#refusal !== undefined || this.#expiredCount >= BREAKER_COUNT
    logger.warn(
      `the ${store}'s cluster ${this.#refusal === undefined ? 'does not answer' : 'refuses writes'}`,
    )
    while (isDown() && !this.#closed.signal.aborted) {
      await clock.sleep(CLUSTER_PROBE_MS, this.#closed.signal)
      const connection = this.#connection
      if (connection === undefined || !this.#isUp) continue
      const written = mapOf(connection, NAMES.meta).then((map) => map.set(PROBE_KEY, '', PROBE_TTL_MS))
      const refusal = this.#refusal
      await this.#within(written, CLUSTER_CALL_MS).then(
        () => {
          if (this.#refusal === refusal) this.#refusal = undefined
        },
        () => {},
      )
    }
    this.#probing = false
    logger.info(`the ${store}'s cluster takes writes again`)
  }

  #unavailable(reason: string, outcome: 'none' | 'unknown' = 'none', cause?: unknown): MailroomError {
    return new MailroomError(
      'MR_STORE_UNAVAILABLE',
      { store: this.#options.store, reason },
      { outcome, cause },
    )
  }
}

/** Why the cluster as a whole refuses, in words for people; undefined for every other error. */
function refusalOf(error: unknown): string | undefined {
  if (error instanceof SplitBrainProtectionError) return 'it refuses reads and writes: its majority is away'
  return /OutOfMemory/.test(inWords(error)) ? 'it refuses writes: a member is out of memory' : undefined
}

function mapOf({ client, maps }: Connection, name: string): Promise<IMap<string, string>> {
  return kept(maps, name, () => client.getMap<string, string>(name))
}

function queueOf({ client, queues }: Connection, name: string): Promise<IQueue<string>> {
  return kept(queues, name, () => client.getQueue<string>(name))
}

/** Made once; one that could not be made is made anew the next time. */
function kept<T>(known: Map<string, Promise<T>>, name: string, make: () => Promise<T>): Promise<T> {
  let made = known.get(name)
  if (made === undefined) {
    made = make()
    known.set(name, made)
    made.catch(() => known.delete(name))
  }
  return made
}

async function addIndex(connection: Connection, name: string): Promise<void> {
  await (await mapOf(connection, name)).addIndex({ type: 'SORTED', attributes: ['__key'] })
}
