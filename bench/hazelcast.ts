/**
 * Messages acknowledged and delivered per second on real Hazelcast members (three for the log, one for the queue),
 * by 64 keep-alive connections through the whole of Mailroom, as a ratio to the protocol's own ceiling: the same
 * writes and reads in the same batch sizes by one process, without HTTP. CPU per message of services and members. Then
 * what the journals cost: nodes with and without them in turns, at 64, 16 and 1 connections.
 *
 *   npm run bench -- hazelcast
 *   npm run bench -- hazelcast --journals     only what the journals cost
 */
import { parseArgs } from 'node:util'
import { systemClock as clock, systemRandom as random } from '../src/runtime/clock.ts'
import { createLogger } from '../src/runtime/logger.ts'
import { HazelcastCluster } from '../src/storage/hazelcast/client.ts'
import { openHazelcast } from '../src/storage/hazelcast/open.ts'
import { idGenerator } from '../src/storage/ids.ts'
import type { Backend } from '../src/storage/ports.ts'
import { type Cluster, HEAP_MIB, startCluster } from '../tools/hazelcast/cluster.ts'
import { median, shown, table } from './lib/figures.ts'
import { Generator, SIZE } from './lib/load.ts'
import { Mailroom } from './lib/mailroom.ts'
import { Meter } from './lib/meter.ts'
import { usageOf } from './lib/processes.ts'
import { save } from './lib/results.ts'
import { mustEqual } from './lib/texts.ts'

const CONNECTIONS = 64
/** Of a pair of nodes, with and without journals. */
const PAIR_CONNECTIONS = [64, 16, 1]
const PAIR = { connections: PAIR_CONNECTIONS, seconds: 6, isNet: true }
/** What idle processes use is measured for so long: the longer a post takes, the more of it would count for each. */
const IDLE_SECONDS = 3
const PAIR_TURNS = 3
/** As a facade has it. */
const IN_FLIGHT = 2
const BATCH_COUNT = CONNECTIONS / IN_FLIGHT
const LANES = 16
const ROUND_SECONDS = 10
const WARM_UP_SECONDS = 3
const TEXT = 'x'.repeat(SIZE)

interface Round {
  acknowledgedPerSecond: number
  deliveredPerSecond: number
  /** CPU time a message, in microseconds. */
  servicesCpuUs: number
  membersCpuUs: number
}

const { values: options } = parseArgs({ options: { journals: { type: 'boolean', default: false } } })
const logger = createLogger('warn', {})
const say = (what: string) => console.log(what)
const logging = await startCluster({ name: 'logging', ports: 3, heapMiB: HEAP_MIB, isLasting: true, say })
const queue = await startCluster({ name: 'queue', ports: 1, heapMiB: HEAP_MIB, isLasting: true, say })
const memberPids = [...logging.members, ...queue.members].map((member) => member.pid!)
try {
  say(
    `members: 3 for the log, 1 for the queue; texts of ${TEXT.length} bytes; batches of ${BATCH_COUNT}, ${IN_FLIGHT} in flight`,
  )
  const beside = options.journals ? undefined : await besideProtocol()
  const journals = await comparedJournals()
  if (beside === undefined) say(`\n${journals.table.caption}\n${table(journals.table.rows)}`)
  else
    save('hazelcast', {
      ...{ tables: [beside.table, journals.table], ceiling: beside.ceiling, whole: beside.whole },
      ...{ ratio: beside.ratio, journals: journals.costs },
    })
} finally {
  await Promise.all([logging.end(), queue.end()])
}

/** Mailroom, and the protocol alone. */
async function besideProtocol() {
  const ceiling = await runProtocol()
  const whole = await runMailroom()
  const ratio = whole.deliveredPerSecond / ceiling.deliveredPerSecond
  const cells = ({ acknowledgedPerSecond, deliveredPerSecond, servicesCpuUs, membersCpuUs }: Round) =>
    [acknowledgedPerSecond, deliveredPerSecond, servicesCpuUs, membersCpuUs].map((value) => shown(value))
  const caption = `Mailroom / protocol alone: ${shown(ratio, 2)} of the messages delivered a second. CPU us: microseconds of CPU time a message.`
  const head = ['', 'acknowledged a second', 'delivered a second', 'CPU us services', 'CPU us members']
  const rows = [head, ['protocol alone', ...cells(ceiling)], ['Mailroom', ...cells(whole)]]
  return { ceiling, whole, ratio, table: { caption, rows } }
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
      const receipts = await writer.queue.accept(
        batch,
        (given) => writer.log.append(given),
        (id) => writer.log.get(id),
      )
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
    membersCpuSeconds: usageOf(memberPids).cpuSeconds,
    at: performance.now(),
  }
  await clock.sleep(ROUND_SECONDS * 1000)
  const { user, system } = process.cpuUsage(before.cpu)
  const seconds = (performance.now() - before.at) / 1000
  const consumed = delivered - before.delivered
  const round: Round = {
    acknowledgedPerSecond: (acknowledged - before.acknowledged) / seconds,
    deliveredPerSecond: consumed / seconds,
    servicesCpuUs: (user + system) / consumed,
    membersCpuUs: ((usageOf(memberPids).cpuSeconds - before.membersCpuSeconds) * 1e6) / consumed,
  }
  writing = false
  await Promise.all(writers)
  reading = false
  await Promise.all(readers)
  if (delivered !== acknowledged) throw new Error(`${acknowledged} were acknowledged, ${delivered} delivered`)
  await closeAll([writer, reader])
  return round
}

/** The real program, one node. Every message that was acknowledged must be delivered, once. */
async function runMailroom(): Promise<Round> {
  const [round] = await measured([], { connections: [CONNECTIONS], seconds: ROUND_SECONDS })
  return round!
}

/** One node with these flags, after a warm-up: a round for each number of connections. `isNet`: without what idle ones use. */
async function measured(
  flags: readonly string[],
  {
    connections,
    seconds,
    isNet = false,
  }: { connections: readonly number[]; seconds: number; isNet?: boolean },
): Promise<Round[]> {
  const at = ({ name, addresses }: Cluster) => `${name}@${addresses.join()}`
  const mailroom = await Mailroom.start([
    ...['--backend', 'hazelcast', '--hazelcast-logging', at(logging), '--hazelcast-queue', at(queue)],
    ...flags,
  ])
  // The lanes of the node before are on their way, with what waited there.
  let before = await mailroom.tally().catch(() => undefined)
  while (before === undefined) {
    await clock.sleep(1000)
    before = await mailroom.tally().catch(() => undefined)
  }
  const generator = await Generator.start()
  const meter = new Meter(mailroom, generator)
  await meter.measure({ connections: CONNECTIONS, seconds: WARM_UP_SECONDS })
  const cpu = () => [usageOf(mailroom.pids).cpuSeconds, usageOf(memberPids).cpuSeconds] as const
  const idleBefore = cpu()
  await clock.sleep(IDLE_SECONDS * 1000)
  const idle = cpu().map((now, index) => (now - idleBefore[index]!) / IDLE_SECONDS)
  const rounds: Round[] = []
  for (const count of connections) {
    const cpuBefore = cpu()
    const one = await meter.measure({ connections: count, seconds })
    const tookSeconds = one.seconds + one.behindSeconds
    const [servicesCpuUs, membersCpuUs] = cpu().map((now, index) => {
      const used = now - cpuBefore[index]! - (isNet ? idle[index]! * tookSeconds : 0)
      return (used * 1e6) / one.messages
    })
    rounds.push({
      acknowledgedPerSecond: one.perSecond,
      deliveredPerSecond: one.messages / tookSeconds,
      servicesCpuUs: servicesCpuUs!,
      membersCpuUs: membersCpuUs!,
    })
  }
  meter.acknowledged.join(before)
  mustEqual('Mailroom', meter.acknowledged, await mailroom.tally())
  await generator.end()
  await mailroom.end()
  return rounds
}

/** With journals and without, in turns: medians of a post, and what journals add to its CPU, services and members. */
async function comparedJournals() {
  const turns: Record<'on' | 'off', Round[][]> = { on: [], off: [] }
  for (let turn = 0; turn < PAIR_TURNS; turn++)
    for (const word of ['on', 'off'] as const) turns[word].push(await measured(['--journal', word], PAIR))
  const middle = (word: 'on' | 'off', index: number, of: (round: Round) => number) =>
    median(turns[word].map((rounds) => of(rounds[index]!)))
  const cpuOf = ({ servicesCpuUs, membersCpuUs }: Round) => servicesCpuUs + membersCpuUs
  const costs = Object.fromEntries(
    PAIR_CONNECTIONS.map((connections, index) => {
      const [on, off] = [middle('on', index, cpuOf), middle('off', index, cpuOf)]
      return [connections, { on, off, ratio: on / off - 1 }]
    }),
  )
  const rows = PAIR_CONNECTIONS.flatMap((connections, index) =>
    (['on', 'off'] as const).map((word) => [
      `${connections} connections, --journal ${word}`,
      shown(middle(word, index, ({ acknowledgedPerSecond }) => acknowledgedPerSecond)),
      shown(middle(word, index, ({ servicesCpuUs }) => servicesCpuUs)),
      shown(middle(word, index, ({ membersCpuUs }) => membersCpuUs)),
      word === 'off' ? '-' : `${shown(100 * costs[connections]!.ratio)} %`,
    ]),
  )
  const head = ['', '201 a second', 'CPU us services', 'CPU us members', 'added CPU']
  const caption = `What journals cost, medians of ${PAIR_TURNS} turns. CPU us: above what the same processes use when idle.`
  return { table: { caption, rows: [head, ...rows] }, costs }
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
