/** `/loss`: what a Hazelcast cluster has lost with all its members, until an operator confirms it. */
import { type Loss, sentenceOf } from '../../runtime/losses.ts'
import { type ApiContext, type Endpoint, replyJson } from '../context.ts'

/** The routes of losses. */
export function lossRoutes({ facade }: ApiContext): Record<'getLosses' | 'confirmLosses', Endpoint> {
  return {
    getLosses(context) {
      replyJson(context, 200, lossesJson(facade.losses()))
    },
    async confirmLosses(context) {
      replyJson(context, 200, lossesJson(await facade.confirmLosses()))
    },
  }
}

function lossesJson(losses: readonly Loss[]): string {
  const items = losses.map((loss) => {
    const { store, kind, count, epoch, lastSeenAt, noticedAt } = loss
    const times = { lastSeenAt: isoOf(lastSeenAt), noticedAt: isoOf(noticedAt) }
    return { store, kind, count, ...times, epoch, detail: sentenceOf(loss) }
  })
  return JSON.stringify({ losses: items })
}

function isoOf(instant: number): string {
  return new Date(instant).toISOString()
}
