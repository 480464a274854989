/**
 * Messages acknowledged and delivered per second on real Hazelcast members (three for the log, one for the queue),
 * by 64 keep-alive connections through the whole of Mailroom, as a ratio to the protocol's own ceiling: the same
 * writes and reads in the same batch sizes by one process, without HTTP. CPU per message of services and members.
 *
 *   npm run bench:hazelcast
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import autocannon from 'autocannon'
import { systemClock as clock, systemRandom as random } from '../src/runtime/clock.ts'
import { createLogger } from '../src/runtime/logger.ts'
import { HazelcastCluster } from '../src/storage/hazelcast/client.ts'
import { openHazelcast } from '../src/storage/hazelcast/open.ts'
import { idGenerator } from '../src/storage/ids.ts'
import type { Backend } from '../src/storage/ports.ts'
import { type Cluster, HEAP_MIB, startCluster } from '../tools/hazelcast/cluster.ts'

const CONNECTIONS = 64
/** As a facade has it. */
const IN_FLIGHT = 2
const BATCH_COUNT = CONNECTIONS / IN_FLIGHT
const LANES = 16
const ROUND_SECONDS = 10
const WARM_UP_SECONDS = 3
const TEXT = 'x'.repeat(400)
/** Clock ticks of /proc/<pid>/stat. */
const TICK_MS = 10

interface Round {
  acknowledged: number
  delivered: number
  seconds: number
  servicesCpuMs: number
  membersCpuMs: number
}

const logger = createLogger('warn', {})
const say = (what: string) => console.log(what)
const logging = await startCluster({ name: 'logging', ports: 3, heapMiB: HEAP_MIB, say })
const queue = await startCluster({ name: 'queue', ports: 1, heapMiB: HEAP_MIB, say })
const memberPids = [...logging.members, ...queue.members].map((member) => member.pid!)
try {
  say(
    `${cpus()[0]?.model} x ${cpus().length}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
  )
  say(
    `members: 3 for the log, 1 for the queue; texts of ${TEXT.length} bytes; batches of ${BATCH_COUNT}, ${IN_FLIGHT} in flight`,
  )
  const ceiling = await runProtocol()
  tell('protocol alone', ceiling)
  const whole = await runMailroom()
  tell('Mailroom', whole)
  const ratio = whole.delivered / whole.seconds / (ceiling.delivered / ceiling.seconds)
  say(`Mailroom / protocol alone: ${ratio.toFixed(2)} of the messages a second`)
} finally {
  await Promise.all([logging.end(), queue.end()])
}

function tell(name: string, { acknowledged, delivered, seconds, servicesCpuMs, membersCpuMs }: Round): void {
  const each = (ms: number) => `${Math.round((ms * 1000) / delivered)} us`
  say(
    `${name.padEnd(15)} ${Math.round(acknowledged / seconds)} acknowledged/s, ${Math.round(delivered / seconds)} delivered/s; CPU a message: services ${each(servicesCpuMs)}, members ${each(membersCpuMs)}`,
  )
}

/** The protocol in this process: accepts in batches, holds all lanes, claims and settles. */
async function runProtocol(): Promise<Round> {
  const [log, ...queues] = await Promise.all([
    connect('log', logging),
    connect('queue', queue),
    connect('queue', queue),
  ])
  const common = { laneCount: LANES, clock, random, logger, retentionMs: 60 * 60 * 1000 }
  const writer = openHazelcast({ ...common, log: log!, queue: queues[0]!, owner: 'bench-writer' })
  const reader = openHazelcast({ ...common, queue: queues[1]!, owner: 'bench-reader' })
  const nextIds = idGenerator(clock, random)
  let [acknowledged, delivered, writing, reading] = [0, 0, true, true]
  const write = async () => {
    while (writing) {
      const messages = nextIds(BATCH_COUNT).map((id) => ({ id, text: TEXT }))
      const batch = { messages, deadlineAt: clock.monotonic() + 3000 }
      const receipts = await writer.queue.accept(batch, (given) => writer.log.append(given))
      acknowledged += receipts.length
    }
  }
  const read = async (lane: number) => {
    await reader.queue.hold(lane)
    while (reading || (await reader.queue.depth(lane)).waiting > 0) {
      const claimed = await reader.queue.claim(lane, 1000, 100)
      const done = claimed.map(({ id }) => ({ id, as: 'done' }) as const)
      const shown = done.length > 0 ? await reader.queue.settle(lane, done) : []
      delivered += shown.length
    }
  }
  const readers = Array.from({ length: LANES }, (_, lane) => read(lane))
  const writers = Array.from({ length: IN_FLIGHT }, write)
  await clock.sleep(WARM_UP_SECONDS * 1000)
  const before = {
    acknowledged,
    delivered,
    cpu: process.cpuUsage(),
    membersCpuMs: cpuOf(memberPids),
    at: performance.now(),
  }
  await clock.sleep(ROUND_SECONDS * 1000)
  const { user, system } = process.cpuUsage(before.cpu)
  const round: Round = {
    acknowledged: acknowledged - before.acknowledged,
    delivered: delivered - before.delivered,
    seconds: (performance.now() - before.at) / 1000,
    servicesCpuMs: (user + system) / 1000,
    membersCpuMs: cpuOf(memberPids) - before.membersCpuMs,
  }
  writing = false
  await Promise.all(writers)
  reading = false
  await Promise.all(readers)
  if (delivered !== acknowledged) throw new Error(`${acknowledged} were acknowledged, ${delivered} delivered`)
  await closeAll([writer, reader])
  return round
}

/** The real program, one node. Every message that was acknowledged must be delivered. */
async function runMailroom(): Promise<Round> {
  const port = 20_000 + (process.pid % 10_000)
  const url = `http://127.0.0.1:${port}`
  const at = ({ name, addresses }: Cluster) => `${name}@${addresses.join()}`
  const child = spawn(
    process.execPath,
    [
      ...[new URL('../src/cli.ts', import.meta.url).pathname, 'start', '--port', String(port)],
      ...['--backend', 'hazelcast', '--log-level', 'warn'],
      ...['--hazelcast-logging', at(logging), '--hazelcast-queue', at(queue)],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  try {
    await ready(child, url)
    await post(url, WARM_UP_SECONDS)
    await settled(url)
    const before = await handledBy(url)
    const pids = [child.pid!, ...before.pids]
    const cpuBefore = { services: cpuOf(pids), members: cpuOf(memberPids) }
    const startedAt = performance.now()
    const acknowledged = await post(url, ROUND_SECONDS)
    await settled(url)
    const seconds = (performance.now() - startedAt) / 1000
    const delivered = (await handledBy(url)).delivered - before.delivered
    // The generator ends its connections with requests under way: stored, though it did not hear of it.
    if (delivered < acknowledged || delivered > acknowledged + CONNECTIONS) {
      throw new Error(`${acknowledged} were acknowledged, ${delivered} delivered`)
    }
    return {
      ...{ acknowledged, delivered, seconds },
      servicesCpuMs: cpuOf(pids) - cpuBefore.services,
      membersCpuMs: cpuOf(memberPids) - cpuBefore.members,
    }
  } finally {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
}

async function post(url: string, seconds: number): Promise<number> {
  const result = await autocannon({
    ...{ url: `${url}/messages`, connections: CONNECTIONS, duration: seconds, method: 'POST' },
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text: TEXT }),
  })
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${result.non2xx} not 2xx, ${result.errors} errors`)
  return result['2xx']
}

interface ShownActor {
  role: string
  pid: number
  handled: number
  waiting?: number
}

async function actorsOf(url: string): Promise<ShownActor[]> {
  return (await (await fetch(`${url}/actors`)).json()) as ShownActor[]
}

async function handledBy(url: string): Promise<{ pids: number[]; delivered: number }> {
  // As told with each heartbeat, so wait for one.
  await clock.sleep(1500)
  const actors = await actorsOf(url)
  const messages = actors.filter(({ role }) => role === 'messages')
  return {
    pids: actors.map(({ pid }) => pid),
    delivered: messages.reduce((sum, { handled }) => sum + handled, 0),
  }
}

async function settled(url: string): Promise<void> {
  while ((await actorsOf(url)).some(({ waiting = 0 }) => waiting > 0)) await clock.sleep(50)
}

async function ready(child: ChildProcess, url: string): Promise<void> {
  while (!(await fetch(`${url}/readyz`).catch(() => undefined))?.ok) {
    if (child.exitCode !== null) throw new Error(`Mailroom ended with ${child.exitCode}`)
    await clock.sleep(50)
  }
}

async function connect(store: 'log' | 'queue', { name, addresses }: Cluster): Promise<HazelcastCluster> {
  const cluster = new HazelcastCluster({
    ...{ store, clusterName: name, members: addresses, instanceName: 'bench', clock, logger },
  })
  await new Promise<void>((resolve) => cluster.onConnect(resolve))
  return cluster
}

async function closeAll(backends: Backend[]): Promise<void> {
  await Promise.all(backends.map((backend) => backend.close()))
}

/** CPU time (ms) of processes since they began. */
function cpuOf(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [user = 0, system = 0] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
      .map(Number)
    ticks += user + system
  }
  return ticks * TICK_MS
}
