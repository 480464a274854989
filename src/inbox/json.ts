/** JSON that people write: a parser that says where a mistake is, and takes no key twice. */

/** The value of a text, and the places of the keys that stand twice in their object. */
interface Parsed {
  value: unknown
  /** Such as `line 4, column 3: "github" stands there twice`. */
  duplicates: string[]
}

const SPACE = /[ \t\n\r]*/y
/** A string, or letters and digits; `JSON.parse` says whether they are a value. */
const SCALAR = /"(?:[^"\\\n]|\\.)*"|[^\s"{}[\]:,]+/y
/** Deeper than any file of settings. */
const MAX_DEPTH = 32

/**
 * Parses JSON. A byte order mark at its beginning is passed over.
 *
 * @throws {Error} At the first place that is not JSON, such as `line 2, column 5: expected :, got "1"`.
 */
export function parseJson(text: string): Parsed {
  const duplicates: string[] = []
  let at = text.startsWith('\uFEFF') ? 1 : 0
  const fail = (expected: string) => {
    const got = at < text.length ? JSON.stringify(String.fromCodePoint(text.codePointAt(at)!)) : 'the end'
    return new Error(`${placeOf(text, at)}: expected ${expected}, got ${got}`)
  }
  const match = (pattern: RegExp): string => {
    pattern.lastIndex = at
    const [found] = pattern.exec(text) ?? ['']
    at += found.length
    return found
  }
  /** True if this character is next; then it is behind us, with the space after it. */
  const skip = (character: string): boolean => {
    if (text[at] !== character) return false
    at += 1
    match(SPACE)
    return true
  }
  /** What is between brackets, item by item. */
  const items = (end: string, item: () => void): void => {
    if (skip(end)) return
    do item()
    while (skip(','))
    if (!skip(end)) throw fail(`, or ${end}`)
  }
  const member = (depth: number, members: Map<string, unknown>): void => {
    const start = at
    const key = text[at] === '"' ? scalar() : undefined
    if (typeof key !== 'string') throw fail('a name in double quotes')
    if (members.has(key)) duplicates.push(`${placeOf(text, start)}: ${JSON.stringify(key)} is there twice`)
    if (!skip(':')) throw fail(':')
    members.set(key, value(depth))
  }
  const scalar = (): unknown => {
    const start = at
    try {
      const scalar = JSON.parse(match(SCALAR))
      match(SPACE)
      return scalar
    } catch {
      at = start
      throw fail('a value')
    }
  }
  const value = (depth: number): unknown => {
    if (depth > MAX_DEPTH) throw fail(`at most ${MAX_DEPTH} levels`)
    if (skip('{')) {
      const members = new Map<string, unknown>()
      items('}', () => member(depth + 1, members))
      return Object.fromEntries(members)
    }
    if (!skip('[')) return scalar()
    const list: unknown[] = []
    items(']', () => list.push(value(depth + 1)))
    return list
  }
  match(SPACE)
  const whole = value(0)
  if (at < text.length) throw fail('the end')
  return { value: whole, duplicates }
}

function placeOf(text: string, at: number): string {
  const lines = text.slice(0, at).split('\n')
  return `line ${lines.length}, column ${lines.at(-1)!.length + 1}`
}
