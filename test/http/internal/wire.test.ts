import assert from 'node:assert/strict'
import test from 'node:test'
import { decode, encode, hasLargeText } from '../../../src/http/internal/wire.ts'

const LARGE = '"€😀\n\0'.repeat(30_000)
const roundTrip = (value: unknown) => decode(Buffer.from(encode(value) as string))

test('what is written is read back, with and without large texts', () => {
  const values = [
    undefined,
    null,
    false,
    [],
    [1, 'small', { text: 'small', attempts: 1 }, null],
    LARGE,
    [LARGE],
    [
      {
        messages: [
          { id: 'a', text: LARGE },
          { id: 'b', text: 'small' },
          { id: 'c', text: LARGE },
        ],
        lane: 3,
      },
      null,
    ],
    {
      messages: [
        { id: 'a', text: null, starts: 0 },
        { id: 'b', text: LARGE },
      ],
      term: 1,
      complete: true,
    },
  ]
  for (const value of values) assert.deepEqual(roundTrip(value), value)
})

test('only large texts are written as they are', () => {
  assert.equal(encode([{ text: 'x'.repeat(65_536) }]), JSON.stringify([{ text: 'x'.repeat(65_536) }]))
  const control = '\u0001'.repeat(1_000_000)
  const bytes = encode([{ text: control }])
  assert.ok(Buffer.isBuffer(bytes) && bytes.length < control.length + 100)
  assert.deepEqual(
    [hasLargeText([{ text: control }]), hasLargeText([{ text: 'small' }, null, 1])],
    [true, false],
  )
})

test('what is cut short, or is something else, is no value', () => {
  assert.throws(() => decode(Buffer.from('{"a":')), SyntaxError)
  assert.throws(() => decode(Buffer.from('\0{"value"')), SyntaxError)
})
