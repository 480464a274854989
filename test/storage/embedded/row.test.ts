/** Rows of the log: what is written is read, and damage is found where it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock, systemRandom } from '../../../src/runtime/clock.ts'
import { decodeRow, encodeRow, type Row, type RowPlace, rowsOf } from '../../../src/storage/embedded/row.ts'
import { idGenerator } from '../../../src/storage/ids.ts'
import type { Message } from '../../../src/storage/ports.ts'

const PLACE: RowPlace = { file: 'a1b2', seq: 7, lane: 3 }
const nextIds = idGenerator(systemClock, systemRandom)

function batchOf(...texts: string[]): Message[] {
  const ids = nextIds(texts.length)
  return texts.map((text, index) => ({ id: ids[index]!, text }))
}

function encoded(messages: readonly Message[]): Row {
  const [row, ...others] = [...rowsOf(messages)]
  assert.deepEqual(others, [])
  return encodeRow(PLACE, row!.messages, row!.texts)
}

/** The same row with one bit of its body turned. */
function turned(row: Row, at: number): Row {
  const body = Buffer.from(row.body)
  body[at]! ^= 1
  return { ...row, body }
}

test('a row is read as it was written', () => {
  const messages = batchOf('plain', '', 'emoji 👩‍👩‍👧', 'nul \u0000 inside', 'x'.repeat(65_536))
  const row = encoded(messages)
  assert.deepEqual([row.id, row.count], [messages[0]!.id, 5])
  assert.equal(
    row.bytes,
    messages.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0),
  )
  assert.deepEqual(decodeRow(PLACE, row), { messages, damaged: [] })
})

test('a batch is cut into rows of 256 KiB; each message of a later row keeps its id', () => {
  const messages = batchOf(...Array.from({ length: 10 }, (_, index) => String(index).repeat(60_000)))
  const rows = [...rowsOf(messages)].map((row) => encodeRow(PLACE, row.messages, row.texts))
  assert.deepEqual(
    rows.map(({ count }) => count),
    [4, 4, 2],
  )
  assert.ok(rows.every(({ bytes }) => bytes <= 256 * 1024))
  assert.deepEqual(
    rows.flatMap((row) => decodeRow(PLACE, row).messages),
    messages,
  )
})

test('damage to a text hides this message, and no other', () => {
  const messages = batchOf('one', 'two', 'three')
  const row = encoded(messages)
  const atTwo = row.body.length - 'twothree'.length
  const { messages: left, damaged } = decodeRow(PLACE, turned(row, atTwo))
  assert.deepEqual(left, [messages[0], messages[2]])
  assert.deepEqual(damaged, [messages[1]!.id])
})

test('damage to the table, a row in another place, and a body cut short are damage to the row', () => {
  const messages = batchOf('one', 'two')
  const row = encoded(messages)
  const whole = { messages: [], damaged: [row.id] }
  for (let at = 0; at < 2 * 10; at++) assert.deepEqual(decodeRow(PLACE, turned(row, at)), whole)
  for (const other of [{ file: 'c3d4' }, { seq: 8 }, { lane: 4 }])
    assert.deepEqual(decodeRow({ ...PLACE, ...other }, row), whole)
  assert.deepEqual(decodeRow(PLACE, { ...row, id: batchOf('x')[0]!.id }).messages, [])
  assert.deepEqual(decodeRow(PLACE, { ...row, body: row.body.subarray(0, 19) }), whole)
  const cut = decodeRow(PLACE, { ...row, body: row.body.subarray(0, row.body.length - 1) })
  assert.deepEqual(cut, { messages: [messages[0]], damaged: [messages[1]!.id] })
})
