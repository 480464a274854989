/** Group commit: writes that arrive in one event-loop iteration share one transaction, so one fdatasync. */
import type { Clock } from '../../runtime/clock.ts'
import { MailroomError } from '../../runtime/errors.ts'

interface Write {
  write: () => unknown
  isDurable: boolean
  resolve: (value: never) => void
  reject: (error: unknown) => void
}

/** How a group commit writes. */
export interface GroupCommitOptions {
  clock: Pick<Clock, 'soon'>
  /** Runs `work` in a transaction: durable (if so asked) when it returns, nothing written when it throws. */
  transact: (work: () => void, isDurable: boolean) => void
  /** Makes, of what `transact` threw, the error that all writes of the group get. */
  failed?: (error: unknown) => unknown
}

/** Gathers the writes of one file. */
export class GroupCommit {
  readonly #options: GroupCommitOptions
  #writes: Write[] = []

  constructor(options: GroupCommitOptions) {
    this.#options = options
  }

  /**
   * Runs `write` in the next transaction.
   *
   * @param isDurable False: it need not outlive a power cut yet.
   * @returns What `write` returned, once that is durable. A `MailroomError` that it returned is thrown: it refuses
   * this write only.
   */
  run<T>(write: () => T, isDurable = true): Promise<Exclude<T, MailroomError>> {
    return new Promise((resolve, reject) => {
      this.#writes.push({ write, isDurable, resolve, reject })
      if (this.#writes.length === 1) this.#options.clock.soon(() => this.#flush())
    })
  }

  /** Refuses the writes that have not begun. */
  close(error: Error): void {
    for (const { reject } of this.#writes.splice(0)) reject(error)
  }

  #flush(): void {
    const writes = this.#writes.splice(0)
    if (writes.length === 0) return
    const results: unknown[] = []
    try {
      this.#options.transact(
        () => {
          for (const { write } of writes) results.push(write())
        },
        writes.some(({ isDurable }) => isDurable),
      )
    } catch (error) {
      const { failed = () => error } = this.#options
      const reason = failed(error)
      for (const { reject } of writes) reject(reason)
      return
    }
    for (const [index, { resolve, reject }] of writes.entries()) {
      const result = results[index]
      if (result instanceof MailroomError) reject(result)
      else resolve(result as never)
    }
  }
}
