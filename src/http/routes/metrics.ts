/** `/metrics`: the figures of this node, for Prometheus and what reads its formats. */
import { formatOf, METRICS_TYPES } from '../../runtime/metrics.ts'
import type { ApiContext, Endpoint } from '../context.ts'

/** The route of the metrics. */
export function metricsRoutes({ facade }: ApiContext): Record<'getMetrics', Endpoint> {
  return {
    async getMetrics(context) {
      const format = formatOf(context.req.headers.accept)
      const text = await facade.metrics(format)
      context.res.setHeader('Content-Type', METRICS_TYPES[format])
      context.res.setHeader('Vary', 'Accept')
      context.body = text
    },
  }
}
