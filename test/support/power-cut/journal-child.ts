/** Writes into a journal until it is killed, and tells what is in it: `node journal-child.ts DIRECTORY TRACE`. */
import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock as clock, systemRandom as random } from '../../../src/runtime/clock.ts'
import { createLogger } from '../../../src/runtime/logger.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import { openJournal } from '../../../src/storage/journal/open.ts'
import { toldStep } from './disk.ts'

const CLIENTS = 4
const PAUSE_MS = 20
/** After this time nothing has to be durable at once, as its sync would be one of all that came before it. */
const DURABLE_MS = 3000
const [data, trace] = process.argv.slice(2) as [string, string]
const journal = openJournal({
  ...{ data, laneCount: 4, retentionMs: 24 * 60 * 60 * 1000, maxMessageBytes: 1024 * 1024, clock },
  ...{ logger: createLogger('silent', {}), epochs: () => ({}), onBroken: () => process.exit(1) },
})
const endAt = clock.monotonic() + DURABLE_MS
const nextIds = idGenerator(clock, random)

async function client(lane: number): Promise<never> {
  for (;;) {
    await sleep(random() * 2 * PAUSE_MS)
    const [id] = nextIds(1) as [string]
    const isDurable = clock.monotonic() < endAt && random() < 0.3
    const text = 'x'.repeat(random() * 3000)
    await journal.append({ lane, messages: [{ id, text }], deadlineAt: Number.POSITIVE_INFINITY }, isDurable)
    appendFileSync(trace, toldStep({ id, text, isDurable, at: Date.now() }))
  }
}

await Promise.all(Array.from({ length: CLIENTS }, (_, lane) => client(lane)))
