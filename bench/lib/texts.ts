/** The texts that a bench posts, and how it recognises them: every text is unique and made from its number. */
import { crc32 } from 'node:zlib'

/** Digits of a text's number: all ids of a run have one length, so all requests of a run have one length. */
const DIGITS = 9

/** The id at the start of text `number` (0 up) of a run. */
export function idOf(run: string, number: number): string {
  return `${run}-${String(number).padStart(DIGITS, '0')}`
}

/** What follows the id in a text of `size` bytes. */
export function fillerOf(run: string, size: number): string {
  return '.'.padEnd(size - idOf(run, 0).length, 'x')
}

/** How many texts were seen, and the sum of their CRC-32: equal for the same texts in any order. */
export class Tally {
  count = 0
  checksum = 0

  add(text: string): void {
    this.count++
    this.checksum += crc32(text)
  }

  /** Adds what another tally has counted. */
  join({ count, checksum }: Pick<Tally, 'count' | 'checksum'>): void {
    this.count += count
    this.checksum += checksum
  }
}

/** The tally of the first `count` texts of a run. */
export function tallyOf(run: string, count: number, size: number): Tally {
  const tally = new Tally()
  const filler = fillerOf(run, size)
  for (let number = 0; number < count; number++) tally.add(idOf(run, number) + filler)
  return tally
}

/** What a system says that it consumed; without a checksum where texts are not kept. */
export interface Consumed {
  count: number
  checksum?: number
}

/** @throws {Error} When a system did not consume, or does not hold, exactly what it acknowledged. */
export function mustEqual(what: string, acknowledged: Tally, found: Consumed): void {
  const { count, checksum = acknowledged.checksum } = found
  if (acknowledged.count === count && acknowledged.checksum === checksum) return
  throw new Error(
    `${what}: ${acknowledged.count} messages were acknowledged, ${count} found; checksums ${acknowledged.checksum} and ${checksum}`,
  )
}
