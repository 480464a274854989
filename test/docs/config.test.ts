import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SETTINGS, variableOf } from '../../src/runtime/config.ts'
import { Expected } from '../../src/runtime/setting-values.ts'
import { headingsOf, pageOf, rowsOf } from '../support/markdown.ts'

type Any = (typeof SETTINGS)[keyof typeof SETTINGS]

/** What a setting takes, in the words of its own refusal. */
function wordsOf({ parse }: Any): string {
  try {
    parse('', '/')
  } catch (error) {
    if (error instanceof Expected) return error.message
    throw error
  }
  return assert.fail('an empty value was taken')
}

/** The row of a setting: flag, variable, default, what it takes, meaning. */
function rowOf([flag, setting]: [string, Any]): string[] {
  const { shape, fallback, help } = setting
  const typed = shape === '' ? `--${flag}` : `--${flag} ${shape}`
  const initial = fallback === null ? 'none' : `\`${fallback}\``
  return [`\`${typed}\``, `\`${variableOf(flag)}\``, initial, wordsOf(setting), help]
}

const page = pageOf('docs/config.md')
const settings = Object.entries(SETTINGS) as [string, Any][]
const groups = [...new Set(settings.map(([, { group }]) => group))]

for (const group of groups) {
  test(`docs/config.md tells every setting under "${group}" as the table of settings does`, () => {
    const expected = settings.filter(([, setting]) => setting.group === group).map(rowOf)
    assert.deepEqual(rowsOf(page, group), expected)
  })
}

test('docs/config.md has the groups of the table of settings, in their order', () => {
  assert.deepEqual(
    headingsOf(page).filter((heading) => rowsOf(page, heading).some(([flag]) => flag?.startsWith('`--'))),
    groups,
  )
})
