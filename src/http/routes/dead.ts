/** `/dead`: the dead letters. */
import { MailroomError } from '../../runtime/errors.ts'
import { atOf } from '../../storage/ids.ts'
import type { Dead } from '../../storage/ports.ts'
import { type Handler, pathParameter, type Reach, replyJson } from '../context.ts'
import { replyPage } from '../pages.ts'
import { checkId, idParameter, wholeNumber } from '../query.ts'

const LIMIT = { min: 1, max: 1000, fallback: 100 }

/** The routes of the dead letters. */
export function deadRoutes({
  facade,
  clock,
}: Reach): Record<'getDead' | 'getDeadOne' | 'replayDead' | 'deleteDead', Handler> {
  return {
    async getDead(context, query) {
      const limit = wholeNumber(query, 'limit', LIMIT)
      const { after } = idParameter(query, 'after')
      await replyPage(context, clock, {
        limit,
        read(cursor = after, count) {
          return facade.dead({ ...(cursor !== undefined && { after: cursor }), limit: count })
        },
        show: shown,
        next: (lastId, full) => (full ? `/dead?limit=${limit}&after=${lastId}` : null),
      })
    },
    async getDeadOne(context) {
      const id = checkId(pathParameter(context, 'id'), 'the id')
      const letter = await facade.deadOne(id)
      if (letter === undefined) throw noneOf(id)
      replyJson(context, 200, shown(letter))
    },
    async replayDead(context) {
      const id = checkId(pathParameter(context, 'id'), 'the id')
      if (!(await facade.replay(id))) throw noneOf(id)
      replyJson(context, 200, `{"id":"${id}","state":"queued"}`)
    },
    async deleteDead(context) {
      const id = checkId(pathParameter(context, 'id'), 'the id')
      if (!(await facade.purge(id))) throw noneOf(id)
      context.status = 204
    },
  }
}

function shown({ id, text, reason, attempts, firstError, lastError, deadAt }: Dead): string {
  const at = atOf(id)
  const deadIso = new Date(deadAt).toISOString()
  return JSON.stringify({ id, text, at, reason, attempts, firstError, lastError, deadAt: deadIso })
}

function noneOf(id: string): MailroomError {
  return new MailroomError('MR_NOT_FOUND', { what: `dead letter ${id}` })
}
