import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { pageOf } from '../support/markdown.ts'

const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> }

test('npm test runs every test file in one group, and in no other', () => {
  const [check, ...groups] = scripts['test']!.split(' && ').map((part) => part.replace('npm run ', ''))
  assert.equal(check, 'check')
  const run = groups.flatMap((group) => {
    const globs = [...scripts[group]!.matchAll(/"([^"]+)"/g)].map(([, glob]) => glob!)
    assert.match(scripts[group]!, / exec node --test --test-timeout=\d+ --test-concurrency=\d+ "/)
    return globs.flatMap((glob) => globSync(glob))
  })
  const files = globSync('test/**/*.test.ts')
  assert.ok(files.length > 100)
  assert.deepEqual(run.toSorted(), files.toSorted())
})

test('CONTRIBUTING.md names the groups of npm test', () => {
  const groups = [...scripts['test']!.matchAll(/npm run (test:\w+)/g)].map(([, name]) => name!)
  const named = [...pageOf('CONTRIBUTING.md').matchAll(/`(test:\w+)`/g)].map(([, name]) => name!)
  assert.deepEqual(named, groups)
})
