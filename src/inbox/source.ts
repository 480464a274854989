/** A source of `POST /in/{source}`, as `sources.ts` has checked it: plain JSON, so that it crosses IPC. */

/** The ways in which a source shows that it is who it says. */
export const SCHEMES = [
  'github',
  'gitlab',
  'stripe',
  'shopify',
  'slack',
  'meta',
  'standard',
  'hmac',
  'token',
  'none',
] as const
export type Scheme = (typeof SCHEMES)[number]

/** How one signature stands in one header. */
export interface Signing {
  /** In lower case. */
  header: string
  /** What stands before the signature, such as `sha256=`. */
  prefix: string
  algorithm: 'sha256' | 'sha1' | 'sha512'
  encoding: 'hex' | 'base64'
  /** What is signed: a text with `{body}` and perhaps `{timestamp}`. */
  signed: string
  /** The header with the signed time, in lower case: seconds since 1970. Absent when no time is signed. */
  timestamp?: string
}

/** Where the sender's id of a message stands. `event`: in a CloudEvent; what is none has no id. */
export type Dedupe =
  | { by: 'header'; name: string }
  | { by: 'json'; pointer: string }
  | { by: 'signature' | 'event' | 'none' }

/** A checked source. Names of headers and media types are in lower case. */
export interface Source {
  verify: Scheme
  /** The bytes of its secrets, in Base64; any of them passes. Empty for `none`. */
  keys: string[]
  /** The header that carries the signature or the secret; absent for `none`. */
  header?: string
  /** Of schemes with one signature in a header of its own. */
  signing?: Signing
  /** How far a signed time may be from ours, both ways. */
  toleranceMs: number
  dedupe: Dedupe
  /** Headers kept with a message: names, or beginnings with `*` at the end. */
  keep: string[]
  /** Media types it takes, such as `application/json` or `image/*`; absent: any. */
  types?: string[]
  /** The largest body. */
  maxBytes: number
  /** The status of success. */
  answer: 200 | 201 | 202 | 204
  /** Takes posts of web pages. */
  browser: boolean
  /** Answers the `OPTIONS` of CloudEvents. */
  cloudevents: boolean
  /** The token with which Meta asks whether we are the right one; in Base64. */
  verifyToken?: string
}

/** By name. It was made of foreign names: look one up with `sourceOf`. */
export type Sources = Record<string, Source>

/** The source of a name; undefined when there is none. */
export function sourceOf(sources: Sources, name: string): Source | undefined {
  return Object.hasOwn(sources, name) ? sources[name] : undefined
}
