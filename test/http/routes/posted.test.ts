/** The hash of a post is kept with its key, also by files of earlier versions: it never changes. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { hashOf } from '../../../src/http/routes/posted.ts'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

test('a post is hashed by its texts and their lengths in UTF-8, short or long, one or many', () => {
  assert.equal(hashOf({ texts: ['grün'], many: false }), sha256('one,5:grün'))
  assert.equal(hashOf({ texts: ['grün'], many: true }), sha256('many,5:grün'))
  assert.equal(hashOf({ texts: ['a', 'bc'], many: true }), sha256('many,1:a,2:bc'))
  const long = 'ü'.repeat(100_000)
  assert.equal(hashOf({ texts: [long], many: false }), sha256(`one,200000:${long}`))
  assert.equal(hashOf({ texts: ['\ud800'], many: false }), sha256('one,3:\ufffd'))
})
