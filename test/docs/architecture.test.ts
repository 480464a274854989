import assert from 'node:assert/strict'
import { globSync, statSync } from 'node:fs'
import { test } from 'node:test'
import { codesIn, pageOf, rowsOf } from '../support/markdown.ts'

test('docs/architecture.md names every room of src, and no other', () => {
  const named = rowsOf(pageOf('docs/architecture.md'), 'The rooms').flatMap(([room]) => codesIn(room!))
  const rooms = globSync('src/*').map((path) => (statSync(path).isDirectory() ? `${path}/` : path))
  assert.deepEqual(
    rooms.filter((room) => !named.includes(room)),
    [],
  )
  for (const room of named) assert.ok(statSync(room), room)
})
