/** deploy/monitoring: its names are metrics that exist, its alerts are tested, and lead to what to do. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { METRICS, type Metric } from '../../src/runtime/metrics.ts'
import { anchorsOf, pageOf } from '../support/markdown.ts'
import { promtool, withoutPromtool } from '../support/promtool.ts'

const RULES = pageOf('deploy/monitoring/rules.yml')
const BOARD = pageOf('deploy/monitoring/dashboard.json')

/** Series that a scrape shows. */
const SERIES = new Set(
  Object.entries<Metric>(METRICS).flatMap(([name, { kind }]) =>
    kind === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  ),
)

/** Names of metrics in expressions. */
function namesIn(text: string): string[] {
  return [...text.matchAll(/\b(?:mailroom|http_server|process|nodejs)_[a-z_\d]+/g)].map(([name]) => name)
}

const expressionsOfRules = [...RULES.matchAll(/expr: ([\s\S]*?)\n +(?:for|labels):/g)].map(
  ([, text]) => text!,
)
const expressionsOfBoard = (
  JSON.parse(BOARD) as { panels: { targets?: { expr: string }[] }[] }
).panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

test('every metric of the board and the rules exists', () => {
  for (const expressions of [expressionsOfRules, expressionsOfBoard]) {
    assert.ok(expressions.length >= 10)
    for (const expression of expressions) {
      const names = namesIn(expression)
      assert.ok(names.length > 0, expression)
      for (const name of names) assert.ok(SERIES.has(name), `${name} in ${expression}`)
    }
  }
})

test('the board shows every metric but when a process began', () => {
  const shown = new Set(
    expressionsOfBoard.flatMap(namesIn).map((name) => name.replace(/_(bucket|sum|count)$/, '')),
  )
  const missing = Object.keys(METRICS).filter((name) => !shown.has(name))
  assert.deepEqual(missing, ['process_start_time_seconds'])
})

test('every alert leads to its own section of docs/operations.md, and has a unit test', () => {
  const alerts = [...RULES.matchAll(/alert: (\w+)/g)].map(([, name]) => name!)
  const runbooks = [...RULES.matchAll(/runbook: docs\/operations\.md#(\S+)/g)].map(([, anchor]) => anchor!)
  assert.deepEqual(
    runbooks,
    alerts.map((name) => name.toLowerCase()),
  )
  const anchors = anchorsOf(pageOf('docs/operations.md'))
  for (const anchor of runbooks) assert.ok(anchors.includes(anchor), anchor)
  const tested = pageOf('deploy/monitoring/rules.test.yml')
  for (const alert of alerts) assert.match(tested, new RegExp(`alertname: ${alert}\\b`))
})

test('promtool accepts the files, and the alerts pass their unit tests', { skip: withoutPromtool }, () => {
  assert.equal(promtool(['test', 'rules', 'deploy/monitoring/rules.test.yml']), '')
  assert.equal(promtool(['check', 'config', 'deploy/monitoring/prometheus.yml']), '')
  // The file with the secret is in the container only.
  assert.equal(promtool(['check', 'config', '--syntax-only', 'deploy/monitoring/prometheus.compose.yml']), '')
})

test('the images of the profile have fixed tags', () => {
  const images = [...pageOf('compose.yaml').matchAll(/^ {4}image: ((?:prom|grafana)\/.*)$/gm)].map(
    ([, image]) => image!,
  )
  assert.equal(images.length, 2)
  for (const image of images) assert.match(image, /^[a-z]+\/[a-z]+:v?\d+\.\d+\.\d+$/)
})
