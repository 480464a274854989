/** docs/inbox.md says of the file of sources what its schema takes, and its examples are such files. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SCHEMES } from '../../src/inbox/source.ts'
import { fieldsOf, schemaOf } from '../../src/inbox/sources-schema.ts'
import { codesIn, fencesOf, pageOf, rowsOf } from '../support/markdown.ts'
import { sourceOf, sourcesOf } from '../support/sources.ts'

const page = pageOf('docs/inbox.md')
const fields = fieldsOf(schemaOf({ env: {}, maxMessageBytes: 1, read: () => Buffer.from('s') }))
const everyField = [...new Set([...fields.values()].flat())].sort()
const nameIn = ([cell]: string[]) => codesIn(cell!)[0]!

test('every field has a row, and every row is a field', () => {
  const rows = [...rowsOf(page, 'The file of sources'), ...rowsOf(page, 'Fields of single schemes')]
  assert.deepEqual(rows.map(nameIn).sort(), everyField)
})

test('fields of single schemes are said to be of those schemes', () => {
  for (const row of rowsOf(page, 'Fields of single schemes')) {
    const takers = SCHEMES.filter((scheme) => fields.get(scheme)!.includes(nameIn(row)))
    assert.deepEqual(codesIn(row[1]!), takers, nameIn(row))
  }
})

test('every scheme has a row', () => {
  assert.deepEqual(rowsOf(page, 'Schemes').map(nameIn), SCHEMES)
})

test('the defaults are those of a source that says nothing', () => {
  const { keep, answer, toleranceMs, browser, cloudevents } = sourceOf({ verify: 'github' }, 's')
  const defaults = Object.fromEntries(
    rowsOf(page, 'The file of sources').map((row) => [nameIn(row), row.at(-1)!.replaceAll('`', '')]),
  )
  assert.deepEqual(
    [
      defaults['keep'],
      defaults['answer'],
      defaults['tolerance'],
      defaults['browser'],
      defaults['cloudevents'],
    ],
    [keep.join(', '), `${answer}`, `${toleranceMs / 1000}s`, `${browser}`, `${cloudevents}`],
  )
})

test('the examples of files are right', () => {
  const files = fencesOf(page).filter(
    ({ language, text }) => language === 'json' && text.includes('"verify"'),
  )
  assert.ok(files.length > 0)
  for (const { text } of files) {
    sourcesOf(text, {
      env: { GITHUB_WEBHOOK_SECRET: 's3cret' },
      mayBeOpen: false,
      read: () => Buffer.from('s'),
    })
  }
})
