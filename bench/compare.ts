/**
 * Mailroom beside small services of the same shape, in turns on this machine: `POST /messages` is answered 201 once the
 * message is stored, and a consumer in a process of its own takes it. In each round every system starts anew, is
 * loaded at each number of connections, must have consumed exactly what it acknowledged, and ends.
 *
 *   npm run bench -- compare
 *   npm run bench -- compare --rounds 5 --seconds 5 --only mailroom,rabbitmq
 *
 * Names for --only: bare-http, bare-koa, mailroom, sqlite, rabbitmq, bullmq, nats. A system whose server is not
 * installed is left out.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { CONTENDERS, type Contender, installClients, NOTHING } from './compare/contenders.ts'
import { median, shown } from './lib/figures.ts'
import { Generator } from './lib/load.ts'
import {
  cellsOf,
  HEADINGS,
  LEGEND,
  type Measured,
  Meter,
  shownGenerator,
  shownMeasured,
} from './lib/meter.ts'
import { roundsOf } from './lib/options.ts'
import { usageOf } from './lib/processes.ts'
import { ratioTable, shownConnections } from './lib/ratios.ts'
import { type Chart, save } from './lib/results.ts'
import { mustEqual } from './lib/texts.ts'

const options = roundsOf({ rounds: 3, seconds: 2 })
const { rounds: ROUNDS, seconds: SECONDS } = options
const CONNECTIONS = [64, 16, 1]
const WARM_UP = { connections: 16, seconds: 1 }
/** Until a system that has just started, or was just loaded, does nothing. */
const SETTLE_MS = 1000

/** One load of one system. */
interface Result extends Measured {
  name: string
  round: number
}

/** Memory of one system in one round, in MiB. */
interface Memory {
  name: string
  processes: number
  idleMib: number
  loadedMib: number
  messages: number
}

const only = options.only?.toLowerCase().split(',')
const unknown = only?.filter((name) => CONTENDERS.every((contender) => contender.name !== name)) ?? []
if (unknown.length > 0) {
  throw new Error(`Unknown: ${unknown.join(', ')}; known: ${CONTENDERS.map(({ name }) => name).join(', ')}`)
}

const chosen = CONTENDERS.filter(({ name }) => only?.includes(name) ?? true)
const versions: Record<string, string> = {}
const measured: Result[] = []
const memories: Memory[] = []
const installed = chosen.filter(isInstalled)
if (installed.some(({ server }) => server)) installClients()
const generator = await Generator.start()
for (let round = 1; round <= ROUNDS; round++) {
  for (const contender of installed) await turn(contender, round)
}
await generator.end()
report()

/** False, and says how to install it, when the server of a system is not on this machine. */
function isInstalled({ title, server }: Contender): boolean {
  if (server === undefined) return true
  const version = server.version()
  if (version === undefined) console.log(`left out: ${title}; install ${server.name} with: ${server.install}`)
  else versions[server.name] = version
  return version !== undefined
}

/** One system, from its start to its end. */
async function turn(contender: Contender, round: number): Promise<void> {
  const { name, title } = contender
  const system = await contender.start()
  try {
    await sleep(SETTLE_MS)
    const idle = usageOf(system.pids)
    const meter = new Meter(system, generator)
    await meter.measure(WARM_UP)
    for (const keyed of contender.keyed ? [false, true] : [false]) {
      for (const connections of CONNECTIONS) {
        const one = await meter.measure({ connections, seconds: SECONDS, keyed })
        measured.push({ name, round, ...one })
        console.log(`round ${round}  ${titleOf(title, keyed).padEnd(25)} ${shownMeasured(one)}`)
      }
    }
    await sleep(SETTLE_MS)
    const after = usageOf(system.pids)
    mustEqual(title, meter.acknowledged, await system.tally())
    memories.push({
      ...{ name, processes: after.processes, idleMib: idle.pssMib, loadedMib: after.pssMib },
      messages: meter.acknowledged.count,
    })
  } finally {
    await system.end()
  }
}

function titleOf(title: string, keyed: boolean): string {
  return keyed ? `${title}, each with a key` : title
}

/** Prints tables and charts, and writes all rounds down. */
function report(): void {
  const rows = [['', 'connections', ...HEADINGS]]
  const charts: Chart[] = []
  const each = installed.flatMap(({ name, title, keyed }) =>
    (keyed ? [false, true] : [false]).map((isKeyed) => ({
      name,
      keyed: isKeyed,
      label: titleOf(title, isKeyed),
    })),
  )
  for (const connections of CONNECTIONS) {
    const found = each.map(({ name, keyed, label }) => {
      const isMeant = (one: Result) => one.name === name && one.keyed === keyed
      return { label, rounds: measured.filter((one) => one.connections === connections && isMeant(one)) }
    })
    for (const { label, rounds } of found) rows.push([label, String(connections), ...cellsOf(rounds)])
    const chart = (name: string, title: string, what: 'perSecond' | 'cpuUs' | 'p50Ms') => {
      const bars = found.map(({ label, rounds }) => ({
        label,
        value: median(rounds.map((one) => one[what])),
      }))
      charts.push({ name: `compare-${name}-${connections}`, title, bars })
    }
    chart('rate', `201 a second, ${shownConnections(connections)}`, 'perSecond')
    if (connections === 64)
      chart('cpu', `CPU microseconds a message, ${shownConnections(connections)}`, 'cpuUs')
    if (connections === 1) chart('p50', `median latency in ms, ${shownConnections(connections)}`, 'p50Ms')
  }
  const memoryRows = installed.map(({ name, title }) => {
    const rounds = memories.filter((one) => one.name === name)
    const kinds = ['processes', 'idleMib', 'loadedMib', 'messages'] as const
    return [title, ...kinds.map((kind) => shown(median(rounds.map((one) => one[kind]))))]
  })
  const servers = Object.entries(versions).map(([server, version]) => `${server} ${version}`)
  const tables = [
    {
      caption: 'What is durable when a post is answered 201.',
      rows: [['', 'stored'], ...installed.map(({ title, stored }) => [title, stored])],
    },
    ...ratioTables(),
    {
      caption: [`${ROUNDS} rounds in turns. ${LEGEND}`, shownGenerator(measured), servers.join(', ')].join(
        '\n',
      ),
      rows,
    },
    {
      caption: 'Memory (PSS) of all processes. Each consumer but Mailroom’s keeps its messages in memory.',
      rows: [['', 'processes', 'MiB idle', 'MiB after load', 'messages'], ...memoryRows],
    },
  ]
  save('compare', { tables, charts, rounds: ROUNDS, seconds: SECONDS, servers: versions, measured, memories })
}

/** Mailroom, without keys, beside each other system; none without Mailroom, or when it is alone. */
function ratioTables() {
  const others = installed
    .filter(({ name }) => name !== 'mailroom')
    .map(({ name, title, stored }) => ({ name, title, stores: stored !== NOTHING }))
  if (others.length === 0 || others.length === installed.length) return []
  return [
    ratioTable(
      'mailroom',
      'Mailroom',
      others,
      measured.filter(({ keyed }) => !keyed),
    ),
  ]
}
