import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ROUTES } from '../../src/http/routes/table.ts'
import { ERRORS } from '../../src/runtime/errors.ts'
import { apiPage } from '../../tools/api-docs.ts'
import { anchorsOf, pageOf } from '../support/markdown.ts'

const page = pageOf('docs/api.md')
/** The formatter pads the cells of tables. */
const unpadded = (text: string) => text.replaceAll(/ {2,}/g, ' ').replaceAll(/-{3,}/g, '---')

test('docs/api.md is what the document of the API says (npm run api)', () => {
  assert.equal(unpadded(page), unpadded(apiPage()))
})

test('docs/api.md has every route, and errors.md every code that it names', () => {
  const headings = [...page.matchAll(/^### ([A-Z]+ \/.*)$/gm)].map(([, call]) => call!)
  const calls = Object.values(ROUTES).map(({ method, path }) => `${method} ${path}`)
  assert.deepEqual(headings.toSorted(), calls.toSorted())
  const codes = new Set([...page.matchAll(/`(MR_\w+)`/g)].map(([, code]) => code!))
  assert.ok(codes.size > 20)
  for (const code of codes) assert.ok(Object.hasOwn(ERRORS, code), code)
  assert.ok(anchorsOf(page).length > calls.length)
})
