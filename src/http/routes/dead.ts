/** `/dead`: the dead letters. */
import { MailroomError } from '../../runtime/errors.ts'
import { shown } from '../../storage/content.ts'
import type { Dead } from '../../storage/ports.ts'
import {
  type ApiContext,
  checkId,
  type Endpoint,
  idParameter,
  numberParameter,
  PAGE_LIMIT,
  pathParameter,
  replyJson,
} from '../context.ts'
import { inSingleRoom, replyPage } from '../streams.ts'

/** The routes of the dead letters. */
export function deadRoutes(
  api: ApiContext,
): Record<'getDead' | 'getDeadOne' | 'replayDead' | 'deleteDead', Endpoint> {
  const { facade } = api
  return {
    async getDead(context, query) {
      const limit = numberParameter(query, 'limit', PAGE_LIMIT)
      const { after } = idParameter(query, 'after')
      await replyPage(context, api, {
        limit,
        read(cursor = after, count) {
          return facade.dead({ ...(cursor !== undefined && { after: cursor }), limit: count })
        },
        toJson: letterJson,
        next: (lastId, isFull) => (isFull ? `/dead?limit=${limit}&after=${lastId}` : null),
      })
    },
    async getDeadOne(context) {
      const id = checkId(pathParameter(context, 'id'), 'the id')
      await inSingleRoom(context, api, async (enter) => {
        await enter()
        const letter = await facade.deadOne(id)
        if (letter === undefined) throw notFound(id)
        replyJson(context, 200, letterJson(letter))
        return letter
      })
    },
    async replayDead(context) {
      const id = checkId(pathParameter(context, 'id'), 'the id')
      if (!(await facade.replay(id))) throw notFound(id)
      replyJson(context, 200, `{"id":"${id}","state":"queued"}`)
    },
    async deleteDead(context) {
      const id = checkId(pathParameter(context, 'id'), 'the id')
      if (!(await facade.purge(id))) throw notFound(id)
      context.status = 204
    },
  }
}

function letterJson(letter: Dead): string {
  const { reason, attempts, firstError, lastError } = letter
  const deadAt = new Date(letter.deadAt).toISOString()
  return JSON.stringify({ ...shown(letter), reason, attempts, firstError, lastError, deadAt })
}

function notFound(id: string): MailroomError {
  return new MailroomError('MR_NOT_FOUND', { what: `dead letter ${id}` })
}
