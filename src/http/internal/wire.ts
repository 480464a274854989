/**
 * How arguments and answers of calls between actors are written: as JSON. Large texts stand behind it as they are, as
 * JSON would scan, escape and parse each, which for a text of 25 MiB holds both event loops for a second.
 *
 *   without large texts   JSON
 *   else                  NUL, JSON of {"value", "bytes"}, a line feed, the texts in UTF-8; `bytes` has their lengths,
 *                         and in `value` each is {"text": its place}
 */

/** Texts of more characters are large. */
const LARGE_CHARACTERS = 64 * 1024
const LINE_FEED = 10

/** In place of a large text. No value of a call is such an object. */
interface Place {
  text: number
}

/** True when a value has a large text in it. */
export function hasLargeText(value: unknown): boolean {
  if (typeof value === 'string') return value.length > LARGE_CHARACTERS
  if (typeof value !== 'object' || value === null) return false
  return Object.values(value).some(hasLargeText)
}

/** Writes a value of JSON's kinds. Undefined is empty. */
export function encode(value: unknown): string | Buffer {
  if (value === undefined) return ''
  if (!hasLargeText(value)) return JSON.stringify(value)
  const texts: Buffer[] = []
  const outlined = mapped(value, (text) => ({ text: texts.push(Buffer.from(text)) - 1 }) satisfies Place)
  const head = JSON.stringify({ value: outlined, bytes: texts.map(({ length }) => length) })
  return Buffer.concat([Buffer.from(`\0${head}\n`), ...texts])
}

/** Reads what `encode` wrote. @throws {SyntaxError} When it is something else. */
export function decode(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined
  if (bytes[0] !== 0) return JSON.parse(bytes.toString())
  let from = bytes.indexOf(LINE_FEED) + 1
  const head = JSON.parse(bytes.toString('utf8', 1, from)) as { value: unknown; bytes: number[] }
  const texts = head.bytes.map((length) => {
    const text = bytes.toString('utf8', from, from + length)
    from += length
    return text
  })
  return filled(head.value, texts)
}

/** A copy, its large texts replaced. */
function mapped(value: unknown, place: (text: string) => Place): unknown {
  if (typeof value === 'string') return value.length > LARGE_CHARACTERS ? place(value) : value
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((each) => mapped(each, place))
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, mapped(each, place)]))
}

function filled(value: unknown, texts: readonly string[]): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((each) => filled(each, texts))
  if (typeof (value as Place).text === 'number') return texts[(value as Place).text]
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, filled(each, texts)]))
}
