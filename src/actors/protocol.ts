/**
 * The calls that each actor answers. The actors implement them and `http/` transports them: the public API calls
 * `Facade`, other actors call `Logging` and `Messages`. All errors are `MailroomError`s (each code's outcome is in
 * `runtime/errors.ts`).
 */
import type { ActorEntry, Outage, Role } from '../runtime/cluster/directory.ts'
import type { Point } from '../runtime/history.ts'
import type { Loss } from '../runtime/losses.ts'
import type { MetricsFormat } from '../runtime/metrics.ts'
import type { Stats } from '../runtime/stats.ts'
import type {
  ClusterState,
  Dead,
  DeadFilter,
  DeadGroup,
  DeadGroups,
  DeadHead,
  DeliveredHead,
  LaneBatch,
  Logged,
  LogPart,
  LogPosition,
  Message,
  Preview,
  Range,
  Receipt,
  SettledPlace,
  Sifted,
  Stored,
  Whereabouts,
} from '../storage/ports.ts'
import type { KeyPage } from '../storage/records.ts'

/** What a reader of the log wants of it. */
export interface LogSearch {
  /** Of each body only so many first characters (code points). */
  characters?: number
  /** Only messages of this source. */
  source?: string
  /** Only messages whose body is text that has this in it. */
  contains?: string
  /** Messages that may be looked at: 1 to `SEARCH_MAX_COUNT`. A batch that lacks what is looked for may count as one. */
  mostCount: number
}

/** A message as it is stored; with its body cut, if that was asked for: `bytes` is then the length of the whole body. */
export interface LogItem extends Message {
  bytes?: number
}

/** What was found in a part of the log. */
export interface LogFound {
  items: LogItem[]
  /** Messages that were looked at, counted as `mostCount`. */
  looked: number
  /** The id of the last of them; null when there was none. */
  last: string | null
  /** There is nothing behind `last`. */
  isEnd: boolean
}

/** The groups of the dead letters of some lanes. */
export interface DeadCounts {
  /** Up to 100, the largest first. */
  groups: DeadGroup[]
  /** Letters that were counted, and those of them that are in no group here. */
  counted: number
  others: number
  /** Where to go on; null at the end of the last lane. */
  next: { lane: number; after: string } | null
}

/** A logging actor: writes batches to the log and reads pages of it. */
export interface Logging {
  /** @param leftMs From a caller on another node: the time until the deadline, instead of `deadlineAt`. Else null. */
  append(batch: LaneBatch, leftMs: number | null): Promise<Receipt[]>
  page(range: Range): Promise<Logged[]>
  get(id: string): Promise<Logged | undefined>
  /** Reads a page of the log, shows what is asked for of it, and says how far it looked. */
  search(range: Range, search: LogSearch): Promise<LogFound>
  /** As `Log.follow`, without the texts. */
  follow(position: LogPosition, limit: number): Promise<LoggedPart>
  /** As `Log.restore`. */
  restore(lane: number, messages: readonly Stored[]): Promise<string[]>
  /** As `JournaledBackend.keys`; nothing without a journal. */
  keys(range: { after: string; limit: number }): Promise<KeyPage>
  /** How the cluster of the log is; null on the embedded backend. */
  cluster(): Promise<ClusterState | null>
  /** As `Backend.confirmLosses`, of the log's cluster. */
  confirmLosses(losses: readonly Loss[]): Promise<void>
}

/** What a follower of the log is given. */
export interface LoggedPart extends Omit<LogPart, 'messages'> {
  messages: LoggedHead[]
}

/** A message of the log, without its text. */
export interface LoggedHead {
  id: string
  preview: Preview
}

/** What a lane has delivered, and buried, since it was asked last. */
export interface RecentPart {
  /** Where to go on. */
  position: string
  /** The position that was given is not known: nothing from before this call is in it, nor in later answers. */
  isNew: boolean
  /** There is no more. */
  isEnd: boolean
  delivered: DeliveredHead[]
  dead: DeadHead[]
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
  /** It waits, and delivery is paused. */
  paused: boolean
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
  /**
   * What some lanes have settled since their positions, which are null at first: from memory, for followers that ask again
   * within `RECENT_KEPT_MS`.
   *
   * @returns In the order of the lanes asked for; null for a lane that it does not hold.
   */
  recent(asked: readonly { lane: number; position: string | null }[]): Promise<(RecentPart | null)[]>
  /** As `Queue.deliveredSince`. @throws {MailroomError} `MR_LANE_ELSEWHERE` when it does not hold the lane. */
  deliveredSince(lane: number, from: SettledPlace, limit: number): Promise<DeliveredHead[]>
  /** As `Queue.deadSince`. @throws As `deliveredSince`. */
  deadSince(lane: number, from: SettledPlace, limit: number): Promise<DeadHead[]>
  /** As `Queue.sift`, of all its lanes. */
  sift(range: { after: string; limit: number }, filter: DeadFilter): Promise<SiftedPage>
  /** As `Queue.groupDead`. @throws {MailroomError} `MR_LANE_ELSEWHERE` when it does not hold the lane. */
  groupDead(lane: number, range: { after: string; limit: number }): Promise<DeadGroups>
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

/** What can be followed. */
export type Topic = 'logged' | 'delivered' | 'dead' | 'actor' | 'stats'

/** How far a reader of events has come (ms since 1970): it was given all that was logged, and settled, before these instants. */
export interface EventCursor {
  logged: number
  settled: number
}

/** Things that happened, of one topic. The same object is given to all readers that it is given to. */
export interface Happened {
  topic: Topic
  items: readonly object[]
}

/** A reader of events. */
export interface EventSink {
  /** Something that happened now. Must not throw. */
  live(happened: Happened): void
  /** Something that had happened before, given to this reader alone. The next waits until it resolves. */
  past(happened: Happened): Promise<void>
}

/** What a reader follows. */
export interface Following {
  /** What the reader has by now. */
  readonly cursor: EventCursor
  /** Resolves when what happens from now on will be given; after `FOLLOW_READY_MS` in any case. */
  ready(): Promise<void>
  /** Ends it: nothing more is given. */
  end(): void
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
  /** Name of the lane's holder: the actor that makes the attempts now. */
  heldBy: string
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
  /**
   * A part of a page of the log, as `logPage`, searched where it is read: up to `SEARCH_SLICE_MS`. It may have found none,
   * and yet there may be more.
   */
  searchLog(range: Range, search: LogSearch): Promise<LogFound>
  /** A part of a page of one messages actor's store. @throws `MR_NOT_FOUND` when there is no such messages actor. */
  storePage(name: string, range: Range): Promise<Message[]>
  /** Undefined when the message is not in the log. With a wait: when it is delivered or dead, or the wait is over. */
  find(id: string, wait?: Wait): Promise<Found | undefined>
  /**
   * Gives a reader what happens, of some topics.
   *
   * @param from What it had before: it is given first what has happened since, which may be again what it had of the last
   * seconds. Without it, it is given what happens from now on.
   */
  follow(topics: ReadonlySet<Topic>, from: EventCursor | undefined, sink: EventSink): Following
  actors(): readonly ActorEntry[]
  /** The figures of this node, as `GET /metrics` answers. */
  metrics(format: MetricsFormat): Promise<string>
  /** The figures of all nodes, as they are now. One round trip to the primary: ask once a second for all readers. */
  stats(): Promise<Stats>
  /** The figures of the last `HISTORY_MS`, a point a second, oldest first. */
  history(): Promise<Point[]>
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
   * Counts the dead letters of all lanes by group, from `lane` on after `after`, for up to `BULK_SLICE_MS`.
   *
   * @throws {MailroomError} `MR_STORE_UNAVAILABLE`, `MR_LANE_ELSEWHERE` while a lane is on its way.
   */
  deadGroups(from: { lane: number; after?: string }): Promise<DeadCounts>
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
