/** The shapes of answers, as zod schemas: the document has them by name, and tests parse real answers with them. */

import { z } from 'zod'
import { ROLES } from '../../runtime/cluster/directory.ts'
import { ERRORS, type ErrorCode } from '../../runtime/errors.ts'
import { GROUP_NAME } from '../../storage/dead-filter.ts'
import { ID_PATTERN } from '../../storage/ids.ts'

/** Schemas that have a name in the document. */
export const NAMED = z.registry<{ id: string; description: string }>()

function named<T extends z.ZodType>(id: string, description: string, schema: T): T {
  NAMED.add(schema, { id, description })
  return schema
}

const count = z.int().min(0)
const instant = z.string().meta({ format: 'date-time' })

const Id = named('Id', 'A message id: a ULID, which sorts by time.', z.string().regex(ID_PATTERN))

export const Receipt = named(
  'Receipt',
  'The acknowledgement of one message: it is in the log and in the queue, durably.',
  z.strictObject({ id: Id, at: instant }),
)

const headers = z.record(z.string(), z.string())
const origin = {
  source: z.string().optional().meta({ description: 'The source that took it in; absent for a post.' }),
  type: z.string().optional().meta({ description: 'The Content-Type it came with.' }),
}
const body = {
  text: z.string().optional().meta({ description: 'The body, when it is UTF-8.' }),
  base64: z.string().optional().meta({ description: 'The body, when it is not.' }),
}
const message = { id: Id, at: instant, ...body, ...origin, headers: headers.optional() }

const Message = named(
  'Message',
  'A message: `text`, or `base64` where the body is not UTF-8.',
  z.strictObject(message),
)

const LogItem = named(
  'LogItem',
  'A message of the log. With `?text=N` its body is cut, `bytes` is the length of the whole body, and headers are left out.',
  z.strictObject({ ...message, bytes: count.optional() }),
)

const Outage = named(
  'Outage',
  'What messages are delivered to is away: it is not the message’s fault.',
  z.strictObject({
    target: z.string(),
    since: instant,
    why: z.string(),
    nextProbeAt: instant.nullable().meta({ description: 'Null while delivery is paused.' }),
  }),
)

export const FoundMessage = named(
  'FoundMessage',
  'A message and where it is.',
  z.strictObject({
    ...message,
    state: z.enum(['queued', 'delivered', 'dead']),
    deliveredTo: z.string().nullable(),
    deliveredAt: instant.nullable(),
    heldBy: z
      .string()
      .meta({ description: 'The messages actor that holds its lane: it makes the attempts.' }),
    attempts: count,
    firstError: z.string().nullable(),
    lastError: z.string().nullable(),
    nextAttemptAt: instant.nullable(),
    outage: Outage.nullable(),
    paused: z
      .literal(true)
      .optional()
      .meta({ description: 'It waits, and an operator has paused delivery.' }),
  }),
)

export const Lists = named(
  'Lists',
  'Both lists. `partial` names a list that lacks something.',
  z.strictObject({
    logged: z.array(Message),
    delivered: z.array(Message),
    deliveredTo: z.string().nullable(),
    partial: z.array(z.enum(['logged', 'delivered'])),
  }),
)

const next = z
  .string()
  .nullable()
  .meta({ description: 'The path of the next page; null when there is none.' })

function pageOf<T extends z.ZodType>(item: T) {
  return z.strictObject({ items: z.array(item), next })
}

export const MessagePage = named('MessagePage', 'A page of messages.', pageOf(Message))

export const LogPage = named(
  'LogPage',
  'A page of the log. `gap` says that messages before it may be missing: `after` is older than the retention.',
  z.strictObject({
    gap: z
      .strictObject({ code: z.literal('MR_CURSOR_EXPIRED'), detail: z.string(), oldest: Id.nullable() })
      .optional(),
    items: z.array(LogItem),
    next,
  }),
)

export const DeadLetter = named(
  'DeadLetter',
  'A message that was given up, and why.',
  z.strictObject({
    ...message,
    reason: z.string(),
    attempts: count,
    firstError: z.string(),
    lastError: z.string(),
    deadAt: instant,
  }),
)

export const DeadPage = named('DeadPage', 'A page of dead letters, oldest first.', pageOf(DeadLetter))

export const DeadGroupList = named(
  'DeadGroupList',
  'Dead letters by reason and by the first line of the last error, its numbers as `#`. With `next`, add the counts of the pages.',
  z.strictObject({
    groups: z
      .array(
        z.strictObject({
          group: z
            .string()
            .regex(GROUP_NAME)
            .meta({ description: 'Its name, for `group=` of replay and purge.' }),
          reason: z.string(),
          error: z.string(),
          count: z.int().min(1),
          example: Id,
          oldestAt: instant,
          newestAt: instant,
        }),
      )
      .meta({ description: 'The largest first.' }),
    counted: count.meta({ description: 'Letters that this page has counted.' }),
    others: count.meta({ description: 'Those of them that are in none of these groups.' }),
    next,
  }),
)

export const Replayed = named(
  'Replayed',
  'What was looked at, and how many are pending again.',
  z.strictObject({ checked: count, replayed: count, next }),
)

export const Purged = named(
  'Purged',
  'What was looked at, and how many are deleted.',
  z.strictObject({ checked: count, purged: count, next }),
)

export const Redriven = named(
  'Redriven',
  'What was looked at, and what was put back: `redriven` into the queue; with `lane`, `restored` into the log.',
  z.strictObject({
    checked: count,
    redriven: count.optional(),
    restored: count.optional(),
    lost: count.optional(),
    next,
  }),
)

export const Changed = named(
  'Changed',
  'A message and its state now.',
  z.strictObject({ id: Id, state: z.enum(['queued', 'delivered']) }),
)

export const Actor = named(
  'Actor',
  'An actor. `connections`: of a facade. `waiting`, `oldestAt`, `retrying`, `dead`, `outage`, `lastFailure`: of a messages actor.',
  z.strictObject({
    name: z.string(),
    role: z.enum(ROLES),
    node: z.string(),
    pid: count,
    state: z.enum(['starting', 'ready', 'draining', 'restarting', 'failed']),
    restarts: count,
    mailbox: z.strictObject({ depth: count, capacity: count, refused: count }),
    handled: count,
    connections: count.optional(),
    waiting: count.optional(),
    oldestAt: instant.nullable().optional(),
    retrying: count.optional(),
    dead: count.optional(),
    outage: Outage.nullable().optional(),
    lastFailure: z
      .strictObject({ id: Id, target: z.string(), at: instant, error: z.string() })
      .nullable()
      .optional(),
  }),
)

export const Clusters = named(
  'Clusters',
  'Both Hazelcast clusters. `safe`: a member of each may be stopped. `null`: not known.',
  z.strictObject({
    safe: z.boolean(),
    clusters: z.array(
      z.strictObject({
        store: z.enum(['log', 'queue']),
        name: z.string(),
        safe: z.boolean(),
        problems: z.array(z.string()),
        warnings: z.array(z.string()),
        members: z.array(
          z.strictObject({
            address: z.string(),
            state: z.string().nullable(),
            safe: z.boolean().nullable(),
            partitions: count.nullable(),
            migrations: count.nullable(),
            heapBytes: count.nullable(),
            usedBytes: count.nullable(),
          }),
        ),
        heldBytes: count.nullable(),
        limitBytes: count.nullable(),
      }),
    ),
  }),
)

export const Losses = named(
  'Losses',
  'What clusters have lost, and nobody has confirmed.',
  z.strictObject({
    losses: z.array(
      z.strictObject({
        store: z.enum(['log', 'queue']),
        kind: z.enum(['empty', 'other']),
        count,
        lastSeenAt: instant,
        noticedAt: instant,
        epoch: z.string(),
        detail: z.string(),
      }),
    ),
  }),
)

export const Session = named(
  'Session',
  'What the caller may do; null: nothing. `expiresAt`: when the session of a browser ends.',
  z.strictObject({ role: z.enum(['read', 'post', 'all']).nullable(), expiresAt: instant.nullable() }),
)

export const Delivery = named(
  'Delivery',
  'Whether delivery is paused.',
  z.strictObject({ paused: z.boolean() }),
)

const perSecond = z.number().min(0)
const seconds = z.number().min(0).nullable()
export const HistoryPoints = named(
  'History',
  'A point for each second. `acceptP99` and `deliveryP99`: in seconds; null when there were none.',
  z.strictObject({
    points: z.array(
      z.strictObject({
        at: z.number().meta({ description: 'Milliseconds since 1970.' }),
        ...{ accepted: perSecond, delivered: perSecond, refused: perSecond, died: perSecond },
        ...{ waiting: count, acceptP99: seconds, deliveryP99: seconds },
      }),
    ),
  }),
)

export const Live = named('Live', 'The process is up.', z.strictObject({ status: z.literal('ok') }))

const sentences = z.array(z.string())
export const Readiness = named(
  'Readiness',
  'Whether a post would be taken now, and what is wrong, as sentences.',
  z.strictObject({
    status: z.enum(['ready', 'unready']),
    missing: sentences,
    degraded: sentences.optional(),
    damaged: sentences.optional(),
    restoring: sentences.optional(),
    warnings: sentences.optional(),
  }),
)

export const Problem = named(
  'Problem',
  'An error (RFC 9457). Match on `code`. `outcome` says whether something may have been stored.',
  z.strictObject({
    type: z.string().meta({ description: 'Where the code is explained: `/docs#CODE`.' }),
    title: z.string(),
    status: z.int(),
    detail: z.string().meta({ description: 'For people; it may change.' }),
    code: z.enum(Object.keys(ERRORS) as ErrorCode[]),
    outcome: z.enum(['none', 'unknown']),
    requestId: z.string(),
    errors: z.array(z.looseObject({ expected: z.string(), got: z.string() })).optional(),
    moreErrors: count.optional(),
  }),
)
