/** What the handlers of the routes work with: the facade they speak for, the strict parts of a request, a reply. */

import type { Context } from 'koa'
import type { Facade } from '../actors/protocol.ts'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Figures } from '../runtime/figures.ts'
import type { Logger } from '../runtime/logger.ts'
import type { NodeConfig } from '../settings/config.ts'
import { SOURCE_NAME, SOURCE_NAME_WORDS } from '../storage/dead-filter.ts'
import { isId } from '../storage/ids.ts'
import { PAGE_MAX_COUNT } from '../storage/limits.ts'
import type { Receipt } from '../storage/ports.ts'
import type { AnswerRoom } from './answer-room.ts'
import { badRequest, quoted } from './problems.ts'

/** What all parts of the public API share. */
export interface ApiContext {
  facade: Facade
  config: NodeConfig
  clock: Clock
  /** Senders sign with the time of a clock on the wall, not with the node's time. */
  wallClock: Pick<Clock, 'now'>
  random: Random
  logger: Logger
  figures: Figures
  /** The name of this node. */
  node: string
  /** True once this server drains: streams and long polls end early. */
  draining(): boolean
  /** True once this server drains and no other facade takes its connections: every answer closes its connection. */
  closing(): boolean
  /** True while admission control refuses some posts. */
  overloaded(): boolean
  /** For answers that list messages, part by part, and for those of one message. */
  listRoom: AnswerRoom
  singleRoom: AnswerRoom
}

/** The query parameters of a request that were given. */
export type Query = Partial<Record<string, string>>

/** Answers one request of a route. `query` holds only parameters that the route knows. */
export type Endpoint = (context: Context, query: Query) => Promise<void> | void

/**
 * Counts the messages of a post that is stored.
 *
 * @param source The name of the source that sent it; empty for `POST /messages`.
 */
export function countAccepted(figures: Figures, receipts: readonly Receipt[], source: string): void {
  const replays = receipts.filter(({ replayed }) => replayed).length
  figures.count('mailroom_messages_accepted_total', { source }, receipts.length - replays)
  if (replays > 0) figures.count('mailroom_key_replays_total', {}, replays)
}

/** Makes JSON text Koa's answer. */
export function replyJson(context: Context, status: number, json: string): void {
  context.status = status
  context.res.setHeader('Content-Type', 'application/json')
  context.body = json
}

/** A path parameter, decoded. */
export function pathParameter(context: Context, name: string): string {
  return (context['params'] as Record<string, string>)[name] ?? ''
}

/**
 * Parses a query string.
 *
 * @throws {MailroomError} `MR_REQUEST_INVALID` naming a parameter that is not in `known` or is given twice.
 */
export function parseQuery(querystring: string, known: readonly string[]): Query {
  const query: Query = {}
  if (querystring === '') return query
  for (const [name, value] of new URLSearchParams(querystring)) {
    const where = `query parameter ${quoted(name)}`
    if (!known.includes(name)) {
      const expected = known.length === 0 ? 'absent; none is known here' : `one of ${known.join(', ')}`
      throw badRequest({ where, expected, got: 'an unknown one' })
    }
    if (Object.hasOwn(query, name)) throw badRequest({ where, expected: 'given once', got: 'several' })
    query[name] = value
  }
  return query
}

/** Reads of lists of messages at once, over all routes. */
export const READERS_MAX = 200

/** The `limit` of a page. */
export const PAGE_LIMIT = { min: 1, max: PAGE_MAX_COUNT, fallback: 100 }

/** A query parameter that is a whole number in decimal digits; `fallback` when absent. */
export function numberParameter<F>(
  query: Query,
  name: string,
  { min, max, fallback }: { min: number; max: number; fallback: F },
): number | F {
  const value = query[name]
  if (value === undefined) return fallback
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN
  if (number >= min && number <= max) return number
  throw badRequest({
    where: `query parameter "${name}"`,
    expected: `a whole number from ${min} to ${max}`,
    got: quoted(value),
  })
}

/** A query parameter that is a message id, as an object to spread: `{}` when absent. */
export function idParameter<K extends string>(query: Query, name: K): { [P in K]?: string } {
  const value = query[name]
  if (value === undefined) return {}
  return { [name]: checkId(value, `query parameter "${name}"`) } as { [P in K]?: string }
}

/** The query parameter `source`, the name of a source, as an object to spread: `{}` when absent. */
export function sourceParameter({ source }: Query): { source?: string } {
  if (source === undefined) return {}
  if (SOURCE_NAME.test(source)) return { source }
  throw badRequest({ where: 'query parameter "source"', expected: SOURCE_NAME_WORDS, got: quoted(source) })
}

/** Returns a message id. @throws {MailroomError} `MR_REQUEST_INVALID` when `value` is none. */
export function checkId(value: string, where: string): string {
  if (isId(value)) return value
  throw badRequest({ where, expected: 'a message id (a ULID, 26 characters)', got: quoted(value) })
}
