/**
 * What three times too much does to Mailroom: peak, overload and recovery in one run on one data directory, by
 * one generator, so that the figures are ratios of each other. Posts are sent at their times, whatever becomes of
 * those before; an acknowledgement counts from when its post was due, a refusal from when it was sent.
 *
 *   npm run bench -- overload [seconds of overload, 20]
 */
import { type Offered, offer, percentile } from '../test/support/open-loop.ts'
import { shown } from './lib/figures.ts'
import { Mailroom } from './lib/mailroom.ts'
import { peakMibOf } from './lib/processes.ts'
import { save } from './lib/results.ts'

const SECONDS = Number(process.argv[2] ?? 20)
const PEAK_CONNECTIONS = 64
const OVERLOAD_CONNECTIONS = 4000

const mailroom = await Mailroom.start()
const ids: string[] = []
await run('warm up', undefined, 3, PEAK_CONNECTIONS)
const first = await run('peak', undefined, 8, PEAK_CONNECTIONS)
const half = await run('half of it', rateOf(first) / 2, 5, OVERLOAD_CONNECTIONS)
const overload = await run('overload', rateOf(first) * 3, SECONDS, OVERLOAD_CONNECTIONS)
const after = await run('half again', rateOf(first) / 2, 10, OVERLOAD_CONNECTIONS)
const last = await run('peak again', undefined, 8, PEAK_CONNECTIONS)
const goodput = rateOf(overload) / ((rateOf(first) + rateOf(last)) / 2)
const p99Ratio = p99(after) / p99(half)
const largestMib = await peakMib()
await verify()
await mailroom.end()
const rows = [
  ['acknowledged a second in overload / at the peak', shown(goodput, 2)],
  ['99th percentile at half the peak, after / before', shown(p99Ratio, 2)],
  ['most resident of a process, MiB', shown(largestMib)],
]
const caption = `${SECONDS} s of three times the peak`
save('overload', {
  tables: [{ caption, rows: [['', ''], ...rows] }],
  seconds: SECONDS,
  goodput,
  p99Ratio,
  largestMib,
})

async function run(
  name: string,
  perSecond: number | undefined,
  seconds: number,
  connectionsMax: number,
): Promise<Offered> {
  const offered = await offer({
    ...{ port: mailroom.port, perSecond, connectionsMax },
    textOf: (count) => `${name} ${count} `.padEnd(400, 'x'),
    until: (_, elapsedMs) => elapsedMs >= seconds * 1000,
  })
  const { history, refused, badRefusals, unsentCount, acknowledgedMs, refusedMs, lateMs } = offered
  for (const id of history.acknowledged.keys()) ids.push(id)
  const times = (sorted: readonly number[]) =>
    [0.5, 0.99, 1].map((share) => Math.round(percentile(sorted, share))).join('/')
  console.log(
    `${name.padEnd(11)} ${perSecond === undefined ? '' : `${Math.round(perSecond)} due/s, ${Math.round(unsentCount / seconds)} had no client, sent ${times(lateMs)} ms late; `}` +
      `${Math.round(rateOf(offered))} acknowledged/s in ${times(acknowledgedMs)} ms (p50/p99/max), ` +
      `${Math.round(refused.size / seconds)} refused/s in ${times(refusedMs)} ms, ` +
      `${badRefusals.length} badly, ${history.failures.length} failed ${[...new Set(history.failures.map(({ how }) => how))].join()}`,
  )
  return offered
}

/** Acknowledged a second, without the first and the last second. */
function rateOf({ perSecond }: Offered): number {
  const whole = perSecond.slice(1, -1)
  return whole.reduce((sum, count) => sum + (count ?? 0), 0) / whole.length
}

function p99({ acknowledgedMs }: Offered): number {
  return percentile(acknowledgedMs, 0.99)
}

/** The most memory that any process has had resident, in MiB. */
async function peakMib(): Promise<number> {
  const pids = [...mailroom.pids, ...(await mailroom.actors()).map(({ pid }) => pid)]
  return Math.max(...pids.map(peakMibOf))
}

/** Every acknowledged message is in the log. */
async function verify(): Promise<void> {
  const logged = new Set<string>()
  for await (const { id } of mailroom.items('/log?limit=1000')) logged.add(id)
  const lost = ids.filter((id) => !logged.has(id))
  if (lost.length > 0) throw new Error(`${lost.length} of ${ids.length} acknowledged are not in the log`)
  console.log(`all ${ids.length} acknowledged messages are in the log`)
}
