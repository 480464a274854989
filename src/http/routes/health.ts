/** `/livez` and `/readyz`: open to everyone, without a token. */
import { type ApiContext, type Endpoint, replyJson } from '../context.ts'

/** The routes of health. */
export function healthRoutes({ facade, closing }: ApiContext): Record<'getLivez' | 'getReadyz', Endpoint> {
  return {
    getLivez(context) {
      replyJson(context, 200, '{"status":"ok"}')
    },
    getReadyz(context) {
      const missing = facade.missing()
      const ready = missing.length === 0 && !closing()
      const status = ready ? 'ready' : 'unready'
      const damaged = facade.damaged()
      const warnings = facade.warnings()
      const body = {
        ...{ status, missing },
        ...(damaged.length > 0 && { damaged }),
        ...(warnings.length > 0 && { warnings }),
      }
      replyJson(context, ready ? 200 : 503, JSON.stringify(body))
    },
  }
}
