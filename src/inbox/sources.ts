/**
 * Reads the file of `--sources`. All that is wrong is told at once, each with its place, such as `github.secret[1]`, and
 * no secret is shown.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { z } from 'zod'
import { invalidConfig } from '../settings/settings-reader.ts'
import { SOURCE_NAME } from '../storage/dead-filter.ts'
import { parseJson } from './json.ts'
import { isObject, sentencesOf, shown } from './sentences.ts'
import { type Dedupe, SCHEMES, type Scheme, type Signing, type Source, type Sources } from './source.ts'
import { type Declared, fieldsOf, type SchemaContext, schemaOf } from './sources-schema.ts'

/** What the sources of a node are checked against. */
export interface SourcesContext extends Omit<SchemaContext, 'read'> {
  /** Sources that check nothing are allowed: the node listens on loopback only, or has `--open`. */
  mayBeOpen: boolean
  /** Reads a file, by default with `readFileSync`. @throws If it cannot. */
  read?: (path: string) => Buffer
}

const KEEP = ['user-agent', 'x-*', 'webhook-id', 'webhook-timestamp', 'ce-*', 'traceparent']
const TOLERANCE_MS = 300_000

const signing = (header: string, rest: Partial<Signing> = {}): Signing => ({
  ...{ header, prefix: '', algorithm: 'sha256', encoding: 'hex', signed: '{body}', ...rest },
})
const hub = signing('x-hub-signature-256', { prefix: 'sha256=' })

/** What a scheme says of its sources. */
const DEFAULTS: Record<Scheme, { dedupe: Dedupe; header?: string; signing?: Signing }> = {
  github: { signing: hub, dedupe: { by: 'header', name: 'x-github-delivery' } },
  gitlab: { header: 'x-gitlab-token', dedupe: { by: 'header', name: 'idempotency-key' } },
  stripe: { header: 'stripe-signature', dedupe: { by: 'json', pointer: '/id' } },
  shopify: {
    signing: signing('x-shopify-hmac-sha256', { encoding: 'base64' }),
    dedupe: { by: 'header', name: 'x-shopify-webhook-id' },
  },
  slack: {
    signing: signing('x-slack-signature', {
      prefix: 'v0=',
      signed: 'v0:{timestamp}:{body}',
      timestamp: 'x-slack-request-timestamp',
    }),
    dedupe: { by: 'json', pointer: '/event_id' },
  },
  meta: { signing: hub, dedupe: { by: 'signature' } },
  standard: { header: 'webhook-signature', dedupe: { by: 'header', name: 'webhook-id' } },
  hmac: { dedupe: { by: 'event' } },
  token: { header: 'authorization', dedupe: { by: 'event' } },
  none: { dedupe: { by: 'none' } },
}

/**
 * Reads and checks the file of `--sources`. The paths of `file:` secrets are relative to its directory.
 *
 * @returns The sources by name, with their secrets: plain JSON.
 * @throws {MailroomError} `MR_CONFIG_INVALID` with every problem: the file cannot be read, is not JSON, has a key twice,
 * names what does not exist, lacks what must be said, or a secret has no value.
 */
export function readSources(file: string, context: SourcesContext): Sources {
  const { read = (path: string) => readFileSync(path) } = context
  const schema = schemaOf({ ...context, read: (path) => read(resolve(dirname(file), path)) })
  const fields = fieldsOf(schema)
  const sources: [string, Source][] = []
  const { entries, problems } = declarationsIn(file, read)
  for (const [name, declared] of entries) {
    const { data, error } = schema.safeParse(declared)
    if (!SOURCE_NAME.test(name)) problems.push(`${JSON.stringify(name)}: ${NAME_WORDS}`)
    problems.push(
      ...[...(error?.issues ?? []), ...strayIssues(declared, schema)].flatMap((issue) =>
        sentencesOf(issue, name, declared, fields),
      ),
      ...[...contradictions(declared, context)].map(([at, why]) => `${name}.${at}: ${why}`),
    )
    if (data !== undefined) sources.push([name, sourceOf(data, context)])
  }
  if (problems.length === 0) return Object.fromEntries(sources)
  throw invalidConfig(...problems.map((problem) => `--sources ${file}: ${problem}`))
}

/**
 * Of a source without a known `verify`, which says what else it takes: the issues of its other fields. A field that is right
 * for some scheme has none.
 */
function strayIssues(declared: unknown, { options }: ReturnType<typeof schemaOf>): z.core.$ZodIssue[] {
  if (!isObject(declared) || SCHEMES.includes(declared['verify'] as Scheme)) return []
  return Object.entries(declared).flatMap(([field, value]) => {
    const schemas = options.flatMap(({ shape }) => (shape as Record<string, z.ZodType>)[field] ?? [])
    if (schemas.length === 0)
      return [{ code: 'unrecognized_keys', keys: [field], path: [], message: '' } as z.core.$ZodIssue]
    if (field === 'verify') return []
    const errors = schemas.map((schema) => schema.safeParse(value).error)
    if (errors.includes(undefined)) return []
    return errors[0]!.issues.map((issue) => ({ ...issue, path: [field, ...issue.path] }))
  })
}

const NAME_WORDS = 'expected a name of 1 to 64 of a-z, 0-9, - and _, that begins with a letter or digit'

/** Names and what is declared of them; `$schema` is for editors. */
function declarationsIn(
  file: string,
  read: (path: string) => Buffer,
): { entries: [string, unknown][]; problems: string[] } {
  try {
    const { value, duplicates } = parseJson(read(file).toString())
    if (!isObject(value)) throw new Error(`expected an object of sources by name, got ${shown(value)}`)
    return { entries: Object.entries(value).filter(([name]) => name !== '$schema'), problems: duplicates }
  } catch (error) {
    return { entries: [], problems: [(error as Error).message] }
  }
}

/** The source of a declaration. */
function sourceOf(declared: Declared, { maxMessageBytes }: SourcesContext): Source {
  const { verify, keep, types, maxBytes, answer, browser, cloudevents } = declared
  const { header, signing, dedupe } = { ...DEFAULTS[verify], ...ownOf(declared) }
  const carrier = signing?.header ?? header
  return {
    verify,
    keys: 'secret' in declared ? declared.secret : [],
    ...(carrier !== undefined && { header: carrier }),
    ...(signing !== undefined && { signing }),
    toleranceMs: ('tolerance' in declared ? declared.tolerance : undefined) ?? TOLERANCE_MS,
    dedupe: dedupeOf(declared.dedupe) ?? dedupe,
    keep: keep ?? KEEP,
    ...(types !== undefined && { types }),
    maxBytes: maxBytes ?? maxMessageBytes,
    answer: answer ?? 200,
    browser: browser ?? false,
    cloudevents: cloudevents ?? false,
    ...('verifyToken' in declared && { verifyToken: declared.verifyToken }),
  }
}

/** What a declaration says beside the defaults of its scheme. */
function ownOf(declared: Declared): { header?: string; signing?: Signing; dedupe?: Dedupe } {
  if (declared.verify === 'token' && declared.header !== undefined) return { header: declared.header }
  // An id that nobody vouches for is taken only where CloudEvents were asked for: anybody could claim it first.
  if (declared.verify === 'none' && declared.cloudevents) return { dedupe: { by: 'event' } }
  if (declared.verify !== 'hmac') return {}
  const { header, prefix, algorithm, encoding, signed, timestamp } = declared
  const said = { prefix, algorithm, encoding, signed, timestamp }
  const given = Object.entries(said).filter(([, value]) => value !== undefined)
  return { signing: signing(header, Object.fromEntries(given)) }
}

function dedupeOf(text: string | undefined): Dedupe | undefined {
  if (text === undefined) return undefined
  if (text.startsWith('header:')) return { by: 'header', name: text.slice('header:'.length).toLowerCase() }
  if (text.startsWith('json:')) return { by: 'json', pointer: text.slice('json:'.length) }
  return { by: text as 'signature' | 'none' }
}

/** Place -> what does not fit another field. The declaration may be wrong in other ways. */
function* contradictions(declared: unknown, { mayBeOpen }: SourcesContext): Generator<[string, string]> {
  if (!isObject(declared)) return
  const { verify, header, dedupe, signed, timestamp, tolerance } = declared
  if (verify === 'none' && !mayBeOpen) {
    yield ['verify', 'none lets anybody post who reaches --host, which is not loopback; it needs --open']
  }
  const carrier = typeof header === 'string' ? header : DEFAULTS[verify as Scheme]?.header
  const holdsSecret = verify === 'gitlab' || verify === 'token'
  if (holdsSecret && String(dedupe).toLowerCase() === `header:${carrier}`.toLowerCase()) {
    yield ['dedupe', `${carrier} is the same in every request, so each would be a repeat of the first`]
  }
  if (verify !== 'hmac') return
  const signsTime = String(signed).includes('{timestamp}')
  if (signsTime && timestamp === undefined) {
    yield ['timestamp', 'expected header:NAME, as signed has {timestamp}, got nothing']
  }
  if (!signsTime && timestamp !== undefined) {
    yield ['timestamp', 'it means nothing unless it is signed: signed has no {timestamp}']
  }
  if (!signsTime && tolerance !== undefined)
    yield ['tolerance', 'no time is signed: signed has no {timestamp}']
}
