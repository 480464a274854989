/** `/loss`: what a Hazelcast cluster has lost with all its members, until an operator confirms it. */
import { journalsOf } from '../../runtime/cluster/directory.ts'
import { type Loss, type Restored, restoredBy, sentenceOf } from '../../runtime/losses.ts'
import { type ApiContext, type Endpoint, replyJson } from '../context.ts'

/** The routes of losses. */
export function lossRoutes({ facade }: ApiContext): Record<'getLosses' | 'confirmLosses', Endpoint> {
  const lossesJson = (losses: readonly Loss[]) => {
    const restored = restoredBy(journalsOf(facade))
    return JSON.stringify({ losses: losses.map((loss) => lossJson(loss, restored)) })
  }
  return {
    getLosses(context) {
      replyJson(context, 200, lossesJson(facade.losses()))
    },
    async confirmLosses(context) {
      replyJson(context, 200, lossesJson(await facade.confirmLosses()))
    },
  }
}

function lossJson(loss: Loss, restored: Restored | undefined) {
  const { store, kind, count, epoch, lastSeenAt, noticedAt } = loss
  const times = { lastSeenAt: isoOf(lastSeenAt), noticedAt: isoOf(noticedAt) }
  return { store, kind, count, ...times, epoch, detail: sentenceOf(loss, restored) }
}

function isoOf(instant: number): string {
  return new Date(instant).toISOString()
}
