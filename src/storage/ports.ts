/**
 * The two ports between the actors and a backend: the log (logging actors know only it) and the queue (the
 * facade and the messages actors know only it). A backend implements both and passes one contract suite.
 *
 * Glossary: a *message* is `{id, text, at}`; in the queue it is pending, delivered or dead. A *lane* is a
 * fixed share of the queue with its own line, its own delivered list and its own dead letters; it has one
 * holder at a time. A holder *claims* what waits, *starts* it (an attempt, counted durably) and *settles* it.
 */

/** A message as it travels: its `at` is the time in its id (`atOf`). */
export interface Message {
  id: string
  /** 1 to 65,536 bytes of UTF-8, well-formed Unicode. */
  text: string
}

/** UTF-8 bytes of all texts together. */
export function textBytesOf(messages: readonly { text: string }[]): number {
  let bytes = 0
  for (const { text } of messages) bytes += Buffer.byteLength(text)
  return bytes
}

/** What makes a retry safe: the client's key and a hash of what it sent with it (hex). */
export interface IdempotencyKey {
  value: string
  hash: string
}

/** What is acknowledged together: 1 to 1,000 messages, ids ascending and of one batch (`ids.ts`). */
export interface Batch {
  messages: readonly Message[]
  key?: IdempotencyKey
  /** Instant (ms since 1970) past which nobody may store it any more. */
  deadlineAt: number
}

/** A batch and the lane it was put into. */
export interface LaneBatch extends Batch {
  lane: number
}

/** The acknowledgement of one message. `replayed`: an earlier request with the same key stored it. */
export interface Receipt {
  id: string
  replayed: boolean
}

/** A message as it stands in the log: with the lane it was put into. */
export interface Logged extends Message {
  lane: number
}

/** A range of ids, bounds exclusive. Without `after`: newest first. With `after`: oldest first. */
export interface Range {
  before?: string
  after?: string
  /** 1 to 1,000 */
  limit: number
}

/** The log: every message ever acknowledged, younger than the retention. */
export interface Log {
  /**
   * Stores a batch, durably when it resolves. The same id twice is one entry.
   *
   * @returns One receipt a message, in order; with a key seen in the last 24 hours, those of the first time, where
   * keys are the log's affair (`Queue.accept` knows).
   * @throws {MailroomError} `MR_DEADLINE_EXPIRED` (none) past `deadlineAt`; `MR_KEY_REUSED`;
   * `MR_STORE_UNAVAILABLE` with its outcome.
   */
  append(batch: LaneBatch): Promise<Receipt[]>
  /** One page by id; cost grows with `limit`, not with the log or the depth. */
  page(range: Range): Promise<Logged[]>
  get(id: string): Promise<Logged | undefined>
}

/** A message in the hand of its lane's holder. */
export interface Claimed extends Message {
  /** Starts counted before this claim. */
  starts: number
  /** A start of it was open when its holder died: run it with nothing else, it may be poison. */
  suspect: boolean
}

/** What became of a claimed message. */
export type Settlement =
  | { id: string; as: 'done' }
  /** Try again at `dueAt` (ms since 1970). */
  | { id: string; as: 'retry'; dueAt: number; error: string }
  | { id: string; as: 'dead'; reason: string; error: string }
  /** Not run to its end, through no fault of its own: due now, its start (if any) not counted. */
  | { id: string; as: 'back' }

/** A message in a lane's delivered list. */
export interface Delivered extends Message {
  /** ms since 1970 */
  deliveredAt: number
  /** Handler starts; 1 where there is no handler. */
  attempts: number
}

/** A dead letter. */
export interface Dead extends Message {
  reason: string
  attempts: number
  firstError: string
  lastError: string
  /** ms since 1970 */
  deadAt: number
}

/** Where a message is, asked of its lane's holder. */
export interface Whereabouts {
  state: 'queued' | 'delivered' | 'dead'
  attempts: number
  /** ms since 1970; null unless delivered */
  deliveredAt: number | null
}

/** A lane in numbers (messages); `oldestAt`: instant (ms) of the oldest not yet settled, or null. */
export interface Depth {
  waiting: number
  inHand: number
  dead: number
  oldestAt: number | null
}

/**
 * The queue. `accept` is the facade's; all the rest is the holder's, of a lane it holds: asked of another
 * lane they throw `MR_LANE_ELSEWHERE`.
 */
export interface Queue {
  readonly laneCount: number
  /**
   * Owns the order intent, then `append` (the call to a logging actor), then the wake-up (not awaited), and
   * the choice of the lane. A wrong order cannot be written by a caller. Owns idempotency keys too.
   *
   * @returns One receipt a message, in order; with a key seen in the last 24 hours, those of the first time.
   * @throws {MailroomError} `MR_KEY_REUSED`, `MR_KEY_BUSY`, `MR_STORE_UNAVAILABLE` with its outcome, and whatever
   * `append` threw.
   */
  accept(batch: Batch, append: (batch: LaneBatch) => Promise<Receipt[]>): Promise<Receipt[]>
  /** A hint that something waits in a lane; cheap, may be lost, may be wrong. */
  wake(lane: number): void
  /** True while the lane is held here. A lane may be lost without being released: when this process stood still. */
  isHeld(lane: number): boolean
  /**
   * Takes a free lane.
   *
   * @returns How many starts its last holder left open: they, not it, ended its process, if it ended.
   * @throws {MailroomError} `MR_LANE_ELSEWHERE` while another holds it.
   */
  hold(lane: number): Promise<number>
  /** Gives a lane back; what is in hand is in nobody's hand. Nothing happens when it is not held. */
  release(lane: number): Promise<void>
  /**
   * What waits in a held lane and is not in hand; waits up to `waitMs` for the first. Nothing is lost by dying
   * with it in hand. `MR_LANE_ELSEWHERE` when the lane is given up meanwhile.
   */
  claim(lane: number, maxCount: number, waitMs: number): Promise<Claimed[]>
  /** Counts an attempt of each, durably when it resolves: before a handler runs. */
  start(lane: number, ids: readonly string[]): Promise<void>
  /**
   * Settles messages in hand, durably when it resolves; repeating it changes nothing.
   *
   * @returns Those that are in the delivered list by this call, ascending: show these.
   */
  settle(lane: number, settlements: readonly Settlement[]): Promise<Delivered[]>
  /**
   * What was found in a held lane's delivered list since this was asked last, ascending: a former holder put it there,
   * perhaps so late that it was not there yet when the list was read here. Show these, too; some may be shown already.
   */
  late(lane: number): Delivered[]
  /** Of a message that is in the log with this lane. */
  find(lane: number, id: string): Promise<Whereabouts>
  /** One page of a lane's delivered list. */
  delivered(lane: number, range: Range): Promise<Delivered[]>
  depth(lane: number): Promise<Depth>
  /** All dead letters of a lane after `after` (exclusive, or from the start), oldest first. */
  dead(lane: number, range: { after?: string; limit: number }): Promise<Dead[]>
  /** Puts a dead letter back into its lane's line, its attempts at 0. False when there is none. */
  replay(lane: number, id: string): Promise<boolean>
  /** Forgets a dead letter for good; it stays in the log. False when there is none. */
  purge(lane: number, id: string): Promise<boolean>
  /**
   * Puts messages of the log back into their lane's line, durably when it resolves: those that the queue has lost.
   * What waits, is in hand, delivered or dead (purged, too) is left alone, and so is what is younger than
   * `REDRIVE_AGE_MS`. Repeating it changes nothing. A queue that cannot lose alone what is logged has nothing to do.
   *
   * @param messages Of this lane, ascending, at most 1,000.
   * @returns How many it put back.
   */
  redrive(lane: number, messages: readonly Message[]): Promise<number>
}

/** A backend: both ports, and an end. */
export interface Backend {
  log: Log
  queue: Queue
  /** What is missing for it to work, in words for people; empty when all is well. */
  missing(): string[]
  /** What of the data is damaged, in words for people; it works without. */
  damaged(): string[]
  /** Gives back all lanes and files. May be called twice. */
  close(): Promise<void>
}
