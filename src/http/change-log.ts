/**
 * One log line for every change that is asked for through the API: who, from where, what, and what came of it. It shows
 * no token and no text of a message.
 */
import type { Context } from 'koa'
import type { ErrorCode } from '../runtime/errors.ts'
import type { ApiContext } from './context.ts'
import { headOf } from './head.ts'
import { shortened } from './problems.ts'
import { RefusalLog } from './refusal-log.ts'
import { isChange } from './routes/match.ts'
import type { CallerRole } from './tokens.ts'

const REFUSED: ReadonlySet<number | null> = new Set([401, 403, 429])

/** What a handler adds to the line of its request. */
interface Addition {
  /** Of the body. */
  parameters?: Record<string, number | boolean>
  /** Of who has just signed in. */
  role?: CallerRole
}

const additions = new WeakMap<Context, Addition>()

/** Adds to the log line of a request what its body says. */
export function addToChange(context: Context, addition: Addition): void {
  additions.set(context, addition)
}

/** Writes the lines. */
export class ChangeLog {
  readonly #logger: ApiContext['logger']
  readonly #refusals: RefusalLog

  constructor(api: Pick<ApiContext, 'clock' | 'logger'>) {
    this.#logger = api.logger
    this.#refusals = new RefusalLog(api, { one: 'a change was refused', more: 'more changes were refused' })
  }

  /**
   * Logs a request that has been answered, if it asked for a change.
   *
   * @param requestId Of the answer.
   * @param code Of the error that was answered. `null`: the client left before the answer.
   */
  note(context: Context, requestId: string, code: ErrorCode | null | undefined): void {
    const { match, caller, address } = headOf(context.req)
    const { operation, route } = match
    if (route === undefined || !isChange(route)) return
    const { role = caller.role, parameters: ofBody } = additions.get(context) ?? {}
    const query = new URLSearchParams(context.querystring)
    const known = route.query === 'any' ? [] : route.query.filter((name) => query.has(name))
    const parameters = {
      ...match.parameters,
      ...Object.fromEntries(known.map((name) => [name, query.get(name)!])),
    }
    const given = Object.entries(parameters).map(([name, value]) => [name, shortened(value)])
    const what = { operation, ...Object.fromEntries(given), ...ofBody }
    const status = code === null ? null : context.res.statusCode
    const line = { requestId, role, address, what, result: { status, ...(code != null && { code }) } }
    if (REFUSED.has(status)) this.#refusals.note({}, line)
    else this.#logger.info(line, 'a change')
  }
}
