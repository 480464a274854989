/** A journal in memory, shared by all that hold it: what a directory on a disk is to the processes that reach it. */
import type { Epochs, KnownJournal } from '../../src/runtime/losses.ts'
import { byId, timeOf } from '../../src/storage/ids.ts'
import type { Journal } from '../../src/storage/journal.ts'
import type { LaneBatch, Logged } from '../../src/storage/ports.ts'

/** It may refuse, and takes as long as `gate`. */
export class MemoryJournal implements Journal {
  readonly id: string
  beganAt: number | null
  beganIn: Epochs = {}
  #messages = new Map<string, Logged>()
  #isTaken = false
  readonly #others = new Map<string, KnownJournal>()
  /** Of each batch that was written: whether it had to be durable at once. */
  readonly durable: boolean[] = []
  /** Awaited before a batch is written. */
  gate: () => Promise<void> = async () => {}
  /** Awaited before a page is read. */
  beforePage: () => Promise<void> = async () => {}

  constructor(id = 'journal', beganAt: number | null = null) {
    this.id = id
    this.beganAt = beganAt
  }

  /** The same directory as another process sees it, after the first has died. */
  ofAnother(): MemoryJournal {
    const journal = new MemoryJournal(this.id, this.beganAt)
    journal.beganIn = this.beganIn
    journal.#messages = this.#messages
    journal.beforePage = this.beforePage
    return journal
  }

  async append({ lane, messages }: LaneBatch, isDurable = true): Promise<void> {
    await this.gate()
    this.durable.push(isDurable)
    this.beganAt ??= timeOf(messages[0]!.id)
    for (const { id, text } of messages) this.#messages.set(id, { id, text, lane })
  }

  async page({ after, limit }: { after: string; limit: number }): Promise<Logged[]> {
    await this.beforePage()
    return [...this.#messages.values()]
      .filter(({ id }) => id > after)
      .sort(byId)
      .slice(0, limit)
  }

  count(): number {
    return this.#messages.size
  }

  async alone(work: () => Promise<void>): Promise<boolean> {
    if (this.#isTaken) return false
    this.#isTaken = true
    await work().finally(() => {
      this.#isTaken = false
    })
    return true
  }

  others(): KnownJournal[] {
    return [...this.#others.values()]
  }

  seen(journals: readonly KnownJournal[]): void {
    for (const journal of journals) this.#others.set(journal.id, journal)
  }

  missing(): string[] {
    return []
  }

  damaged(): string[] {
    return []
  }

  close(): void {}
}
