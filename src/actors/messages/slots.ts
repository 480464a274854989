/**
 * The slots of one messages actor for handler calls (`--handler-concurrency`), shared by all its lanes.
 *
 * New messages and retries share them: retries hold at most half, so messages that keep failing or hanging cannot
 * hold up new ones. Messages that run alone, each in a process of its own, count as retries, and are four at most.
 */

/** Which share of the slots a message takes. */
export type Share = 'new' | 'retry' | 'alone'

const SHARES: readonly Share[] = ['new', 'retry', 'alone']
const ALONE_MAX = 4

/** Hands out the slots, first come first served within a share. */
export class Slots {
  readonly #count: number
  readonly #held: Record<Share, number> = { new: 0, retry: 0, alone: 0 }
  readonly #queues: Record<Share, (() => void)[]> = { new: [], retry: [], alone: [] }
  /** Index in `SHARES` of the share that was asked last. */
  #asked = 0

  constructor(count: number) {
    this.#count = count
  }

  /** Waits for a slot. @returns Gives it back. Call it once. */
  async acquire(share: Share): Promise<() => void> {
    await new Promise<void>((resolve) => {
      this.#queues[share].push(resolve)
      this.#grant()
    })
    return () => {
      this.#held[share]--
      this.#grant()
    }
  }

  /** Grants what is free, the shares in rotation. */
  #grant(): void {
    for (let refused = 0; refused < SHARES.length; refused++) {
      this.#asked = (this.#asked + 1) % SHARES.length
      const share = SHARES[this.#asked]!
      if (this.#queues[share].length === 0 || !this.#isFree(share)) continue
      refused = -1
      this.#held[share]++
      this.#queues[share].shift()!()
    }
  }

  #isFree(share: Share): boolean {
    const { new: fresh, retry, alone } = this.#held
    if (fresh + retry + alone >= this.#count) return false
    const half = Math.max(1, Math.floor(this.#count / 2))
    if (share !== 'new' && retry + alone >= half) return false
    return share !== 'alone' || alone < ALONE_MAX
  }
}
