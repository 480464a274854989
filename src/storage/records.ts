/**
 * What a lane's holder records in its journal of the lane's messages (decision 0075), and what all records together say.
 * Two holders of a lane have no common order, and a former one may write late: so an outcome is found by rank. Delivered
 * wins, then purged, then the latest.
 */
import { batchKeyOf, placeOf } from './ids.ts'
import type { Attempts } from './lane.ts'
import type { Dead, IdempotencyKey, LaneBatch, Logged } from './ports.ts'

/** What became of a message. */
export type Outcome =
  | { is: 'delivered'; at: number; attempts: number }
  /** It waits with these attempts: it is to be retried, or was replayed. */
  | { is: 'waiting'; attempts: Attempts }
  | { is: 'dead'; letter: Omit<Dead, 'id'> }
  | { is: 'purged' }

/** One record: of a message; of the messages at consecutive places of a batch, when `count` is given. */
export type LaneRecord = Outcome & { id: string; count?: number }

/** Records of deliveries at the same time, joined where messages stand side by side in their batch. Ids ascend. */
export function deliveredRecords(
  messages: readonly { id: string; attempts: number }[],
  at: number,
): LaneRecord[] {
  const runs: { is: 'delivered'; id: string; count: number; at: number; attempts: number }[] = []
  for (const { id, attempts } of messages) {
    const last = runs.at(-1)
    const isNext =
      last !== undefined &&
      last.attempts === attempts &&
      batchKeyOf(last.id) === batchKeyOf(id) &&
      placeOf(last.id) + last.count === placeOf(id)
    if (isNext) last.count++
    else runs.push({ is: 'delivered', id, count: 1, at, attempts })
  }
  return runs
}

/** Deliveries of a batch: from a place on, so many. */
interface Run {
  place: number
  count: number
  outcome: Outcome
}

/** What the records of some lanes say, of all journals that were read. */
export class Outcomes {
  readonly #lanes: ReadonlySet<number>
  readonly #delivered = new Map<string, Run[]>()
  readonly #others = new Map<string, { outcome: Outcome; order: string; lane: number }>()

  constructor(lanes: Iterable<number>) {
    this.#lanes = new Set(lanes)
  }

  /** Takes what stands in a row of a journal: its text is records in JSON, and later ones have higher ids. */
  add({ id: order, text, lane }: Logged): void {
    if (!this.#lanes.has(lane)) return
    for (const { id, count = 1, ...outcome } of JSON.parse(text) as LaneRecord[]) {
      if (outcome.is === 'delivered') {
        const batchKey = batchKeyOf(id)
        const runs = this.#delivered.get(batchKey) ?? []
        runs.push({ place: placeOf(id), count, outcome })
        this.#delivered.set(batchKey, runs)
        continue
      }
      const known = this.#others.get(id)
      if (known?.outcome.is === 'purged') continue
      if (known === undefined || outcome.is === 'purged' || known.order < order)
        this.#others.set(id, { outcome, order, lane })
    }
  }

  /** Undefined: nothing was recorded, it waits as it was posted. Of two deliveries the earlier one counts. */
  of(id: string): Outcome | undefined {
    let found: Extract<Outcome, { is: 'delivered' }> | undefined
    const place = placeOf(id)
    for (const { place: first, count, outcome } of this.#delivered.get(batchKeyOf(id)) ?? []) {
      if (place < first || place >= first + count || outcome.is !== 'delivered') continue
      if (found === undefined || outcome.at < found.at) found = outcome
    }
    return found ?? this.#others.get(id)?.outcome
  }

  /** The dead letters of a lane, with their texts: they outlive the log's entries. Ascending by id. */
  lettersOf(lane: number): { id: string; text: string }[] {
    const letters = [...this.#others].flatMap(([id, { outcome, lane: own }]) =>
      own === lane && outcome.is === 'dead' && this.of(id)?.is === 'dead'
        ? [{ id, text: outcome.letter.text }]
        : [],
    )
    return letters.sort((a, b) => (a.id < b.id ? -1 : 1))
  }
}

/** An idempotency key in a journal of the log, and the batch that it stands for. */
export interface JournaledKey extends IdempotencyKey {
  /** Of the batch. */
  lane: number
  batchKey: string
  /** Messages of the batch. */
  count: number
}

/** The keys of one page of a journal of the log. */
export interface KeyPage {
  keys: JournaledKey[]
  /** The first and the last id of all that the page has; null: it is the end. */
  first: string | null
  last: string | null
}

/** Rows of a journal of the log with keys are in no lane. */
const KEY_LANE = -1

/** The row of a batch's key, under the key of the batch, which is no message's id. */
export function keyRowOf(
  { lane, messages, deadlineAt }: LaneBatch,
  { value, hash }: IdempotencyKey,
): LaneBatch {
  const batchKey = batchKeyOf(messages[0]!.id)
  const key: JournaledKey = { value, hash, lane, batchKey, count: messages.length }
  return { lane: KEY_LANE, messages: [{ id: batchKey, text: JSON.stringify(key) }], deadlineAt }
}

/** The key that stands in a row; undefined when that is a message. */
export function keyIn({ lane, text }: Logged): JournaledKey | undefined {
  return lane === KEY_LANE ? (JSON.parse(text) as JournaledKey) : undefined
}
