/**
 * Single posts to Mailroom, plain and each with an Idempotency-Key, at 1, 16, 64 and 256 connections. At the end the
 * messages actors must have delivered exactly what was acknowledged.
 *
 *   npm run bench -- posts
 *   npm run bench -- posts --rounds 1 --seconds 1
 */
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

const generator = await Generator.start()
const mailroom = await Mailroom.start()
const meter = new Meter(mailroom, generator)
await meter.measure({ connections: 64, seconds: 2 }) // Warms up.
const measured: Measured[] = []
for (let round = 1; round <= ROUNDS; round++) {
  for (const keyed of [false, true]) {
    for (const connections of CONNECTIONS) {
      const one = await meter.measure({ connections, seconds: SECONDS, keyed })
      measured.push(one)
      console.log(`round ${round}  ${titleOf(keyed)}  ${shownMeasured(one)}`)
    }
  }
}
mustEqual('Mailroom', meter.acknowledged, await mailroom.tally())
await mailroom.end()
await generator.end()

const rows = [['', 'connections', ...HEADINGS]]
for (const keyed of [false, true]) {
  for (const connections of CONNECTIONS) {
    const rounds = measured.filter((one) => one.keyed === keyed && one.connections === connections)
    rows.push([titleOf(keyed), String(connections), ...cellsOf(rounds)])
  }
}
const rates = (keyed: boolean, connections: number) =>
  median(
    measured
      .filter((one) => one.keyed === keyed && one.connections === connections)
      .map(({ perSecond }) => perSecond),
  )
const ratios = CONNECTIONS.map((connections) => [
  String(connections),
  shown(rates(true, connections) / rates(false, connections), 2),
])
const caption = `${ROUNDS} rounds in turns. ${LEGEND}
${shownGenerator(measured)}`
const ratioTable = {
  caption: '201 a second, with a key / plain.',
  rows: [['connections', 'ratio'], ...ratios],
}
save('posts', { tables: [{ caption, rows }, ratioTable], rounds: ROUNDS, seconds: SECONDS, measured })

function titleOf(keyed: boolean): string {
  return keyed ? 'each with a key' : 'plain'
}
