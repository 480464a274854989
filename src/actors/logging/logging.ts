/** The logging actor: appends batches to the log and reads it. */

import { Actor } from '../../runtime/actor.ts'
import type { ActorContext } from '../../runtime/cluster/actor-context.ts'
import type { Loss } from '../../runtime/losses.ts'
import type { JournaledBackend } from '../../storage/journal.ts'
import { handMaxBytes, storedMaxBytes } from '../../storage/limits.ts'
import type {
  ClusterState,
  LaneBatch,
  Log,
  Logged,
  LogPosition,
  Range,
  Receipt,
  Stored,
} from '../../storage/ports.ts'
import { textBytesOf } from '../../storage/ports.ts'
import { previewOf } from '../../storage/preview.ts'
import type { LogFound, LoggedPart, Logging, LogSearch } from '../protocol.ts'
import { searchLog } from './search.ts'

/** Appends that run at the same time share a group commit of the log. */
const CONCURRENCY = 64

/** Answers `Logging` from its log. */
export class LoggingActor extends Actor implements Logging {
  readonly #log: Log
  readonly #backend: Pick<JournaledBackend, 'cluster' | 'confirmLosses' | 'keys'>

  constructor(
    context: ActorContext,
    backend: Pick<JournaledBackend, 'log' | 'cluster' | 'confirmLosses' | 'keys'>,
  ) {
    super(context, {
      concurrency: CONCURRENCY,
      capacityBytes: handMaxBytes(storedMaxBytes(context.config.maxMessageBytes)),
    })
    this.#log = backend.log
    this.#backend = backend
  }

  async append(given: LaneBatch, leftMs: number | null): Promise<Receipt[]> {
    const { clock } = this.context
    const batch = leftMs === null ? given : { ...given, deadlineAt: clock.monotonic() + leftMs }
    const cost = { count: batch.messages.length, bytes: textBytesOf(batch.messages) }
    return this.mailbox.run(() => this.#log.append(batch), cost)
  }

  async page(range: Range): Promise<Logged[]> {
    return this.mailbox.run(() => this.#log.page(range))
  }

  async get(id: string): Promise<Logged | undefined> {
    return this.mailbox.run(() => this.#log.get(id))
  }

  async search(range: Range, search: LogSearch): Promise<LogFound> {
    return this.mailbox.run(() => searchLog(this.#log, this.context.clock, range, search))
  }

  async follow(position: LogPosition, limit: number): Promise<LoggedPart> {
    return this.mailbox.run(async () => {
      const { messages, ...part } = await this.#log.follow(position, limit)
      return { ...part, messages: messages.map(({ id, text }) => ({ id, preview: previewOf(text) })) }
    })
  }

  async restore(lane: number, messages: readonly Stored[]): Promise<string[]> {
    const bytes = textBytesOf(messages.map(({ text }) => ({ text: text ?? '' })))
    const cost = { count: messages.length, bytes }
    return this.mailbox.run(() => this.#log.restore(lane, messages), cost)
  }

  async keys(range: { after: string; limit: number }): ReturnType<Logging['keys']> {
    return this.mailbox.run(
      async () => (await this.#backend.keys?.(range)) ?? { keys: [], first: null, last: null },
    )
  }

  /** Beside the mailbox, so that it is answered under load. */
  async cluster(): Promise<ClusterState | null> {
    return (await this.#backend.cluster?.()) ?? null
  }

  async confirmLosses(losses: readonly Loss[]): Promise<void> {
    await this.mailbox.run(() => this.#backend.confirmLosses(losses))
    this.context.changed()
  }
}
