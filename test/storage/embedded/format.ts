/**
 * A small data directory of everything that the embedded backend stores, at a fixed instant: `fill` writes it, `look`
 * reads it. `node test/storage/embedded/format.ts DIRECTORY` keeps one of a new format version.
 */
import { mkdirSync } from 'node:fs'
import { createLogger } from '../../../src/runtime/logger.ts'
import { openEmbedded } from '../../../src/storage/embedded/open.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import type { Backend, Batch, Receipt } from '../../../src/storage/ports.ts'
import { onlyLane } from '../../contract/backend-suite.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const LANES = 2
const NOW = Date.UTC(2026, 10, 28, 12)
const KEY = { value: 'a-key-of-a-client', hash: 'h' }
const LARGE = 'ä'.repeat(30_000)
const ERROR = 'Error: no'

/** The directory as one process has it that is all actors. */
class Bench {
  readonly clock = new FakeClock(NOW)
  readonly #nextIds = idGenerator(this.clock, () => 0.5)
  readonly #data: string
  readonly #opened: Backend[] = []

  constructor(data: string) {
    this.#data = data
  }

  open(lane: number): Backend {
    const backend = openEmbedded({
      ...{ data: this.#data, laneCount: LANES, clock: this.clock, random: () => 0.5 },
      ...{ logger: createLogger('silent', {}), retentionMs: 24 * 60 * 60 * 1000 },
      ...{ depths: onlyLane(LANES, lane), ...(this.#opened.length === 0 && { writer: 1 }) },
    })
    this.#opened.push(backend)
    return backend
  }

  async append(to: Backend, log: Backend, texts: string[], options: Partial<Batch> = {}): Promise<Receipt[]> {
    const ids = this.#nextIds(texts.length)
    const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
    const batch = { messages, deadlineAt: this.clock.monotonic() + 1000, ...options }
    const receipts = to.queue.accept(
      batch,
      (given) => log.log.append(given),
      (id) => log.log.get(id),
    )
    await this.clock.advance(1)
    return receipts
  }

  /** What comes of it while time passes. */
  async run<T>(work: Promise<T>): Promise<T> {
    await this.clock.advance(1)
    return work
  }

  async close(): Promise<void> {
    for (const backend of this.#opened) await backend.close()
  }
}

/** Writes it: batches that are delivered as a whole and in part, started, retried, dead, purged, waiting; a key. */
export async function fill(data: string): Promise<void> {
  mkdirSync(data, { recursive: true, mode: 0o700 })
  const bench = new Bench(data)
  const [log, second] = [bench.open(0), bench.open(1)]
  const { queue } = log
  const settle = (lane: number, settlements: Parameters<typeof queue.settle>[1]) =>
    bench.run(queue.settle(lane, settlements))
  for (const lane of [0, 1]) await bench.run(queue.hold(lane))
  await bench.append(log, log, ['whole 1', 'whole 2'])
  await settle(
    0,
    (await bench.run(queue.claim(0, 9, 0))).map(({ id }) => ({ id, as: 'done' })),
  )
  await bench.append(log, log, ['done after two starts', 'retried', 'dead', 'purged', 'started'])
  const ids = (await bench.run(queue.claim(0, 9, 0))).map(({ id }) => id)
  const [done, retried, dead, purged] = ids as [string, string, string, string]
  await bench.run(queue.start(0, ids))
  await settle(0, [
    ...[done, retried].map((id) => ({ id, as: 'retry', delayMs: 0, error: ERROR }) as const),
    ...[dead, purged].map((id) => ({ id, as: 'dead', reason: 'It failed', error: ERROR }) as const),
  ])
  await bench.run(queue.claim(0, 9, 0))
  await bench.run(queue.start(0, [done]))
  await settle(0, [
    { id: done, as: 'done' },
    { id: retried, as: 'back' },
  ])
  await bench.run(queue.purge(0, [purged]))
  await bench.append(second, log, ['with a key', LARGE], { key: KEY })
  await settle(
    1,
    (await bench.run(queue.claim(1, 1, 0))).map(({ id }) => ({ id, as: 'done' })),
  )
  await bench.append(second, log, ['waits', '"quoted" \u0000 👩‍👩‍👧'])
  await bench.close()
}

/** Reads all of it, as a start of this version does. */
export async function look(data: string): Promise<object> {
  const bench = new Bench(data)
  const [log, second] = [bench.open(0), bench.open(1)]
  const { queue } = log
  const lanes = []
  for (const lane of [0, 1]) {
    const leftOpenCount = await bench.run(queue.hold(lane))
    const claimed = await bench.run(queue.claim(lane, 9, 0))
    const [delivered, dead] = await Promise.all([
      queue.delivered(lane, { limit: 9 }),
      queue.dead(lane, { limit: 9 }),
    ])
    lanes.push({ leftOpenCount, claimed, delivered, dead })
  }
  const replayed = await bench.append(second, log, ['with a key', LARGE], { key: KEY })
  const logged = await log.log.page({ after: '0', limit: 100 })
  await bench.close()
  const shortened = JSON.stringify({ logged, lanes, replayed }).replaceAll(LARGE, 'LARGE')
  return JSON.parse(shortened) as object
}

if (import.meta.main) await fill(process.argv[2]!)
