/** However a body is cut into chunks, its bytes and lines are the same. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { BodyBytes, ByteBuffer, hasDuplicateKeys } from '../../src/http/body.ts'
import { type Line, LineSplitter } from '../../src/http/routes/lines.ts'

const chunks = fc.array(
  fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  { maxLength: 50 },
)

const LINE_MAX_BYTES = 5000

function split(all: readonly Buffer[], held = new BodyBytes()): Line[] {
  const splitter = new LineSplitter(LINE_MAX_BYTES, held)
  return [...all.flatMap((chunk) => [...splitter.push(chunk)]), ...splitter.end()]
}

test('a byte buffer returns its chunks one after the other, also the second time', () => {
  fc.assert(
    fc.property(chunks, chunks, (first, second) => {
      const buffer = new ByteBuffer()
      for (const all of [first, second]) {
        for (const chunk of all) buffer.add(chunk)
        assert.equal(buffer.length, Buffer.concat(all).length)
        assert.deepEqual(buffer.take(), Buffer.concat(all))
      }
    }),
  )
})

test('lines are the same wherever the stream is cut', () => {
  const lines = fc.array(fc.string({ unit: fc.constantFrom('a', 'é', '\r', '{') }), { maxLength: 20 })
  fc.assert(
    fc.property(lines, fc.array(fc.nat(100)), (texts, cuts) => {
      const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(''))
      const places = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length]
      const cut = places.slice(1).map((end, index) => bytes.subarray(places[index], end))
      assert.deepEqual(
        split(cut).map((line) => [line.number, line.bytes.toString()]),
        texts.map((text, index) => [index + 1, text]),
      )
    }),
  )
})

test('of a line that is too long nothing is kept, and the next one is whole', () => {
  const long = Buffer.alloc(LINE_MAX_BYTES + 1, 'x')
  for (const cutAt of [1, LINE_MAX_BYTES, LINE_MAX_BYTES + 1]) {
    const lines = split([long.subarray(0, cutAt), long.subarray(cutAt), Buffer.from('\nnext')])
    assert.deepEqual(
      lines.map(({ number, bytes }) => [number, Buffer.isBuffer(bytes) ? bytes.toString() : bytes.code]),
      [
        [1, 'MR_TOO_LARGE'],
        [2, 'next'],
      ],
    )
  }
  const [{ bytes }] = split([long.subarray(1), Buffer.from('\n')]) as [Line]
  assert.equal(Buffer.isBuffer(bytes) && bytes.length, LINE_MAX_BYTES)
})

test('a duplicate key is found, whatever the text holds', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('"', '\\', 'a', '\n', 'é', '😀') }), (text) => {
      const value = JSON.stringify(text)
      assert.equal(hasDuplicateKeys(`{"text": ${value}}`, 2), false)
      assert.equal(hasDuplicateKeys(`{"text":${value},"text":${value}}`, 2), true)
    }),
  )
})
