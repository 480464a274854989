/** `/dead`: the dead letters. */
import type { Context } from 'koa'
import { MailroomError } from '../../runtime/errors.ts'
import { shown } from '../../storage/content.ts'
import { GROUP_NAME, GROUP_NAME_WORDS, REASON_MAX_CHARACTERS } from '../../storage/dead-filter.ts'
import type { Dead, DeadFilter, DeadGroup } from '../../storage/ports.ts'
import {
  type ApiContext,
  checkId,
  type Endpoint,
  idParameter,
  numberParameter,
  PAGE_LIMIT,
  pathParameter,
  type Query,
  replyJson,
  sourceParameter,
} from '../context.ts'
import { ConcurrencyLimit } from '../overload.ts'
import { badRequest, quoted } from '../problems.ts'
import { inSingleRoom, replyPage } from '../streams.ts'

/** Calls that change dead letters in bulk, at once: each keeps all messages actors busy. */
export const BULK_MAX = 4
/** The `limit` of a change in bulk. */
export const BULK_LIMIT = { ...PAGE_LIMIT, fallback: PAGE_LIMIT.max }

/** The routes of the dead letters. */
export function deadRoutes(
  api: ApiContext,
): Record<
  | 'getDead'
  | 'getDeadGroups'
  | 'replayManyDead'
  | 'purgeManyDead'
  | 'getDeadOne'
  | 'replayDead'
  | 'deleteDead',
  Endpoint
> {
  const { facade, config } = api
  const bulk = new ConcurrencyLimit('bulk changes of dead letters', BULK_MAX)
  const change = async (change: 'replay' | 'purge', context: Context, query: Query) => {
    const limit = numberParameter(query, 'limit', BULK_LIMIT)
    const filter = filterIn(query)
    const range = { ...idParameter(query, 'after'), limit, ...filter }
    const { checked, changed, last } = await bulk.run(() => facade.changeDead(change, range))
    const rest = new URLSearchParams({ limit: String(limit), after: last ?? '', ...filter })
    const next = last === null ? null : `/dead/${change}?${rest}`
    const done = change === 'replay' ? { replayed: changed } : { purged: changed }
    replyJson(context, 200, JSON.stringify({ checked, ...done, next }))
  }
  return {
    replayManyDead: (context, query) => change('replay', context, query),
    purgeManyDead: (context, query) => change('purge', context, query),
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
    async getDeadGroups(context, query) {
      const lane = numberParameter(query, 'lane', { min: 0, max: config.lanes - 1, fallback: 0 })
      const range = { lane, ...idParameter(query, 'after') }
      const { groups, next, ...counts } = await facade.deadGroups(range)
      const path = next && `/dead/groups?lane=${next.lane}&after=${next.after}`
      replyJson(context, 200, JSON.stringify({ groups: groups.map(groupJson), ...counts, next: path }))
    },
    async getDeadOne(context) {
      const id = checkId(pathParameter(context, 'id'), 'the id')
      await inSingleRoom(context, api, async (enter) => {
        await enter()
        const letter = await facade.deadOne(id)
        if (letter === undefined) throw notFound(id)
        return { message: letter, json: letterJson(letter) }
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

/** The dead letters that a query means: of a source, with a reason that begins with a text, of a group. */
function filterIn(query: Query): Pick<DeadFilter, 'source' | 'reason' | 'group'> {
  const { reason, group } = query
  if (reason !== undefined && (reason === '' || reason.length > REASON_MAX_CHARACTERS)) {
    const expected = `what reasons begin with, of 1 to ${REASON_MAX_CHARACTERS} characters`
    throw badRequest({ where: 'query parameter "reason"', expected, got: quoted(reason) })
  }
  if (group !== undefined && !GROUP_NAME.test(group)) {
    throw badRequest({ where: 'query parameter "group"', expected: GROUP_NAME_WORDS, got: quoted(group) })
  }
  return {
    ...sourceParameter(query),
    ...(reason !== undefined && { reason }),
    ...(group !== undefined && { group }),
  }
}

function groupJson({ oldestAt, newestAt, ...group }: DeadGroup): object {
  return { ...group, oldestAt: new Date(oldestAt).toISOString(), newestAt: new Date(newestAt).toISOString() }
}

function letterJson(letter: Dead): string {
  const { reason, attempts, firstError, lastError } = letter
  const deadAt = new Date(letter.deadAt).toISOString()
  return JSON.stringify({ ...shown(letter), reason, attempts, firstError, lastError, deadAt })
}

function notFound(id: string): MailroomError {
  return new MailroomError('MR_NOT_FOUND', { what: `dead letter ${id}` })
}
