/** A post with an idempotency key whose first try died between its writes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from '../../../src/runtime/logger.ts'
import { FIRST_RUN_MS, POST_DEADLINE_MS } from '../../../src/runtime/timings.ts'
import { laneBounds, NAMES } from '../../../src/storage/hazelcast/entries.ts'
import { openHazelcast } from '../../../src/storage/hazelcast/open.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import type { LaneBatch, Message, Receipt } from '../../../src/storage/ports.ts'
import { SimProcess } from '../../simulation/process.ts'
import { Rng } from '../../simulation/rng.ts'
import { Scheduler } from '../../simulation/scheduler.ts'
import { SimCluster } from '../../simulation/sim-cluster.ts'

/** A facade on a queue's cluster, a log, and posts whose appends may be made to die. */
class Bench {
  readonly scheduler = new Scheduler()
  readonly log = new Map<string, Message>()
  readonly seen: LaneBatch[] = []
  /** What becomes of an append. */
  append: (batch: LaneBatch) => void = (batch) => {
    for (const message of batch.messages) this.log.set(message.id, message)
  }
  readonly #process = new SimProcess(
    this.scheduler,
    'facade-1',
    { name: 'a', clockOffsetMs: 0, boot: 1 },
    new Rng(1),
  )
  readonly #cluster = new SimCluster('queue', this.scheduler, new Rng(2), {}).connect(this.#process)
  readonly #pending = this.#cluster.map(NAMES.pending)
  readonly #queue = openHazelcast({
    queue: this.#cluster,
    ...{ owner: 'facade-1', laneCount: 16, retentionMs: 3_600_000 },
    ...{ clock: this.#process.clock, random: () => 0.5, logger: createLogger('silent', {}) },
  }).queue
  readonly #nextIds = idGenerator(this.#process.clock, () => 0.5)

  /** What a post gives or throws. */
  async post(value: string, text: string, hash: string): Promise<Receipt[] | Error> {
    const { clock } = this.#process
    const messages = this.#nextIds(2).map((id) => ({ id, text }))
    const batch = { messages, key: { value, hash }, deadlineAt: clock.monotonic() + POST_DEADLINE_MS }
    const append = async (given: LaneBatch) => {
      this.seen.push(given)
      this.append(given)
      return given.messages.map(({ id }) => ({ id, replayed: false }))
    }
    return this.#run(this.#queue.accept(batch, append, async (id) => this.log.get(id)))
  }

  /** The entries that wait, as the cluster has them. */
  async pending(): Promise<string[]> {
    const values = await this.#run(this.#pending.getAll(await this.#waiting()))
    return [...(values as Map<string, string>).values()]
  }

  /** As a holder that has delivered them. */
  async takeOut(): Promise<void> {
    for (const key of await this.#waiting()) await this.#run(this.#pending.delete(key))
  }

  async #waiting(): Promise<string[]> {
    const [[from], [, to]] = [laneBounds(0), laneBounds(15)]
    return (await this.#run(this.#pending.keys(from, to))) as string[]
  }

  async #run<T>(work: Promise<T>): Promise<T | Error> {
    let settled: { result: T | Error } | undefined
    work.then(
      (result) => {
        settled = { result }
      },
      (result) => {
        settled = { result }
      },
    )
    while (settled === undefined) await this.scheduler.pass(10)
    return settled.result
  }
}

const dies = () => {
  throw new Error('died')
}

test('a repeat takes the steps of the first once more: the same ids, the same lane', async () => {
  const bench = new Bench()
  const keys = Array.from({ length: 20 }, (_, index) => `key-of-a-client-${index}`)
  bench.append = dies
  for (const key of keys) assert.match(String(await bench.post(key, 'hello', 'h')), /died/)
  await bench.scheduler.pass(FIRST_RUN_MS)
  for (const key of keys) assert.match(String(await bench.post(key, 'hello', 'h')), /died/)
  const stepsOf = (batches: LaneBatch[]) => batches.map(({ lane, messages }) => ({ lane, messages }))
  assert.deepEqual(stepsOf(bench.seen.slice(keys.length)), stepsOf(bench.seen.slice(0, keys.length)))
})

const textsIn = (bench: Bench) => [...bench.log.values()].map(({ text }) => text)

test('a repeat of a source with another body goes on with what the first left waiting', async () => {
  const bench = new Bench()
  const log = bench.append
  bench.append = dies
  await bench.post(' in:a', 'first', '')
  await bench.scheduler.pass(FIRST_RUN_MS)
  bench.append = log
  await bench.post(' in:a', 'second', '')
  assert.deepEqual(textsIn(bench), ['first', 'first'])
  const keyed = { value: ' in:a', hash: '' }
  assert.deepEqual(await bench.pending(), [JSON.stringify({ texts: ['first', 'first'], keyed })])
})

for (const isDelivered of [false, true]) {
  const where = isDelivered ? 'logged, and was delivered since' : 'logged'
  test(`a repeat of a source with another body changes nothing of what the first ${where}`, async () => {
    const bench = new Bench()
    const log = bench.append
    bench.append = (batch) => {
      log(batch)
      dies()
    }
    await bench.post(' in:a', 'first', '')
    if (isDelivered) await bench.takeOut()
    await bench.scheduler.pass(FIRST_RUN_MS)
    bench.append = log
    await bench.post(' in:a', 'second', '')
    assert.deepEqual(textsIn(bench), ['first', 'first'])
    const again = await bench.post(' in:a', 'third', '')
    assert.deepEqual(
      again,
      [...bench.log.keys()].map((id) => ({ id, replayed: true })),
    )
  })
}
