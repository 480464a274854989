/**
 * Message ids: ULIDs (26 characters of Crockford's base 32; the first 10 are milliseconds since 1970) whose
 * last two characters are the message's place in its batch, counted from `01`. With `00` there the id is the
 * batch's own key, so everything of a batch is one range of ids.
 */
import type { Clock, Random } from '../runtime/clock.ts'

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const TIME_LENGTH = 10
const CHANCE_LENGTH = 14
const MAX_TIME = 2 ** 48 - 1

/** Below and above every id, as exclusive bounds. */
export const MIN_ID = '0'.repeat(26)
export const MAX_ID = `7${'Z'.repeat(25)}`

/** A message's id: a ULID in upper case. */
export const ID_PATTERN = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/

/** True for a string that can be a message's id. */
export function isId(value: string): boolean {
  return ID_PATTERN.test(value)
}

/**
 * Makes the ids of whole batches: strictly increasing within one generator, also when the clock steps back.
 *
 * @returns A function of a count (1 to 1,000) to that many ids, ascending. O(count).
 */
export function idGenerator(clock: Clock, random: Random): (count: number) => string[] {
  let lastTime = -1
  const chance = new Uint8Array(CHANCE_LENGTH)
  const draw = () => {
    for (let index = 0; index < CHANCE_LENGTH; index++) chance[index] = Math.floor(random() * 32)
    chance[0]! &= 15 // room to count up within one millisecond
  }
  const increment = () => {
    let index = CHANCE_LENGTH - 1
    while (chance[index] === 31) chance[index--] = 0
    chance[index]!++
  }
  return (count) => {
    const now = clock.now()
    if (now > lastTime) {
      lastTime = now
      draw()
    } else {
      increment()
    }
    let prefix = encode(lastTime, TIME_LENGTH)
    for (const digit of chance) prefix += DIGITS[digit]
    return Array.from({ length: count }, (_, index) => prefix + encode(index + 1, 2))
  }
}

/** Compares by id, ascending. */
export function byId(a: { id: string }, b: { id: string }): number {
  return a.id < b.id ? -1 : 1
}

/** An exclusive bound just below an id: the one at the place before it in its batch, if there is one. */
export function idBefore(id: string): string {
  const place = placeOf(id)
  return place > 0 ? idAtPlace(batchKeyOf(id), place - 1) : `${id.slice(0, -1)}/`
}

/** The instant (ms since 1970 UTC) an id was made at. */
export function timeOf(id: string): number {
  let time = 0
  for (let index = 0; index < TIME_LENGTH; index++) time = time * 32 + DIGITS.indexOf(id[index]!)
  return time
}

/** The instant an id was made at, as ISO 8601 UTC with milliseconds: a message's `at`. */
export function atOf(id: string): string {
  const time = timeOf(id)
  // Messages of one batch follow each other.
  if (time !== last.time) last = { time, text: new Date(time).toISOString() }
  return last.text
}

let last = { time: 0, text: new Date(0).toISOString() }

/** The smallest id-shaped string of an instant: below every id made then, above every id made before. */
export function idAt(time: number): string {
  return encode(Math.min(Math.max(0, Math.floor(time)), MAX_TIME), TIME_LENGTH) + '0'.repeat(16)
}

/** Where to read on after `after`, when nothing older than `time` is to be seen: the younger of the two. */
export function floorAt(time: number, after = MIN_ID): string {
  const oldest = idAt(time)
  if (after < oldest) return oldest
  return after
}

/** The key of the batch an id belongs to: the id with `00` as its last two characters. */
export function batchKeyOf(id: string): string {
  return `${id.slice(0, TIME_LENGTH + CHANCE_LENGTH)}00`
}

/** The id at a place (1 to 1,000) of a batch. */
export function idAtPlace(batchKey: string, place: number): string {
  return batchKey.slice(0, -2) + encode(place, 2)
}

/** The place of an id in its batch, from 1; 0 for the batch's own key. */
export function placeOf(id: string): number {
  return DIGITS.indexOf(id.at(-2)!) * 32 + DIGITS.indexOf(id.at(-1)!)
}

function encode(value: number, length: number): string {
  let text = ''
  let rest = value
  for (let index = 0; index < length; index++) {
    text = DIGITS[rest % 32] + text
    rest = Math.floor(rest / 32)
  }
  return text
}
