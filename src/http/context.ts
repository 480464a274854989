/** What the routes are given: the facade they speak for, and one request's call. */
import type { Context } from 'koa'
import type { Facade } from '../actors/protocol.ts'
import type { Clock, Random } from '../runtime/clock.ts'
import type { Logger } from '../runtime/logger.ts'
import type { NodeConfig } from '../settings/config.ts'
import type { Query } from './query.ts'

/** Everything the public API gets from outside itself. */
export interface Surroundings {
  facade: Facade
  config: NodeConfig
  clock: Clock
  random: Random
  logger: Logger
  /** The name of this node. */
  node: string
}

/** What a route's handler works with. */
export interface Reach extends Surroundings {
  /** True once this server says goodbye: every reply closes its connection. */
  closing(): boolean
}

/** Answers one request of a route. Its query is known to hold only what the route knows. */
export type Handler = (context: Context, query: Query) => Promise<void> | void

/** Puts JSON, already made, into Koa's answer. */
export function replyJson(context: Context, status: number, json: string): void {
  context.status = status
  context.res.setHeader('Content-Type', 'application/json')
  context.body = json
}

/** A path parameter, decoded. */
export function pathParameter(context: Context, name: string): string {
  return (context['params'] as Record<string, string>)[name] ?? ''
}
