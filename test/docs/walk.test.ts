import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { codesIn, headingsOf, pageOf, rowsOf } from '../support/markdown.ts'

const page = pageOf('docs/walk.md')
const steps = headingsOf(page).flatMap((heading) => rowsOf(page, heading))

test('docs/walk.md walks one POST through at most 18 files, and one delivery', () => {
  const [post, delivery] = headingsOf(page).map((heading) => rowsOf(page, heading))
  const files = new Set(post!.map(([, file]) => file))
  assert.ok(files.size >= 12 && files.size <= 18, `${files.size} files`)
  assert.ok(delivery!.length >= 5)
})

for (const [, file = '', name = ''] of steps) {
  test(`docs/walk.md: ${file} has ${name}`, () => {
    const [path] = codesIn(file)
    const [word] = codesIn(name)
    const source = readFileSync(path!, 'utf8')
    // As a function, a method, a class or a property that holds a function.
    const defined = new RegExp(`^\\s*(export )?(async )?(function |class |const )?${word}\\b *[(<={]`, 'm')
    assert.match(source, defined)
  })
}

test('docs/walk.md names only files that exist', () => {
  const paths = codesIn(page).filter((code) => /^(src|test)\/\S+\.ts$/.test(code))
  for (const path of paths) assert.ok(readFileSync(path, 'utf8').length > 0, path)
})
