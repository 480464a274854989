/** Small JSON bodies of calls that change something: read, parsed, and checked by a schema. */
import type { Context } from 'koa'
import type { z } from 'zod'
import type { Clock } from '../runtime/clock.ts'
import { hasDuplicateKeys, mediaTypeOf, readBody, utf8Of } from './body.ts'
import { badRequest } from './problems.ts'

/** The most bytes of such a body, unless a route says otherwise. */
export const JSON_BODY_MAX_BYTES = 1024

/**
 * Reads the body of a request: a flat JSON object that `schema` describes.
 *
 * @param options.expected What it is to be, for people: `{"paused": true or false} and nothing else`.
 * @throws {MailroomError} `MR_TYPE_UNSUPPORTED`; `MR_REQUEST_INVALID` for a body that is not so, or has a key twice;
 * whatever `readBody` throws. Nothing was changed then.
 */
export async function readJsonObject<T extends object>(
  { req: request, res: response }: Context,
  options: { schema: z.ZodType<T>; expected: string; clock: Clock; limitBytes?: number },
): Promise<T> {
  const { schema, expected, clock, limitBytes = JSON_BODY_MAX_BYTES } = options
  mediaTypeOf(request, ['application/json'])
  const source = utf8Of(await readBody(request, response, { what: 'The body', limitBytes, clock })) ?? ''
  let value: unknown
  try {
    value = JSON.parse(source)
  } catch {
    // Not JSON: refused below, like any other body that does not fit.
  }
  const { success, data } = schema.safeParse(value)
  if (success && !hasDuplicateKeys(source, stringCountOf(data))) return data
  throw badRequest({ where: 'the body', expected, got: 'something else' })
}

function stringCountOf(flat: object): number {
  return Object.entries(flat)
    .flat()
    .filter((each) => typeof each === 'string').length
}
