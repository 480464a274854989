/** Parses and checks the messages in the body of a POST. */
import { createHash, hash as hashAtOnce } from 'node:crypto'
import type { Context } from 'koa'
import { z } from 'zod'
import { MailroomError, type Place } from '../../runtime/errors.ts'
import { storedText } from '../../storage/content.ts'
import { BATCH_MAX_COUNT, bodyMaxBytes } from '../../storage/limits.ts'
import { hasDuplicateKeys, readBody, utf8Of } from '../body.ts'
import type { ApiContext } from '../context.ts'
import { quoted } from '../problems.ts'

/** One message as posted. `checkText` checks the length, which is in bytes of UTF-8. */
export const PostedMessage = z.strictObject({ text: z.string() })

/** A batch as posted. `parsePosted` checks the count first, so that a long array costs no more than a full batch. */
export const PostedBatch = z.array(PostedMessage)

/** So many places, or unknown keys, are named in an error; the rest are counted. */
const NAMED_COUNT = 5

/** The stored texts. `many`: they came as a batch, and the answer is an array. */
interface Posted {
  texts: string[]
  many: boolean
}

/**
 * Reads the body of a POST: one message or a batch in JSON, or one text.
 *
 * @throws {MailroomError} As `readBody`; `MR_MESSAGE_INVALID` naming the place (`[3].text`), `MR_TOO_LARGE` for a
 * text.
 */
export async function readPosted(
  context: Context,
  type: 'application/json' | 'text/plain',
  { clock, config: { maxMessageBytes } }: Pick<ApiContext, 'clock' | 'config'>,
): Promise<Posted> {
  const isText = type === 'text/plain'
  const what = isText ? 'The text' : 'The body'
  const limitBytes = isText ? maxMessageBytes : bodyMaxBytes(maxMessageBytes)
  const source = utf8Of(await readBody(context.req, context.res, { what, limitBytes, clock }))
  if (source === undefined) throw wrong('the body', 'UTF-8', 'something else')
  if (isText) return { texts: [checkText(source, 'the body', maxMessageBytes)], many: false }
  return parsePosted(source, maxMessageBytes)
}

/** One call takes half the time, and a copy of the text: that is for short ones. */
const HASHED_AT_ONCE = 64 * 1024

/** Hashes the texts, not the bytes of the body: the same text as JSON and as text/plain is the same request. */
export function hashOf({ texts, many }: Posted): string {
  const kind = many ? 'many' : 'one'
  const [first] = texts
  if (texts.length === 1 && first!.length <= HASHED_AT_ONCE)
    return hashAtOnce('sha256', `${kind},${Buffer.byteLength(first!)}:${first}`)
  const hash = createHash('sha256').update(kind)
  for (const text of texts) hash.update(`,${Buffer.byteLength(text)}:`).update(text)
  return hash.digest('hex')
}

function parsePosted(source: string, maxBytes: number): Posted {
  const value = parse(source, 'the body')
  if (!Array.isArray(value)) return { texts: [textOf(value, source, maxBytes)], many: false }
  if (value.length === 0 || value.length > BATCH_MAX_COUNT) {
    throw wrong('the body', `1 to ${BATCH_MAX_COUNT} messages`, String(value.length))
  }
  const { success, data, error } = PostedBatch.safeParse(value)
  if (!success) throw invalid(error.issues, value, 'the body')
  if (hasDuplicateKeys(source, data.length * 2)) throw duplicate('the body')
  return { texts: data.map(({ text }, index) => checkText(text, `[${index}].text`, maxBytes)), many: true }
}

/**
 * The stored text of one line of NDJSON.
 *
 * @param maxBytes Of its text: `--max-message`.
 * @throws {MailroomError} `MR_MESSAGE_INVALID` or `MR_TOO_LARGE`.
 */
export function parseLine(bytes: Buffer, maxBytes: number): string {
  const source = utf8Of(bytes)
  if (source === undefined) throw wrong('the line', 'UTF-8', 'something else')
  return textOf(parse(source, 'the line'), source, maxBytes)
}

/** The stored text of a text that can be read back byte for byte. */
function checkText(text: string, where: string, maxBytes: number): string {
  if (text === '') throw wrong(where, 'not empty', 'an empty text')
  if (text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes) {
    throw new MailroomError('MR_TOO_LARGE', { what: where, limitBytes: maxBytes })
  }
  if (!text.isWellFormed()) throw wrong(where, 'well-formed Unicode', 'a lone surrogate')
  return storedText({ text })
}

function textOf(value: unknown, source: string, maxBytes: number): string {
  const { success, data, error } = PostedMessage.safeParse(value)
  if (!success) throw invalid(error.issues, value, 'the message')
  if (hasDuplicateKeys(source, 2)) throw duplicate('the message')
  return checkText(data.text, 'text', maxBytes)
}

function parse(source: string, where: string): unknown {
  try {
    return JSON.parse(source)
  } catch (error) {
    // Of V8's message only the position is passed on: the rest quotes the text.
    const position = /at position \d+/.exec((error as Error).message)?.[0]
    throw wrong(where, 'JSON', position === undefined ? 'something else' : `something else ${position}`)
  }
}

/** The error of a body that does not fit: its first places, and how many there are beside. */
function invalid(issues: readonly z.core.$ZodIssue[], root: unknown, whole: string): MailroomError {
  const [first, ...others] = issues.slice(0, NAMED_COUNT).map((issue) => placeOf(issue, root, whole))
  return new MailroomError('MR_MESSAGE_INVALID', {
    ...first!,
    others,
    more: issues.length - 1 - others.length,
  })
}

function placeOf(issue: z.core.$ZodIssue, root: unknown, whole: string): Place {
  const path = issue.path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`))
    .join('')
  const where = path.replace(/^\./, '') || whole
  if (issue.code === 'unrecognized_keys') {
    const named = issue.keys.slice(0, NAMED_COUNT).map(quoted).join(', ')
    const more = issue.keys.length - NAMED_COUNT
    const got = `unknown ${named}${more > 0 ? ` and ${more} more` : ''}`
    return { where, expected: '{"text"} and nothing else', got }
  }
  const found = issue.path.reduce<unknown>((value, step) => (value as never)?.[step as never], root)
  if (issue.code === 'invalid_type' && issue.expected === 'string') {
    return { where, expected: 'a string', got: kindOf(found) }
  }
  return { where, expected: '{"text": string}', got: kindOf(found) }
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  return Array.isArray(value) ? 'an array' : `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`
}

function duplicate(where: string): MailroomError {
  return wrong(where, '{"text"} and nothing else', '"text" twice')
}

function wrong(where: string, expected: string, got: string): MailroomError {
  return new MailroomError('MR_MESSAGE_INVALID', { where, expected, got })
}
