import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLIENT_SETTINGS } from '../../src/settings/client-settings.ts'
import { SETTINGS } from '../../src/settings/config.ts'
import { Expected } from '../../src/settings/setting-values.ts'
import { type Setting, variableOf } from '../../src/settings/settings-reader.ts'
import { headingsOf, pageOf, rowsOf } from '../support/markdown.ts'

type Any = Setting<unknown>

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
/** Heading -> the settings under it. */
const groups = new Map<string, [string, Any][]>()
for (const entry of Object.entries<Any>(SETTINGS)) {
  const { group } = entry[1]
  groups.set(group, [...(groups.get(group) ?? []), entry])
}
groups.set('Client commands', Object.entries<Any>(CLIENT_SETTINGS))

for (const [group, settings] of groups) {
  test(`docs/config.md tells every setting under "${group}" as the table of settings does`, () => {
    assert.deepEqual(rowsOf(page, group), settings.map(rowOf))
  })
}

test('docs/config.md has the groups of the table of settings, in their order', () => {
  assert.deepEqual(
    headingsOf(page).filter((heading) => rowsOf(page, heading).some(([flag]) => flag?.startsWith('`--'))),
    [...groups.keys()],
  )
})
