/** How a source's repeats are known: the sender's id of a message, as a key. */
import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { mediaTypeOf, valuesOf } from './raw-headers.ts'
import type { Source } from './source.ts'

/** Ids in larger bodies are not looked for: parsing would take too long. */
const JSON_MAX_BYTES = 1024 * 1024

/**
 * The key by which a repeat of this request is known. It stands outside the alphabet of clients' keys.
 *
 * @param name The name of the source: equal ids of two sources are two messages.
 * @param rawHeaders Those of a head that `checkHead` let pass.
 * @returns Undefined when the request has no id: then each is a message of its own.
 */
export function repeatKeyOf(
  name: string,
  source: Source,
  rawHeaders: readonly string[],
  body: Buffer,
): string | undefined {
  const id = idOf(source, rawHeaders, body)
  if (id === undefined) return undefined
  return `in:${createHash('sha256').update(`${name}\0${id}`).digest('base64url')}`
}

function idOf({ dedupe }: Source, rawHeaders: readonly string[], body: Buffer): string | undefined {
  if (dedupe.by === 'header') return valuesOf(rawHeaders, dedupe.name)[0]
  if (dedupe.by === 'json') return wordsIn(body, dedupe.pointer)[0]
  // What was signed is the body. Its digest, not its HMAC: a repeat is one also when the secret was rotated in between.
  if (dedupe.by === 'signature') return digestOf(body)
  return dedupe.by === 'event' ? eventIdOf(rawHeaders, body) : undefined
}

/** The id of a CloudEvent: its source and its id. A batch is one message, known by its bytes. */
function eventIdOf(rawHeaders: readonly string[], body: Buffer): string | undefined {
  if (valuesOf(rawHeaders, 'ce-specversion').length > 0) {
    return JSON.stringify(['ce-source', 'ce-id'].map((name) => valuesOf(rawHeaders, name)[0]))
  }
  const type = mediaTypeOf(rawHeaders)
  if (type === 'application/cloudevents-batch+json') return digestOf(body)
  if (type !== 'application/cloudevents+json') return undefined
  const [source, id] = wordsIn(body, '/source', '/id')
  return source === undefined || id === undefined ? undefined : JSON.stringify([source, id])
}

/** The texts at JSON pointers (RFC 6901), and numbers as they were written; undefined for all else, and for none. */
function wordsIn(body: Buffer, ...pointers: string[]): (string | undefined)[] {
  if (body.length > JSON_MAX_BYTES || !isUtf8(body)) return []
  const json = body.toString()
  try {
    const values = valuesAt(pointers, JSON.parse(json))
    const hasNumbers = values.some((value) => typeof value === 'number')
    const written = hasNumbers ? valuesAt(pointers, JSON.parse(json, numbersAsWritten)) : values
    return written.map((value) => (typeof value === 'string' && value !== '' ? value : undefined))
  } catch {
    return []
  }
}

/** Texts in the place of numbers: one beyond 2^53 would lose digits. Parsing with it takes several times as long. */
function numbersAsWritten(_key: string, value: unknown, written?: { source: string }): unknown {
  return typeof value === 'number' ? written?.source : value
}

function valuesAt(pointers: string[], json: unknown): unknown[] {
  return pointers.map((pointer) =>
    pointer
      .slice(1)
      .split('/')
      .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
      .reduce<unknown>((at, step) => (hasStep(at, step) ? at[step] : undefined), json),
  )
}

function hasStep(at: unknown, step: string): at is Record<string, unknown> {
  if (Array.isArray(at)) return /^(0|[1-9]\d*)$/.test(step) && Number(step) < at.length
  return typeof at === 'object' && at !== null && Object.hasOwn(at, step)
}

function digestOf(body: Buffer): string {
  return createHash('sha256').update(body).digest('base64url')
}
