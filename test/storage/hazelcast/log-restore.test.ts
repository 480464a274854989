/** A log's cluster that came back empty is filled from journals: once each, from where it was, and only the right one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isMailroomError, MailroomError, type Outcome } from '../../../src/runtime/errors.ts'
import { NAMES } from '../../../src/storage/hazelcast/entries.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import type { LaneBatch, Message } from '../../../src/storage/ports.ts'
import { ClusterBench, type Watcher } from '../../support/cluster-bench.ts'
import { MemoryJournal } from '../../support/memory-journal.ts'

const bench = () => {
  const clusters = new ClusterBench()
  const nextIds = idGenerator(clusters.clock, () => 0.5)
  const batch = (...texts: string[]): LaneBatch => {
    const ids = nextIds(texts.length)
    const messages = texts.map((text, index) => ({ id: ids[index]!, text }))
    return { lane: 0, messages, deadlineAt: Number.POSITIVE_INFINITY }
  }
  const append = async ({ backend }: Watcher, ...texts: string[]): Promise<Message[]> => {
    const given = batch(...texts)
    await clusters.run(backend.log.append(given))
    return [...given.messages]
  }
  const logged = async ({ backend }: Watcher) =>
    (await clusters.run(backend.log.page({ after: '0', limit: 1000 }))).map(({ text }) => text)
  return { clusters, append, logged, batch }
}
const texts = (count: number, word = 'text') =>
  Array.from({ length: count }, (_, index) => `${word} ${index}`)

test('a batch is in the journal before the cluster shows it, and acknowledged when both have it', async () => {
  const { clusters, batch } = bench()
  const journal = new MemoryJournal()
  const { backend } = clusters.watch('log', clusters.node(), { journal })
  await clusters.settle()
  const { promise, resolve } = Promise.withResolvers<void>()
  journal.gate = () => promise
  let isAcknowledged = false
  const appended = backend.log.append(batch('a')).then(() => {
    isAcknowledged = true
  })
  const count = () => clusters.log.partitions.entries(NAMES.log).size
  await clusters.pass(1000)
  assert.deepEqual([count(), isAcknowledged], [0, false])
  resolve()
  await clusters.run(appended)
  assert.deepEqual([journal.count(), count()], [1, 1])
})

test('a batch that the journal refused is nowhere, and one that only the journal has may be there', async () => {
  const { clusters, batch } = bench()
  const journal = new MemoryJournal()
  const { backend } = clusters.watch('log', clusters.node(), { journal })
  await clusters.settle()
  const refused = (outcome: Outcome) =>
    assert.rejects(
      clusters.run(backend.log.append(batch('a'))),
      (error) => isMailroomError(error, 'MR_STORE_UNAVAILABLE') && error.outcome === outcome,
    )
  journal.gate = async () => {
    throw new MailroomError('MR_STORE_UNAVAILABLE', { store: 'log', reason: 'the disk is full' })
  }
  await refused('none')
  assert.equal(clusters.log.partitions.entries(NAMES.log).size, 0)
  journal.gate = async () => clusters.log.stop()
  await refused('unknown')
})

test('a cluster that came back empty is filled, while batches are appended: each is there once', async () => {
  const { clusters, append, logged } = bench()
  const journal = new MemoryJournal()
  const watcher = clusters.watch('log', clusters.node(), { journal })
  await clusters.settle()
  const before = [...texts(450), ...texts(3, 'of a batch')]
  for (const text of before.slice(0, 450)) await append(watcher, text)
  await append(watcher, ...before.slice(450))
  await clusters.empty(clusters.log)
  await clusters.pass(500)
  await append(watcher, 'after')
  await clusters.settle()
  assert.deepEqual(await logged(watcher), [...before, 'after'])
  assert.equal(clusters.log.partitions.entries(NAMES.log).size, 452, 'a batch is one entry')
  const { wholeIn, done, total } = watcher.backend.journal!()
  assert.notEqual(wholeIn, null)
  assert.ok(done >= 453 && done === total, `${done} of ${total}`)
})

test('a batch that two pages share is one entry', async () => {
  const { clusters, append, logged } = bench()
  const watcher = clusters.watch('log', clusters.node(), { journal: new MemoryJournal() })
  await clusters.settle()
  await append(watcher, ...texts(150))
  await append(watcher, ...texts(1000))
  await clusters.empty(clusters.log)
  await clusters.settle()
  assert.equal(clusters.log.partitions.entries(NAMES.log).size, 2)
  assert.equal((await logged(watcher)).length, 1000)
})

test('all processes and the cluster restart at once: two nodes fill it from the journals of both', async () => {
  const { clusters, append, logged } = bench()
  const journals = [new MemoryJournal('a'), new MemoryJournal('b')]
  const nodes = journals.map(() => clusters.node())
  const start = () => journals.map((journal, index) => clusters.watch('log', nodes[index], { journal }))
  const watchers = start()
  await clusters.settle()
  for (const [index, watcher] of watchers.entries()) await append(watcher, `of node ${index}`)
  for (const watcher of watchers) watcher.kill()
  await clusters.empty(clusters.log)
  const [again] = start()
  await clusters.settle()
  assert.deepEqual((await logged(again!)).sort(), ['of node 0', 'of node 1'])
})

test('a node that comes back later than the cluster puts back what only it has', async () => {
  const { clusters, append, logged } = bench()
  const nodes = [clusters.node(), clusters.node()]
  const journal = new MemoryJournal('late')
  const [here, late] = [clusters.watch('log', nodes[0]), clusters.watch('log', nodes[1], { journal })]
  await clusters.settle()
  await append(late, 'late')
  late.kill()
  await clusters.empty(clusters.log)
  await clusters.settle()
  assert.deepEqual(await logged(here), [])
  clusters.watch('log', nodes[1], { journal })
  await clusters.settle()
  assert.deepEqual(await logged(here), ['late'])
})

test('a process that dies in the middle is followed by one that goes on', async () => {
  const { clusters, append, logged } = bench()
  const journal = new MemoryJournal()
  const node = clusters.node()
  const first = clusters.watch('log', node, { journal })
  await clusters.settle()
  for (const text of texts(600)) await append(first, text)
  let pages = 0
  journal.beforePage = async () => {
    if (++pages === 3) first.kill()
  }
  await clusters.empty(clusters.log)
  await clusters.settle()
  const filled = clusters.log.partitions.entries(NAMES.log).size
  assert.ok(filled > 0 && filled < 600, `${filled}`)
  pages = 3
  const second = clusters.watch('log', node, { journal: journal.ofAnother() })
  await clusters.settle()
  assert.equal((await logged(second)).length, 600)
  assert.ok(pages - 3 < 4, `it read ${pages - 3} pages`)
})

test('a cluster that is lost once more while it is filled is filled from the beginning', async () => {
  const { clusters, append, logged } = bench()
  const journal = new MemoryJournal()
  const watcher = clusters.watch('log', clusters.node(), { journal })
  await clusters.settle()
  for (const text of texts(600)) await append(watcher, text)
  let pages = 0
  let emptied: Promise<void> | undefined
  journal.beforePage = async () => {
    if (++pages === 3) emptied = clusters.empty(clusters.log)
  }
  await clusters.empty(clusters.log)
  await clusters.settle()
  await emptied
  await clusters.settle()
  assert.equal((await logged(watcher)).length, 600)
})

test('another system’s cluster gets nothing until an operator has confirmed that it is meant', async () => {
  const { clusters, append } = bench()
  const journal = new MemoryJournal()
  const node = clusters.node()
  const before = clusters.watch('log', node, { journal })
  await clusters.settle()
  await append(before, 'mine')
  before.kill()
  await clusters.pass(2000)
  const cluster = clusters.another('other')
  const after = clusters.watch('log', node, { journal, clusterName: 'other', cluster })
  await clusters.settle()
  assert.deepEqual([...cluster.partitions.entries(NAMES.log)], [])
  assert.equal(after.backend.journal!().wholeIn, null)
  await clusters.confirm(after)
  await clusters.settle()
  assert.equal(cluster.partitions.entries(NAMES.log).size, 1)
})
