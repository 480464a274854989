import assert from 'node:assert/strict'
import { existsSync, globSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { anchorsOf, linksOf, pageOf, rowsOf } from '../support/markdown.ts'

const pages = globSync(['*.md', 'docs/**/*.md', 'examples/**/*.md', 'src/**/*.md', 'test/**/*.md'])

test('the pages of the docs are found', () => {
  for (const page of ['README.md', 'CONTRIBUTING.md', 'docs/architecture.md']) assert.ok(pages.includes(page))
})

for (const page of pages) {
  test(`every link in ${page} leads to a file that exists, and to a heading in it`, () => {
    const broken = linksOf(pageOf(page)).filter((target) => {
      if (/^[a-z]+:/.test(target)) return false
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : normalize(join(dirname(page), path))
      if (!existsSync(file)) return true
      return anchor !== undefined && !anchorsOf(pageOf(file)).includes(anchor)
    })
    assert.deepEqual(broken, [])
  })
}

test('docs/decisions/README.md has every decision, with its number, title and status', () => {
  const expected = globSync('docs/decisions/0*.md')
    .sort()
    .map((path) => {
      const [, number, title] = /^# (\d{4}) (.+)$/m.exec(pageOf(path)) ?? assert.fail(`${path} has no title`)
      const status = /^Status: (.+)$/m.exec(pageOf(path))?.[1] ?? assert.fail(`${path} has no status`)
      return [`[${number}](${path.slice('docs/decisions/'.length)})`, title, status]
    })
  assert.deepEqual(rowsOf(pageOf('docs/decisions/README.md')), expected)
})
