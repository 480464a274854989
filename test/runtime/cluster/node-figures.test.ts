import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { ActorEntry } from '../../../src/runtime/cluster/directory.ts'
import { NodeFigures, type NodeFiguresOptions } from '../../../src/runtime/cluster/node-figures.ts'
import { Figures } from '../../../src/runtime/figures.ts'
import type { MetricsFormat } from '../../../src/runtime/metrics.ts'
import { entryOf } from '../../support/actor-context.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { seriesOf } from '../../support/metrics-text.ts'

const FORWARD = 'https://user.example:8443/secret/path'

class Bench {
  readonly clock = new FakeClock()
  actors: ActorEntry[] = []
  readonly figures: NodeFigures

  constructor(options: Partial<NodeFiguresOptions> = {}) {
    this.figures = new NodeFigures({
      ...{ node: 'a', version: '1.2.3', clock: this.clock, target: FORWARD, data: '/nowhere' },
      actors: () => this.actors,
      isReady: () => true,
      ...options,
    })
  }

  async series(format: MetricsFormat = 'prometheus'): Promise<Map<string, number>> {
    return seriesOf(await this.figures.metrics(format))
  }

  async get(series: string): Promise<number | undefined> {
    return (await this.series()).get(series)
  }
}

/** A process of an actor, and what it has counted. */
function processOf(name: string, role: 'facade' | 'messages' = 'facade') {
  return { process: { name, role }, figures: new Figures(role) }
}

const ACCEPTED = 'mailroom_messages_accepted_total{source=""}'
const ACCEPT_COUNT = 'mailroom_accept_duration_seconds_count'

test('what several processes count is added, and stays when they end', async () => {
  const bench = new Bench()
  const [one, other] = [processOf('facade-1'), processOf('facade-2')]
  for (const { process, figures } of [one, other]) {
    figures.count('mailroom_messages_accepted_total', { source: '' }, 3)
    figures.observe('mailroom_accept_duration_seconds', 0.004)
    bench.figures.received(process, await figures.changes())
  }
  assert.equal(await bench.get(ACCEPTED), 6)
  assert.equal(await bench.get('mailroom_accept_duration_seconds_bucket{le="0.005"}'), 2)
  assert.equal(await bench.get('mailroom_accept_duration_seconds_bucket{le="0.0025"}'), 0)
  one.figures.count('mailroom_messages_accepted_total', { source: '' }, 2)
  bench.figures.received(one.process, await one.figures.changes())
  bench.figures.ended(one.process)
  bench.figures.ended(other.process)
  assert.equal(await bench.get(ACCEPTED), 8, 'the ends took nothing away')
  assert.equal(await bench.get(ACCEPT_COUNT), 2)
  const next = processOf('facade-1')
  next.figures.count('mailroom_messages_accepted_total', { source: '' })
  bench.figures.received(next.process, await next.figures.changes())
  assert.equal(await bench.get(ACCEPTED), 9)
  const { totals, took, target } = bench.figures.totals()
  assert.deepEqual([took, target], [{}, FORWARD], 'the process of now has taken nothing')
  next.figures.observe('mailroom_accept_duration_seconds', 0.5)
  bench.figures.received(next.process, await next.figures.changes())
  assert.deepEqual(bench.figures.totals().took, { 'facade-1': { count: 1, sumSeconds: 0.5 } })
  assert.equal(totals.accepted, 9, 'the totals are the same figures')
  assert.equal(totals.accept.count, 2)
  assert.deepEqual(
    totals.accept.buckets.find(([atMost]) => atMost === 0.005),
    [0.005, 2],
  )
})

test('a push has only what has changed, and what has not is kept', async () => {
  const bench = new Bench()
  const { process, figures } = processOf('facade-1')
  figures.count('mailroom_messages_accepted_total', { source: 'shop' }, 5)
  bench.figures.received(process, await figures.changes())
  figures.count('mailroom_key_replays_total', {}, 1)
  const changes = await figures.changes()
  assert.deepEqual(changes, [['mailroom_key_replays_total', [[{}, 1]]]])
  bench.figures.received(process, changes)
  assert.equal(await bench.get('mailroom_messages_accepted_total{source="shop"}'), 5)
  assert.deepEqual(await figures.changes(), [])
})

test('gauges of a process go with it; the age of what it pushed grows until then', async () => {
  const bench = new Bench()
  const { process, figures } = processOf('facade-1')
  const labels = { role: 'facade', actor: 'facade-1' } as const
  figures.set('process_resident_memory_bytes', [labels, 1000])
  figures.count('process_cpu_seconds_total', labels, 2)
  bench.figures.received(process, await figures.changes())
  await bench.clock.advance(2500)
  const own = '{role="facade",actor="facade-1"}'
  assert.equal(await bench.get(`mailroom_worker_snapshot_age_seconds${own}`), 2.5)
  assert.equal(await bench.get(`process_resident_memory_bytes${own}`), 1000)
  bench.figures.ended(process)
  const series = await bench.series()
  assert.equal(series.has(`mailroom_worker_snapshot_age_seconds${own}`), false)
  assert.equal(series.has(`process_resident_memory_bytes${own}`), false)
  assert.equal(series.get(`process_cpu_seconds_total${own}`), 2, 'a counter stays')
})

test('the state of the actors is what the directory says', async () => {
  const bench = new Bench()
  bench.actors = [
    entryOf('facade-1', { mailbox: { depth: 3, capacity: 10, refused: 0 } }),
    entryOf('messages-1', {
      ...{ lanes: { 0: 4, 1: 2 }, inHand: 5, dead: 7, paused: true },
      oldestAt: bench.clock.now() - 2500,
      damaged: ['home-1.db: was damaged', 'home-2.db: was damaged'],
    }),
    entryOf('messages-2', { state: 'restarting', oldestAt: null, damaged: ['home-1.db: was damaged'] }),
  ]
  const series = await bench.series()
  const of = (name: string, labels = '') => series.get(`mailroom_${name}${labels}`)
  assert.equal(of('mailbox_messages', '{role="facade",actor="facade-1"}'), 3)
  assert.equal(of('mailbox_limit_messages', '{role="facade",actor="facade-1"}'), 10)
  assert.equal(of('waiting_messages', '{actor="messages-1"}'), 6)
  assert.equal(of('in_hand_messages', '{actor="messages-1"}'), 5)
  assert.equal(of('oldest_waiting_age_seconds', '{actor="messages-1"}'), 2.5)
  assert.equal(of('oldest_waiting_age_seconds', '{actor="messages-2"}'), 0)
  assert.equal(of('dead_letters', '{actor="messages-1"}'), 7)
  assert.equal(of('actor_up', '{role="messages",actor="messages-1"}'), 1)
  assert.equal(of('actor_up', '{role="messages",actor="messages-2"}'), 0)
  assert.equal(of('paused'), 1)
  assert.equal(of('ready'), 1)
  assert.equal(of('damaged_files'), 2, 'each once')
  assert.equal(of('build_info', '{version="1.2.3"}'), 1)
  bench.actors = bench.actors.slice(0, 2)
  const fewer = await bench.series()
  assert.equal(fewer.has('mailroom_actor_up{role="messages",actor="messages-2"}'), false, 'it was removed')
})

test('restarts of an actor are counted over its removal', async () => {
  const bench = new Bench()
  const restarts = () => bench.get('mailroom_actor_restarts_total{role="messages",actor="messages-2"}')
  bench.actors = [entryOf('messages-2', { restarts: 3 })]
  assert.equal(await restarts(), 3)
  bench.actors = []
  assert.equal(await restarts(), 3, 'a sum over the actors does not go down')
  bench.actors = [entryOf('messages-2', { restarts: 0 })]
  assert.equal(await restarts(), 3)
  bench.actors = [entryOf('messages-2', { restarts: 2 })]
  assert.equal(await restarts(), 5)
})

test('an outage counts once, whichever actors meet it, and shows the origin only', async () => {
  const bench = new Bench()
  const at = { since: 0, nextProbeAt: 1000 }
  const outage = { target: 'https://user.example:8443/secret/path', why: 'refused', ...at }
  const target = '{target="https://user.example:8443"}'
  assert.equal(await bench.get(`mailroom_outage_active${target}`), 0)
  assert.equal(await bench.get(`mailroom_outage_seconds_total${target}`), 0)
  bench.actors = [entryOf('messages-1', { outage }), entryOf('messages-2', { outage })]
  bench.figures.tick()
  await bench.clock.advance(4000)
  assert.equal(await bench.get(`mailroom_outage_active${target}`), 1)
  assert.equal(await bench.get(`mailroom_outage_seconds_total${target}`), 4)
  bench.actors = [entryOf('messages-1', { outage: null }), entryOf('messages-2')]
  await bench.clock.advance(4000)
  assert.equal(await bench.get(`mailroom_outage_active${target}`), 0)
  assert.equal(await bench.get(`mailroom_outage_seconds_total${target}`), 4)
  assert.doesNotMatch(await bench.figures.metrics('prometheus'), /secret/)
})

test('OpenMetrics has the same numbers, under names with one _total, and an end', async () => {
  const bench = new Bench()
  const { process, figures } = processOf('facade-1')
  figures.count('mailroom_messages_accepted_total', { source: 'a"b\\c' }, 3)
  bench.figures.received(process, await figures.changes())
  const text = await bench.figures.metrics('openmetrics')
  assert.match(text, /^# TYPE mailroom_messages_accepted counter$/m)
  assert.match(text, /^mailroom_messages_accepted_total\{source="a\\"b\\\\c"\} 3$/m)
  assert.doesNotMatch(text, /_total_total/)
  assert.ok(text.endsWith('\n# EOF\n'))
  const names = (all: Map<string, number>) => [...all.keys()].sort()
  assert.deepEqual(names(seriesOf(text)), names(await bench.series()))
})

test('a histogram is told whole, one label set after another', async () => {
  const bench = new Bench()
  const { process, figures } = processOf('facade-1')
  for (const route of ['/a', '/b']) {
    const labels = { http_request_method: 'GET', http_route: route, http_response_status_code: '200' }
    figures.observe('http_server_request_duration_seconds', 0.1, labels)
  }
  bench.figures.received(process, await figures.changes())
  for (const format of ['openmetrics', 'prometheus'] as const) {
    const lines = (await bench.figures.metrics(format)).split('\n')
    const routes = lines.flatMap((line) => /^http_server.*http_route="(.*?)"/.exec(line)?.[1] ?? [])
    assert.ok(routes.length > 10)
    assert.deepEqual(routes, routes.toSorted(), format)
  }
})

test('the size of the data and the free room are those of the data directory', async (t: TestContext) => {
  const data = mkdtempSync(join(tmpdir(), 'mailroom-'))
  t.after(() => rmSync(data, { recursive: true }))
  writeFileSync(join(data, 'log-1.1.db'), Buffer.alloc(12_345))
  const bench = new Bench({ data })
  assert.equal(await bench.get('mailroom_data_bytes'), undefined, 'it is not known yet')
  await bench.figures.measureDisk()
  assert.equal(await bench.get('mailroom_data_bytes'), 12_345)
  assert.ok((await bench.get('mailroom_disk_free_bytes'))! > 0)
})
