/**
 * The two ports between the actors and a backend: the log (logging actors know only it) and the queue (the
 * facade and the messages actors know only it). A backend implements both and passes one contract suite.
 *
 * Glossary: a *message* is `{id, text, at}`; in the queue it is pending, delivered or dead. A *lane* is a fixed share of
 * the queue with its own backlog, delivered list and dead letters. It has one holder at a time. The holder *claims*
 * pending messages, *starts* each (an attempt, counted durably) and *settles* it (records the outcome).
 */

import type { ClusterReport, Loss } from '../runtime/losses.ts'

/** A message. Its `at` is the time in its id (`atOf`). */
export interface Message {
  id: string
  /** As it is stored (`content.ts`): 1 to `storedMaxBytes` bytes of UTF-8, well-formed Unicode. */
  text: string
}

/** The beginning of a message's body: of `text`, or of `base64` when the body is not UTF-8. */
export interface Preview {
  text?: string
  base64?: string
  /** Of the whole body. */
  bytes: number
  /** The source that took it in, and its Content-Type, where they are known. */
  source?: string
  type?: string
}

/** UTF-8 bytes of all texts together. */
export function textBytesOf(messages: readonly { text: string }[]): number {
  let bytes = 0
  for (const { text } of messages) bytes += Buffer.byteLength(text)
  return bytes
}

/** What a repeat of a request is known by. */
export interface IdempotencyKey {
  /** Up to 255 characters. One of a client is visible ASCII, one of a source has a space. */
  value: string
  /** Of the request (hex): one with the same key and another hash is refused. Empty: any request with the key is a repeat. */
  hash: string
}

/** 1 to 1,000 messages that are stored together, ids ascending and of one batch (`ids.ts`). */
export interface Batch {
  messages: readonly Message[]
  key?: IdempotencyKey
  /** After this instant of the machine's monotonic clock nobody may store the batch any more. */
  deadlineAt: number
}

/** A batch and its lane. */
export interface LaneBatch extends Batch {
  lane: number
  /** On Hazelcast, where the queue keeps the keys: what a repeat of the request is known by, for the journal. */
  keyed?: IdempotencyKey
}

/** The acknowledgement of one message. `replayed`: an earlier request with the same key stored it. */
export interface Receipt {
  id: string
  replayed: boolean
}

/** A message in the log, with its lane. */
export interface Logged extends Message {
  lane: number
}

/** A range of ids, bounds exclusive. Without `after`: newest first. With `after`: oldest first. */
export interface Range {
  before?: string
  after?: string
  /** 1 to 1,000. A page is shorter when its texts reach `PAGE_MAX_BYTES`: only an empty one is sure to be the end. */
  limit: number
}

/**
 * How far a follower of the log has come. It begins with `after` alone: all messages with ids above that one. What else is
 * in it is the backend's affair.
 */
export interface LogPosition {
  after: string
  /** Embedded: by log file, the last row that was read. */
  rows?: Record<string, number>
  /** Hazelcast: entries above `after` that were read. */
  seen?: string[]
}

/** What a follower of the log is given. */
export interface LogPart {
  messages: Logged[]
  position: LogPosition
  /** There was no more. */
  isEnd: boolean
}

/** The log: every message ever acknowledged, younger than the retention. */
export interface Log {
  /**
   * Stores a batch, durably when it resolves. The same id twice is one entry.
   *
   * @returns One receipt per message, in order. Where the log keeps the keys (embedded), a key that is known
   * gets the receipts of the first request.
   * @throws {MailroomError} `MR_DEADLINE_EXPIRED` (none) past `deadlineAt`; `MR_KEY_REUSED`;
   * `MR_STORE_UNAVAILABLE` with its outcome.
   */
  append(batch: LaneBatch): Promise<Receipt[]>
  /**
   * One page by id; cost grows with `limit`, not with the log or the depth.
   *
   * @param having What is in the stored text of each wanted message. The page may leave others out; it then has one of
   * each batch it looked at, without its text, so that its last id says how far it looked.
   */
  page(range: Range, having?: readonly string[]): Promise<Logged[]>
  get(id: string): Promise<Logged | undefined>
  /**
   * What was stored after a position, in no order of ids: a message that is stored late is not missed, whatever its id.
   * Those around `after` may be given twice.
   *
   * @param limit Of messages, about; fewer when their texts reach `PAGE_MAX_BYTES`.
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE`
   */
  follow(position: LogPosition, limit: number): Promise<LogPart>
  /**
   * Puts those of these messages into the log that it lacks, where their text is known, durably when it resolves.
   * Idempotent. On the embedded backend it has nothing to do: the log row is the queue's entry.
   *
   * @param messages Of one lane, ascending, at most 1,000.
   * @returns The ids of those that it lacked.
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE`; some of them may be in the log by then.
   */
  restore(lane: number, messages: readonly Stored[]): Promise<string[]>
}

/** A message that its lane's holder has claimed. */
export interface Claimed extends Message {
  /** Starts counted before this claim, and in how many of them the process that ran the handler died. */
  starts: number
  deaths: number
  /** A start of it was open when its holder died. Run it alone: it may be a poison message. */
  suspect: boolean
  /** When it was replayed last (ms since 1970); 0: never. */
  replayedAt: number
}

/** The outcome of a claimed message. */
export type Settlement =
  | { id: string; as: 'done' }
  /** Try again after `delayMs`. `isDeath`: the process that ran its handler died. */
  | { id: string; as: 'retry'; delayMs: number; error: string; isDeath?: boolean }
  | { id: string; as: 'dead'; reason: string; error: string }
  /**
   * Not the message's failure: the start (if any) does not count. Due now when a drain interrupted it; due after
   * `delayMs` when an outage did, with its `error`.
   */
  | { id: string; as: 'back'; delayMs?: number; error?: string }

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

/** A place in a lane's deliveries, or dead letters, by time. */
export interface SettledPlace {
  /** ms since 1970 */
  at: number
  id: string
}

/** A delivery, without its text. */
export interface DeliveredHead extends Omit<Delivered, 'text'> {
  preview: Preview
}

/** A dead letter, without its text. */
export interface DeadHead extends Omit<Dead, 'text'> {
  preview: Preview
}

/** A filter of dead letters. An absent field stands for any. */
export interface DeadFilter {
  /** The name of the source that took the message in. A message posted to `/messages` has none. */
  source?: string
  /** What the reason begins with. */
  reason?: string
  /** The name of its group. */
  group?: string
  /** They died before this instant (ms since 1970). */
  diedBefore?: number
}

/** Dead letters with one reason whose last errors have the same first line but for their numbers. */
export interface DeadGroup {
  /** Its name: a hash of reason and error. */
  group: string
  /** Up to 200 characters of it. */
  reason: string
  /** The same of the first line of the last error; each number is a `#`. */
  error: string
  count: number
  /** The id of one of them. */
  example: string
  /** When the first and the last of them died, ms since 1970. */
  oldestAt: number
  newestAt: number
}

/** The groups of a range of dead letters. */
export interface DeadGroups {
  groups: DeadGroup[]
  /** Letters that were counted. */
  counted: number
  /** The id of the last of them; null at the end. */
  last: string | null
}

/** A dead letter that was looked at. */
export interface Sifted {
  id: string
  /** It is one of those that the filter means. */
  isMeant: boolean
}

/** A message that a queue has. `text` is null when its dead letter was purged: the text is in the log only. */
export interface Stored {
  id: string
  text: string | null
}

/** The state of a message, as its lane's holder knows it. */
export interface Whereabouts {
  state: 'queued' | 'delivered' | 'dead'
  attempts: number
  /** ms since 1970; null unless delivered */
  deliveredAt: number | null
  /** Of the first and the last attempt that failed; null when none has, and when the message is delivered. */
  firstError: string | null
  lastError: string | null
  /** ms since 1970; null unless the message waits for that instant. */
  nextAttemptAt: number | null
}

/** Numbers of messages of a lane. `oldestAt`: time (ms since 1970) of the oldest pending message, or null. */
export interface Depth {
  waiting: number
  inHand: number
  /** Of these together: messages that failed, or met an outage, and wait for their next attempt or for a slot. */
  retrying: number
  dead: number
  oldestAt: number | null
}

/**
 * The queue. The facade calls `accept`. The holder of a lane calls the rest; for a lane it does not hold they throw
 * `MR_LANE_ELSEWHERE`.
 */
export interface Queue {
  readonly laneCount: number
  /**
   * Chooses the lane, records the intent, calls `append` (a logging actor), then wakes the holder without waiting for it.
   * This method fixes the order of these steps and decides about idempotency keys.
   *
   * @param find Looks a message up in the log. What the first request with a key has stored counts, not what a repeat has.
   * @returns One receipt per message, in order; with a key that is known, those of the first request.
   * @throws {MailroomError} `MR_KEY_REUSED`, `MR_KEY_BUSY`, `MR_STORE_UNAVAILABLE` with its outcome, and whatever
   * `append` threw.
   */
  accept(
    batch: Batch,
    append: (batch: LaneBatch) => Promise<Receipt[]>,
    find: (id: string) => Promise<Message | undefined>,
  ): Promise<Receipt[]>
  /** A hint that a lane has pending messages. Cheap; it may be lost or wrong. Ends the wait of `claim`. */
  wake(lane: number): void
  /** True while the lane is held here. A lane is lost without a release when this process was frozen for too long. */
  isHeld(lane: number): boolean
  /**
   * Takes a free lane.
   *
   * @returns How many starts its last holder left open. If that process crashed, these messages caused it.
   * @throws {MailroomError} `MR_LANE_ELSEWHERE` while another holds it.
   */
  hold(lane: number): Promise<number>
  /** Releases a lane; claimed messages are pending again. Does nothing when the lane is not held. */
  release(lane: number): Promise<void>
  /**
   * Claims pending messages of a held lane; waits up to `waitMs`, at least half of it, for the first. `wake` ends the
   * wait, and so does a message for `deliveredByFormerHolder`: the claim then returns what there is, possibly none. A
   * claim is in memory only, so a crash loses nothing. `MR_LANE_ELSEWHERE` when the lane is released meanwhile.
   * All lanes of a process claim up to `HAND_MAX_BYTES` of texts together, half of it of messages that were started before,
   * or one message; then they wait, too.
   *
   * @param maxRetryCount How many of them may have been started before; `maxCount` by default.
   */
  claim(lane: number, maxCount: number, waitMs: number, maxRetryCount?: number): Promise<Claimed[]>
  /** Counts an attempt of each message, durably when it resolves. Call it before the handler runs. */
  start(lane: number, ids: readonly string[]): Promise<void>
  /**
   * Records the outcomes of claimed messages, durably when it resolves. Idempotent. On the embedded backend a power cut
   * may undo the outcome `done` of a message that was never started: it is claimed again.
   *
   * @returns The messages that this call put into the delivered list, ascending: show these.
   */
  settle(lane: number, settlements: readonly Settlement[]): Promise<Delivered[]>
  /**
   * Returns once each message that a former holder wrote to this lane's list after this process had read the list,
   * ascending. Add them to the store; some may be in it.
   */
  deliveredByFormerHolder(lane: number): Delivered[]
  /** The state of a message that the log has with this lane. */
  find(lane: number, id: string): Promise<Whereabouts>
  /** True while an operator has paused delivery. @throws {MailroomError} `MR_STORE_UNAVAILABLE` */
  isPaused(): Promise<boolean>
  /** Pauses delivery, or resumes it, for all nodes, durably when it resolves. Idempotent. */
  setPaused(paused: boolean): Promise<void>
  /** One page of a lane's delivered list. */
  delivered(lane: number, range: Range): Promise<Delivered[]>
  /**
   * The first deliveries of a lane behind a place, by `deliveredAt` and id; `limit` of them (1 to 1,000), or fewer. None: it
   * is the end. A delivery becomes visible up to a call's deadline after its `deliveredAt`.
   *
   * @remarks On Hazelcast each page reads the lane's whole list.
   */
  deliveredSince(lane: number, from: SettledPlace, limit: number): Promise<DeliveredHead[]>
  /** The same of dead letters, by `deadAt` and id. */
  deadSince(lane: number, from: SettledPlace, limit: number): Promise<DeadHead[]>
  depth(lane: number): Promise<Depth>
  /** One page of a lane's dead letters after `after` (exclusive, or from the start), oldest first; shorter as of a `Range`. */
  dead(lane: number, range: { after?: string; limit: number }): Promise<Dead[]>
  /**
   * Looks through a lane's dead letters after `after` (exclusive), oldest first, without reading their texts where the
   * filter does not ask for a source. Fewer than `limit` only at the end.
   */
  sift(lane: number, range: { after: string; limit: number }, filter: DeadFilter): Promise<Sifted[]>
  /**
   * Counts up to `limit` of a lane's dead letters after `after` (exclusive), oldest first, by group; fewer where reading
   * them takes long, but one at least. Reads no texts where the store can leave them out.
   */
  groupDead(lane: number, range: { after: string; limit: number }): Promise<DeadGroups>
  /**
   * Makes those of these messages pending again that are dead letters, their attempts at 0, durably when it resolves.
   * When it throws, some of them may be pending.
   *
   * @returns How many there were.
   */
  replay(lane: number, ids: readonly string[]): Promise<number>
  /** Deletes those of these messages that are dead letters; they stay in the log. As `replay`. */
  purge(lane: number, ids: readonly string[]): Promise<number>
  /**
   * Makes those messages of the log pending again that the queue has lost, durably when it resolves. It skips messages
   * that are pending, delivered, dead or purged, and those younger than `REDRIVE_AGE_MS`. Idempotent. On the embedded
   * backend it has nothing to do: the log row is the queue's entry.
   *
   * @param messages Of this lane, ascending, at most 1,000.
   * @returns How many are pending again.
   */
  redrive(lane: number, messages: readonly Message[]): Promise<number>
  /**
   * One page of all that a held lane has: pending, delivered, dead and purged messages, oldest first; shorter as of a
   * `Range`. On the embedded backend it is empty: the log has it all.
   *
   * @param range.after Exclusive.
   */
  stored(lane: number, range: { after: string; limit: number }): Promise<Stored[]>
}

/** How a Hazelcast cluster is. `null`: it is not known, because the member does not answer, or does not report it. */
export interface ClusterState {
  store: 'log' | 'queue'
  /** The cluster's name. */
  name: string
  /** All members are there, each partition has its backups, and none migrates: a member may be stopped. */
  safe: boolean
  /** Why it is not safe, human-readable. */
  problems: string[]
  warnings: string[]
  members: {
    /** `host:port` */
    address: string
    /** `active`, or why not. */
    state: string | null
    /** It knows that every backup is made, and no partition migrates. */
    safe: boolean | null
    /** Partitions of which it has the primary replica. */
    partitions: number | null
    /** Migrations that wait. */
    migrations: number | null
    heapBytes: number | null
    /** Of the heap, garbage included. */
    usedBytes: number | null
  }[]
  /** One copy of all that the cluster holds, about, and the most it may be: then posts are refused. */
  heldBytes: number | null
  limitBytes: number | null
}

/** Is told what a backend does, for the figures. */
export interface StoreMeter {
  /** A durable write to the log took so long, and has so many messages. */
  logged(tookMs: number, messageCount: number): void
  /** Messages became dead letters because they had ended their workers too often. */
  buried(count: number): void
}

/** A backend: both ports. */
export interface Backend {
  log: Log
  queue: Queue
  /** What it lacks to work, as sentences for people; empty when it lacks nothing. */
  missing(): string[]
  /** Damaged data, as sentences for people. The backend works without it. */
  damaged(): string[]
  /** How the cluster of this process is; absent on the embedded backend. Never rejects. */
  cluster?(): Promise<ClusterState>
  /** What it knows of the clusters it uses; the embedded backend uses none. */
  reports(): ClusterReport[]
  /**
   * Records, for all nodes, that an operator has seen these losses, those of clusters that it uses. Idempotent.
   *
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE` while such a cluster is unreachable.
   */
  confirmLosses(losses: readonly Loss[]): Promise<void>
  /** Releases all lanes and files. Idempotent. */
  close(): Promise<void>
}
