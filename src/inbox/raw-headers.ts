/** Headers as Node gives them raw: name, value, name, value, … in the order they came, doubled ones too. */

/** All values of a header. @param name In lower case. */
export function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const given = rawHeaders[at]!
    if (given.length === name.length && given.toLowerCase() === name) values.push(rawHeaders[at + 1]!)
  }
  return values
}

/** The media type in Content-Type, in lower case and without parameters; empty if there is none. */
export function mediaTypeOf(rawHeaders: readonly string[]): string {
  const [type = ''] = valuesOf(rawHeaders, 'content-type')
  return type.split(';')[0]!.trim().toLowerCase()
}
