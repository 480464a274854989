/** What a bench found: printed, and written to bench/results/<name>.json with the machine that it ran on. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { table } from './figures.ts'
import { type Machine, shownMachine, thisMachine } from './machine.ts'

/** Results of the last run of each bench; in `reference/` those that docs/performance.md shows. */
export const RESULTS = join(import.meta.dirname, '../results')

/** Cells for people: the first row is the head. */
interface Table {
  caption: string
  rows: string[][]
}

/** One bar a system, all in one unit. */
export interface Chart {
  /** The name of its file, without `.svg`. */
  name: string
  /** What is measured, with its unit. */
  title: string
  bars: { label: string; value: number }[]
}

/** What every bench writes, beside figures of its own. */
export interface Results {
  bench: string
  /** When the run ended, ISO 8601. */
  at: string
  machine: Machine
  tables: Table[]
  charts?: Chart[]
}

/** Prints the tables and writes everything down. `found`: tables, charts, and the figures they were made from. */
export function save(
  bench: string,
  found: Pick<Results, 'tables' | 'charts'> & Record<string, unknown>,
): void {
  mkdirSync(RESULTS, { recursive: true })
  const file = join(RESULTS, `${bench}.json`)
  const machine = thisMachine()
  const results: Results = { bench, at: new Date().toISOString(), machine, ...found }
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`)
  for (const { caption, rows } of found.tables) console.log(`\n${caption}\n\n${table(rows)}`)
  console.log(`\n${shownMachine(machine)}\nwritten to ${file}`)
}
