/** Dead letters of all messages actors. */
import { MIN_ID } from '../../storage/ids.ts'
import { PAGE_MAX_BYTES } from '../../storage/limits.ts'
import { boundedPage, mergeById } from '../../storage/paging.ts'
import type { Dead, Range } from '../../storage/ports.ts'
import type { Holders } from './holders.ts'
import type { ReadTurns } from './turns.ts'

/** Dead letters asked of the messages actors at once. */
const CHUNK_COUNT = 100

/** The methods of `Facade` for dead letters. */
export class DeadLetters {
  readonly #holders: Holders
  readonly #turns: ReadTurns

  constructor(holders: Holders, turns: ReadTurns) {
    this.#holders = holders
    this.#turns = turns
  }

  async list({ after = MIN_ID, limit }: { after?: string; limit: number }): Promise<Dead[]> {
    const holders = this.#holders.all()
    const read = ({ after, limit }: Range) => {
      const sources = holders.map(
        (holder) =>
          (cursor = after!, count: number) =>
            holder.dead({ after: cursor, limit: count }),
      )
      return mergeById(sources, limit, 'ascending', { mayBeShort: true })
    }
    return this.#turns.take('dead', limit, () =>
      boundedPage({ after, limit }, PAGE_MAX_BYTES, CHUNK_COUNT, read),
    )
  }

  async find(id: string): Promise<Dead | undefined> {
    // An exclusive bound just below the id: its last digit, less one.
    const lastDigit = String.fromCharCode(id.charCodeAt(id.length - 1) - 1)
    const [letter] = await this.list({ after: id.slice(0, -1) + lastDigit, limit: 1 })
    return letter?.id === id ? letter : undefined
  }

  async replay(id: string): Promise<boolean> {
    return anyOf(this.#holders.all().map((holder) => holder.replay(id)))
  }

  async purge(id: string): Promise<boolean> {
    return anyOf(this.#holders.all().map((holder) => holder.purge(id)))
  }
}

/** True when any answer is true, even if others failed. False when all are false. Else the first failure. */
async function anyOf(answers: Promise<boolean>[]): Promise<boolean> {
  const results = await Promise.allSettled(answers)
  if (results.some((result) => result.status === 'fulfilled' && result.value)) return true
  await Promise.all(answers)
  return false
}
