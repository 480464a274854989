import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLIENT_SETTINGS, SETTINGS } from '../../src/settings/config.ts'
import { type Setting, variableOf } from '../../src/settings/settings-reader.ts'
import { headingsOf, pageOf, rowsOf } from '../support/markdown.ts'

/** The row of a setting: flag, variable, default, what it takes, meaning. */
function rowOf([flag, { shape, fallback, takes, help }]: [string, Setting]): string[] {
  const typed = shape === undefined ? `--${flag}` : `--${flag} ${shape}`
  const initial = fallback === undefined ? 'none' : `\`${fallback}\``
  return [`\`${typed}\``, `\`${variableOf(flag)}\``, initial, takes, help]
}

const page = pageOf('docs/config.md')
/** Heading -> the settings under it. */
const groups = new Map<string, [string, Setting][]>()
for (const entry of Object.entries(SETTINGS)) {
  const { group = 'Client commands' } = entry[1]
  groups.set(group, [...(groups.get(group) ?? []), entry])
}
groups.set('Client commands', Object.entries(CLIENT_SETTINGS))

for (const [group, settings] of groups) {
  test(`docs/config.md has every setting under "${group}" as the table of settings does`, () => {
    assert.deepEqual(rowsOf(page, group), settings.map(rowOf))
  })
}

test('docs/config.md has the groups of the table of settings, in their order', () => {
  assert.deepEqual(
    headingsOf(page).filter((heading) => rowsOf(page, heading).some(([flag]) => flag?.startsWith('`--'))),
    [...groups.keys()],
  )
})
