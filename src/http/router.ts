/** The router, built from the route table. It checks path, method and query parameters, then calls the handler. */
import { Router } from '@koa/router'
import type { Context, Middleware, Next } from 'koa'
import { MailroomError } from '../runtime/errors.ts'
import { hasBody } from './body.ts'
import { type ApiContext, type Endpoint, parseQuery, READERS_MAX } from './context.ts'
import { headOf } from './head.ts'
import { ConcurrencyLimit } from './overload.ts'
import { badRequest, shortened } from './problems.ts'
import { actorRoutes } from './routes/actors.ts'
import { deadRoutes } from './routes/dead.ts'
import { deliveryRoutes } from './routes/delivery.ts'
import { docsRoutes } from './routes/docs.ts'
import { eventRoutes } from './routes/events.ts'
import { healthRoutes } from './routes/health.ts'
import { inboxRoutes } from './routes/inbox.ts'
import { logRoutes } from './routes/log.ts'
import { lossRoutes } from './routes/losses.ts'
import { messageRoutes } from './routes/messages.ts'
import { metricsRoutes } from './routes/metrics.ts'
import { pageRoutes } from './routes/page.ts'
import { sessionRoutes } from './routes/session.ts'
import { type Operation, ROUTES, type Route } from './routes/table.ts'

/** `routes` answers what the table knows; `unrouted` throws `MR_NOT_FOUND` or `MR_METHOD_UNSUPPORTED`. */
export function createRouter(api: ApiContext): { routes: Middleware; unrouted: Middleware } {
  const readers = new ConcurrencyLimit('readers of lists', READERS_MAX)
  const handlers: Record<Operation, Endpoint> = {
    ...messageRoutes(api, readers),
    ...inboxRoutes(api),
    ...logRoutes(api, readers),
    ...actorRoutes(api, readers),
    ...deadRoutes(api),
    ...deliveryRoutes(api),
    ...lossRoutes(api),
    ...sessionRoutes(api),
    ...eventRoutes(api),
    ...healthRoutes(api),
    ...metricsRoutes(api),
    ...pageRoutes(api),
    ...docsRoutes(api),
  }
  const router = new Router({ strict: true, sensitive: true })
  for (const [operation, route] of Object.entries(ROUTES) as [Operation, Route][]) {
    const path = route.path.replaceAll(/\{(\w+)\}/g, ':$1')
    // The caller was judged for the route of the head only: `/dead/groups` is no `/dead/{id}`.
    router.register(path, [route.method], (context: Context, next: Next) =>
      headOf(context.req).match.route === route ? answer(context, route, handlers[operation]) : next(),
    )
  }
  const unrouted: Middleware = ({ method, path }) => {
    const known = router.match(path, method).path
    const own = known.filter((layer) => layer.path === path)
    const layers = own.length > 0 ? own : known
    if (layers.length === 0) throw new MailroomError('MR_NOT_FOUND', { what: 'such path' })
    const allowed = [...new Set(layers.flatMap((layer) => layer.methods))]
    throw new MailroomError('MR_METHOD_UNSUPPORTED', { method, path: shortened(path), allowed })
  }
  return { routes: router.routes() as Middleware, unrouted }
}

function answer(context: Context, route: Route, handler: Endpoint): Promise<void> | void {
  context.state['route'] = route.path
  const query = route.query === 'any' ? {} : parseQuery(context.querystring, route.query)
  if (route.types.length === 0 && hasBody(context.req)) {
    throw badRequest({ where: 'the body', expected: 'empty', got: 'one' })
  }
  return handler(context, query)
}
