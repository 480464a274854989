import assert from 'node:assert/strict'
import test from 'node:test'
import { Likeness, stepsOf } from './console.ts'

const [A, B] = ['01M883CBZ24SH3582Y6FJ45H01', '01M883CVZ3EW05TQJJ69PDH701']
const [C, D] = ['01M883ETSPEKDKWZ7EZE38BP01', '01M883YRZV2Q5T3MZ1EQC9XG01']

test('a block is parsed into commands and their output', () => {
  assert.deepEqual(stepsOf('$ one\nx\ny\n$ two\n'), [
    { command: 'one', shown: 'x\ny' },
    { command: 'two', shown: '' },
  ])
})

test('only ids and times may differ', () => {
  const shown = `{"id":"${A}","at":"2026-11-25T00:58:36.386Z","text":"a.b"}`
  const output = `{"id":"${C}","at":"2027-01-01T10:00:00.000Z","text":"a.b"}\n`
  assert.ok(new Likeness().matches(shown, output))
  for (const [from, to] of [
    ['a.b', 'a-b'],
    [C, 'an id'],
    ['.000Z', ''],
    ['"}', '"}}'],
    ['{"id', 'x{"id'],
  ]) {
    assert.ok(!new Likeness().matches(shown, output.replace(from!, to!)), `${from} is not ${to}`)
  }
})

test('an id shown twice must be the same id in all outputs', () => {
  const likeness = new Likeness()
  assert.ok(!likeness.matches(`${A} ${A}`, `${C} ${D}`))
  assert.ok(likeness.matches(`${A} ${A}`, `${C} ${C}`))
  assert.ok(!likeness.matches(A, D))
  assert.ok(likeness.matches(`${B} ${A}`, `${D} ${C}`))
})

test('an id in a command is replaced by the real one', () => {
  const likeness = new Likeness()
  likeness.matches(A, C)
  assert.equal(likeness.real(`get ${A} but ${B}`), `get ${C} but ${B}`)
})

test('an ellipsis matches any lines, or the rest of a line', () => {
  const shown = 'HTTP/1.1 201 Created\n…\n{"id":1}'
  assert.ok(new Likeness().matches(shown, 'HTTP/1.1 201 Created\r\nA: b\r\n\r\n{"id":1}'))
  assert.ok(!new Likeness().matches(shown, 'HTTP/1.1 201 Created\r\nA: b\r\n\r\n{"id":2}'))
  assert.ok(new Likeness().matches('a  ready  …\nb', 'a     ready  1  2\nb'))
  assert.ok(!new Likeness().matches('a  ready  …\nb', 'a  failed  1  2\nb'))
})
