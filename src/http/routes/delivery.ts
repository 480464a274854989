/** `/delivery`: whether messages are delivered, or an operator has paused that. */
import { z } from 'zod'
import { addToChange } from '../change-log.ts'
import { type ApiContext, type Endpoint, replyJson } from '../context.ts'
import { readJsonObject } from '../json-body.ts'

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
      const expected = '{"paused": true or false} and nothing else'
      const { paused } = await readJsonObject(context, { schema: PutDelivery, expected, clock })
      addToChange(context, { parameters: { paused } })
      await facade.setPaused(paused)
      replyJson(context, 200, JSON.stringify({ paused }))
    },
  }
}
