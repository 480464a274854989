import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import {
  ERRORS,
  type ErrorCode,
  fromWire,
  isMailroomError,
  MailroomError,
  toWire,
} from '../../src/runtime/errors.ts'

const code = fc.constantFrom(...(Object.keys(ERRORS) as ErrorCode[]))
const word = fc.string({ maxLength: 20 })
/** Details that fit every code. */
const details = fc.record(
  {
    problems: fc.array(word, { maxLength: 3 }),
    allowed: fc.array(word, { maxLength: 3 }),
    ...Object.fromEntries(
      'where expected got what method path key role way reason mailbox unit name store peer holder id'
        .split(' ')
        .map((name) => [name, word]),
    ),
    ...Object.fromEntries(
      'limitBytes count limit depth capacity deadlineMs lane'.split(' ').map((name) => [name, fc.nat()]),
    ),
  },
  { noNullPrototype: true },
)
const outcome = fc.constantFrom('none', 'unknown')

test('an error survives JSON unchanged', () => {
  fc.assert(
    fc.property(code, details, fc.option(outcome, { nil: undefined }), (code, details, outcome) => {
      const error = new MailroomError(code, details as never, outcome === undefined ? {} : { outcome })
      const again = fromWire(JSON.parse(JSON.stringify(toWire(error))))
      for (const field of ['name', 'code', 'details', 'message', 'retryable', 'outcome'] as const) {
        assert.deepEqual(again[field], error[field])
      }
    }),
  )
})

test('any JSON value becomes an error of the table', () => {
  const wire = fc.oneof(
    fc.anything(),
    fc.record(
      { code: fc.oneof(code, fc.anything()), details: fc.anything(), outcome: fc.anything() },
      { requiredKeys: [] },
    ),
  )
  fc.assert(
    fc.property(wire, (wire) => {
      const error = fromWire(wire)
      assert.ok(typeof error.code === 'string' && Object.hasOwn(ERRORS, error.code))
      assert.ok(['none', 'unknown'].includes(error.outcome))
    }),
  )
})

test('any thrown value has a JSON form; all but errors of the table are bugs', () => {
  fc.assert(
    fc.property(fc.oneof(fc.anything({ withNullPrototype: true }), fc.string().map(Error)), (thrown) => {
      const wire = toWire(thrown)
      assert.equal(wire.code, 'MR_INTERNAL')
      assert.equal(fromWire(JSON.parse(JSON.stringify(wire))).outcome, 'unknown')
    }),
  )
  assert.match(fromWire(toWire(new TypeError('x is no function'))).message, /x is no function/)
})

test('the outcome is the table’s unless the thrower gives another', () => {
  const facts = { peer: 'logging-1', reason: 'gone' }
  assert.equal(new MailroomError('MR_PEER_LOST', facts).outcome, 'unknown')
  assert.equal(new MailroomError('MR_PEER_LOST', facts, { outcome: 'none' }).outcome, 'none')
})

test('the cause is kept in the process and left out of the JSON', () => {
  const cause = new Error('secret path')
  const error = new MailroomError('MR_PEER_LOST', { peer: 'p', reason: 'r' }, { cause })
  assert.equal(error.cause, cause)
  assert.doesNotMatch(JSON.stringify(toWire(error)), /secret path/)
})

test('isMailroomError compares with one code, several codes or none', () => {
  const error = new MailroomError('MR_NOT_FOUND', { what: 'it' })
  assert.ok(isMailroomError(error))
  assert.ok(isMailroomError(error, 'MR_DRAINING', 'MR_NOT_FOUND'))
  assert.ok(!isMailroomError(error, 'MR_DRAINING'))
  assert.ok(!isMailroomError(Object.assign(new Error('x'), { code: 'MR_NOT_FOUND' })))
})
