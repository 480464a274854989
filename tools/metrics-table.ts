/** Writes the table of `docs/metrics.md` anew: `npm run metrics`. */
import { readFileSync, writeFileSync } from 'node:fs'
import { METRICS, type Metric } from '../src/runtime/metrics.ts'

const PAGE = 'docs/metrics.md'

/** One row a metric: name, kind, labels, meaning. */
export function metricRows(): string[][] {
  return Object.entries<Metric>(METRICS).map(([name, { kind, labels, help, buckets }]) => {
    const bounds = buckets === undefined ? '' : ` Buckets: ${buckets.join(', ')}.`
    return [`\`${name}\``, kind, labels.map((label) => `\`${label}\``).join(', '), help + bounds]
  })
}

if (import.meta.main) {
  const lines = readFileSync(PAGE, 'utf8').split('\n')
  const from = lines.findIndex((line) => line.startsWith('|'))
  const count = lines.slice(from).findIndex((line) => !line.startsWith('|'))
  const rows = [['metric', 'kind', 'labels', 'meaning'], ...metricRows()]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  rows.splice(
    1,
    0,
    widths.map((width) => '-'.repeat(width)),
  )
  const padded = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)))
  lines.splice(from, count, ...padded.map((row) => `| ${row.join(' | ')} |`))
  writeFileSync(PAGE, lines.join('\n'))
}
