/**
 * Whether a request comes from its source. The head alone decides as much as it can, so that a body is read only of
 * requests that may pass; signatures are then checked over the very bytes of the body.
 */
import { createHash, createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { valuesOf } from './raw-headers.ts'
import type { Signing, Source } from './source.ts'

/** `check`: true for the body that was signed. `why`: a sentence for our own log, without secrets and signatures. */
export type HeadCheck = { ok: true; check: (body: Buffer) => boolean } | { ok: false; why: string }

/** What is wrong with a head. Its message is a sentence for our own log. */
class Refusal extends Error {}

/** Signatures of which one must be that of `before`, the body, `after`. */
interface Signed {
  signatures: Buffer[]
  algorithm: Signing['algorithm']
  before: string
  after: string
}

const SIZES = { sha1: 20, sha256: 32, sha512: 64 }

/**
 * Judges the head of a request to a source.
 *
 * @param rawHeaders As Node gives them: name, value, name, value, …
 * @param nowMs The time of the wall clock, which senders have, too.
 * @returns Not ok when the signature, secret, time or id is missing, there twice or ill-formed, when the time is off by
 * more than the source's tolerance, or when the secret is a wrong one. `check` may be called once the body is there.
 */
export function checkHead(source: Source, rawHeaders: readonly string[], nowMs: number): HeadCheck {
  try {
    checkId(source, rawHeaders)
    const signed = signedBy(source, rawHeaders, nowMs)
    if (signed !== undefined) return { ok: true, check: (body) => isSignedBy(source, signed, body) }
    if (source.header !== undefined) checkSecret(source, source.header, rawHeaders)
    return { ok: true, check: () => true }
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, why: error.message }
    throw error
  }
}

/**
 * True for a secret of the source. The time it takes shows neither the secret's length nor its beginning.
 *
 * @param keys The secrets, in Base64.
 */
export function isSecretOf(keys: readonly string[], given: Buffer): boolean {
  const digest = digestOf(given)
  return keys.map((key) => timingSafeEqual(digestOf(Buffer.from(key, 'base64')), digest)).includes(true)
}

/** Undefined when the scheme signs nothing. */
function signedBy(source: Source, rawHeaders: readonly string[], nowMs: number): Signed | undefined {
  const { verify, signing } = source
  if (signing !== undefined) return oneSignature(source, signing, rawHeaders, nowMs)
  if (verify === 'stripe') return ofStripe(source, rawHeaders, nowMs)
  return verify === 'standard' ? ofStandardWebhooks(source, rawHeaders, nowMs) : undefined
}

function oneSignature(
  source: Source,
  signing: Signing,
  rawHeaders: readonly string[],
  nowMs: number,
): Signed {
  const { header, prefix, algorithm, encoding, signed, timestamp } = signing
  const value = only(rawHeaders, header)
  const signature = value.startsWith(prefix)
    ? decoded(value.slice(prefix.length), encoding, SIZES[algorithm])
    : undefined
  if (signature === undefined) throw new Refusal(`${header} is not ${prefix} and ${algorithm} in ${encoding}`)
  const time = timestamp === undefined ? '' : only(rawHeaders, timestamp)
  if (timestamp !== undefined) checkTime(source, timestamp, time, nowMs)
  const [before, after] = signed.split('{body}').map((part) => part.replace('{timestamp}', time))
  return { signatures: [signature], algorithm, before: before!, after: after! }
}

/** `t=TIME,v1=HEX,v1=HEX,v0=…`: only `v1` counts. */
function ofStripe(source: Source, rawHeaders: readonly string[], nowMs: number): Signed {
  const header = 'stripe-signature'
  const items = only(rawHeaders, header).split(',')
  const valuesOf = (key: string) =>
    items.filter((item) => item.startsWith(`${key}=`)).map((item) => item.slice(key.length + 1))
  const [time, ...others] = valuesOf('t')
  if (time === undefined || others.length > 0) throw new Refusal(`${header} has not one t=`)
  checkTime(source, header, time, nowMs)
  const signatures = wellFormed(header, 'v1=', valuesOf('v1'), 'hex')
  return { signatures, algorithm: 'sha256', before: `${time}.`, after: '' }
}

/** Standard Webhooks 1.0: `v1,BASE64 v1,BASE64 v1a,…`: only `v1` counts. */
function ofStandardWebhooks(source: Source, rawHeaders: readonly string[], nowMs: number): Signed {
  const header = 'webhook-signature'
  const items = only(rawHeaders, header).split(' ')
  const id = only(rawHeaders, 'webhook-id')
  // The signed text is id.time.body: a dot in the id would let one part pass for another.
  if (id.includes('.')) throw new Refusal('webhook-id has a dot')
  const time = only(rawHeaders, 'webhook-timestamp')
  checkTime(source, 'webhook-timestamp', time, nowMs)
  const values = items.filter((item) => item.startsWith('v1,')).map((item) => item.slice('v1,'.length))
  const signatures = wellFormed(header, 'v1,', values, 'base64')
  return { signatures, algorithm: 'sha256', before: `${id}.${time}.`, after: '' }
}

function wellFormed(
  header: string,
  prefix: string,
  values: string[],
  encoding: Signing['encoding'],
): Buffer[] {
  const signatures = values.flatMap((value) => decoded(value, encoding, SIZES.sha256) ?? [])
  if (signatures.length > 0) return signatures
  throw new Refusal(`${header} has no ${prefix} with sha256 in ${encoding}`)
}

/** The bytes of a signature; undefined if it is not `size` bytes in the encoding. */
function decoded(text: string, encoding: Signing['encoding'], size: number): Buffer | undefined {
  const form = encoding === 'hex' ? /^[\da-fA-F]*$/ : /^[A-Za-z0-9+/]*={0,2}$/
  const length = encoding === 'hex' ? size * 2 : Math.ceil(size / 3) * 4
  const bytes = form.test(text) && text.length === length ? Buffer.from(text, encoding) : undefined
  return bytes?.length === size ? bytes : undefined
}

/** The keys of sources that have signed. To make one takes four times as long as an HMAC of a small body. */
const signingKeys = new WeakMap<Source, KeyObject[]>()

function signingKeysOf(source: Source): KeyObject[] {
  const known = signingKeys.get(source)
  if (known !== undefined) return known
  const made = source.keys.map((key) => createSecretKey(key, 'base64'))
  signingKeys.set(source, made)
  return made
}

function isSignedBy(source: Source, { signatures, algorithm, before, after }: Signed, body: Buffer): boolean {
  // The time may show which of the secrets it was, and nothing of any of them.
  return signingKeysOf(source).some((key) => {
    const hmac = createHmac(algorithm, key)
    // Most schemes sign the body alone, and an empty part costs as much as a short one.
    if (before !== '') hmac.update(before)
    hmac.update(body)
    if (after !== '') hmac.update(after)
    const expected = hmac.digest()
    return signatures.some((signature) => timingSafeEqual(expected, signature))
  })
}

function checkSecret({ keys }: Source, header: string, rawHeaders: readonly string[]): void {
  const value = only(rawHeaders, header)
  const isBearer = header === 'authorization'
  const given = isBearer ? /^bearer +(.+)$/i.exec(value)?.[1] : value
  if (given === undefined) throw new Refusal(`${header} is not Bearer and a token`)
  // Node decodes headers as Latin-1.
  if (!isSecretOf(keys, Buffer.from(given, 'latin1')))
    throw new Refusal(`${header} is not a secret of this source`)
}

/** Only an id in the head can be missing there: one in the body is looked for when the body is parsed. */
function checkId({ dedupe }: Source, rawHeaders: readonly string[]): void {
  if (dedupe.by === 'header') only(rawHeaders, dedupe.name)
  if (dedupe.by !== 'event' || valuesOf(rawHeaders, 'ce-specversion').length === 0) return
  for (const name of ['ce-source', 'ce-id']) only(rawHeaders, name)
}

function checkTime({ toleranceMs }: Source, header: string, time: string, nowMs: number): void {
  // No zero at the beginning: one time is written in one way, so that no digit can wander between it and the body.
  if (!/^[1-9]\d{0,11}$/.test(time)) throw new Refusal(`the time in ${header} is not in seconds since 1970`)
  const offMs = nowMs - Number(time) * 1000
  if (Math.abs(offMs) <= toleranceMs) return
  const seconds = Math.round(Math.abs(offMs) / 1000)
  throw new Refusal(
    `the time in ${header} is ${seconds} s ${offMs > 0 ? 'old' : 'ahead'}, more than ${toleranceMs / 1000} s`,
  )
}

/** The value of a header that must be there, once and not empty. */
function only(rawHeaders: readonly string[], name: string): string {
  const [value, ...others] = valuesOf(rawHeaders, name)
  if (others.length > 0) throw new Refusal(`${name} is there ${others.length + 1} times`)
  if (value === undefined || value === '') throw new Refusal(`${name} is missing`)
  return value
}

function digestOf(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}
