/**
 * Makes the last results of these benches the reference: copies them to bench/results/reference, and writes their
 * tables and charts into docs/performance.md.
 *
 *   npm run bench -- reference              all benches that have a section on the page and results
 *   npm run bench -- reference compare      one
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { barChart } from './lib/chart.ts'
import { sectionOf, withSection } from './lib/markdown.ts'
import { RESULTS, type Results } from './lib/results.ts'

const REFERENCE = join(RESULTS, 'reference')
const DOCS = join(import.meta.dirname, '../docs')
const PICTURES = 'performance'
const PAGE = join(DOCS, 'performance.md')
const BIOME = join(import.meta.dirname, '../node_modules/.bin/biome')

mkdirSync(REFERENCE, { recursive: true })
mkdirSync(join(DOCS, PICTURES), { recursive: true })
let page = readFileSync(PAGE, 'utf8')
const onPage = [...page.matchAll(/<!-- bench: (\w+) -->/g)].map(([, bench]) => bench!)
const asked = process.argv.slice(2)
for (const bench of asked.length > 0 ? asked : onPage) {
  const file = join(RESULTS, `${bench}.json`)
  if (!existsSync(file)) {
    console.log(`${bench}: no results`)
    continue
  }
  const results = JSON.parse(readFileSync(file, 'utf8')) as Results
  copyFileSync(file, join(REFERENCE, `${bench}.json`))
  for (const chart of results.charts ?? [])
    writeFileSync(join(DOCS, PICTURES, `${chart.name}.svg`), barChart(chart))
  page = withSection(page, bench, sectionOf(results, PICTURES))
  console.log(`${bench}: of ${results.at}`)
}
writeFileSync(PAGE, page)
spawnSync(BIOME, ['format', '--write', REFERENCE], { stdio: 'inherit' })
