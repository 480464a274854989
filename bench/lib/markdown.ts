/** Results as Markdown, put between marks of a page. */
import { holdsFigures } from './figures.ts'
import { shownMachine } from './machine.ts'
import type { Results } from './results.ts'

/** A table of Markdown: the first row is the head; figures are aligned right. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(3, ...rows.map((row) => row[column]!.length)))
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => (holdsFigures(rows, column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!))).join(' | ')} |`
  const marks = widths.map((width, column) =>
    holdsFigures(rows, column) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  )
  const [head = [], ...body] = rows
  return [line(head), line(marks), ...body.map(line)].join('\n')
}

/** The section of one bench: its charts, its tables, and where they were measured. `pictures`: path of the charts. */
export function sectionOf({ at, machine, tables, charts = [] }: Results, pictures: string): string {
  return [
    ...charts.map(({ name, title }) => `![${title}](${pictures}/${name}.svg)`),
    ...tables.flatMap(({ caption, rows }) => [caption, markdownTable(rows)]),
    `Measured on ${at.slice(0, 10)}: ${shownMachine(machine)}.`,
  ].join('\n\n')
}

/** The page with `section` between `<!-- bench: NAME -->` and `<!-- end -->`. @throws {Error} Without such marks. */
export function withSection(page: string, bench: string, section: string): string {
  const [begin, end] = [`<!-- bench: ${bench} -->`, '<!-- end -->']
  const from = page.indexOf(begin)
  const to = page.indexOf(end, from)
  if (from === -1 || to === -1) throw new Error(`The page has no ${begin} followed by ${end}`)
  return `${page.slice(0, from)}${begin}\n\n${section}\n\n${page.slice(to)}`
}
