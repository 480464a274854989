/**
 * Strict JSON of small known shapes: what `JSON.parse` takes, less duplicate keys, of which it silently keeps
 * the last.
 */

/** Why a source is not the JSON it should be, in words for the client. */
export class JsonFault extends Error {}

/**
 * Parses JSON.
 *
 * @throws {JsonFault} When it is not JSON. The words hold nothing of the source.
 */
export function parseJson(source: string): unknown {
  try {
    return JSON.parse(source)
  } catch (error) {
    const place = /at position \d+/.exec((error as Error).message)?.[0]
    throw new JsonFault(place === undefined ? 'something else' : `something else ${place}`)
  }
}

/**
 * True when `source`, which has been parsed and found to be of a shape with `stringCount` strings (keys and
 * values), holds a key twice: only then are there more quotes in it than the shape has. O(length).
 */
export function hasDuplicateKeys(source: string, stringCount: number): boolean {
  let quotes = 0
  for (let at = source.indexOf('"'); at !== -1; at = source.indexOf('"', at + 1)) {
    let before = at
    while (source.charCodeAt(before - 1) === BACKSLASH) before--
    if ((at - before) % 2 === 0) quotes++
  }
  return quotes !== stringCount * 2
}

const BACKSLASH = 92
