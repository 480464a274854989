/**
 * Reads what a member measures of itself. Members collect their metrics for Hazelcast's Management Center in a format
 * of their own:
 *
 *   version (2 bytes) · size of the dictionary (4) · dictionary (zlib) · count of metrics (4) · metrics (zlib)
 *
 * The dictionary is sorted: each word repeats the beginning of the word before it. A metric has a byte that tells which
 * parts of its name are those of the metric before it, then the other parts, then its value.
 */
import { inflateSync } from 'node:zlib'

const VERSION = 1
const HEAD_BYTES = 6
const COUNT_BYTES = 4

/** Parts of a metric's name, by their bits. */
const PREFIX = 1
const METRIC = 2
const DISCRIMINATOR = 4
const DISCRIMINATOR_VALUE = 8
const UNIT = 16
const EXCLUDED_TARGETS = 32
const TAG_COUNT = 64

/** Such as `map.heapCost` of the map `mailroom.log`. */
export interface Metric {
  name: string
  value: number
}

/** All metrics of one collection. @throws {Error} When it is in another format. */
export function metricsIn(blob: Buffer): Metric[] {
  const version = blob.readUInt16BE(0)
  if (version !== VERSION) throw new Error(`Expected metrics of version ${VERSION}, got ${version}`)
  const dictionaryEnd = HEAD_BYTES + blob.readInt32BE(2)
  const words = wordsIn(inflateSync(blob.subarray(HEAD_BYTES, dictionaryEnd)))
  const count = blob.readInt32BE(dictionaryEnd)
  const bytes = new Reader(inflateSync(blob.subarray(dictionaryEnd + COUNT_BYTES)))
  const word = () => words.get(bytes.int())
  const metrics: Metric[] = []
  let prefix: string | undefined
  let metric: string | undefined
  let tagCount = 0
  for (let index = 0; index < count; index++) {
    const same = bytes.byte()
    if (!(same & PREFIX)) prefix = word()
    if (!(same & METRIC)) metric = word()
    if (!(same & DISCRIMINATOR)) bytes.int()
    if (!(same & DISCRIMINATOR_VALUE)) bytes.int()
    if (!(same & UNIT)) bytes.byte()
    if (!(same & EXCLUDED_TARGETS)) bytes.byte()
    if (!(same & TAG_COUNT)) tagCount = bytes.byte()
    for (let tag = 0; tag < 2 * tagCount; tag++) bytes.int()
    const isDouble = bytes.byte() === 1
    metrics.push({ name: `${prefix}.${metric}`, value: isDouble ? bytes.double() : bytes.long() })
  }
  return metrics
}

function wordsIn(dictionary: Buffer): Map<number, string> {
  const bytes = new Reader(dictionary)
  const words = new Map<number, string>()
  let last = ''
  for (let count = bytes.int(); count > 0; count--) {
    const id = bytes.int()
    const commonLength = bytes.byte()
    const restLength = bytes.byte()
    last = last.slice(0, commonLength) + bytes.utf16(restLength)
    words.set(id, last)
  }
  return words
}

/** Reads big-endian numbers one after the other. */
class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#step(1))
  }

  int(): number {
    return this.#bytes.readInt32BE(this.#step(4))
  }

  long(): number {
    return Number(this.#bytes.readBigInt64BE(this.#step(8)))
  }

  double(): number {
    return this.#bytes.readDoubleBE(this.#step(8))
  }

  utf16(length: number): string {
    let text = ''
    for (let index = 0; index < length; index++) {
      text += String.fromCharCode(this.#bytes.readUInt16BE(this.#step(2)))
    }
    return text
  }

  #step(bytes: number): number {
    const at = this.#at
    this.#at += bytes
    return at
  }
}
