/** What clusters have lost: reported to clients of the API, and confirmed by an operator. */
import type { Directory } from '../../runtime/cluster/directory.ts'
import { type Loss, openLosses } from '../../runtime/losses.ts'
import type { Backend } from '../../storage/ports.ts'
import type { LoggingPool } from './logging-pool.ts'

/** The losses of both clusters. */
export class Losses {
  readonly #directory: Directory
  readonly #backend: Pick<Backend, 'reports' | 'confirmLosses'>
  readonly #logging: LoggingPool
  /** Epochs of losses that were confirmed here. Reports of other actors may be a moment older. */
  readonly #confirmed = new Set<string>()

  constructor(
    directory: Directory,
    backend: Pick<Backend, 'reports' | 'confirmLosses'>,
    logging: LoggingPool,
  ) {
    this.#directory = directory
    this.#backend = backend
    this.#logging = logging
  }

  /** Those that nobody has confirmed. */
  open(): Loss[] {
    const others = this.#directory.actors().flatMap(({ clusters = [] }) => clusters)
    const losses = openLosses([...this.#backend.reports(), ...others])
    return losses.filter(({ epoch }) => !this.#confirmed.has(epoch))
  }

  async confirm(): Promise<Loss[]> {
    const losses = this.open()
    const results = await Promise.allSettled(
      (['log', 'queue'] as const).map(async (store) => {
        const own = losses.filter((loss) => loss.store === store)
        if (own.length === 0) return
        if (store === 'log') await this.#logging.confirmLosses(own)
        else await this.#backend.confirmLosses(own)
        for (const { epoch } of own) this.#confirmed.add(epoch)
      }),
    )
    for (const result of results) if (result.status === 'rejected') throw result.reason
    return losses
  }
}
