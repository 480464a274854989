/**
 * `/actors`: the actors of the system, how many of a role this node runs, and one messages actor's store. `/cluster`: the
 * Hazelcast clusters.
 */
import { z } from 'zod'
import { type ActorEntry, MAX_ACTORS, ROLES, type Role } from '../../runtime/cluster/directory.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { addToChange } from '../change-log.ts'
import {
  type ApiContext,
  type Endpoint,
  idParameter,
  numberParameter,
  PAGE_LIMIT,
  pathParameter,
  replyJson,
} from '../context.ts'
import { readJsonObject } from '../json-body.ts'
import type { ConcurrencyLimit } from '../overload.ts'
import { replyNewestFirst } from '../streams.ts'
import { isoOrNull, outageJson } from './place.ts'

/** What `PUT /actors/{role}` takes. */
export const PutActors = z.strictObject({ count: z.int().min(1).max(MAX_ACTORS) })

/** The routes of the actors. Scaling and restarting have no deadline: they take as long as actors drain. */
export function actorRoutes(
  api: ApiContext,
  readers: ConcurrencyLimit,
): Record<'getActors' | 'getStore' | 'putActors' | 'restartActors' | 'getCluster', Endpoint> {
  const { facade, clock } = api
  return {
    getActors(context) {
      replyJson(context, 200, listOf(facade.actors()))
    },
    getStore(context, query) {
      const name = pathParameter(context, 'name')
      const limit = numberParameter(query, 'limit', PAGE_LIMIT)
      const path = `/actors/${encodeURIComponent(name)}/messages?limit=${limit}`
      const page = { path, limit, ...idParameter(query, 'before') }
      return readers.run(() => replyNewestFirst(context, api, page, (range) => facade.storePage(name, range)))
    },
    async putActors(context) {
      const role = roleOf(pathParameter(context, 'role'))
      const expected = `{"count": a whole number from 1 to ${MAX_ACTORS}} and nothing else`
      const { count } = await readJsonObject(context, { schema: PutActors, expected, clock })
      addToChange(context, { parameters: { count } })
      replyJson(context, 200, listOf(await facade.scale(role, count)))
    },
    async restartActors(context) {
      const role = roleOf(pathParameter(context, 'role'))
      replyJson(context, 200, listOf(await facade.restart(role)))
    },
    async getCluster(context) {
      const clusters = await facade.clusters()
      replyJson(context, 200, JSON.stringify({ safe: clusters.every(({ safe }) => safe), clusters }))
    },
  }
}

function listOf(actors: readonly ActorEntry[]): string {
  return JSON.stringify(actors.map(publicEntry))
}

/** What the API shows of an actor: everything but its internal address and its lanes. */
function publicEntry(actor: ActorEntry): object {
  const { name, role, node, pid, state, restarts, handled } = actor
  const { depth, capacity, refused } = actor.mailbox
  const entry = { name, role, node, pid, state, restarts, mailbox: { depth, capacity, refused }, handled }
  if (role === 'facade') return { ...entry, connections: actor.connections ?? 0 }
  if (role !== 'messages') return entry
  const waiting = Object.values(actor.lanes ?? {}).reduce((sum, count) => sum + count, 0)
  const { oldestAt = null, dead = 0, retrying = 0, lastFailure = null, outage = null } = actor
  return {
    ...{ ...entry, waiting, oldestAt: isoOrNull(oldestAt), retrying, dead, outage: outageJson(outage) },
    lastFailure: lastFailure && { ...lastFailure, at: isoOrNull(lastFailure.at) },
  }
}

function roleOf(name: string): Role {
  const role = ROLES.find((one) => one === name)
  if (role === undefined)
    throw new MailroomError('MR_NOT_FOUND', { what: `such role; the roles are ${ROLES.join(', ')}` })
  return role
}
