/** Which headers of a request are kept with its message. */
import { mediaTypeOf, valuesOf } from './raw-headers.ts'
import type { Source } from './source.ts'

/** Of the connection, or told by the body itself: never kept. */
const OF_HOP = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te'],
  ...['trailer', 'transfer-encoding', 'upgrade', 'expect', 'host', 'content-length'],
])
/** Names that may carry a secret, or are set by a proxy: kept only if they are named in full. */
const DELICATE = /token|secret|auth|api-?key|password|cookie|session|jwt|credential|^x-forwarded-/

/**
 * The headers that a source keeps.
 *
 * @param rawHeaders As Node gives them: name, value, name, value, …
 * @returns By name in lower case, in the order they came; values of one name are joined by a comma. Never among them:
 * the header of the source's signature or secret, headers of the connection, Host and Content-Length.
 */
export function keptHeaders(source: Source, rawHeaders: readonly string[]): Record<string, string> {
  const kept = new Map<string, string>()
  let hops: string[] | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase()
    if (name === source.header || OF_HOP.has(name) || !isKept(source.keep, name)) continue
    hops ??= hopsNamedBy(rawHeaders)
    if (hops.includes(name)) continue
    const before = kept.get(name)
    kept.set(name, before === undefined ? rawHeaders[at + 1]! : `${before}, ${rawHeaders[at + 1]}`)
  }
  return Object.fromEntries(kept)
}

/** True if the source takes bodies of the Content-Type of this head. */
export function takesType({ types }: Source, rawHeaders: readonly string[]): boolean {
  if (types === undefined) return true
  const type = mediaTypeOf(rawHeaders)
  return types.includes(type) || types.includes(`${type.split('/')[0]}/*`)
}

function isKept(keep: readonly string[], name: string): boolean {
  if (keep.includes(name)) return true
  return keep.some((one) => one.endsWith('*') && name.startsWith(one.slice(0, -1))) && !DELICATE.test(name)
}

/** Names in Connection are those of headers of the connection. */
function hopsNamedBy(rawHeaders: readonly string[]): string[] {
  return valuesOf(rawHeaders, 'connection').flatMap((names) => names.toLowerCase().split(/ *, */))
}
