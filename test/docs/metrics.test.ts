import assert from 'node:assert/strict'
import { test } from 'node:test'
import { metricRows } from '../../tools/metrics-table.ts'
import { pageOf, rowsOf } from '../support/markdown.ts'

test('docs/metrics.md has all metrics: run `npm run metrics`', () => {
  assert.deepEqual(rowsOf(pageOf('docs/metrics.md'), 'All of them'), metricRows())
})
