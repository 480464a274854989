/**
 * All routes of the public API as data: their paths, queries, body types, and whether they need the token. The
 * router is built from it; tests compare the documents with it.
 */

/** One route. */
export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'OPTIONS'
  /** As in OpenAPI: `/messages/{id}`. */
  path: string
  /** `token`: needs the token, when the node has one. `open`: never needs it. `source`: its source says. */
  auth: 'open' | 'token' | 'source'
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
    auth: 'token',
    query: ['acks'],
    types: ['application/json', 'text/plain', 'application/x-ndjson'],
  },
  getLists: {
    method: 'GET',
    path: '/messages',
    auth: 'token',
    query: ['limit'],
    types: [],
  },
  getMessage: {
    method: 'GET',
    path: '/messages/{id}',
    auth: 'token',
    query: ['wait'],
    types: [],
  },
  redeliverMessage: {
    method: 'POST',
    path: '/messages/{id}/redeliver',
    auth: 'token',
    query: [],
    types: [],
  },
  postInbox: {
    method: 'POST',
    path: '/in/{source}',
    auth: 'source',
    query: 'any',
    types: ['*'],
  },
  getInbox: {
    method: 'GET',
    path: '/in/{source}',
    auth: 'source',
    query: 'any',
    types: [],
  },
  askInbox: {
    method: 'OPTIONS',
    path: '/in/{source}',
    auth: 'source',
    query: 'any',
    types: [],
  },
  getLog: {
    method: 'GET',
    path: '/log',
    auth: 'token',
    query: ['limit', 'before', 'after'],
    types: [],
  },
  redriveLog: {
    method: 'POST',
    path: '/log/redrive',
    auth: 'token',
    query: ['limit', 'after', 'lane', 'since'],
    types: [],
  },
  getActors: {
    method: 'GET',
    path: '/actors',
    auth: 'token',
    query: [],
    types: [],
  },
  getStore: {
    method: 'GET',
    path: '/actors/{name}/messages',
    auth: 'token',
    query: ['limit', 'before'],
    types: [],
  },
  putActors: {
    method: 'PUT',
    path: '/actors/{role}',
    auth: 'token',
    query: [],
    types: ['application/json'],
  },
  restartActors: {
    method: 'POST',
    path: '/actors/{role}/restart',
    auth: 'token',
    query: [],
    types: [],
  },
  getCluster: {
    method: 'GET',
    path: '/cluster',
    auth: 'token',
    query: [],
    types: [],
  },
  getDead: {
    method: 'GET',
    path: '/dead',
    auth: 'token',
    query: ['limit', 'after'],
    types: [],
  },
  replayManyDead: {
    method: 'POST',
    path: '/dead/replay',
    auth: 'token',
    query: ['limit', 'after', 'source', 'reason'],
    types: [],
  },
  purgeManyDead: {
    method: 'POST',
    path: '/dead/purge',
    auth: 'token',
    query: ['limit', 'after', 'source', 'reason'],
    types: [],
  },
  getDeadOne: {
    method: 'GET',
    path: '/dead/{id}',
    auth: 'token',
    query: [],
    types: [],
  },
  replayDead: {
    method: 'POST',
    path: '/dead/{id}/replay',
    auth: 'token',
    query: [],
    types: [],
  },
  deleteDead: {
    method: 'DELETE',
    path: '/dead/{id}',
    auth: 'token',
    query: [],
    types: [],
  },
  getDelivery: {
    method: 'GET',
    path: '/delivery',
    auth: 'token',
    query: [],
    types: [],
  },
  putDelivery: {
    method: 'PUT',
    path: '/delivery',
    auth: 'token',
    query: [],
    types: ['application/json'],
  },
  getLosses: {
    method: 'GET',
    path: '/loss',
    auth: 'token',
    query: [],
    types: [],
  },
  confirmLosses: {
    method: 'POST',
    path: '/loss/confirm',
    auth: 'token',
    query: [],
    types: [],
  },
  getEvents: {
    method: 'GET',
    path: '/events',
    auth: 'token',
    query: ['only', 'after'],
    types: [],
  },
  getMetrics: {
    method: 'GET',
    path: '/metrics',
    auth: 'token',
    query: [],
    types: [],
  },
  getLivez: {
    method: 'GET',
    path: '/livez',
    auth: 'open',
    query: [],
    types: [],
  },
  getReadyz: {
    method: 'GET',
    path: '/readyz',
    auth: 'open',
    query: [],
    types: [],
  },
} as const satisfies Record<string, Route>

/** The name of a route. */
export type Operation = keyof typeof ROUTES
