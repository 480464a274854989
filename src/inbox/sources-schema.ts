/**
 * What may stand in the file of `--sources`, as a schema: the checks and the JSON Schema for editors come from it.
 */
import { z } from 'zod'
import { duration } from '../settings/setting-values.ts'
import { SOURCE_NAME } from '../storage/dead-filter.ts'
import { SCHEMES, type Scheme } from './source.ts'

/** What a source is checked against. */
export interface SchemaContext {
  /** Variables, for secrets such as `env:NAME`. */
  env: Record<string, string | undefined>
  /** `--max-message`, in bytes: the limit of `maxBytes`, and its default. */
  maxMessageBytes: number
  /** Reads a file of a secret. @throws If it cannot. */
  read: (path: string) => Buffer
}

/** Characters of a header's name, without `*`. */
const TOKEN = "[!#$%&'+.^_`|~0-9A-Za-z-]"
const HEADER = `${TOKEN}{1,256}`
const POINTER = '(?:/(?:[^~/]|~[01])*)+'
const MAX_SECRETS = 4
const SPAN = duration('1s', '1d')

const lower = (text: string) => text.toLowerCase()
const text = (pattern: string, takes: string) => z.string(takes).regex(new RegExp(`^(?:${pattern})$`), takes)
const yesNo = z.boolean('true or false').optional()
const headerName = text(HEADER, 'the name of a header').transform(lower)

/**
 * The schema of one source. Its messages are what it expects, in words that follow "expected"; those of code `custom` are
 * whole sentences. Secrets are read while it parses: its output has their bytes in Base64.
 */
export function schemaOf(context: SchemaContext) {
  const { maxMessageBytes } = context
  /** A secret, in Base64. `keyOf`: its bytes as the scheme uses them; empty if they are none. */
  const reference = (keyOf = (bytes: Buffer) => bytes, takes = 'a value') =>
    text('(?:env|file):.+', 'env:NAME or file:PATH').transform((where, issues) => {
      try {
        const bytes = secretOf(where, context)
        const key = keyOf(bytes)
        if (key.length > 0) return key.toString('base64')
        const got = bytes.length === 0 ? 'an empty one' : 'something else'
        issues.addIssue(`expected ${where} to have ${takes}, got ${got}`)
      } catch (error) {
        issues.addIssue(`expected ${where} to be there: ${(error as Error).message}`)
      }
      return z.NEVER
    })
  const several = `env:NAME or file:PATH, or a list of one to ${MAX_SECRETS}`
  const secretOr = (one: ReturnType<typeof reference>) =>
    z
      .union([one, z.array(one, several).min(1, several).max(MAX_SECRETS, several)], several)
      .transform((keys) => [keys].flat())
      .describe('Where its secret stands, or up to four of them, of which any passes: env:NAME or file:PATH')
  const secret = secretOr(reference())
  const span = 'a duration from 1s to 1d, such as 300s, or a number of seconds'
  const tolerance = z
    .union([z.string(), z.number()], span)
    .transform((given, issues) => {
      const { data } = SPAN.safeParse(typeof given === 'number' ? `${given}s` : given)
      if (data === undefined) issues.addIssue(`expected ${span}, got ${JSON.stringify(given)}`)
      return data ?? z.NEVER
    })
    .optional()
    .describe('How old a signed time may be, or how far ahead: a duration, or a number of seconds [300s]')
  const dedupe = dedupeSchema(
    `header:HEADER|json:${POINTER}|signature|none`,
    'header:NAME, json:/pointer, signature or none',
  )
  const unsigned = dedupeSchema(`header:HEADER|json:${POINTER}|none`, 'header:NAME, json:/pointer or none')
  const media = text(String.raw`[\w.+-]+/(?:[\w.+-]+|\*)`, 'a media type such as application/json or image/*')
  const size = `a whole number of bytes from 1 to ${maxMessageBytes}, which is --max-message`
  const every = {
    keep: z
      .array(
        text(`${TOKEN}{1,256}\\*?|\\*`, "a header's name, or a beginning such as x-*").transform(lower),
        "a list of headers' names",
      )
      .optional()
      .describe('Headers kept with a message: names, or beginnings such as x-*'),
    types: z
      .array(media.transform(lower), 'a list of media types')
      .min(1, 'a list of media types')
      .optional()
      .describe('Media types it takes [any]'),
    maxBytes: z
      .int(size)
      .min(1, size)
      .max(maxMessageBytes, size)
      .optional()
      .describe('The largest body, in bytes [--max-message]'),
    answer: z
      .literal([200, 201, 202, 204], '200, 201, 202 or 204')
      .optional()
      .describe('Status of success [200]'),
    browser: yesNo.describe('Takes posts of web pages [false]'),
    cloudevents: yesNo.describe('Answers the OPTIONS of CloudEvents [false]'),
  }
  const scheme = <S extends Scheme, F extends z.ZodRawShape>(verify: S, about: string, fields: F) =>
    z.strictObject({ verify: z.literal(verify).describe(about), ...fields, ...every })
  return z.discriminatedUnion(
    'verify',
    [
      scheme('github', 'X-Hub-Signature-256; the id is X-GitHub-Delivery', { secret, dedupe }),
      scheme('gitlab', 'X-Gitlab-Token; with a signing token, say standard', { secret, dedupe: unsigned }),
      scheme('stripe', 'Stripe-Signature; the id is json:/id', { secret, tolerance, dedupe }),
      scheme('shopify', 'X-Shopify-Hmac-Sha256; the id is X-Shopify-Webhook-Id', { secret, dedupe }),
      scheme('slack', 'X-Slack-Signature; the id is json:/event_id', { secret, tolerance, dedupe }),
      scheme('meta', 'X-Hub-Signature-256; two equal bodies are one message', {
        secret,
        verifyToken: reference().describe(
          'Where the token stands that Meta asks with: env:NAME or file:PATH',
        ),
        dedupe,
      }),
      scheme('standard', 'Standard Webhooks 1.0; the id is webhook-id', {
        secret: secretOr(reference(standardKey, 'whsec_ and a key in Base64')),
        tolerance,
        dedupe,
      }),
      scheme('hmac', 'An HMAC in a header', {
        secret,
        header: headerName.describe('The header with the signature'),
        prefix: z.string('a text').optional().describe('What stands before it there, such as sha256='),
        algorithm: z
          .enum(['sha256', 'sha1', 'sha512'], 'sha256, sha1 or sha512')
          .optional()
          .describe('[sha256]'),
        encoding: z.enum(['hex', 'base64'], 'hex or base64').optional().describe('[hex]'),
        signed: text(
          String.raw`[^{}]*(?:\{body\}|\{timestamp\}[^{}]*\{body\}|\{body\}[^{}]*\{timestamp\})[^{}]*`,
          '{body} or {timestamp}.{body}',
        )
          .optional()
          .describe('What is signed, such as {timestamp}.{body} [{body}]'),
        timestamp: text(`header:${HEADER}`, 'header:NAME')
          .transform((where) => lower(where.slice('header:'.length)))
          .optional()
          .describe('The header with the signed time, in seconds since 1970: header:NAME'),
        tolerance,
        dedupe,
      }),
      scheme('token', 'A secret in a header', {
        secret,
        header: headerName.optional().describe('The header [Authorization, as Bearer]'),
        dedupe: unsigned,
      }),
      scheme('none', 'Nothing is checked: anybody may post', { dedupe: unsigned }),
    ],
    {
      error: ({ code }: { code: string }) =>
        code === 'invalid_type' ? 'an object' : `one of ${SCHEMES.join(', ')}`,
    },
  )
}

function dedupeSchema(pattern: string, takes: string) {
  return text(pattern.replace('HEADER', HEADER), takes)
    .optional()
    .describe(`Where the sender's id stands, by which a repeat is known: ${takes}`)
}

/** A source as its file declares it, with its secrets read. */
export type Declared = z.output<ReturnType<typeof schemaOf>>

/** Scheme -> the fields that its sources may have. */
export function fieldsOf(schema: ReturnType<typeof schemaOf>): Map<unknown, string[]> {
  return new Map(schema.options.map(({ shape }) => [shape.verify.value, Object.keys(shape)]))
}

/** A JSON Schema of the file, for editors. `config/sources.schema.json` is made of it. */
export function sourcesJsonSchema(): object {
  const schema = schemaOf({ env: {}, maxMessageBytes: Number.MAX_SAFE_INTEGER, read: () => Buffer.alloc(0) })
  const { $schema, ...source } = z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      delete jsonSchema['takes']
      delete jsonSchema['shape']
    },
  })
  return {
    ...{ $schema, title: 'Sources of Mailroom', type: 'object' },
    properties: { $schema: { type: 'string' } },
    patternProperties: { [SOURCE_NAME.source]: source },
    additionalProperties: false,
  }
}

/** The key of Standard Webhooks: `whsec_`, which may be left out, and Base64. Empty if it is none. */
function standardKey(secret: Buffer): Buffer {
  const encoded = secret.toString().replace(/^whsec_/, '')
  const key = Buffer.from(encoded, 'base64')
  return key.toString('base64').replace(/=+$/, '') === encoded.replace(/=+$/, '') ? key : Buffer.alloc(0)
}

/** The bytes of a secret. One line feed at the end of a file is not part of it. */
function secretOf(where: string, { env, read }: SchemaContext): Buffer {
  const [, kind, name] = /^(env|file):(.*)$/.exec(where)!
  if (kind === 'env') {
    const value = env[name!]
    if (value === undefined) throw new Error('the variable is not set')
    return Buffer.from(value)
  }
  const bytes = read(name!)
  const end = bytes.at(-1) === 10 ? (bytes.at(-2) === 13 ? -2 : -1) : bytes.length
  return bytes.subarray(0, end)
}
