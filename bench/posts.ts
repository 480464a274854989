/**
 * Single posts to Mailroom, plain, each with an Idempotency-Key, and signed to a source, at 1, 16, 64 and 256 connections. At the end the
 * messages actors must have delivered exactly what was acknowledged.
 *
 *   npm run bench -- posts
 *   npm run bench -- posts --rounds 1 --seconds 1
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { removeDirectory, temporaryDirectory } from './lib/child.ts'
import { median, shown } from './lib/figures.ts'
import { Generator } from './lib/load.ts'
import { Mailroom } from './lib/mailroom.ts'
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
import { save } from './lib/results.ts'
import { mustEqual } from './lib/texts.ts'

const { rounds: ROUNDS, seconds: SECONDS } = roundsOf({ rounds: 3, seconds: 2 })
const CONNECTIONS = [1, 16, 64, 256]

const SECRET = 'a secret of the bench'
const WAYS = {
  plain: {},
  'each with a key': { keyed: true },
  'signed, to a source': { secret: SECRET },
}
type Way = keyof typeof WAYS
const ALL = Object.keys(WAYS) as Way[]

const sources = temporaryDirectory()
writeFileSync(join(sources, 'secret'), SECRET)
const bench = { verify: 'hmac', secret: 'file:secret', header: 'X-Signature', keep: [], answer: 201 }
writeFileSync(join(sources, 'sources.json'), JSON.stringify({ bench }))

const generator = await Generator.start()
const mailroom = await Mailroom.start(['--sources', join(sources, 'sources.json')])
const meter = new Meter(mailroom, generator)
await meter.measure({ connections: 64, seconds: 2 }) // Warms up.
const measured: (Measured & { way: Way })[] = []
for (let round = 1; round <= ROUNDS; round++) {
  for (const way of ALL) {
    for (const connections of CONNECTIONS) {
      const one = await meter.measure({ connections, seconds: SECONDS, ...WAYS[way] })
      measured.push({ way, ...one })
      console.log(`round ${round}  ${way.padEnd(19)}  ${shownMeasured(one)}`)
    }
  }
}
mustEqual('Mailroom', meter.acknowledged, await mailroom.tally())
await mailroom.end()
removeDirectory(sources)
await generator.end()

const rows = [['', 'connections', ...HEADINGS]]
const roundsOfWay = (way: Way, connections: number) =>
  measured.filter((one) => one.way === way && one.connections === connections)
for (const way of ALL) {
  for (const connections of CONNECTIONS) {
    rows.push([way, String(connections), ...cellsOf(roundsOfWay(way, connections))])
  }
}
const rates = (way: Way, connections: number) =>
  median(roundsOfWay(way, connections).map(({ perSecond }) => perSecond))
const ratios = CONNECTIONS.map((connections) => [
  String(connections),
  ...(['each with a key', 'signed, to a source'] as const).map((way) =>
    shown(rates(way, connections) / rates('plain', connections), 2),
  ),
])
const caption = `${ROUNDS} rounds in turns. ${LEGEND}
${shownGenerator(measured)}`
const ratioTable = {
  caption: '201 a second, with a key / plain, and signed to a source / plain.',
  rows: [['connections', 'with a key', 'to a source'], ...ratios],
}
save('posts', { tables: [{ caption, rows }, ratioTable], rounds: ROUNDS, seconds: SECONDS, measured })
