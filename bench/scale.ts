/**
 * Single posts at 64 connections with 1 to 4 logging actors, and with 1 to 4 messages actors; a node of its own each.
 *
 *   npm run bench -- scale
 *   npm run bench -- scale --rounds 1 --seconds 1
 */
import { Generator } from './lib/load.ts'
import { Mailroom } from './lib/mailroom.ts'
import { cellsOf, HEADINGS, LEGEND, type Measured, Meter, shownMeasured } from './lib/meter.ts'
import { roundsOf } from './lib/options.ts'
import { save } from './lib/results.ts'
import { mustEqual } from './lib/texts.ts'

const { rounds: ROUNDS, seconds: SECONDS } = roundsOf({ rounds: 2, seconds: 2 })
const CONNECTIONS = 64
const COUNTS = [1, 2, 3, 4]

interface Result extends Measured {
  role: string
  count: number
}

const generator = await Generator.start()
const measured: Result[] = []
for (let round = 1; round <= ROUNDS; round++) {
  for (const role of ['logging', 'messages']) {
    for (const count of COUNTS) {
      const mailroom = await Mailroom.start([`--${role}`, String(count)])
      const meter = new Meter(mailroom, generator)
      await meter.measure({ connections: CONNECTIONS, seconds: 1 }) // Warms up.
      const one = await meter.measure({ connections: CONNECTIONS, seconds: SECONDS })
      measured.push({ role, count, ...one })
      console.log(`round ${round}  ${count} ${role.padEnd(8)}  ${shownMeasured(one)}`)
      mustEqual('Mailroom', meter.acknowledged, await mailroom.tally())
      await mailroom.end()
    }
  }
}
await generator.end()

const rows = [['', 'actors', ...HEADINGS]]
for (const role of ['logging', 'messages']) {
  for (const count of COUNTS) {
    const rounds = measured.filter((one) => one.role === role && one.count === count)
    rows.push([role, String(count), ...cellsOf(rounds)])
  }
}
const caption = `${ROUNDS} rounds in turns, ${CONNECTIONS} connections. ${LEGEND}`
save('scale', { tables: [{ caption, rows }], rounds: ROUNDS, seconds: SECONDS, measured })
