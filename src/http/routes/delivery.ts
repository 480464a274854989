/** `/delivery`: whether messages are delivered, or an operator has paused that. */
import { z } from 'zod'
import { hasDuplicateKeys, mediaTypeOf, readBody, utf8Of } from '../body.ts'
import { addToChange } from '../change-log.ts'
import { type ApiContext, type Endpoint, replyJson } from '../context.ts'
import { badRequest } from '../problems.ts'

const BODY_MAX_BYTES = 1024

/** What `PUT /delivery` takes. */
export const PutDelivery = z.strictObject({ paused: z.boolean() })

/** The routes of delivery. */
export function deliveryRoutes({
  facade,
  clock,
}: ApiContext): Record<'getDelivery' | 'putDelivery', Endpoint> {
  return {
    async getDelivery(context) {
      replyJson(context, 200, JSON.stringify({ paused: await facade.isPaused() }))
    },
    async putDelivery(context) {
      mediaTypeOf(context.req, ['application/json'])
      const limits = { what: 'The body', limitBytes: BODY_MAX_BYTES, clock }
      const paused = pausedOf(utf8Of(await readBody(context.req, context.res, limits)))
      addToChange(context, { parameters: { paused } })
      await facade.setPaused(paused)
      replyJson(context, 200, JSON.stringify({ paused }))
    },
  }
}

function pausedOf(source: string | undefined): boolean {
  let value: unknown
  try {
    value = JSON.parse(source ?? '')
  } catch {
    // Not JSON: refused below, like any other body that does not fit.
  }
  const { success, data } = PutDelivery.safeParse(value)
  if (success && !hasDuplicateKeys(source!, 1)) return data.paused
  const expected = '{"paused": true or false} and nothing else'
  throw badRequest({ where: 'the body', expected, got: 'something else' })
}
