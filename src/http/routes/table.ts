/**
 * All routes of the public API as data: their paths, queries, body types, and who may call them. The
 * router is built from it; tests compare the documents with it.
 */

import type { CallerRole } from '../tokens.ts'

/** One route. */
export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'OPTIONS'
  /** As in OpenAPI: `/messages/{id}`. */
  path: string
  /** Who may call it, when the node has a token. `source`: whom its source lets. */
  role: 'open' | CallerRole | 'source'
  /** The query parameters it takes; any other is refused by name. `any`: they are ignored. */
  query: readonly string[] | 'any'
  /** Media types of the body it takes, `*`: any; empty: it takes no body. */
  types: readonly string[]
}

/** All routes by operation. POST /messages is first: the router tries them in this order. */
export const ROUTES = {
  postMessages: {
    method: 'POST',
    path: '/messages',
    role: 'post',
    query: ['acks'],
    types: ['application/json', 'text/plain', 'application/x-ndjson'],
  },
  getLists: {
    method: 'GET',
    path: '/messages',
    role: 'read',
    query: ['limit'],
    types: [],
  },
  getMessage: {
    method: 'GET',
    path: '/messages/{id}',
    role: 'read',
    query: ['wait'],
    types: [],
  },
  redeliverMessage: {
    method: 'POST',
    path: '/messages/{id}/redeliver',
    role: 'all',
    query: [],
    types: [],
  },
  postInbox: {
    method: 'POST',
    path: '/in/{source}',
    role: 'source',
    query: 'any',
    types: ['*'],
  },
  getInbox: {
    method: 'GET',
    path: '/in/{source}',
    role: 'source',
    query: 'any',
    types: [],
  },
  askInbox: {
    method: 'OPTIONS',
    path: '/in/{source}',
    role: 'source',
    query: 'any',
    types: [],
  },
  getLog: {
    method: 'GET',
    path: '/log',
    role: 'read',
    query: ['limit', 'before', 'after', 'text', 'source', 'contains'],
    types: [],
  },
  redriveLog: {
    method: 'POST',
    path: '/log/redrive',
    role: 'all',
    query: ['limit', 'after', 'lane', 'since'],
    types: [],
  },
  getActors: {
    method: 'GET',
    path: '/actors',
    role: 'read',
    query: [],
    types: [],
  },
  getStore: {
    method: 'GET',
    path: '/actors/{name}/messages',
    role: 'read',
    query: ['limit', 'before'],
    types: [],
  },
  putActors: {
    method: 'PUT',
    path: '/actors/{role}',
    role: 'all',
    query: [],
    types: ['application/json'],
  },
  restartActors: {
    method: 'POST',
    path: '/actors/{role}/restart',
    role: 'all',
    query: [],
    types: [],
  },
  getCluster: {
    method: 'GET',
    path: '/cluster',
    role: 'read',
    query: [],
    types: [],
  },
  getDead: {
    method: 'GET',
    path: '/dead',
    role: 'read',
    query: ['limit', 'after'],
    types: [],
  },
  replayManyDead: {
    method: 'POST',
    path: '/dead/replay',
    role: 'all',
    query: ['limit', 'after', 'source', 'group', 'reason'],
    types: [],
  },
  purgeManyDead: {
    method: 'POST',
    path: '/dead/purge',
    role: 'all',
    query: ['limit', 'after', 'source', 'group', 'reason'],
    types: [],
  },
  getDeadGroups: {
    method: 'GET',
    path: '/dead/groups',
    role: 'read',
    query: ['lane', 'after'],
    types: [],
  },
  getDeadOne: {
    method: 'GET',
    path: '/dead/{id}',
    role: 'read',
    query: [],
    types: [],
  },
  replayDead: {
    method: 'POST',
    path: '/dead/{id}/replay',
    role: 'all',
    query: [],
    types: [],
  },
  deleteDead: {
    method: 'DELETE',
    path: '/dead/{id}',
    role: 'all',
    query: [],
    types: [],
  },
  getDelivery: {
    method: 'GET',
    path: '/delivery',
    role: 'read',
    query: [],
    types: [],
  },
  putDelivery: {
    method: 'PUT',
    path: '/delivery',
    role: 'all',
    query: [],
    types: ['application/json'],
  },
  getLosses: {
    method: 'GET',
    path: '/loss',
    role: 'read',
    query: [],
    types: [],
  },
  confirmLosses: {
    method: 'POST',
    path: '/loss/confirm',
    role: 'all',
    query: [],
    types: [],
  },
  getSession: {
    method: 'GET',
    path: '/session',
    role: 'open',
    query: [],
    types: [],
  },
  postSession: {
    method: 'POST',
    path: '/session',
    role: 'open',
    query: [],
    types: ['application/json'],
  },
  deleteSession: {
    method: 'DELETE',
    path: '/session',
    role: 'open',
    query: [],
    types: [],
  },
  getEvents: {
    method: 'GET',
    path: '/events',
    role: 'read',
    query: ['only', 'after'],
    types: [],
  },
  getMetrics: {
    method: 'GET',
    path: '/metrics',
    role: 'read',
    query: [],
    types: [],
  },
  getHistory: {
    method: 'GET',
    path: '/history',
    role: 'read',
    query: [],
    types: [],
  },
  getPage: {
    method: 'GET',
    path: '/',
    role: 'open',
    query: [],
    types: [],
  },
  getOpenapi: {
    method: 'GET',
    path: '/openapi.json',
    role: 'open',
    query: [],
    types: [],
  },
  getDocs: {
    method: 'GET',
    path: '/docs',
    role: 'open',
    query: [],
    types: [],
  },
  getAsset: {
    method: 'GET',
    path: '/assets/{file}',
    role: 'open',
    query: [],
    types: [],
  },
  getLivez: {
    method: 'GET',
    path: '/livez',
    role: 'open',
    query: [],
    types: [],
  },
  getReadyz: {
    method: 'GET',
    path: '/readyz',
    role: 'open',
    query: [],
    types: [],
  },
} as const satisfies Record<string, Route>

/** The name of a route. */
export type Operation = keyof typeof ROUTES
