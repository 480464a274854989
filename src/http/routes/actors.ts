/** `/actors`: who is there, and how many there should be. */
import { z } from 'zod'
import { type ActorEntry, ROLES, type Role } from '../../runtime/cluster/directory.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { MAX_ACTORS } from '../../settings/config.ts'
import { mediaTypeOf, readBody, utf8Of } from '../body.ts'
import { type Handler, pathParameter, type Reach, replyJson } from '../context.ts'
import { hasDuplicateKeys, JsonFault, parseJson } from '../json.ts'
import { badRequest } from '../problems.ts'

const BODY_MAX_BYTES = 1024

/** What `PUT /actors/{role}` takes. */
const PutActors = z.strictObject({ count: z.int().min(1).max(MAX_ACTORS) })

/** The routes of the actors. Scaling and restarting take as long as the actors need to drain: no deadline. */
export function actorRoutes({
  facade,
  clock,
}: Reach): Record<'getActors' | 'putActors' | 'restartActors', Handler> {
  return {
    getActors(context) {
      replyJson(context, 200, listOf(facade.actors()))
    },
    async putActors(context) {
      const role = roleOf(pathParameter(context, 'role'))
      mediaTypeOf(context.req, ['application/json'])
      const limits = { what: 'The body', limitBytes: BODY_MAX_BYTES, clock }
      const count = countOf(utf8Of(await readBody(context.req, context.res, limits)))
      replyJson(context, 200, listOf(await facade.scale(role, count)))
    },
    async restartActors(context) {
      const role = roleOf(pathParameter(context, 'role'))
      replyJson(context, 200, listOf(await facade.restart(role)))
    },
  }
}

function listOf(actors: readonly ActorEntry[]): string {
  return JSON.stringify(actors.map(shown))
}

/** An actor as told to people: its internal address and its lanes are nobody's business. */
function shown(actor: ActorEntry): object {
  const { name, role, node, pid, state, restarts, handled } = actor
  const { depth, capacity, refused } = actor.mailbox
  const entry = { name, role, node, pid, state, restarts, mailbox: { depth, capacity, refused }, handled }
  if (role !== 'messages') return entry
  const waiting = Object.values(actor.lanes ?? {}).reduce((sum, count) => sum + count, 0)
  const { oldestAt = null, dead = 0 } = actor
  return { ...entry, waiting, oldestAt: oldestAt === null ? null : new Date(oldestAt).toISOString(), dead }
}

function roleOf(name: string): Role {
  const role = ROLES.find((one) => one === name)
  if (role === undefined)
    throw new MailroomError('MR_NOT_FOUND', { what: `such role; the roles are ${ROLES.join(', ')}` })
  return role
}

function countOf(source: string | undefined): number {
  const expected = `{"count": a whole number from 1 to ${MAX_ACTORS}} and nothing else`
  try {
    const { success, data } = PutActors.safeParse(source === undefined ? undefined : parseJson(source))
    if (success && !hasDuplicateKeys(source!, 1)) return data.count
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error
  }
  throw badRequest({ where: 'the body', expected, got: 'something else' })
}
