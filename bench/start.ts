/**
 * How long a node takes from its command to `/readyz` 200, the CPU time of all its processes until then, and their
 * memory (PSS). The first start of a checkout fills Node's compile cache and is not counted.
 *
 *   npm run bench -- start             median of 7 starts, default settings
 */
import { shown, shownSpread, spread } from './lib/figures.ts'
import { Mailroom } from './lib/mailroom.ts'
import { usageOf } from './lib/processes.ts'
import { save } from './lib/results.ts'

const STARTS = 7

interface Start {
  readyMs: number
  cpuMs: number
  pssMib: number
}

await start()
const starts: Start[] = []
for (let number = 1; number <= STARTS; number++) {
  const one = await start()
  starts.push(one)
  console.log(
    `start ${number}  ready after ${shown(one.readyMs)} ms, CPU ${shown(one.cpuMs)} ms, PSS ${shown(one.pssMib)} MiB`,
  )
}
const of = (what: keyof Start) => shownSpread(spread(starts.map((one) => one[what])))
const rows = [
  ['ready after, ms', of('readyMs')],
  ['CPU of all processes, ms', of('cpuMs')],
  ['memory (PSS) of all processes, MiB', of('pssMib')],
]
const caption = `${STARTS} starts, median (least to most)`
save('start', { tables: [{ caption, rows: [['from the command to ready', ''], ...rows] }], starts })

async function start(): Promise<Start> {
  const beganAt = performance.now()
  const mailroom = await Mailroom.start()
  const readyMs = performance.now() - beganAt
  const { cpuSeconds, pssMib } = usageOf(mailroom.pids)
  await mailroom.end()
  return { readyMs, cpuMs: 1000 * cpuSeconds, pssMib }
}
