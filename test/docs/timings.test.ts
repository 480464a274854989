import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as timings from '../../src/runtime/timings.ts'
import * as limits from '../../src/storage/limits.ts'
import { pageOf, rowsOf } from '../support/markdown.ts'

const UNITS = [
  ...[{ suffix: '_MS', names: { h: 3_600_000, min: 60_000, s: 1000, ms: 1 } }],
  ...[{ suffix: '_BYTES', names: { MiB: 1024 * 1024, KiB: 1024, bytes: 1 } }],
]

/** A value as people write it: 3 s, 64 KiB, or the bare number of a count. */
function shown(name: string, value: unknown): string {
  if (typeof value === 'object') {
    return Object.entries(value!)
      .map(([key, part]) => `${key} ${shown(name, part)}`)
      .join(', ')
  }
  const unit = UNITS.find(({ suffix }) => name.endsWith(suffix))
  if (unit === undefined) return String(value)
  const [word, size] = Object.entries(unit.names).find(([, of]) => Number(value) % of === 0)!
  return `${Number(value) / size} ${word}`
}

/** The rows of a table of constants: name, value, what it is derived from, meaning. */
function rowsOfSource(path: string, values: Record<string, unknown>): string[][] {
  const source = readFileSync(path, 'utf8')
  const rows = [...source.matchAll(/\/\*\* ((?:(?!\*\/).)*) \*\/\nexport const (\w+) = (.+)\n/g)].map(
    ([, meaning, name, expression]) => {
      const isDerived = /\b(?!SECOND_MS|MINUTE_MS|DAY_MS)[A-Z]+_[A-Z_]+\b/.test(expression!)
      return [`\`${name}\``, shown(name!, values[name!]), isDerived ? `\`${expression}\`` : '', meaning!]
    },
  )
  const exported = [...source.matchAll(/^export const (\w+)/gm)].map(([, name]) => `\`${name}\``)
  const missing = exported.filter((name) => !rows.some(([first]) => first === name))
  assert.deepEqual(
    missing,
    path.endsWith('timings.ts') ? ['`MINUTE_MS`', '`DAY_MS`'] : [],
    'has no docstring',
  )
  return rows
}

const page = pageOf('docs/timings.md')

for (const [heading, path, values] of [
  ['Timings', 'src/runtime/timings.ts', timings],
  ['Sizes and counts', 'src/storage/limits.ts', limits],
] as const) {
  test(`docs/timings.md has the values, derivations and meanings of ${path}`, () => {
    const rows = rowsOfSource(path, values)
    const table = rows.map((row) => `| ${row.join(' | ')} |`).join('\n')
    assert.deepEqual(rowsOf(page, heading), rows, `Expected under "${heading}":\n${table}`)
  })
}
