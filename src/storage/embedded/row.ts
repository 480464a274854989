/**
 * A row of the log: messages of one batch, up to 256 KiB of texts, or one message. Its id is the id of its first message,
 * so that the id of a message leads to the row at or before it.
 *
 *   body    place (2 bytes) length (4) checksum (4) of each message, little-endian; then the texts, UTF-8
 *   crc     of the file, the row's number, its id and lane, and the table: a row in the wrong place is damaged, too
 */
import { crc32 } from 'node:zlib'
import { batchKeyOf, idAtPlace, placeOf } from '../ids.ts'
import type { Message } from '../ports.ts'

/** The texts of a row that has more than one message. */
const ROW_MAX_BYTES = 256 * 1024
const ENTRY_BYTES = 10

/** Which row. */
export interface RowName {
  /** The random id of its file. */
  file: string
  seq: number
}

/** Where a row stands. */
export interface RowPlace extends RowName {
  lane: number
}

/** A row as it is stored. */
export interface Row {
  id: string
  count: number
  /** Of the texts. */
  bytes: number
  crc: number
  body: Uint8Array
}

/** What stands in a row. */
export interface RowMessages {
  /** Ascending; without those that are damaged. */
  messages: Message[]
  /** Ids of messages whose text is not what was written; of the whole row when its table is not. */
  damaged: string[]
}

/** Cuts the messages of a batch into rows. @param messages Of one batch, ascending. */
export function* rowsOf(messages: readonly Message[]): Generator<{ texts: Buffer[]; messages: Message[] }> {
  let row = { texts: [] as Buffer[], messages: [] as Message[] }
  let bytes = 0
  for (const message of messages) {
    const text = Buffer.from(message.text)
    if (row.messages.length > 0 && bytes + text.length > ROW_MAX_BYTES) {
      yield row
      row = { texts: [], messages: [] }
      bytes = 0
    }
    row.texts.push(text)
    row.messages.push(message)
    bytes += text.length
  }
  if (row.messages.length > 0) yield row
}

/** A row of these messages, for one place. @param texts Of the messages, in UTF-8. */
export function encodeRow(place: RowPlace, messages: readonly Message[], texts: readonly Buffer[]): Row {
  const { id } = messages[0]!
  const table = Buffer.alloc(messages.length * ENTRY_BYTES)
  let bytes = 0
  for (const [index, text] of texts.entries()) {
    const at = index * ENTRY_BYTES
    const own = placeOf(messages[index]!.id)
    table.writeUInt16LE(own, at)
    table.writeUInt32LE(text.length, at + 2)
    table.writeUInt32LE(crc32(text, own), at + 6)
    bytes += text.length
  }
  const body = Buffer.concat([table, ...texts])
  return { id, count: messages.length, bytes, crc: headOf(place, id, table), body }
}

/** What stands in a row that was read at this place. Never throws: what cannot be read is damaged. */
export function decodeRow(place: RowPlace, { id, count, crc, body }: Row): RowMessages {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const table = bytes.subarray(0, count * ENTRY_BYTES)
  if (table.length < count * ENTRY_BYTES || headOf(place, id, table) !== crc)
    return { messages: [], damaged: [id] }
  const batchKey = batchKeyOf(id)
  const messages: Message[] = []
  const damaged: string[] = []
  let from = table.length
  for (let at = 0; at < table.length; at += ENTRY_BYTES) {
    const own = table.readUInt16LE(at)
    const to = from + table.readUInt32LE(at + 2)
    const text = bytes.subarray(from, to)
    const messageId = idAtPlace(batchKey, own)
    if (to <= bytes.length && crc32(text, own) === table.readUInt32LE(at + 6)) {
      messages.push({ id: messageId, text: text.toString() })
    } else damaged.push(messageId)
    from = to
  }
  return { messages, damaged }
}

function headOf({ file, seq, lane }: RowPlace, id: string, table: Buffer): number {
  return crc32(table, crc32(`${file} ${seq} ${lane} ${id}`))
}
