/** The router, built from the route table: a path and a method it knows, a query it knows, then the handler. */
import { Router } from '@koa/router'
import type { Context, Middleware } from 'koa'
import { MailroomError } from '../runtime/errors.ts'
import { hasBody } from './body.ts'
import type { Handler, Reach } from './context.ts'
import { badRequest } from './problems.ts'
import { parseQuery } from './query.ts'
import { actorRoutes } from './routes/actors.ts'
import { deadRoutes } from './routes/dead.ts'
import { healthRoutes } from './routes/health.ts'
import { listRoutes } from './routes/lists.ts'
import { postMessages } from './routes/post-messages.ts'
import { redriveRoutes } from './routes/redrive.ts'
import { type Operation, ROUTES, type Route } from './routes/table.ts'

/** The middleware that answers every request, or throws: `MR_NOT_FOUND`, `MR_METHOD_UNSUPPORTED`, … */
export function createRouter(reach: Reach): { routes: Middleware; unrouted: Middleware } {
  const handlers: Record<Operation, Handler> = {
    postMessages: postMessages(reach),
    ...listRoutes(reach),
    ...actorRoutes(reach),
    ...deadRoutes(reach),
    ...redriveRoutes(reach),
    ...healthRoutes(reach),
  }
  const router = new Router({ strict: true, sensitive: true })
  for (const [operation, route] of Object.entries(ROUTES) as [Operation, Route][]) {
    const path = route.path.replaceAll(/\{(\w+)\}/g, ':$1')
    router.register(path, [route.method], (context: Context) => answer(context, route, handlers[operation]))
  }
  const unrouted: Middleware = ({ method, path }) => {
    const layers = router.match(path, method).path
    if (layers.length === 0) throw new MailroomError('MR_NOT_FOUND', { what: 'such path' })
    const allowed = [...new Set(layers.flatMap((layer) => layer.methods))]
    throw new MailroomError('MR_METHOD_UNSUPPORTED', { method, path, allowed })
  }
  return { routes: router.routes() as Middleware, unrouted }
}

function answer(context: Context, route: Route, handler: Handler): Promise<void> | void {
  const query = parseQuery(context.querystring, route.query)
  if (route.types.length === 0 && hasBody(context.req)) {
    throw badRequest({ where: 'the body', expected: 'empty', got: 'one' })
  }
  return handler(context, query)
}
