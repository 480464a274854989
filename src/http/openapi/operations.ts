/**
 * What readers are told of each route: what it does, its parameters, bodies, answers, errors and limits. A route that
 * lacks any of it does not compile. Its method, path, role and media types stand in the table of routes alone.
 *
 * A new route needs an entry here, and perhaps a schema of its answer in `schemas.ts`.
 */
import { z } from 'zod'
import type { ErrorCode } from '../../runtime/errors.ts'
import { METRICS_TYPES } from '../../runtime/metrics.ts'
import { BULK_SLICE_MS, SEARCH_SLICE_MS } from '../../runtime/timings.ts'
import type { NodeConfig } from '../../settings/config.ts'
import { GROUP_NAME, REASON_MAX_CHARACTERS, SOURCE_NAME } from '../../storage/dead-filter.ts'
import {
  BATCH_MAX_COUNT,
  CONTAINS_MAX_CHARACTERS,
  DEAD_GROUPS_MAX,
  SEARCH_MAX_COUNT,
} from '../../storage/limits.ts'
import { PAGE_LIMIT, READERS_MAX } from '../context.ts'
import { CURSOR_PATTERN, EVENT_READERS_MAX, LAG_MAX_BYTES, TOPICS } from '../events.ts'
import { JSON_BODY_MAX_BYTES } from '../json-body.ts'
import { PutActors } from '../routes/actors.ts'
import { BULK_LIMIT, BULK_MAX } from '../routes/dead.ts'
import { PutDelivery } from '../routes/delivery.ts'
import { PREVIEW_CHARACTERS, REDRIVE_LIMIT, REDRIVES_MAX } from '../routes/log.ts'
import {
  KEY_MAX_CHARACTERS,
  LISTS_LIMIT,
  LONG_POLLS_MAX,
  REDELIVERIES_MAX,
  STREAMS_MAX,
  WAIT_SECONDS,
} from '../routes/messages.ts'
import { PostedBatch, PostedMessage } from '../routes/posted.ts'
import { PostSession, SESSION_MAX_BYTES, SIGN_INS_MAX } from '../routes/session.ts'
import type { Operation, ROUTES } from '../routes/table.ts'
import * as schemas from './schemas.ts'

/** A JSON Schema (2020-12). */
export type JsonSchema = Record<string, unknown>

/** A parameter of a query, a path or a header. `example`: a value to try it with, if there is none that always fits. */
export interface Parameter {
  does: string
  schema: JsonSchema
  example?: string | number
}

/** A body, of a request or an answer: its schema in zod, or in JSON where it is no JSON; JSON has an example, too. */
export interface Body {
  schema: z.ZodType | JsonSchema
  example?: unknown
}

/** An answer that is no error. Headers: name -> what it says. */
interface Answer {
  does: string
  /** Media type -> body; absent: it has none. */
  body?: Record<string, Body>
  headers?: Record<string, string>
}

type RouteOf<O extends Operation> = (typeof ROUTES)[O]
type QueryOf<O extends Operation> = RouteOf<O>['query'] extends readonly (infer Q extends string)[]
  ? Q
  : string
type NamesIn<P extends string> = P extends `${string}{${infer N}}${infer R}` ? N | NamesIn<R> : never

/** What is told of the operation `O`. */
export interface OperationDoc<O extends Operation = Operation> {
  /** The part of the page it stands in. */
  part: Part
  /** A few words. */
  title: string
  /** Sentences. */
  does: string
  /** Each parameter of its path, and of its query. */
  path: Record<NamesIn<RouteOf<O>['path']>, Parameter>
  query: Record<QueryOf<O>, Parameter>
  /** Headers that it takes; none must be there. */
  headers?: Record<string, Parameter>
  /** Each media type of its body. */
  body: Record<RouteOf<O>['types'][number], Body>
  /** Status -> answer. */
  answers: Record<number, Answer>
  /** Beside those that every call with its role, parameters and bodies may meet (`document.ts`). */
  errors: readonly ErrorCode[]
  /** How much at once, how large, how long. */
  limits: string
}

/** The parts of the page, in order. */
export const PARTS = [
  'Messages',
  'Sources',
  'The log',
  'Actors',
  'Dead letters',
  'Delivery',
  'Losses',
  'Sessions',
  'Events',
  'Health',
  'Documents',
] as const
type Part = (typeof PARTS)[number]

const EXAMPLE_ID = '01M8849C1KEEDTYR6E46QMS701'
const EXAMPLE_AT = '2026-11-25T01:14:26.739Z'
const RECEIPT = { id: EXAMPLE_ID, at: EXAMPLE_AT }
const MESSAGE = { id: EXAMPLE_ID, text: 'hello', at: EXAMPLE_AT }
const LETTER = {
  ...MESSAGE,
  ...{ reason: 'It failed 5 times', attempts: 5, firstError: 'Error: no', lastError: 'Error: no' },
  deadAt: EXAMPLE_AT,
}
const ACTOR = {
  ...{ name: 'logging-1', role: 'logging', node: 'here', pid: 4242, state: 'ready', restarts: 0 },
  ...{ mailbox: { depth: 0, capacity: 20_000, refused: 0 }, handled: 17 },
}

const ID: JsonSchema = { $ref: '#/components/schemas/Id' }
const ofId = (does: string): Parameter => ({ does, schema: ID, example: EXAMPLE_ID })
const BEFORE = ofId('Older messages only than this one, newest first.')
const AFTER = ofId('Younger messages only than this one, oldest first.')
const AFTER_LETTER = ofId('Only dead letters whose id is above this one.')

/** A whole number with the bounds that its route checks. */
function numberFrom(
  { min, max, fallback }: { min: number; max: number; fallback: number | undefined },
  does: string,
): Parameter {
  const initial = fallback === undefined ? {} : { default: fallback }
  return { does, schema: { type: 'integer', minimum: min, maximum: max, ...initial } }
}

const limitOf = (bounds: { min: number; max: number; fallback: number | undefined }) =>
  numberFrom(bounds, 'How many at most.')

/** An answer 200 in JSON. */
function json(does: string, schema: z.ZodType, example: unknown): Record<200, Answer> {
  return { 200: { does, body: { 'application/json': { schema, example } } } }
}

const READS = [
  'MR_OVERLOADED',
  'MR_STORE_UNAVAILABLE',
  'MR_PEER_LOST',
  'MR_DEADLINE_EXPIRED',
  'MR_MAILBOX_FULL',
] as const
const LETTERS = [...READS, 'MR_LANE_ELSEWHERE'] as const
const STORES = [...READS, 'MR_DRAINING', 'MR_CLOCK_WRONG'] as const
const SCALES = [
  'MR_ROLE_ELSEWHERE',
  'MR_SCALE_REFUSED',
  'MR_CONFIG_INVALID',
  'MR_DRAINING',
  'MR_PEER_LOST',
] as const
const ROLE: Parameter = {
  does: 'The role: facade, logging or messages.',
  schema: { enum: ['facade', 'logging', 'messages'] },
  example: 'logging',
}
const SOURCE: Parameter = {
  does: 'The name of a source (`--sources`).',
  schema: { type: 'string', pattern: SOURCE_NAME.source },
  example: 'github',
}
const OF_SOURCE: Parameter = { ...SOURCE, does: 'Only messages of this source.' }
const READERS = `At most ${READERS_MAX} readers of lists at once.`
const BULK = `At most ${BULK_LIMIT.max} letters and ${BULK_SLICE_MS / 1000} s; ${BULK_MAX} such calls at once.`
const BULK_QUERY = {
  limit: numberFrom(BULK_LIMIT, 'How many letters are looked at, at most.'),
  after: AFTER_LETTER,
  source: OF_SOURCE,
  group: {
    does: 'Only letters of this group of `GET /dead/groups`.',
    schema: { type: 'string', pattern: GROUP_NAME.source },
    example: '5f4dcc3b5aa765d6',
  },
  reason: {
    does: 'Only letters whose reason begins so.',
    schema: { type: 'string', minLength: 1, maxLength: REASON_MAX_CHARACTERS },
    example: 'It failed',
  },
}
/** One event of a stream, its fields as text. */
const SERVER_EVENT: JsonSchema = {
  type: 'object',
  properties: {
    event: { type: 'string' },
    id: { type: 'string' },
    data: { type: 'string', description: 'JSON.' },
  },
}
const HANDSHAKE = { 'text/plain': { schema: { type: 'string' }, example: 'challenge' } }

/** JSON Schemas of one message and of a batch. Texts are checked in bytes, beside zod; characters are never more. */
function postedSchemas(maxMessageBytes: number): [one: JsonSchema, many: JsonSchema] {
  const of = (schema: z.ZodType): JsonSchema => {
    const { $schema: _, ...made } = z.toJSONSchema(schema, {
      override({ jsonSchema, path }) {
        if (path.at(-1) === 'text') Object.assign(jsonSchema, { minLength: 1, maxLength: maxMessageBytes })
      },
    })
    return made
  }
  return [of(PostedMessage), { ...of(PostedBatch), minItems: 1, maxItems: BATCH_MAX_COUNT }]
}

/** All operations of a node. */
export function operationsOf({ maxMessageBytes, lanes }: Pick<NodeConfig, 'maxMessageBytes' | 'lanes'>): {
  [O in Operation]: OperationDoc<O>
} {
  const [one, many] = postedSchemas(maxMessageBytes)
  const lane = (does: string) => numberFrom({ min: 0, max: lanes - 1, fallback: undefined }, does)
  return {
    postMessages: {
      part: 'Messages',
      title: 'Post messages',
      does: 'Accepts one message, a batch or a stream of lines. 201 means: in the log and in the queue, durably. A batch is stored in order, all or none. Each line of `application/x-ndjson` is answered with one line; a bad line does not affect the others.',
      path: {},
      query: {
        acks: {
          does: 'Only with `application/x-ndjson`: `errors` answers refused lines only, and the counts at the end.',
          schema: { enum: ['errors'] },
        },
      },
      headers: {
        'Idempotency-Key': {
          does: 'Makes a repeat safe: the same key with the same body stores nothing twice. Bare or in double quotes. Not with `application/x-ndjson`.',
          schema: { type: 'string', pattern: `^[!#-~][!-~]{0,${KEY_MAX_CHARACTERS - 1}}$` },
          example: 'order-2026-000017',
        },
      },
      body: {
        'application/json': { schema: { anyOf: [one, many] }, example: { text: 'hello' } },
        'text/plain': {
          schema: { type: 'string', minLength: 1, maxLength: maxMessageBytes },
          example: 'hello',
        },
        'application/x-ndjson': {
          schema: {
            type: 'string',
            description: 'A line for each message: `{"text":"one"}`. Empty lines are passed over.',
          },
        },
      },
      answers: {
        200: {
          does: 'A line for each line of `application/x-ndjson`: `line` with `id` and `at`, or with `error`.',
          body: {
            'application/x-ndjson': {
              schema: { type: 'string' },
              example: `{"line":1,"id":"${EXAMPLE_ID}","at":"${EXAMPLE_AT}"}\n`,
            },
          },
        },
        201: {
          does: 'Stored: one receipt, or one for each message of a batch.',
          body: {
            'application/json': {
              schema: z.union([schemas.Receipt, z.array(schemas.Receipt)]),
              example: RECEIPT,
            },
          },
          headers: {
            'Idempotent-Replayed': '`true`: an earlier request with this key has stored it.',
            Location: 'The path of the one message.',
          },
        },
      },
      errors: [...STORES, 'MR_MESSAGE_INVALID', 'MR_KEY_REUSED', 'MR_KEY_BUSY'],
      limits: `A text has 1 byte to --max-message (1 MiB by default); a batch up to ${BATCH_MAX_COUNT} messages; a JSON body or a line twice --max-message. ${STREAMS_MAX} streams at once. Under overload 429 with Retry-After.`,
    },
    getLists: {
      part: 'Messages',
      title: 'Both lists',
      does: 'Every logged message, and those delivered to one messages actor, chosen at random. Streamed; `partial` names a list that lacks something.',
      path: {},
      query: { limit: numberFrom(LISTS_LIMIT, 'Only the newest so many of each.') },
      body: {},
      answers: json('Both lists, ascending by id.', schemas.Lists, {
        ...{ logged: [MESSAGE], delivered: [MESSAGE], deliveredTo: 'messages-1', partial: [] },
      }),
      errors: READS,
      limits: `${READERS} Without limit it is everything within the retention: use GET /log for pages.`,
    },
    getMessage: {
      part: 'Messages',
      title: 'One message',
      does: 'A message and where it is: queued, delivered or dead.',
      path: { id: ofId('The message.') },
      query: { wait: numberFrom(WAIT_SECONDS, 'Waits so many seconds while it is queued.') },
      body: {},
      answers: json('The message.', schemas.FoundMessage, {
        ...{
          ...MESSAGE,
          state: 'delivered',
          deliveredTo: 'messages-1',
          deliveredAt: EXAMPLE_AT,
          heldBy: 'messages-1',
          attempts: 1,
        },
        ...{ firstError: null, lastError: null, nextAttemptAt: null, outage: null },
      }),
      errors: [...LETTERS, 'MR_NOT_FOUND'],
      limits: `At most ${LONG_POLLS_MAX} calls wait at once.`,
    },
    redeliverMessage: {
      part: 'Messages',
      title: 'Deliver once more',
      does: 'Runs the handler, or forwards, once more for a delivered message. The answer is its outcome; lists stay as they are.',
      path: { id: ofId('A delivered message.') },
      query: {},
      body: {},
      answers: json('It succeeded.', schemas.Changed, { id: EXAMPLE_ID, state: 'delivered' }),
      errors: [...LETTERS, 'MR_NOT_FOUND', 'MR_REDELIVERY_REFUSED', 'MR_REDELIVERY_FAILED'],
      limits: `At most ${REDELIVERIES_MAX} at once. It takes as long as the handler or the receiver.`,
    },
    postInbox: {
      part: 'Sources',
      title: 'What a source sends',
      does: 'Takes a webhook, an event or a form, byte for byte, when its signature is right. A repeat is stored once. The status of success is that of the source’s `answer`.',
      path: { source: SOURCE },
      query: {},
      body: { '*': { schema: {}, example: '{"zen":"Anything added dilutes everything else."}' } },
      answers: {
        ...Object.fromEntries(
          [200, 201, 202].map((status) => [
            status,
            {
              does: 'Stored, or stored before; or the answer to a handshake (text).',
              body: {
                'application/json': { schema: schemas.Receipt, example: RECEIPT },
                ...HANDSHAKE,
              },
              headers: {
                'Idempotent-Replayed': '`true`: it was stored before.',
                Location: 'The path of the message.',
              },
            },
          ]),
        ),
        204: {
          does: 'The same, of a source with `answer` 204.',
          headers: {
            'Idempotent-Replayed': '`true`: it was stored before.',
            Location: 'The path of the message.',
          },
        },
      },
      errors: [...STORES, 'MR_NOT_FOUND', 'MR_SIGNATURE_INVALID', 'MR_FORBIDDEN', 'MR_REPEAT_BUSY'],
      limits: 'The body has up to `maxBytes` of the source, by default --max-message.',
    },
    getInbox: {
      part: 'Sources',
      title: 'Is this the right URL?',
      does: 'Answers Meta’s handshake: `hub.challenge`, when `hub.verify_token` is the source’s. Other sources do not take it (405).',
      path: { source: SOURCE },
      query: {},
      body: {},
      answers: {
        200: { does: 'The challenge.', body: HANDSHAKE },
        403: { does: 'The verify token is not the source’s, or nothing was asked.', body: HANDSHAKE },
      },
      errors: ['MR_NOT_FOUND', 'MR_METHOD_UNSUPPORTED'],
      limits: 'The challenge has up to 200 letters, digits, _ and -.',
    },
    askInbox: {
      part: 'Sources',
      title: 'May I post?',
      does: 'Answers the OPTIONS of CloudEvents, for a source with `cloudevents`. Other sources do not take it (405).',
      path: { source: SOURCE },
      query: {},
      body: {},
      answers: {
        200: {
          does: 'It may.',
          headers: {
            Allow: 'The methods that it takes.',
            'WebHook-Allowed-Origin': 'Who may: as it was asked, or `*`.',
            'WebHook-Allowed-Rate': '`*`: as often as it likes.',
          },
        },
      },
      errors: ['MR_NOT_FOUND', 'MR_METHOD_UNSUPPORTED', 'MR_FORBIDDEN'],
      limits: 'A callback is never called.',
    },
    getLog: {
      part: 'The log',
      title: 'A page of the log',
      does: 'Messages newest first; with `after` oldest first. Give `before` or `after`, not both. With `source` or `contains`, a call ends when it has looked far enough: `next` goes on, also when it found none. To follow the log, keep asking with `after`; `next` stays 4 s behind the newest message.',
      path: {},
      query: {
        limit: limitOf(PAGE_LIMIT),
        before: BEFORE,
        after: AFTER,
        text: numberFrom(
          PREVIEW_CHARACTERS,
          'Previews: so many first characters of each body, and `bytes`, the length of all of it. Base64 is cut to groups of four. Headers are left out.',
        ),
        source: OF_SOURCE,
        contains: {
          does: 'Only messages whose body is text with this in it, letter by letter.',
          schema: { type: 'string', minLength: 1, maxLength: CONTAINS_MAX_CHARACTERS },
          example: 'hello',
        },
      },
      body: {},
      answers: json('The page.', schemas.LogPage, {
        items: [MESSAGE],
        next: `/log?limit=1&before=${EXAMPLE_ID}`,
      }),
      errors: READS,
      limits: `${READERS} With a filter a call looks at up to ${SEARCH_MAX_COUNT} messages, for ${SEARCH_SLICE_MS} ms. A batch that lacks what is looked for counts as one.`,
    },
    redriveLog: {
      part: 'The log',
      title: 'Put back what a cluster lost',
      does: 'Puts back what the queue has lost of a page of the log. With `lane`: what the log has lost of the lanes from there on; `since` goes with `lane` only. Handlers may run again. Safe to repeat.',
      path: {},
      query: {
        limit: limitOf(REDRIVE_LIMIT),
        after: ofId('Only messages above this one.'),
        lane: lane('Begins with this lane of the queue.'),
        since: ofId('With `lane`: in each later lane only messages above this one.'),
      },
      body: {},
      answers: json('What was done.', schemas.Redriven, { checked: 2, redriven: 0, next: null }),
      errors: LETTERS,
      limits: `At most ${REDRIVE_LIMIT.max} messages and ${BULK_SLICE_MS / 1000} s; ${REDRIVES_MAX} redrives at once.`,
    },
    getActors: {
      part: 'Actors',
      title: 'All actors',
      does: 'Every actor: its state, restarts, mailbox, messages handled and pending.',
      path: {},
      query: {},
      body: {},
      answers: json('The actors.', z.array(schemas.Actor), [ACTOR]),
      errors: [],
      limits: 'As of the last second.',
    },
    getStore: {
      part: 'Actors',
      title: 'What an actor was delivered',
      does: 'A page of one messages actor’s list, newest first.',
      path: {
        name: { does: 'A messages actor.', schema: { type: 'string', minLength: 1 }, example: 'messages-1' },
      },
      query: { limit: limitOf(PAGE_LIMIT), before: BEFORE },
      body: {},
      answers: json('The page.', schemas.MessagePage, { items: [MESSAGE], next: null }),
      errors: [...LETTERS, 'MR_NOT_FOUND'],
      limits: READERS,
    },
    putActors: {
      part: 'Actors',
      title: 'Scale a role',
      does: 'Runs so many actors of a role on this node. The answer comes when the new ones are ready and the removed ones have drained. No request fails meanwhile.',
      path: { role: ROLE },
      query: {},
      body: { 'application/json': { schema: PutActors, example: { count: 3 } } },
      answers: json('All actors.', z.array(schemas.Actor), [ACTOR]),
      errors: ['MR_NOT_FOUND', ...SCALES, 'MR_DATA_LOCKED', 'MR_DATA_VERSION', 'MR_STORE_UNAVAILABLE'],
      limits: `A body has up to ${JSON_BODY_MAX_BYTES} bytes. At most as many messages actors as lanes. It takes as long as actors drain.`,
    },
    restartActors: {
      part: 'Actors',
      title: 'Restart a role',
      does: 'Restarts the actors of a role, one by one. No request fails meanwhile.',
      path: { role: ROLE },
      query: {},
      body: {},
      answers: json('All actors.', z.array(schemas.Actor), [ACTOR]),
      errors: ['MR_NOT_FOUND', ...SCALES, 'MR_DATA_LOCKED', 'MR_DATA_VERSION', 'MR_STORE_UNAVAILABLE'],
      limits: 'It takes as long as actors drain.',
    },
    getCluster: {
      part: 'Actors',
      title: 'The Hazelcast clusters',
      does: 'How both clusters are: members, whether one may be stopped now, how full they are. The embedded backend has none (404).',
      path: {},
      query: {},
      body: {},
      answers: json('Both clusters, the log’s first.', schemas.Clusters, { safe: true, clusters: [] }),
      errors: ['MR_NOT_FOUND', 'MR_STORE_UNAVAILABLE', 'MR_PEER_LOST', 'MR_DEADLINE_EXPIRED'],
      limits: 'The members are asked at each call.',
    },
    getDead: {
      part: 'Dead letters',
      title: 'A page of the dead letters',
      does: 'Dead letters, oldest first.',
      path: {},
      query: { limit: limitOf(PAGE_LIMIT), after: AFTER_LETTER },
      body: {},
      answers: json('The page.', schemas.DeadPage, { items: [LETTER], next: null }),
      errors: LETTERS,
      limits: 'Texts are sent part by part.',
    },
    getDeadGroups: {
      part: 'Dead letters',
      title: 'Dead letters by cause',
      does: 'Counts dead letters by their reason and the first line of their last error, each number in it as `#`. `next` is null when all are counted; else it goes on, and the counts of both pages add up.',
      path: {},
      query: {
        lane: lane('Begins with this lane of the queue; `next` says it.'),
        after: ofId('In that lane only letters above this one.'),
      },
      body: {},
      answers: json('The groups, the largest first.', schemas.DeadGroupList, {
        groups: [
          {
            ...{
              group: '5f4dcc3b5aa765d6',
              reason: 'It failed 5 times',
              error: 'Error: the chat answered #',
            },
            ...{ count: 412, example: EXAMPLE_ID, oldestAt: EXAMPLE_AT, newestAt: EXAMPLE_AT },
          },
        ],
        ...{ counted: 412, others: 0, next: null },
      }),
      errors: LETTERS,
      limits: `At most ${DEAD_GROUPS_MAX} groups and ${BULK_SLICE_MS / 1000} s.`,
    },
    replayManyDead: {
      part: 'Dead letters',
      title: 'Replay many',
      does: 'Makes many dead letters pending again, oldest first. `next` goes on. Safe to repeat.',
      path: {},
      query: BULK_QUERY,
      body: {},
      answers: json('What was done.', schemas.Replayed, { checked: 1000, replayed: 412, next: null }),
      errors: LETTERS,
      limits: BULK,
    },
    purgeManyDead: {
      part: 'Dead letters',
      title: 'Purge many',
      does: 'Deletes many dead letters, oldest first; their messages stay in the log. `next` goes on.',
      path: {},
      query: BULK_QUERY,
      body: {},
      answers: json('What was done.', schemas.Purged, { checked: 1000, purged: 412, next: null }),
      errors: LETTERS,
      limits: BULK,
    },
    getDeadOne: {
      part: 'Dead letters',
      title: 'One dead letter',
      does: 'A dead letter: why it was given up, its first and its last error.',
      path: { id: ofId('The message.') },
      query: {},
      body: {},
      answers: json('The dead letter.', schemas.DeadLetter, LETTER),
      errors: [...LETTERS, 'MR_NOT_FOUND'],
      limits: 'Reads wait for room for their text.',
    },
    replayDead: {
      part: 'Dead letters',
      title: 'Replay one',
      does: 'Makes a dead letter pending again.',
      path: { id: ofId('The message.') },
      query: {},
      body: {},
      answers: json('It is pending.', schemas.Changed, { id: EXAMPLE_ID, state: 'queued' }),
      errors: [...LETTERS, 'MR_NOT_FOUND'],
      limits: 'One letter; POST /dead/replay takes many.',
    },
    deleteDead: {
      part: 'Dead letters',
      title: 'Purge one',
      does: 'Deletes a dead letter; its message stays in the log.',
      path: { id: ofId('The message.') },
      query: {},
      body: {},
      answers: { 204: { does: 'It is deleted.' } },
      errors: [...LETTERS, 'MR_NOT_FOUND'],
      limits: 'One letter; POST /dead/purge takes many.',
    },
    getDelivery: {
      part: 'Delivery',
      title: 'Is delivery paused?',
      does: 'Whether an operator has paused delivery.',
      path: {},
      query: {},
      body: {},
      answers: json('Whether it is paused.', schemas.Delivery, { paused: false }),
      errors: ['MR_STORE_UNAVAILABLE'],
      limits: 'None of its own.',
    },
    putDelivery: {
      part: 'Delivery',
      title: 'Pause or resume delivery',
      does: 'Pauses delivery, or resumes it, on all nodes, over restarts too. Posts are taken all the while. Answered when every messages actor has it.',
      path: {},
      query: {},
      body: { 'application/json': { schema: PutDelivery, example: { paused: false } } },
      answers: json('Whether it is paused.', schemas.Delivery, { paused: false }),
      errors: ['MR_STORE_UNAVAILABLE', 'MR_PEER_LOST', 'MR_DEADLINE_EXPIRED'],
      limits: `A body has up to ${JSON_BODY_MAX_BYTES} bytes.`,
    },
    getLosses: {
      part: 'Losses',
      title: 'What clusters have lost',
      does: 'What a Hazelcast cluster has lost with all its members, until it is confirmed.',
      path: {},
      query: {},
      body: {},
      answers: json('The losses, oldest first.', schemas.Losses, { losses: [] }),
      errors: [],
      limits: 'None of its own.',
    },
    confirmLosses: {
      part: 'Losses',
      title: 'Confirm losses',
      does: 'Confirms these losses: no node reports them any more. Safe to repeat.',
      path: {},
      query: {},
      body: {},
      answers: json('Those that were confirmed.', schemas.Losses, { losses: [] }),
      errors: ['MR_STORE_UNAVAILABLE', 'MR_PEER_LOST', 'MR_DEADLINE_EXPIRED', 'MR_MAILBOX_FULL'],
      limits: 'None of its own.',
    },
    getSession: {
      part: 'Sessions',
      title: 'Who am I?',
      does: 'The role of the caller, by its token or by the cookie of its session.',
      path: {},
      query: {},
      body: {},
      answers: json('The role.', schemas.Session, { role: 'all', expiresAt: EXAMPLE_AT }),
      errors: [],
      limits: 'None of its own.',
    },
    postSession: {
      part: 'Sessions',
      title: 'Sign in',
      does: 'Gives a browser a cookie with the role of a token. A change by cookie needs the header `X-Mailroom: 1`, too.',
      path: {},
      query: {},
      body: { 'application/json': { schema: PostSession, example: { token: 'the-token-of-the-node' } } },
      answers: {
        200: {
          does: 'Signed in. Without tokens there is no cookie: everybody has the role `all`.',
          body: {
            'application/json': { schema: schemas.Session, example: { role: 'all', expiresAt: EXAMPLE_AT } },
          },
          headers: { 'Set-Cookie': 'The session, for 12 hours.' },
        },
      },
      errors: ['MR_TOKEN_INVALID', 'MR_FORBIDDEN', 'MR_SIGN_INS_LIMITED'],
      limits: `${SIGN_INS_MAX} a minute at each facade. A body has up to ${SESSION_MAX_BYTES} bytes.`,
    },
    deleteSession: {
      part: 'Sessions',
      title: 'Sign out',
      does: 'Has the browser forget its cookie.',
      path: {},
      query: {},
      body: {},
      answers: { 204: { does: 'Signed out.', headers: { 'Set-Cookie': 'An empty one, which is over.' } } },
      errors: ['MR_FORBIDDEN'],
      limits: 'None of its own.',
    },
    getEvents: {
      part: 'Events',
      title: 'What happens, as it happens',
      does: 'Server-sent events: `logged`, `delivered` and `dead` in arrays, `actor`, and `stats` once a second. The `id` of an event is a cursor: with it, a reader that comes back misses nothing, and may get the last seconds again.',
      path: {},
      query: {
        only: {
          does: 'Only these events, with commas between them.',
          schema: { type: 'string', pattern: `^(${TOPICS.join('|')})(,(${TOPICS.join('|')}))*$` },
          example: 'stats',
        },
        after: {
          does: 'First what has happened since this cursor.',
          schema: { type: 'string', pattern: CURSOR_PATTERN.source },
        },
      },
      headers: {
        'Last-Event-ID': {
          does: 'As `after`, which it overrides: a browser sends it when it connects again. An empty one is none.',
          schema: { type: 'string', pattern: `^$|${CURSOR_PATTERN.source}` },
        },
      },
      body: {},
      answers: {
        200: {
          does: 'The events, until either side ends it. `gap`: the cursor is older than the retention. `lagged`: the reader was too slow. `bye`: the facade drains.',
          body: { 'text/event-stream': { schema: SERVER_EVENT } },
        },
      },
      errors: [...READS, 'MR_DRAINING', 'MR_READERS_FULL'],
      limits: `At most ${EVENT_READERS_MAX} readers of a facade at once, and as many that follow \`stats\` alone. One that is ${LAG_MAX_BYTES / 1024} KiB behind is cut.`,
    },
    getMetrics: {
      part: 'Health',
      title: 'Figures for Prometheus',
      does: 'The figures of this node, in the text format of Prometheus, or as OpenMetrics where `Accept` asks for it. docs/metrics.md names all of them.',
      path: {},
      query: {},
      body: {},
      answers: {
        200: {
          does: 'The figures.',
          body: Object.fromEntries(
            Object.values(METRICS_TYPES).map((type) => [type, { schema: { type: 'string' } }]),
          ),
        },
      },
      errors: ['MR_PEER_LOST', 'MR_DEADLINE_EXPIRED'],
      limits: 'None of its own.',
    },
    getLivez: {
      part: 'Health',
      title: 'Is the process up?',
      does: '200 while the process is up.',
      path: {},
      query: {},
      body: {},
      answers: json('It is.', schemas.Live, { status: 'ok' }),
      errors: [],
      limits: 'Never refused under load.',
    },
    getReadyz: {
      part: 'Health',
      title: 'Would a post be taken?',
      does: '200 while a post would be taken now, else 503. It names what is missing, degraded or damaged, and warns.',
      path: {},
      query: {},
      body: {},
      answers: {
        ...json('It would.', schemas.Readiness, { status: 'ready', missing: [] }),
        503: {
          does: 'It would not.',
          body: {
            'application/json': {
              schema: schemas.Readiness,
              example: { status: 'unready', missing: ['logging-1: starting'] },
            },
          },
        },
      },
      errors: [],
      limits: 'Never refused under load.',
    },
    getHistory: {
      part: 'Health',
      title: 'The last 15 minutes',
      does: 'The figures of each second of the last 15 minutes, oldest first: per second what was accepted, delivered, refused and died; what waited; what 99 of 100 took at most, in seconds. Kept in memory, from the start of the node on.',
      path: {},
      query: {},
      body: {},
      answers: json('The seconds.', schemas.HistoryPoints, { points: [] }),
      errors: [],
      limits: 'Up to 900 points.',
    },
    getPage: {
      part: 'Documents',
      title: 'The dashboard',
      does: 'A page that shows what happens and lets a person act. It asks for a token when there is one.',
      path: {},
      query: {},
      body: {},
      answers: {
        200: { does: 'The page.', body: { 'text/html': { schema: { type: 'string' }, example: 'text' } } },
      },
      errors: [],
      limits: 'Its files take up to 45 kB over the wire, once.',
    },
    getOpenapi: {
      part: 'Documents',
      title: 'This API as OpenAPI',
      does: 'This description of the API, in OpenAPI 3.1.',
      path: {},
      query: {},
      body: {},
      answers: json('The document.', z.looseObject({ openapi: z.string() }), { openapi: '3.1.1' }),
      errors: [],
      limits: 'None of its own.',
    },
    getDocs: {
      part: 'Documents',
      title: 'This page',
      does: 'This description of the API as a page, with a curl line for each call, and every error at `#CODE`.',
      path: {},
      query: {},
      body: {},
      answers: {
        200: {
          does: 'The page.',
          body: { 'text/html': { schema: { type: 'string' }, example: '<!doctype html>' } },
        },
      },
      errors: [],
      limits: 'It loads nothing from elsewhere, and has no script.',
    },
    getAsset: {
      part: 'Documents',
      title: 'A file of the pages',
      does: 'A file that a page of Mailroom loads. Its name changes with its content, so it may be kept for ever.',
      path: { file: { does: 'The name of the file.', schema: { type: 'string', pattern: '^[\\w.-]+$' } } },
      query: {},
      headers: {
        'If-None-Match': {
          does: 'The ETag of a kept copy.',
          schema: { type: 'string', pattern: '^"[\\w-]+"$' },
        },
      },
      body: {},
      answers: {
        200: {
          does: 'The file.',
          body: { 'text/css': { schema: { type: 'string' }, example: 'main{}' } },
          headers: { ETag: 'Of the content.' },
        },
        304: { does: 'The kept copy is the same.', headers: { ETag: 'Of the content.' } },
      },
      errors: ['MR_NOT_FOUND'],
      limits: 'Files of a few kB.',
    },
  }
}
