/** What the dashboard makes of texts, without a browser. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bytes, count, duration, rate } from '../../../src/http/page/dom.js'
import { idAt, idIn, laidOut } from '../../../src/http/page/text.js'
import { idAt as storedIdAt } from '../../../src/storage/ids.ts'

test('JSON is laid out without a change of a number, an escape or an order', () => {
  const text = '{"b":12345678901234567890,"a":[1.0,-0e1,{}],"é\\u0041":"x, [y]: {z}","e":[ ]}'
  assert.equal(
    laidOut(text),
    [
      '{',
      '  "b": 12345678901234567890,',
      '  "a": [',
      '    1.0,',
      '    -0e1,',
      '    {}',
      '  ],',
      '  "é\\u0041": "x, [y]: {z}",',
      '  "e": []',
      '}',
    ].join('\n'),
  )
})

test('whatever JSON is laid out, it is the same JSON', () => {
  fc.assert(
    fc.property(fc.oneof(fc.array(fc.jsonValue()), fc.dictionary(fc.string(), fc.jsonValue())), (value) => {
      assert.deepEqual(JSON.parse(laidOut(JSON.stringify(value))!), JSON.parse(JSON.stringify(value)))
    }),
  )
})

test('what is no object and no array of JSON is not laid out', () => {
  for (const text of ['', 'hello', '12', '"{}"', '{"a":}', '[1,]', '{} {}']) {
    assert.equal(laidOut(text), undefined, text)
  }
})

test('an id is found in an id, a link, a log line and an answer, in any case', () => {
  const id = '01M8849C1KEEDTYR6E46QMS701'
  const pasted = [
    id,
    ` ${id.toLowerCase()}\n`,
    `http://127.0.0.1:8080/#/messages/${id}`,
    `{"level":40,"pid":7,"id":"${id}","msg":"an attempt failed"}`,
    `curl http://127.0.0.1:8080/messages/${id}?wait=5`,
  ]
  for (const text of pasted) assert.equal(idIn(text), id, text)
  for (const text of ['', 'nothing', id.slice(1), `${id}0`, `I${id.slice(1)}`]) {
    assert.equal(idIn(text), undefined, text)
  }
})

test('a time leads to the same id as on the server', () => {
  for (const at of [0, 1, 1_795_870_661_321]) assert.equal(idAt(at), storedIdAt(at))
})

test('figures are short, and have units', () => {
  const shown = [0, 0.0008, 0.25, 3.21, 59.6, 240, 7200, 259_200].map(duration)
  assert.deepEqual(shown, ['0 s', '0.8 ms', '250 ms', '3.2 s', '60 s', '4 min', '2 h', '3 d'])
  assert.deepEqual([999, 1500, 78e9].map(bytes), ['999 B', '1.5 kB', '78 GB'])
  assert.deepEqual([1234, 2_345_678].map(count), ['1,234', '2.35M'])
  assert.deepEqual([undefined, 0, 2.25, 1234].map(rate), ['–', '0/s', '2.3/s', '1,234/s'])
})
