import assert from 'node:assert/strict'
import { test } from 'node:test'
import { problemOf } from '../../src/http/problems.ts'
import { ERRORS, type ErrorCode, MailroomError } from '../../src/runtime/errors.ts'
import { pageOf, rowsOf } from '../support/markdown.ts'

function statusOf(code: ErrorCode): number {
  const error = new MailroomError(code, { problems: [], allowed: [] } as never)
  return problemOf(error, { requestId: 'r', random: () => 0, reading: false }).status
}

const codes = Object.keys(ERRORS) as ErrorCode[]
/** code, status, retryable, outcome, when, what to do */
const rows = rowsOf(pageOf('docs/errors.md')).filter(([code]) => code?.startsWith('`MR_'))
const rowByCode = new Map(rows.map(([code, ...cells]) => [code!.replaceAll('`', ''), cells]))

test('docs/errors.md has every code of the table once, and no other', () => {
  assert.deepEqual(rows.map(([code]) => code).sort(), codes.map((code) => `\`${code}\``).sort())
})

for (const code of codes) {
  test(`docs/errors.md has the status, meaning and retry of the code for ${code}`, () => {
    const [status, retryable, outcome, when, todo] = rowByCode.get(code) ?? assert.fail('it has no row')
    assert.equal(status, String(statusOf(code)))
    assert.equal(retryable, ERRORS[code].retryable ? 'yes' : 'no')
    assert.equal(outcome!.split(',')[0], ERRORS[code].outcome)
    assert.ok(when!.length > 10 && todo!.length > 5, 'it says when, and what to do')
  })
}
