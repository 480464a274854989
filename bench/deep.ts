/**
 * Single posts at 64 connections while a million messages are waiting, in turns with a node where hardly any are. The
 * handler of both never finishes. At the end the log must hold exactly what was acknowledged, and nothing of it may be
 * delivered.
 *
 *   npm run bench -- deep              1,000,000 messages waiting, 3 rounds of 2 s
 *   npm run bench -- deep 100000 --rounds 1 --seconds 1
 */
import { crc32 } from 'node:zlib'
import { bulkTextOf, streamIn } from './lib/bulk.ts'
import { median, shown } from './lib/figures.ts'
import { Generator, SIZE } from './lib/load.ts'
import { Mailroom } from './lib/mailroom.ts'
import { cellsOf, HEADINGS, LEGEND, type Measured, Meter, shownMeasured } from './lib/meter.ts'
import { roundsOf } from './lib/options.ts'
import { save } from './lib/results.ts'
import { mustEqual } from './lib/texts.ts'

const { rounds: ROUNDS, seconds: SECONDS, positionals } = roundsOf({ rounds: 3, seconds: 2 })
const DEEP = Number(positionals[0] ?? 1_000_000)
const CONNECTIONS = 64
const HANDLER = new URL('lib/stuck-handler.js', import.meta.url).pathname
const FLAGS = ['--handler', HANDLER, '--handler-timeout', '1d', '--handler-concurrency', '1']

const generator = await Generator.start()
const nodes = [await startNode('empty', 0), await startNode('deep', DEEP)]
for (const { meter } of nodes) await meter.measure({ connections: CONNECTIONS, seconds: 4 }) // Warms up.
for (let round = 1; round <= ROUNDS; round++) {
  for (const { title, meter, rounds } of nodes) {
    const one = await meter.measure({ connections: CONNECTIONS, seconds: SECONDS })
    rounds.push(one)
    console.log(`round ${round}  ${title.padEnd(5)}  ${shownMeasured(one)}`)
  }
}
for (const { mailroom, meter, filled } of nodes) {
  meter.acknowledged.join({ count: filled, checksum: filled * crc32(bulkTextOf(SIZE)) })
  mustEqual('The log', meter.acknowledged, await mailroom.logTally())
  const delivered = await mailroom.consumed()
  if (delivered > 0) throw new Error(`${delivered} messages were delivered`)
  await mailroom.end()
}
await generator.end()

const rows = nodes.map(({ title, filled, rounds }) => [title, shown(filled), ...cellsOf(rounds)])
const [empty, deep] = nodes.map(({ rounds }) => median(rounds.map(({ perSecond }) => perSecond)))
const caption = `${ROUNDS} rounds in turns, ${CONNECTIONS} connections; deep / empty: ${shown(deep! / empty!, 2)}. ${LEGEND}`
save('deep', {
  tables: [{ caption, rows: [['node', 'waiting at first', ...HEADINGS], ...rows] }],
  ...{ waiting: DEEP, seconds: SECONDS, empty: nodes[0]!.rounds, deep: nodes[1]!.rounds },
})

/** A node with `filled` messages waiting. */
async function startNode(title: string, filled: number) {
  const mailroom = await Mailroom.start(FLAGS)
  if (filled > 0) await streamIn(mailroom.url, filled, SIZE)
  // Nothing is consumed: the meter need not wait for it.
  const { port, pids } = mailroom
  const meter = new Meter({ port, pids, untilConsumed: async () => {} }, generator)
  return { title, filled, mailroom, meter, rounds: [] as Measured[] }
}
