/**
 * Single posts of 100 bytes to 64 KiB, at 64 connections.
 *
 *   npm run bench -- sizes
 *   npm run bench -- sizes --rounds 1 --seconds 1
 */
import { shown, spread } from './lib/figures.ts'
import { Generator } from './lib/load.ts'
import { Mailroom } from './lib/mailroom.ts'
import { cellsOf, HEADINGS, LEGEND, type Measured, Meter, shownMeasured } from './lib/meter.ts'
import { roundsOf } from './lib/options.ts'
import { save } from './lib/results.ts'
import { mustEqual } from './lib/texts.ts'

const { rounds: ROUNDS, seconds: SECONDS } = roundsOf({ rounds: 3, seconds: 2 })
const CONNECTIONS = 64
const SIZES = [100, 400, 4096, 65_536]

const generator = await Generator.start()
const mailroom = await Mailroom.start()
const meter = new Meter(mailroom, generator)
await meter.measure({ connections: CONNECTIONS, seconds: 2 }) // Warms up.
const measured: Measured[] = []
for (let round = 1; round <= ROUNDS; round++) {
  for (const size of SIZES) {
    const one = await meter.measure({ connections: CONNECTIONS, seconds: SECONDS, size })
    measured.push(one)
    console.log(`round ${round}  ${shown(size).padStart(6)} bytes  ${shownMeasured(one)}`)
  }
}
mustEqual('Mailroom', meter.acknowledged, await mailroom.tally())
await mailroom.end()
await generator.end()

const rows = [['bytes', 'MiB/s', ...HEADINGS]]
for (const size of SIZES) {
  const rounds = measured.filter(({ sizeBytes }) => sizeBytes === size)
  const mib = spread(rounds.map(({ perSecond }) => (perSecond * size) / 2 ** 20)).median
  rows.push([shown(size), shown(mib, 1), ...cellsOf(rounds)])
}
const caption = `${ROUNDS} rounds in turns, ${CONNECTIONS} connections. ${LEGEND}`
save('sizes', { tables: [{ caption, rows }], rounds: ROUNDS, seconds: SECONDS, measured })
