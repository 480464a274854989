/** The figures of the real program: they add up, whoever is killed, and nobody waits for one who is frozen. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { METRICS, type Metric, type MetricName } from '../../src/runtime/metrics.ts'
import { seriesOf, sumOf } from '../support/metrics-text.ts'
import { readOpenMetrics, withoutOpenMetrics } from '../support/openmetrics.ts'
import { promtool, withoutPromtool } from '../support/promtool.ts'
import { System } from '../support/system.ts'

const HANDLER = new URL('../support/handler.ts', import.meta.url).pathname
const OPENMETRICS = 'application/openmetrics-text; version=1.0.0'
/** Far below the second for which a frozen worker is awaited by nobody, and far above what a scrape takes. */
const SCRAPE_MAX_MS = 1000

async function scrape(system: System, accept = 'text/plain'): Promise<string> {
  const response = await fetch(`${system.url}/metrics`, { headers: { accept } })
  assert.equal(response.status, 200)
  return response.text()
}

async function post(system: System, text: string, headers: Record<string, string> = {}): Promise<number> {
  const response = await fetch(`${system.url}/messages`, {
    ...{ method: 'POST', body: text, headers: { 'content-type': 'text/plain', ...headers } },
  })
  await response.arrayBuffer()
  return response.status
}

/** Counters and what histograms count: everything that may not go down. */
const CUMULATIVE = Object.entries(METRICS).flatMap(([name, { kind }]) => {
  if (kind === 'gauge') return []
  return kind === 'counter' ? [name] : [`${name}_count`, `${name}_sum`]
})

/** Scrapes until it is ended, and tells what went down. */
class Watch {
  readonly fallen: string[] = []
  readonly #system: System
  readonly #known = new Map<string, number>()
  #isEnded = false
  readonly #done: Promise<void>

  constructor(context: TestContext, system: System) {
    this.#system = system
    this.#done = this.#run()
    context.after(() => {
      this.#isEnded = true
    })
  }

  /** @returns What went down. */
  async end(): Promise<string[]> {
    this.#isEnded = true
    await this.#done
    return this.fallen
  }

  async #run(): Promise<void> {
    while (!this.#isEnded) {
      const text = await scrape(this.#system).catch(() => undefined)
      if (text === undefined) continue // The facade that was asked is gone.
      for (const name of CUMULATIVE) {
        const now = sumOf(text, name)
        const before = this.#known.get(name) ?? 0
        if (now < before - 1e-6) this.fallen.push(`${name}: ${before} -> ${now}`)
        this.#known.set(name, now)
      }
    }
  }
}

test('counters add up to what was posted, and never go down, whoever is killed', async (context) => {
  const system = await System.start(context, ['--facade', '2', '--logging', '2', '--messages', '2'])
  const watch = new Watch(context, system)
  let posted = 0
  const postSome = async () => {
    for (let each = 0; each < 50; each++) {
      assert.equal(await post(system, `message ${posted}`), 201)
      posted++
    }
  }
  const addsUp = () =>
    system.until('the counters have all', async () => {
      const text = await scrape(system)
      return [
        'mailroom_messages_accepted_total',
        'mailroom_accept_duration_seconds_count',
        'mailroom_delivered_total',
        'mailroom_delivery_latency_seconds_count',
        'mailroom_log_batch_messages_sum',
      ].every((name) => sumOf(text, name) === posted)
    })
  await postSome()
  await addsUp()
  for (const name of ['logging-1', 'messages-1', 'facade-1']) {
    const { pid, restarts } = await system.actor(name)
    process.kill(pid, 'SIGKILL')
    await system.until(`${name} is back`, async () => {
      const actor = await system.actor(name).catch(() => undefined)
      return actor?.state === 'ready' && actor.restarts > restarts
    })
    await postSome()
    await addsUp()
  }
  await system.send('PUT', '/actors/facade', { count: 1 })
  await addsUp()
  // The facade that was asked may have been the one to go: it answers before it drains.
  await system.until('as GET /actors says, the facade that was removed is gone', async () => {
    const up = [...seriesOf(await scrape(system))].flatMap(([series, value]) =>
      series.startsWith('mailroom_actor_up') && value === 1 ? /actor="([^"]+)"/.exec(series)![1] : [],
    )
    const names = (await system.actors()).map(({ name }) => name)
    return names.length === 5 && names.join() === up.join()
  })
  await addsUp()
  assert.ok(sumOf(await scrape(system), 'mailroom_actor_restarts_total') >= 3)
  assert.deepEqual(await watch.end(), [])
})

test('a frozen worker does not slow a scrape, and its figures are seen to be old', async (context) => {
  const system = await System.start(context, ['--logging', '2', '--messages', '1'])
  const { pid } = await system.actor('logging-2')
  const age = async () => {
    const began = performance.now()
    const text = await scrape(system)
    assert.ok(performance.now() - began < SCRAPE_MAX_MS)
    return seriesOf(text).get('mailroom_worker_snapshot_age_seconds{role="logging",actor="logging-2"}')
  }
  await system.until('it has told its figures', async () => (await age()) !== undefined)
  process.kill(pid, 'SIGSTOP')
  let oldest = 0
  await system.until('its figures are old', async () => {
    oldest = Math.max(oldest, (await age()) ?? 0)
    return oldest > 1.5
  })
  await system.until('it was replaced, and tells its figures', async () => ((await age()) ?? 9) < 1.5)
})

test('promtool and the parser of OpenMetrics find nothing wrong; every metric is there, with no more labels than the table has', {
  skip: withoutPromtool || withoutOpenMetrics,
}, async (context) => {
  const sources = mkdtempSync(join(tmpdir(), 'mailroom-'))
  context.after(() => rmSync(sources, { recursive: true }))
  writeFileSync(join(sources, 'sources.json'), JSON.stringify({ shop: { verify: 'none' } }))
  const system = await System.start(context, [
    '--handler',
    HANDLER,
    '--sources',
    join(sources, 'sources.json'),
  ])
  assert.equal(await post(system, 'once', { 'idempotency-key': 'a' }), 201)
  assert.equal(await post(system, 'once', { 'idempotency-key': 'a' }), 201)
  assert.equal(await post(system, ''), 400)
  const inbox = await fetch(`${system.url}/in/shop`, { method: 'POST', body: 'hello' })
  assert.ok(inbox.ok)
  await system.until('all is delivered and told', async () => {
    const text = await scrape(system)
    return sumOf(text, 'mailroom_attempts_total') >= 2 && sumOf(text, 'mailroom_data_bytes') > 0
  })
  const text = await scrape(system)
  assert.equal(promtool(['check', 'metrics'], text), '')
  const series = seriesOf(text)
  assert.equal(series.get('mailroom_messages_accepted_total{source=""}'), 1)
  assert.equal(series.get('mailroom_messages_accepted_total{source="shop"}'), 1)
  assert.equal(series.get('mailroom_key_replays_total'), 1)
  assert.equal(series.get('mailroom_refused_total{code="MR_MESSAGE_INVALID"}'), 1)
  assert.equal(series.get('mailroom_attempts_total{outcome="delivered"}'), 2)
  assert.equal(series.get('mailroom_handler_duration_seconds_count'), 2)

  const found = new Map<string, Set<string>>()
  for (const one of series.keys()) {
    const [, name = '', labels = ''] = /^([a-z_\d]+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})?$/.exec(one) ?? []
    const known = found.get(name) ?? new Set()
    for (const [, label] of labels.matchAll(/(\w+)="/g)) if (label !== 'le') known.add(label!)
    found.set(name, known)
  }
  assert.deepEqual([...found.keys()].sort(), Object.keys(METRICS).sort())
  for (const [name, labels] of found) {
    assert.deepEqual([...labels].sort(), [...METRICS[name as MetricName].labels].sort(), name)
  }

  const open = await scrape(system, OPENMETRICS)
  const stamped = open.replaceAll(/^([^#].*)$/gm, '$1 1700000000')
  const file = join(sources, 'metrics.txt')
  writeFileSync(file, stamped)
  const read = ['tsdb', 'create-blocks-from', 'openmetrics', file, join(sources, 'blocks')]
  assert.equal(promtool(read), '', 'read as OpenMetrics')
  assert.deepEqual([...seriesOf(open).keys()].sort(), [...series.keys()].sort())
  const families = Object.entries<Metric>(METRICS).map(([name, { kind }]) => [
    kind === 'counter' ? name.replace(/_total$/, '') : name,
    kind,
  ])
  assert.deepEqual(readOpenMetrics(open), Object.fromEntries(families))
  const untold = open.replace('# EOF\n', '')
  assert.throws(() => readOpenMetrics(untold), /EOF/)
})
