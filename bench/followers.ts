/**
 * What readers of `GET /events` cost: single posts at 64 connections, in turns without readers and beside 1,000 readers
 * of `stats` and 20 of `logged`, which are a process of their own. Each reader must have been given what it follows, and
 * the log must hold exactly what was acknowledged.
 *
 *   npm run bench -- followers                 5 rounds of 4 s
 *   npm run bench -- followers 0 20            20 readers of logged alone
 */
import { startScript } from './lib/child.ts'
import { median, shown } from './lib/figures.ts'
import type { FollowersQuestion, Heard } from './lib/followers-child.ts'
import { Generator } from './lib/load.ts'
import { Mailroom } from './lib/mailroom.ts'
import { cellsOf, HEADINGS, LEGEND, type Measured, Meter, shownMeasured } from './lib/meter.ts'
import { roundsOf } from './lib/options.ts'
import { save } from './lib/results.ts'
import { mustEqual } from './lib/texts.ts'

const { rounds: ROUNDS, seconds: SECONDS, positionals } = roundsOf({ rounds: 5, seconds: 4 })
const [STATS = 1000, LOGGED = 20] = positionals.map(Number)
const CONNECTIONS = 64
const NOBODY = 'nobody'
const READERS = `${STATS} readers of stats, ${LOGGED} of logged`

const generator = await Generator.start()
const mailroom = await Mailroom.start()
const meter = new Meter(mailroom, generator)
const { child } = await startScript(new URL('./lib/followers-child.ts', import.meta.url))
await meter.measure({ connections: CONNECTIONS, seconds: 4 }) // Warms up.

const alone: Measured[] = []
const beside: Measured[] = []
for (let round = 1; round <= ROUNDS; round++) {
  await measure(round, NOBODY, alone)
  await ask({ port: mailroom.port, counts: { stats: STATS, logged: LOGGED } })
  await measure(round, READERS, beside)
  const heard = await ask<Heard[]>('stop')
  const deaf = heard.filter(({ frames, isOpen }) => frames < SECONDS / 2 || !isOpen)
  if (deaf.length > 0)
    throw new Error(`${deaf.length} readers were not given all: ${JSON.stringify(deaf[0])}`)
}
mustEqual('The log', meter.acknowledged, await mailroom.logTally())
await child.end()
await mailroom.end()
await generator.end()

const ratio = median(beside.map(({ cpuUs }, round) => cpuUs / alone[round]!.cpuUs))
save('followers', {
  tables: [
    {
      caption: `${ROUNDS} rounds in turns, ${CONNECTIONS} connections. Beside readers a message takes ${shown(ratio, 2)} times the CPU (median of the ratios of each round). ${LEGEND}`,
      rows: [
        ['beside', ...HEADINGS],
        [NOBODY, ...cellsOf(alone)],
        [READERS, ...cellsOf(beside)],
      ],
    },
  ],
  ...{ seconds: SECONDS, stats: STATS, logged: LOGGED, ratio, alone, beside },
})

async function measure(round: number, title: string, rounds: Measured[]): Promise<void> {
  const one = await meter.measure({ connections: CONNECTIONS, seconds: SECONDS })
  rounds.push(one)
  console.log(`round ${round}  ${title.padEnd(READERS.length)}  ${shownMeasured(one)}`)
}

function ask<T = void>(question: FollowersQuestion): Promise<T> {
  return child.ask<T>(question)
}
