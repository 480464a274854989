/** The schema of a POST's body, and what the program takes: over a corpus, body by body. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { z } from 'zod'
import { openapiOf } from '../../../src/http/openapi/document.ts'
import { startApi } from '../../support/public-api.ts'

const MAX_BYTES = 65_536
const A = { text: 'a' }

const CORPUS: readonly unknown[] = [
  A,
  [A],
  [A, { text: 'b' }],
  Array(1000).fill(A),
  { text: 'x'.repeat(MAX_BYTES) },
  { text: '\0' },
  { text: '😀é\n' },
  [],
  [[]],
  [[A]],
  Array(1001).fill(A),
  {},
  { text: '' },
  { text: 'x'.repeat(MAX_BYTES + 1) },
  { text: 1 },
  { text: null },
  { text: ['a'] },
  { text: 'a', id: 'b' },
  { Text: 'a' },
  { txt: 'a' },
  [A, {}],
  [A, null],
  [{ text: '' }],
  [{ text: 'a', at: 1 }],
  null,
  true,
  0,
  '',
  'a',
]

test('a body that the schema of POST /messages allows is stored, and any other is refused', async (t) => {
  const api = await startApi(t, { maxMessageBytes: MAX_BYTES })
  const { paths } = openapiOf({ maxMessageBytes: MAX_BYTES, lanes: 16 })
  const { schema } = paths['/messages']!['post']!.requestBody!.content['application/json']!
  const validator = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0])
  const counts = { stored: 0, refused: 0 }
  for (const value of CORPUS) {
    const body = JSON.stringify(value)
    const { status, json } = await api.ask('POST', '/messages', {
      headers: { 'content-type': 'application/json' },
      body,
    })
    const isAllowed = validator.safeParse(value).success
    assert.equal(status === 201, isAllowed, `${body.slice(0, 60)}: ${status}`)
    if (!isAllowed) assert.ok(['MR_MESSAGE_INVALID', 'MR_TOO_LARGE'].includes(json.code), body.slice(0, 60))
    counts[isAllowed ? 'stored' : 'refused']++
  }
  assert.deepEqual(counts, { stored: 7, refused: 22 })
})
