/**
 * Asks the members of a cluster how they are: by Hazelcast's health check over HTTP, on the port that clients connect
 * to, and for the metrics that they collect for Hazelcast's Management Center. hazelcast-client has connections to all
 * members, but not the request for metrics, so that is put together from its own parts
 * (docs/decisions/0056-members-are-asked.md).
 */
import { createRequire } from 'node:module'
import type { Client } from 'hazelcast-client'
import type { MemberMemory, MemberReport } from './cluster.ts'
import { type Metric, metricsIn } from './member-metrics.ts'

/** A part of a message of Hazelcast's client protocol. */
interface Frame {
  content: Buffer
  isEndFrame(): boolean
}

interface ClientMessage {
  addFrame(frame: Frame): void
  setMessageType(type: number): void
  setPartitionId(id: number): void
  setRetryable(is: boolean): void
  hasNextFrame(): boolean
  nextFrame(): Frame
}

interface MemberConnection {
  getRemoteUuid(): object
}

/** The parts of a client that it does not declare. */
interface ClientParts {
  connectionRegistry: { getConnection(uuid: object): MemberConnection | undefined }
  invocationService: {
    invokeOnConnection<T>(
      connection: MemberConnection,
      request: ClientMessage,
      read: (answer: ClientMessage) => T,
    ): Promise<T>
  }
}

const require = createRequire(import.meta.url)
const protocol = require('hazelcast-client/lib/protocol/ClientMessage') as {
  ClientMessage: { createForEncode(): ClientMessage }
  Frame: { createInitialFrame(size: number): Frame }
}
const { FixSizedTypesCodec } = require('hazelcast-client/lib/codec/builtin/FixSizedTypesCodec') as {
  FixSizedTypesCodec: { encodeUUID(buffer: Buffer, at: number, uuid: object): void }
}

/** `MC.ReadMetrics`: the member's id, and from which collection on; zero: the last that it has. */
const READ_METRICS = 0x200100
/** Bytes of a request's head; what follows is its own. */
const HEAD_BYTES = 16
const UUID_BYTES = 17
const SEQUENCE_BYTES = 8

/** What an item of a queue takes beside the maps' costs: keys of 30 bytes. */
const QUEUE_ITEM_BYTES = 250
/** What an entry takes beside the cost that its member reports: its time to live, and its place in the map. */
const ENTRY_BYTES = 200

/** What the health check answers. */
interface Health {
  nodeState: string
  clusterState: string
  clusterSafe: boolean
  migrationQueueSize: number
  clusterSize: number
}

/** What each member has and holds. @param signal Aborted when time is up. */
export async function memoryOf(client: Client, signal: AbortSignal): Promise<(MemberMemory | null)[]> {
  return Promise.all(membersOf(client).map(({ uuid }) => orNull(readMemory(client, uuid, signal))))
}

/** Everything that the members report. @param signal As of `memoryOf`. */
export async function reportsOf(client: Client, signal: AbortSignal): Promise<MemberReport[]> {
  return Promise.all(
    membersOf(client).map(async ({ address, uuid }) => {
      const [memory, health] = await Promise.all([
        orNull(readMemory(client, uuid, signal)),
        orNull(readHealth(address, signal)),
      ])
      return { address, memory, health }
    }),
  )
}

function membersOf(client: Client): { address: string; uuid: object }[] {
  const members = client.getCluster().getMembers()
  return members
    .filter(({ liteMember }) => !liteMember)
    .map(({ address: { host, port }, uuid }) => ({
      address: `${host.includes(':') ? `[${host}]` : host}:${port}`,
      uuid,
    }))
}

async function readHealth(address: string, signal: AbortSignal): Promise<MemberReport['health']> {
  const response = await fetch(`http://${address}/hazelcast/health`, { signal })
  const health = (await response.json()) as Health
  return {
    seenCount: health.clusterSize,
    isSafe: health.clusterSafe,
    migrationCount: health.migrationQueueSize,
    nodeState: health.nodeState,
    clusterState: health.clusterState,
  }
}

async function readMemory(client: Client, uuid: object, signal: AbortSignal): Promise<MemberMemory> {
  const { connectionRegistry, invocationService } = client as unknown as ClientParts
  const connection = connectionRegistry.getConnection(uuid)
  if (connection === undefined) throw new Error('not connected')
  const asked = invocationService.invokeOnConnection(connection, requestFor(uuid), newestIn)
  return memoryIn(metricsIn(await Promise.race([asked, aborted(signal)])))
}

function requestFor(uuid: object): ClientMessage {
  const message = protocol.ClientMessage.createForEncode()
  const head = protocol.Frame.createInitialFrame(HEAD_BYTES + UUID_BYTES + SEQUENCE_BYTES)
  head.content.fill(0, HEAD_BYTES)
  FixSizedTypesCodec.encodeUUID(head.content, HEAD_BYTES, uuid)
  message.addFrame(head)
  message.setRetryable(false)
  message.setMessageType(READ_METRICS)
  message.setPartitionId(-1)
  return message
}

/** The newest of the collections in an answer: its head, a list of collections, and their numbers. */
function newestIn(answer: ClientMessage): Buffer {
  let newest: Buffer | undefined
  for (let index = 0; answer.hasNextFrame(); index++) {
    const frame = answer.nextFrame()
    if (frame.isEndFrame()) break
    if (index >= 2) newest = frame.content
  }
  if (newest === undefined) throw new Error('The member has collected no metrics')
  return newest
}

function memoryIn(metrics: readonly Metric[]): MemberMemory {
  const sums = new Map<string, number>()
  let backups = 0
  for (const { name, value } of metrics) {
    sums.set(name, (sums.get(name) ?? 0) + value)
    if (name === 'map.backupCount') backups = Math.max(backups, value)
  }
  const sum = (name: string) => sums.get(name) ?? 0
  return {
    heapBytes: sum('memory.maxHeap'),
    usedBytes: sum('memory.usedHeap'),
    ownedBytes:
      sum('map.ownedEntryMemoryCost') +
      sum('map.index.memoryCost') +
      sum('map.ownedEntryCount') * ENTRY_BYTES +
      sum('queue.ownedItemCount') * QUEUE_ITEM_BYTES,
    copies: 1 + backups,
    partitionCount: sum('partitions.activePartitionCount'),
  }
}

function orNull<T>(answer: Promise<T>): Promise<T | null> {
  return answer.catch(() => null)
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
