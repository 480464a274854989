/** Items of events, and the lanes of which they are read. */
import type { ActorEntry } from '../../runtime/cluster/directory.ts'
import { isMailroomError } from '../../runtime/errors.ts'
import { atOf } from '../../storage/ids.ts'
import { PAGE_MAX_COUNT } from '../../storage/limits.ts'
import type { DeadHead, DeliveredHead, SettledPlace } from '../../storage/ports.ts'
import type { LoggedHead, Messages } from '../protocol.ts'
import type { Holders } from './holders.ts'

/** Errors of dead letters are shown so far. */
const ERROR_CHARACTERS = 200

/** What becomes of messages. */
export type SettledTopic = 'delivered' | 'dead'

/** The lanes, at their holders. */
export class Lanes {
  readonly #holders: Holders
  readonly count: number

  constructor(holders: Holders, count: number) {
    this.#holders = holders
    this.count = count
  }

  /** Those that have a ready holder. */
  byHolder(): Map<ActorEntry, number[]> {
    const byHolder = new Map<ActorEntry, number[]>()
    for (let lane = 0; lane < this.count; lane++) {
      const holder = this.holderOf(lane)
      if (holder !== undefined) byHolder.set(holder, [...(byHolder.get(holder) ?? []), lane])
    }
    return byHolder
  }

  holderOf(lane: number): ActorEntry | undefined {
    try {
      return this.#holders.entryOf(lane)
    } catch (error) {
      if (!isMailroomError(error)) throw error
      return undefined
    }
  }

  at(holder: ActorEntry): Messages {
    return this.#holders.at(holder)
  }

  /** @returns `last`: where to go on; null at the end. */
  async page(
    holder: ActorEntry,
    { topic, lane, place }: { topic: SettledTopic; lane: number; place: SettledPlace },
  ): Promise<{ items: object[]; last: SettledPlace | null }> {
    const messages = this.at(holder)
    if (topic === 'delivered') {
      const page = await messages.deliveredSince(lane, place, PAGE_MAX_COUNT)
      const last = page.at(-1)
      return {
        items: page.map((head) => deliveredItem(head, holder.name)),
        last: last === undefined ? null : { at: last.deliveredAt, id: last.id },
      }
    }
    const page = await messages.deadSince(lane, place, PAGE_MAX_COUNT)
    const last = page.at(-1)
    return { items: page.map(deadItem), last: last === undefined ? null : { at: last.deadAt, id: last.id } }
  }
}

/** Of `logged`. */
export function loggedItem({ id, preview }: LoggedHead): object {
  return { id, at: atOf(id), ...preview }
}

/** Of `delivered`. */
export function deliveredItem(
  { id, deliveredAt, attempts, preview }: DeliveredHead,
  deliveredTo: string,
): object {
  return { id, at: atOf(id), deliveredTo, deliveredAt: isoOf(deliveredAt), attempts, ...preview }
}

/** Of `dead`. */
export function deadItem({ id, deadAt, reason, attempts, lastError, preview }: DeadHead): object {
  const error = lastError.slice(0, ERROR_CHARACTERS).toWellFormed()
  return { id, at: atOf(id), deadAt: isoOf(deadAt), reason, attempts, lastError: error, ...preview }
}

function isoOf(time: number): string {
  return new Date(time).toISOString()
}
