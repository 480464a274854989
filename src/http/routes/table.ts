/**
 * All routes of the public API as data: their paths, queries, body types, and whether they need the token. The
 * router is built from it; tests compare the documents with it.
 */

/** One route. */
export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** As in OpenAPI: `/messages/{id}`. */
  path: string
  /** `token`: needs the token, when the node has one. `open`: never needs it. */
  auth: 'open' | 'token'
  /** The query parameters it takes; any other is refused by name. */
  query: readonly string[]
  /** Media types of the body it takes; empty: it takes no body. */
  types: readonly string[]
  /** What it does, for people. */
  does: string
}

/** All routes by operation. POST /messages is first: the router tries them in this order. */
export const ROUTES = {
  postMessages: {
    method: 'POST',
    path: '/messages',
    auth: 'token',
    query: ['acks'],
    types: ['application/json', 'text/plain', 'application/x-ndjson'],
    does: 'accepts one message, a batch, or a stream of them',
  },
  getLists: {
    method: 'GET',
    path: '/messages',
    auth: 'token',
    query: ['limit'],
    types: [],
    does: 'the two lists: what is logged, and what one messages actor was delivered',
  },
  getMessage: {
    method: 'GET',
    path: '/messages/{id}',
    auth: 'token',
    query: ['wait'],
    types: [],
    does: 'one message and where it is',
  },
  getLog: {
    method: 'GET',
    path: '/log',
    auth: 'token',
    query: ['limit', 'before', 'after'],
    types: [],
    does: 'one page of the log',
  },
  redriveLog: {
    method: 'POST',
    path: '/log/redrive',
    auth: 'token',
    query: ['limit', 'after'],
    types: [],
    does: 'puts messages of the log that the queue has lost back into it; their handlers may run again',
  },
  getActors: {
    method: 'GET',
    path: '/actors',
    auth: 'token',
    query: [],
    types: [],
    does: 'every actor of the system',
  },
  getStore: {
    method: 'GET',
    path: '/actors/{name}/messages',
    auth: 'token',
    query: ['limit', 'before'],
    types: [],
    does: "one page of one messages actor's store",
  },
  putActors: {
    method: 'PUT',
    path: '/actors/{role}',
    auth: 'token',
    query: [],
    types: ['application/json'],
    does: 'scales a role of this node',
  },
  restartActors: {
    method: 'POST',
    path: '/actors/{role}/restart',
    auth: 'token',
    query: [],
    types: [],
    does: "restarts a role's actors of this node, one by one",
  },
  getDead: {
    method: 'GET',
    path: '/dead',
    auth: 'token',
    query: ['limit', 'after'],
    types: [],
    does: 'one page of the dead letters, oldest first',
  },
  getDeadOne: {
    method: 'GET',
    path: '/dead/{id}',
    auth: 'token',
    query: [],
    types: [],
    does: 'one dead letter',
  },
  replayDead: {
    method: 'POST',
    path: '/dead/{id}/replay',
    auth: 'token',
    query: [],
    types: [],
    does: "puts a dead letter back into its lane's backlog",
  },
  deleteDead: {
    method: 'DELETE',
    path: '/dead/{id}',
    auth: 'token',
    query: [],
    types: [],
    does: 'forgets a dead letter; it stays in the log',
  },
  getLivez: {
    method: 'GET',
    path: '/livez',
    auth: 'open',
    query: [],
    types: [],
    does: 'answers while the process is up',
  },
  getReadyz: {
    method: 'GET',
    path: '/readyz',
    auth: 'open',
    query: [],
    types: [],
    does: 'says whether messages can be accepted, and what is missing if not',
  },
} as const satisfies Record<string, Route>

/** The name of a route. */
export type Operation = keyof typeof ROUTES
