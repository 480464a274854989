/** `/log/redrive`: what the queue has lost, put back from the log, a page at a time. */
import { type Handler, type Reach, replyJson } from '../context.ts'
import { Gate } from '../limits.ts'
import { idParameter, wholeNumber } from '../query.ts'

const LIMIT = { min: 1, max: 1000, fallback: 1000 }
const REDRIVES_MAX = 4

/** The route that redrives. */
export function redriveRoutes({ facade }: Reach): Record<'redriveLog', Handler> {
  const redrives = new Gate('redrives', REDRIVES_MAX)
  return {
    async redriveLog(context, query) {
      const limit = wholeNumber(query, 'limit', LIMIT)
      const range = { ...idParameter(query, 'after'), limit }
      const { checked, redriven, last } = await redrives.pass(() => facade.redrive(range))
      const next = last === null ? null : `/log/redrive?limit=${limit}&after=${last}`
      replyJson(context, 200, JSON.stringify({ checked, redriven, next }))
    },
  }
}
