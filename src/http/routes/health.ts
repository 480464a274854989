/** `/livez` and `/readyz`: open to everyone, without a token. */
import { type ApiContext, type Endpoint, replyJson } from '../context.ts'

/** The routes of health. */
export function healthRoutes({
  facade,
  closing,
  overloaded,
}: ApiContext): Record<'getLivez' | 'getReadyz', Endpoint> {
  return {
    getLivez(context) {
      replyJson(context, 200, '{"status":"ok"}')
    },
    getReadyz(context) {
      const missing = facade.missing()
      const ready = missing.length === 0 && !closing()
      const status = ready ? 'ready' : 'unready'
      const degraded = [...facade.degraded(), ...(overloaded() ? ['overloaded: some posts get 429'] : [])]
      const restoring = facade.restoring()
      const damaged = facade.damaged()
      const warnings = facade.warnings()
      const body = {
        ...{ status, missing },
        ...(degraded.length > 0 && { degraded }),
        ...(restoring.length > 0 && { restoring }),
        ...(damaged.length > 0 && { damaged }),
        ...(warnings.length > 0 && { warnings }),
      }
      replyJson(context, ready ? 200 : 503, JSON.stringify(body))
    },
  }
}
