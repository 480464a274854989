/** The figures of docs/performance.md are those of the committed reference results. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { barChart } from '../../bench/lib/chart.ts'
import { sectionOf, withSection } from '../../bench/lib/markdown.ts'
import { RESULTS, type Results } from '../../bench/lib/results.ts'

const docs = join(import.meta.dirname, '../../docs')
const page = readFileSync(join(docs, 'performance.md'), 'utf8')
const benches = [...page.matchAll(/<!-- bench: (\w+) -->/g)].map(([, bench]) => bench!)

test('the page has sections', () => {
  assert.ok(benches.includes('compare'))
})

test('every bench that a page names exists, and the page of figures names all', () => {
  const pages = ['../README.md', 'operations.md', 'performance.md', 'reliability.md'].map((path) =>
    readFileSync(join(docs, path), 'utf8'),
  )
  const named = pages.join('\n').matchAll(/npm run bench -- ([a-z]+)/g)
  for (const [, bench] of named) assert.ok(existsSync(join(docs, `../bench/${bench}.ts`)), bench)
  const scripts = readdirSync(join(docs, '../bench'))
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.slice(0, -3))
  assert.deepEqual(
    benches.toSorted(),
    scripts.filter((name) => name !== 'run' && name !== 'reference').toSorted(),
  )
})

for (const bench of benches) {
  test(`the section of ${bench} is that of its reference results`, () => {
    const file = join(RESULTS, `reference/${bench}.json`)
    if (!existsSync(file)) {
      assert.equal(withSection(page, bench, 'No reference run yet.'), page)
      return
    }
    const results = JSON.parse(readFileSync(file, 'utf8')) as Results
    assert.equal(withSection(page, bench, sectionOf(results, 'performance')), page)
    for (const chart of results.charts ?? []) {
      assert.equal(readFileSync(join(docs, `performance/${chart.name}.svg`), 'utf8'), barChart(chart))
    }
  })
}
