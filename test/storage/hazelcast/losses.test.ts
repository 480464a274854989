/** A cluster came back empty: who notices, what is reported, and what a confirmation ends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isMailroomError } from '../../../src/runtime/errors.ts'
import { openLosses } from '../../../src/runtime/losses.ts'
import { ClusterBench } from '../../support/cluster-bench.ts'

test('processes that lived through a loss report it alike; so does one that never knew the cluster that is gone', async () => {
  const bench = new ClusterBench()
  bench.fill(30)
  const [one, other] = [bench.watch('log'), bench.watch('log')]
  await bench.settle()
  await bench.empty(bench.log)
  await bench.settle()
  const stranger = bench.watch('log')
  await bench.settle()
  for (const watcher of [one, other, stranger]) assert.deepEqual(bench.losses(watcher), ['log empty 30'])
  const told = [one, other, stranger].map(({ backend }) => JSON.stringify(openLosses(backend.reports())))
  assert.equal(new Set(told).size, 1)
})

test('all processes and both clusters restart at once: what the node knew reports both losses', async () => {
  const bench = new ClusterBench()
  bench.fill(30)
  const node = bench.node()
  const before = [bench.watch('log', node), bench.watch('queue', node)]
  await bench.settle()
  for (const watcher of before) watcher.kill()
  await bench.empty(bench.log, bench.queue)
  const restarted = bench.node(node.known)
  const [log, queue] = [bench.watch('log', restarted), bench.watch('queue', restarted)]
  await bench.settle()
  assert.deepEqual(bench.losses(log), ['log empty 30'])
  assert.deepEqual(bench.losses(queue), ['queue empty 0'])
})

test('a loss is reported from the start of a process on, while its cluster is still away', async () => {
  const bench = new ClusterBench()
  const node = bench.node()
  const watcher = bench.watch('queue', node)
  await bench.settle()
  await bench.empty(bench.queue)
  await bench.settle()
  watcher.kill()
  bench.queue.goAway()
  assert.deepEqual(bench.losses(bench.watch('queue', bench.node(node.known))), ['queue empty 0'])
})

test('lost twice before anybody confirmed: both are reported, and one confirmation ends both on all nodes', async () => {
  const bench = new ClusterBench()
  const nodes = [bench.node(), bench.node()]
  const watchers = nodes.map((node) => bench.watch('queue', node))
  await bench.settle()
  for (let round = 0; round < 2; round++) {
    await bench.empty(bench.queue)
    await bench.settle()
  }
  for (const watcher of watchers) assert.equal(bench.losses(watcher).length, 2)
  await bench.confirm(watchers[0]!)
  await bench.settle()
  for (const watcher of watchers) assert.deepEqual(bench.losses(watcher), [])
  for (const node of nodes) assert.ok(node.known.queue!.losses.every(({ isConfirmed }) => isConfirmed))
})

test('a confirmation may be repeated, and never hides a later loss', async () => {
  const bench = new ClusterBench()
  const watcher = bench.watch('queue')
  await bench.settle()
  await bench.empty(bench.queue)
  await bench.settle()
  const losses = openLosses(watcher.backend.reports())
  await bench.confirm(watcher, losses)
  await bench.empty(bench.queue)
  await bench.confirm(watcher, losses).catch(() => {}) // Perhaps it has not reconnected.
  await bench.settle()
  await bench.confirm(watcher, losses)
  await bench.settle()
  assert.deepEqual(bench.losses(watcher), ['queue empty 0'])
  await bench.confirm(watcher)
  assert.deepEqual(bench.losses(watcher), [])
})

test('a confirmation outlives the cluster it was written into', async () => {
  const bench = new ClusterBench()
  const node = bench.node()
  const watcher = bench.watch('queue', node)
  await bench.settle()
  await bench.empty(bench.queue)
  await bench.settle()
  await bench.confirm(watcher)
  await bench.empty(bench.queue)
  await bench.settle()
  assert.equal(bench.losses(watcher).length, 1, 'the second one only')
})

test('while the cluster is away a confirmation is refused, and the loss stays reported', async () => {
  const bench = new ClusterBench()
  const watcher = bench.watch('queue')
  await bench.settle()
  await bench.empty(bench.queue)
  await bench.settle()
  bench.queue.goAway()
  await assert.rejects(bench.confirm(watcher), (error) => isMailroomError(error, 'MR_STORE_UNAVAILABLE'))
  assert.deepEqual(bench.losses(watcher), ['queue empty 0'])
  bench.queue.comeBack()
  await bench.settle()
  await bench.confirm(watcher)
  assert.deepEqual(bench.losses(watcher), [])
})

test('a node with old data is silent about a loss that was confirmed, and reports one that nobody knew', async () => {
  const bench = new ClusterBench()
  const old = bench.node()
  bench.watch('queue', old).kill()
  const lived = bench.watch('queue')
  const away = bench.watch('queue', old)
  await bench.settle()
  away.kill()
  const data = structuredClone(old.known)
  await bench.empty(bench.queue)
  await bench.settle()
  await bench.confirm(lived)
  const again = bench.watch('queue', bench.node(data))
  await bench.settle()
  assert.deepEqual(bench.losses(again), [])

  const unknown = { ...data, queue: { ...data.queue!, epoch: 'of-long-ago', count: 7 } }
  const late = bench.watch('queue', bench.node(unknown))
  await bench.settle()
  for (const watcher of [lived, again, late]) assert.deepEqual(bench.losses(watcher), ['queue empty 7'])
})

test('nodes without data: the loss of one cluster is known to the other; the loss of both to nobody', async () => {
  const bench = new ClusterBench()
  bench.fill(30)
  let watchers = [bench.watch('log'), bench.watch('queue')]
  await bench.settle()
  const restart = async (...clusters: Parameters<typeof bench.empty>) => {
    for (const watcher of watchers) watcher.kill()
    await bench.empty(...clusters)
    watchers = [bench.watch('log'), bench.watch('queue')]
    await bench.settle()
    await bench.settle()
    return watchers.flatMap((watcher) => bench.losses(watcher))
  }
  assert.deepEqual(await restart(bench.log), ['log empty 30'])
  await bench.confirm(watchers[0]!)
  assert.deepEqual(await restart(), [])
  assert.deepEqual(await restart(bench.queue), ['queue empty 0'])
  assert.deepEqual(await restart(bench.log, bench.queue), [])
})

test('another cluster on purpose: it is said that it is another one; pointed back, the former is not lost', async () => {
  const bench = new ClusterBench()
  const node = bench.node()
  const before = bench.watch('queue', node)
  await bench.settle()
  before.kill()
  const cluster = bench.another('other')
  const moved = bench.watch('queue', node, { cluster, clusterName: 'other' })
  await bench.settle()
  assert.deepEqual(bench.losses(moved), ['queue other 0'])
  moved.kill()
  const back = bench.watch('queue', node)
  await bench.settle()
  assert.deepEqual(bench.losses(back), ['queue other 0'], 'now the other one')
  await bench.confirm(back)
  assert.deepEqual(bench.losses(back), [])
})

test('a cluster of the same name that was in use before is another one, too', async () => {
  const bench = new ClusterBench()
  const older = bench.another('queue')
  bench.watch('queue', bench.node(), { cluster: older })
  const node = bench.node()
  const before = bench.watch('queue', node)
  await bench.settle()
  before.kill()
  const moved = bench.watch('queue', node, { cluster: older })
  await bench.settle()
  assert.deepEqual(bench.losses(moved), ['queue other 0'])
})
