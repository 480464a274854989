/** What the nemesis prints: a row a fault. */
import type { Verdict } from '../support/checker.ts'
import { percentile } from '../support/open-loop.ts'

/** What became of one kind of fault, over all its strikes. */
export interface Row {
  injected: number
  attempted: number
  acknowledged: number
  failed: number
  /** Ids the checker found wrong among what was posted around its strikes. */
  wrong: Record<keyof Verdict, number>
  recoveryMs: number[]
}

const COLUMNS = ['lost', 'duplicated', 'unexpected', 'torn', 'stale', 'stuck'] as const

/** A row of nothing yet. */
export function emptyRow(): Row {
  const wrong = { lost: 0, duplicated: 0, unexpected: 0, torn: 0, stale: 0, stuck: 0, late: 0 }
  return { injected: 0, attempted: 0, acknowledged: 0, failed: 0, wrong, recoveryMs: [] }
}

/** The rows as lines of text, aligned, with their names first. */
export function tableOf(rows: ReadonlyMap<string, Row>): string {
  const head = ['fault', 'injected', 'acknowledged', 'failed', ...COLUMNS, 'recovery p50', 'p99']
  const lines = [...rows].map(([name, { injected, acknowledged, failed, wrong, recoveryMs }]) => {
    const sorted = recoveryMs.toSorted((a, b) => a - b)
    const times = [0.5, 0.99].map((share) => `${Math.round(percentile(sorted, share))} ms`)
    return [name, injected, acknowledged, failed, ...COLUMNS.map((column) => wrong[column]), ...times]
  })
  const cells = [head, ...lines].map((line) => line.map(String))
  const widths = head.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)))
  return cells
    .map((line) =>
      line
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
        .join('  '),
    )
    .join('\n')
}
