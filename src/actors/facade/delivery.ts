/** Pauses delivery, and resumes it: in the backend first, then at each messages actor. */
import type { Clock } from '../../runtime/clock.ts'
import type { ActorEntry, Directory } from '../../runtime/cluster/directory.ts'
import { isMailroomError, MailroomError } from '../../runtime/errors.ts'
import { PAUSE_CHECK_MS, PAUSE_TOLD_MS } from '../../runtime/timings.ts'
import type { Queue } from '../../storage/ports.ts'
import type { Holders } from './holders.ts'

/** What it needs of its facade. */
export interface DeliveryOptions {
  clock: Clock
  directory: Directory
  queue: Pick<Queue, 'isPaused' | 'setPaused'>
  holders: Pick<Holders, 'at'>
}

/** Answers `Facade.isPaused` and `Facade.setPaused`. */
export class Delivery {
  readonly #options: DeliveryOptions

  constructor(options: DeliveryOptions) {
    this.#options = options
  }

  isPaused(): Promise<boolean> {
    return this.#options.queue.isPaused()
  }

  /** A process that begins meanwhile reads it of the backend. */
  async setPaused(paused: boolean): Promise<void> {
    const { clock, queue } = this.#options
    await queue.setPaused(paused)
    const endAt = clock.monotonic() + PAUSE_TOLD_MS
    const told = new Set<string>()
    for (;;) {
      const rest = this.#ready().filter((actor) => !told.has(processOf(actor)))
      if (rest.length === 0) return
      if (clock.monotonic() >= endAt) {
        const reason = `${rest.map(({ name }) => name).join(', ')} did not answer; they will know within a second`
        throw new MailroomError('MR_STORE_UNAVAILABLE', { store: 'queue', reason }, { outcome: 'unknown' })
      }
      await Promise.all(rest.map((actor) => this.#tell(actor, paused, told)))
      if (rest.some((actor) => !told.has(processOf(actor)))) await clock.sleep(PAUSE_CHECK_MS)
    }
  }

  #ready(): ActorEntry[] {
    const actors = this.#options.directory.actors()
    return actors.filter(({ role, state }) => role === 'messages' && state === 'ready')
  }

  async #tell(actor: ActorEntry, paused: boolean, told: Set<string>): Promise<void> {
    try {
      await this.#options.holders.at(actor).pause(paused)
      told.add(processOf(actor))
    } catch (error) {
      if (!isMailroomError(error)) throw error // Else it is asked again, or is not ready any more.
    }
  }
}

function processOf({ name, pid }: ActorEntry): string {
  return `${name} ${pid}`
}
