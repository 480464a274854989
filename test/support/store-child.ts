/**
 * A process that uses the embedded backend until it is killed: `append` writes batches, `consume` settles what
 * waits in lane 0. It prints the ids of what it was told is durable, one line at a time, synchronously.
 */

import { writeSync } from 'node:fs'
import { systemClock as clock, systemRandom as random } from '../../src/runtime/clock.ts'
import { createLogger } from '../../src/runtime/logger.ts'
import { POST_DEADLINE_MS } from '../../src/runtime/timings.ts'
import { openEmbedded } from '../../src/storage/embedded/open.ts'
import { idGenerator } from '../../src/storage/ids.ts'

const [what, data, writer] = process.argv.slice(2) as [string, string, string]
const { log, queue } = openEmbedded({
  ...{ data, laneCount: 1, clock, random, logger: createLogger('silent', {}), retentionMs: 86_400_000 },
  ...(what === 'append' && { writer: Number(writer) }),
})
const tell = (ids: readonly string[]) => writeSync(1, `${ids.join('\n')}\n`)

if (what === 'append') {
  const nextIds = idGenerator(clock, random)
  for (;;) {
    const batches = Array.from({ length: 8 }, () => {
      const messages = nextIds(3).map((id) => ({ id, text: `text of ${id}` }))
      return log.append({ messages, lane: 0, deadlineAt: clock.monotonic() + POST_DEADLINE_MS })
    })
    for (const receipts of await Promise.all(batches)) tell(receipts.map(({ id }) => id))
  }
}
await queue.hold(0)
for (;;) {
  const claimed = await queue.claim(0, 50, 1000)
  const started = claimed.filter((_, index) => index % 3 === 0).map(({ id }) => id)
  await queue.start(0, started)
  const shown = await queue.settle(
    0,
    claimed.map(({ id }) => ({ id, as: 'done' })),
  )
  if (shown.length > 0) tell(shown.map(({ id }) => id))
}
