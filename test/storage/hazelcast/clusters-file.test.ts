/** What a node knows of the clusters, in its data directory. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Logger } from '../../../src/runtime/logger.ts'
import type { KnownCluster, Loss } from '../../../src/runtime/losses.ts'
import { KNOWN_PERIOD_MS } from '../../../src/runtime/timings.ts'
import { ClustersFile } from '../../../src/storage/hazelcast/clusters-file.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const LOSS: Loss = {
  ...{ store: 'queue', epoch: 'a', kind: 'empty', lastSeenAt: 1, noticedAt: 2, count: 3, isConfirmed: false },
}
const QUEUE: KnownCluster = {
  ...{ store: 'queue', epoch: 'b', name: 'queue', firstSeenAt: 1, lastSeenAt: 2, countedAt: 2 },
  ...{ count: 5, perEntry: 1.5, losses: [LOSS] },
}

/** A data directory, and the files of nodes on it. */
function open(context: TestContext) {
  const root = mkdtempSync(join(tmpdir(), 'mailroom-'))
  context.after(() => rmSync(root, { recursive: true, force: true }))
  const data = join(root, 'data')
  const clock = new FakeClock()
  const lines: string[] = []
  const logger = { error: (_: object, line: string) => lines.push(line) } as unknown as Logger
  const file = (node = 'a') => new ClustersFile({ data, node, clock, logger })
  return { root, data, path: join(data, 'clusters.json'), clock, lines, file }
}

test('a new cluster or loss is stored at once, another count within 10 s, and the rest when the node ends', async (context) => {
  const { data, clock, lines, file } = open(context)
  const one = file()
  assert.deepEqual(one.read(), {})
  const stored = async (known: KnownCluster) => {
    await one.store({ queue: known })
    return file().read().queue?.count
  }
  assert.equal(await stored(QUEUE), 5)
  assert.equal(await stored({ ...QUEUE, count: 6 }), 5)
  await clock.advance(KNOWN_PERIOD_MS)
  assert.equal(await stored({ ...QUEUE, count: 7 }), 6)
  assert.equal(await stored({ ...QUEUE, count: 8, losses: [] }), 8)
  assert.equal(await stored({ ...QUEUE, count: 9, losses: [] }), 8)
  await one.close()
  assert.equal(file().read().queue!.count, 9)
  assert.deepEqual([readdirSync(data), lines], [['clusters.json'], []])
})

test('nodes may share a data directory: the last write wins, and each is whole', async (context) => {
  const { data, file } = open(context)
  const files = ['a', 'b'].map(file)
  for (let count = 0; count < 20; count++) {
    for (const each of files) void each.store({ queue: { ...QUEUE, epoch: String(count), count } })
  }
  await Promise.all(files.map((each) => each.close()))
  assert.equal(file().read().queue!.count, 19)
  assert.deepEqual(readdirSync(data), ['clusters.json'])
})

test('a damaged file is kept aside and logged; the node starts without it', (context) => {
  const { data, path, lines, file } = open(context)
  mkdirSync(data)
  const bad = (change: object) => JSON.stringify({ queue: { ...QUEUE, ...change } })
  for (const text of [
    ...['', '{', 'null', '[]', '7', '{"queue":null}', '{"other":{}}', JSON.stringify({ log: QUEUE })],
    ...[bad({ epoch: 1 }), bad({ count: null }), bad({ losses: {} }), bad({ losses: [null] })],
    bad({ losses: [{ ...LOSS, kind: 'stolen' }] }),
  ]) {
    writeFileSync(path, text)
    assert.deepEqual(file().read(), {}, text)
    assert.equal(readFileSync(`${path}.damaged`, 'utf8'), text)
    assert.equal(existsSync(path), false)
    assert.match(lines.pop()!, /^clusters.json cannot be read: .* may go unnoticed$/)
  }
})

test('a data directory that cannot be written is logged once for each reason, and written when it can be', async (context) => {
  const { data, clock, lines, file } = open(context)
  writeFileSync(data, 'a file in its place')
  const one = file()
  for (let count = 0; count < 3; count++) {
    await one.store({ queue: { ...QUEUE, epoch: String(count) } })
  }
  assert.equal(lines.length, 1)
  assert.match(one.warnings().join(), /^clusters.json cannot be written \(.*\): .* may go unnoticed$/)
  assert.match(lines[0]!, /^clusters.json cannot be written: .* may go unnoticed$/)
  rmSync(data)
  await clock.advance(KNOWN_PERIOD_MS)
  await one.close()
  assert.deepEqual([one.warnings(), file().read().queue!.epoch], [[], '2'])
})
