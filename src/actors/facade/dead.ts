/** Dead letters of all messages actors. */
import { MIN_ID } from '../../storage/ids.ts'
import { mergeById } from '../../storage/paging.ts'
import type { Dead } from '../../storage/ports.ts'
import type { Holders } from './holders.ts'
import type { ReadTurns } from './turns.ts'

/** The methods of `Facade` for dead letters. */
export class DeadLetters {
  readonly #holders: Holders
  readonly #turns: ReadTurns
  readonly #pagesAtOnce: number

  /** @param pagesAtOnce As `mergeById` reads them. */
  constructor(holders: Holders, turns: ReadTurns, pagesAtOnce: number) {
    this.#holders = holders
    this.#turns = turns
    this.#pagesAtOnce = pagesAtOnce
  }

  async list({ after = MIN_ID, limit }: { after?: string; limit: number }): Promise<Dead[]> {
    const sources = this.#holders.all().map(
      (holder) =>
        (cursor = after, count: number) =>
          holder.dead({ after: cursor, limit: count }),
    )
    const merge = { limit, order: 'ascending', atOnce: this.#pagesAtOnce } as const
    return this.#turns.take('dead', limit, () => mergeById(sources, merge))
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
