/** Pure figures: percentiles, medians with their spread, and tables for a terminal. */

/** The smallest of values sorted upwards that `share` (0 to 1) of them do not exceed; NaN when there are none. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

/** The middle value, or the lower one of the two in the middle; NaN when there are none. */
export function median(values: readonly number[]): number {
  return percentile(
    values.toSorted((a, b) => a - b),
    0.5,
  )
}

/** What several rounds measured, in the unit of the values. */
export interface Spread {
  median: number
  least: number
  most: number
}

/** Median, least and most of the rounds. */
export function spread(values: readonly number[]): Spread {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) }
}

/** A number for people: thousands separated, `digits` after the point; `-` for what was not measured. */
export function shown(value: number, digits = 0): string {
  if (!Number.isFinite(value)) return '-'
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** The median, and in brackets least and most. */
export function shownSpread({ median, least, most }: Spread, digits = 0): string {
  return `${shown(median, digits)} (${shown(least, digits)} to ${shown(most, digits)})`
}

/** True: the cells of this column under its head are figures, which are aligned right. Texts are aligned left. */
export function holdsFigures(rows: readonly (readonly string[])[], column: number): boolean {
  return column > 0 && rows.slice(1).every((row) => /^[\d-]/.test(row[column]!))
}

/** Lines of a table: the first row is its head; figures are aligned right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        holdsFigures(rows, column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd()
  const [head = [], ...body] = rows
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...body.map(line)].join('\n')
}
