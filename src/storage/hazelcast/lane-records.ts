/** Writes the records of a lane into the journal of its holder's process; without a journal they are nowhere. */
import type { Journal } from '../journal.ts'
import type { LaneRecord } from '../records.ts'

/** The records of one lane. */
export class LaneRecords {
  readonly #lane: number
  readonly #journal: Pick<Journal, 'append'> | undefined
  readonly #nextIds: (count: number) => string[]

  /** @param nextIds Makes the ids of rows: those of the process, ascending in time. */
  constructor(
    lane: number,
    journal: Pick<Journal, 'append'> | undefined,
    nextIds: (count: number) => string[],
  ) {
    this.#lane = lane
    this.#journal = journal
    this.#nextIds = nextIds
  }

  /** Durably when it resolves; `isDurable`: as `Journal.append`. @throws {MailroomError} `MR_STORE_UNAVAILABLE` */
  async write(records: readonly LaneRecord[], isDurable = true): Promise<void> {
    if (this.#journal === undefined || records.length === 0) return
    const [id] = this.#nextIds(1) as [string]
    const messages = [{ id, text: JSON.stringify(records) }]
    const batch = { lane: this.#lane, messages, deadlineAt: Number.POSITIVE_INFINITY }
    await this.#journal.append(batch, isDurable)
  }
}
