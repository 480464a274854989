/**
 * The calls that each actor answers. The actors implement them and `http/` transports them: the public API calls
 * `Facade`, other actors call `Logging` and `Messages`. All errors are `MailroomError`s (each code's outcome is in
 * `runtime/errors.ts`).
 */
import type { ActorEntry, Outage, Role } from '../runtime/cluster/directory.ts'
import type { Loss } from '../runtime/losses.ts'
import type {
  ClusterState,
  Dead,
  DeadFilter,
  LaneBatch,
  Logged,
  Message,
  Range,
  Receipt,
  Sifted,
  Stored,
  Whereabouts,
} from '../storage/ports.ts'
import type { JournaledKey } from '../storage/records.ts'

/** A logging actor: writes batches to the log and reads pages of it. */
export interface Logging {
  /** @param leftMs From a caller on another node: the time until the deadline, instead of `deadlineAt`. Else null. */
  append(batch: LaneBatch, leftMs: number | null): Promise<Receipt[]>
  page(range: Range): Promise<Logged[]>
  get(id: string): Promise<Logged | undefined>
  /** As `Log.restore`. */
  restore(lane: number, messages: readonly Stored[]): Promise<string[]>
  /** As `JournaledBackend.keys`; nothing without a journal. */
  keys(range: { after: string; limit: number }): Promise<{ keys: JournaledKey[]; last: string | null }>
  /** How the cluster of the log is; null on the embedded backend. */
  cluster(): Promise<ClusterState | null>
  /** As `Backend.confirmLosses`, of the log's cluster. */
  confirmLosses(losses: readonly Loss[]): Promise<void>
}

/** A page of one messages actor's store. */
export interface StorePage {
  messages: Message[]
  /** Grows whenever the actor takes or releases a lane. A read of several pages is whole only within one term. */
  term: number
  /** False while the actor lacks one of its lanes, or its directory does not list it among the lanes' holders. */
  complete: boolean
}

/** Where a message is; `outage`: while it waits for a target that is away, else null. */
export interface Place extends Whereabouts {
  outage: Outage | null
}

/** Dead letters of a messages actor that were looked at. */
export interface SiftedPage {
  /** Ascending by id. Fewer than asked only at the end of its lanes. */
  letters: (Sifted & { lane: number })[]
  /** The lanes whose dead letters these are; none when a lane came or went meanwhile. */
  lanes: number[]
}

/** A messages actor: consumes its lanes into its store. Reads and changes concern the lanes that it holds. */
export interface Messages {
  /** A hint that these lanes may have pending messages. */
  wake(lanes: readonly number[]): Promise<void>
  page(range: Range): Promise<StorePage>
  /** Where a message of the lane is. Waits up to `waitMs` until it is delivered or dead. */
  find(lane: number, id: string, waitMs: number): Promise<Place>
  /** Dead letters of all its lanes, oldest first, after an id. Shorter than `limit` as `stored`. */
  dead(range: { after?: string; limit: number }): Promise<Dead[]>
  /** Puts a dead letter back into its lane's backlog. False when there is none with this id. */
  replay(id: string): Promise<boolean>
  /** Deletes a dead letter; it stays in the log. False when there is none with this id. */
  purge(id: string): Promise<boolean>
  /**
   * Runs a delivered message of the lane once more. Takes up to `timeoutMs`.
   *
   * @throws {MailroomError} As `Facade.redeliver`.
   */
  redeliver(lane: number, id: string, timeoutMs: number): Promise<void>
  /** Delivery is paused, or goes on: nothing is started while it is. */
  pause(paused: boolean): Promise<void>
  /** As `Queue.sift`, of all its lanes. */
  sift(range: { after: string; limit: number }, filter: DeadFilter): Promise<SiftedPage>
  /** As `Queue.replay`. @throws {MailroomError} `MR_LANE_ELSEWHERE` when it does not hold the lane. */
  replayMany(lane: number, ids: readonly string[]): Promise<number>
  /** As `Queue.purge`. @throws As `replayMany`. */
  purgeMany(lane: number, ids: readonly string[]): Promise<number>
  /** As `Queue.redrive`. */
  redrive(lane: number, messages: readonly Message[]): Promise<number>
  /** One page of the records in the journal of its node, of all lanes, ascending (`storage/records.ts`); empty without one. */
  records(range: { after: string; limit: number }): Promise<Logged[]>
  /** As `Queue.stored`. Shorter than `limit` when its texts pass `PAGE_MAX_BYTES`; empty only at the end. */
  stored(lane: number, range: { after: string; limit: number }): Promise<Stored[]>
}

/** One list of `GET /messages`, read page by page, ascending by id. */
export interface PagedList {
  pages: AsyncIterable<readonly Message[]>
  /** Ask after `pages` has ended. False when it ended early or some messages are missing. */
  whole(): boolean
}

/** Both lists: what `GET /messages` answers. */
export interface Lists {
  logged: PagedList
  delivered: PagedList
  /** The messages actor whose list `delivered` is; null when none answered. */
  deliveredTo: string | null
}

/** One message and where it is. */
export interface Found extends Message, Place {
  /** Name of the lane's holder when delivered, else null. */
  deliveredTo: string | null
}

/** Runs a read when there is room for the text that it brings. */
export type Look = <T>(read: () => Promise<T>) => Promise<T>

/** How long a reader waits for a message. A drain of the facade ends the wait, too. */
export interface Wait {
  waitMs: number
  /** Aborted when the reader has gone. */
  gone: AbortSignal
  /** Runs the read that begins the wait. It has the text, which is not kept: many at once would be much. */
  look?: Look
  /** Called, and awaited, when the wait is over, before the text is read. */
  beforeText?: () => Promise<void>
}

/** The result of redriving a range of the log. */
export interface Redriven {
  /** Messages of the log that were checked against the queue. */
  checked: number
  /** Those that the queue had lost; they are pending again. */
  redriven: number
  /** The last id checked; null at the end of the log. */
  last: string | null
}

/** The result of replaying or purging a range of the dead letters. */
export interface DeadChanged {
  /** Dead letters that were looked at. */
  checked: number
  /** Those that were replayed, or purged. */
  changed: number
  /** The last id looked at; null at the end. */
  last: string | null
}

/** The result of restoring a range of the queue into the log. */
export interface Restored {
  /** Messages of the queue that were looked for in the log. */
  checked: number
  /** Those that the log had lost; they are in it again. */
  restored: number
  /** Those that the log had lost, and whose text is nowhere: their dead letters were purged. */
  lost: number
  /** Where to go on; null at the end of the last lane. */
  next: { lane: number; after: string } | null
}

/** The facade actor: what the public API calls. Deadlines are instants of the machine's monotonic clock. */
export interface Facade {
  /** Accepts one message without an idempotency key. It shares a batch with other single posts. */
  post(text: string, deadlineAt: number): Promise<Receipt>
  /**
   * Accepts a batch, all or none: an array, a chunk of an NDJSON stream, or any post with an idempotency key.
   *
   * @param options.key `hash` is of the parsed body, so that a repeat with other texts is refused.
   */
  postBatch(
    texts: readonly string[],
    options: { deadlineAt: number; key?: { value: string; hash: string } },
  ): Promise<Receipt[]>
  /** Begins to read both lists: the newest `limit` messages of each (1 to 10,000), or all. */
  lists(limit?: number): Promise<Lists>
  /**
   * A part of a page of the log; with `after`: oldest first, else newest first. Shorter than `limit` when its texts pass
   * `PAGE_MAX_BYTES`; empty only at the end. So are those of a store, and of dead letters.
   */
  logPage(range: Range): Promise<Message[]>
  /** A part of a page of one messages actor's store. @throws `MR_NOT_FOUND` when there is no such messages actor. */
  storePage(name: string, range: Range): Promise<Message[]>
  /** Undefined when the message is not in the log. With a wait: when it is delivered or dead, or the wait is over. */
  find(id: string, wait?: Wait): Promise<Found | undefined>
  actors(): readonly ActorEntry[]
  /** Resolves with the new list of actors when the new ones are ready and the old ones have drained. */
  scale(role: Role, count: number): Promise<readonly ActorEntry[]>
  restart(role: Role): Promise<readonly ActorEntry[]>
  /** Dead letters of all actors after an id, oldest first. */
  dead(range: { after?: string; limit: number }): Promise<Dead[]>
  deadOne(id: string): Promise<Dead | undefined>
  replay(id: string): Promise<boolean>
  purge(id: string): Promise<boolean>
  /**
   * Replays or purges those dead letters after an id that the filter means, oldest first: looks at up to `limit` (1 to
   * 1,000), for up to `BULK_SLICE_MS`. A letter after `last` was not looked at, and none up to it was left out. Safe to
   * repeat: what was replayed or purged is no dead letter any more.
   *
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE`, `MR_LANE_ELSEWHERE` while a lane is on its way; the error of a call to
   * a messages actor: with outcome `unknown` some letters may have been changed.
   */
  changeDead(
    change: 'replay' | 'purge',
    range: { after?: string; limit: number } & DeadFilter,
  ): Promise<DeadChanged>
  /**
   * Redrives the oldest messages after an id: up to `limit` of them (1 to 1,000), for up to `BULK_SLICE_MS`.
   * Handlers of messages that the queue had lost may run again. Safe to repeat.
   */
  redrive(range: { after?: string; limit: number }): Promise<Redriven>
  /**
   * Puts into the log what it lacks of the queue's messages. Begins in `lane` after `after`; each later lane begins after
   * `since`. Up to `limit` messages (1 to 1,000), for up to `BULK_SLICE_MS`. Safe to repeat. On the embedded backend
   * there is nothing to do.
   */
  restore(range: { lane: number; after?: string; since?: string; limit: number }): Promise<Restored>
  /**
   * Runs the handler, or forwards, once more for a delivered message. Lists stay as they are. Resolves when it succeeded.
   *
   * @param look As `Wait.look`.
   * @returns False when the message is not in the log.
   * @throws {MailroomError} `MR_REDELIVERY_REFUSED` (none): it is not delivered, or cannot run now; `MR_REDELIVERY_FAILED`
   * (unknown) with its error.
   */
  redeliver(id: string, look?: Look): Promise<boolean>
  isPaused(): Promise<boolean>
  /**
   * Pauses delivery, or resumes it, on all nodes, over restarts too. Resolves when every ready messages actor has it.
   * Safe to repeat.
   *
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE` (unknown) when one does not answer: it will know within a second.
   */
  setPaused(paused: boolean): Promise<void>
  /** How both clusters are, the log's first. @throws `MR_NOT_FOUND` on the embedded backend. */
  clusters(): Promise<ClusterState[]>
  /** What clusters have lost, and nobody has confirmed: the log's first, oldest first. */
  losses(): Loss[]
  /**
   * Confirms these losses, for all nodes. Safe to repeat.
   *
   * @returns The losses that were confirmed.
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE` when a cluster is unreachable; the losses of the other are confirmed.
   */
  confirmLosses(): Promise<Loss[]>
  /** What keeps posts from being taken now, human-readable; empty when the facade is ready. */
  missing(): string[]
  /** What is missing while posts are taken, human-readable. */
  degraded(): string[]
  /** What is being put back into a cluster that came back empty, and how far, human-readable. */
  restoring(): string[]
  /** What of the data is damaged, human-readable; the node works without it. */
  damaged(): string[]
  /** What is wrong around the node, human-readable; the node works with it. */
  warnings(): string[]
  /** True once a drain began or was announced: every answer then has `Connection: close`. */
  readonly draining: boolean
}

/** Calls other actors: over HTTP in production, simulated in tests. */
export interface Peers {
  /**
   * A logging actor by the address in its directory entry. A call that takes longer than `timeoutMs` throws
   * `MR_DEADLINE_EXPIRED`; a lost connection throws `MR_PEER_LOST` (outcome `none` when it was never established).
   */
  logging(address: string, timeoutMs: number): Logging
  /** A messages actor, likewise. The timeout of `find` is longer by its `waitMs`. */
  messages(address: string, timeoutMs: number): Messages
}
