/** Which route a request means, as the router finds it too: known before the router runs, because callers are judged then. */
import { type Operation, ROUTES, type Route } from './table.ts'

/** What a path and a method mean. */
export interface Match {
  /** Undefined: there is no such route. */
  operation?: Operation
  route?: Route
  /** The parameters of the path, as they were written. */
  parameters: Record<string, string>
  /**
   * Who may ask. Of a path that does not take the method, it is that of the path if it is open to all or a source's. `any`:
   * whoever has a token, so that nobody else learns which paths there are.
   */
  role: Route['role'] | 'any'
}

const PATTERNS = (Object.entries(ROUTES) as [Operation, Route][]).map(([operation, route]) => ({
  operation,
  route,
  pattern: new RegExp(`^${route.path.replaceAll('.', '\\.').replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`),
}))

/** Finds the route of a path (in its one spelling, without a query) and a method. HEAD means GET. */
export function matchOf(method: string | undefined, path: string): Match {
  let elsewhere: Match | undefined
  // `/dead/groups` is no `/dead/{id}`: a path that stands in the table has the methods of its own rows only.
  const own = PATTERNS.filter(({ route }) => route.path === path)
  for (const { operation, route, pattern } of own.length > 0 ? own : PATTERNS) {
    const found = pattern.exec(path)
    if (found === null) continue
    const parameters = { ...found.groups }
    if (route.method === (method === 'HEAD' ? 'GET' : method)) {
      return { operation, route, parameters, role: route.role }
    }
    const isClosed = route.role !== 'open' && route.role !== 'source'
    elsewhere ??= { parameters, role: isClosed ? 'any' : route.role }
  }
  return elsewhere ?? { parameters: {}, role: 'any' }
}

/** True for a route that changes something and is logged: not for reads, nor for what stores messages. */
export function isChange({ method, role }: Route): boolean {
  return method !== 'GET' && method !== 'OPTIONS' && role !== 'post' && role !== 'source'
}
