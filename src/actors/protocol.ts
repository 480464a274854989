/**
 * What each actor can be asked: its messages, as method signatures. The actors implement them, `http/`
 * carries them: the internal servers and the client speak `Logging` and `Messages`, the public API speaks
 * `Facade`. All errors are `MailroomError`s (see each code's outcome in `runtime/errors.ts`).
 */
import type { ActorEntry, Role } from '../runtime/cluster/directory.ts'
import type { Dead, LaneBatch, Logged, Message, Range, Receipt, Whereabouts } from '../storage/ports.ts'

/** A logging actor: writes batches to the log and reads pages of it. */
export interface Logging {
  append(batch: LaneBatch): Promise<Receipt[]>
  page(range: Range): Promise<Logged[]>
  get(id: string): Promise<Logged | undefined>
}

/** A page of one messages actor's store. */
export interface StorePage {
  messages: Message[]
  /** Grows whenever a lane comes or goes: a longer read that sees it change may not have seen everything. */
  term: number
  /** False while the actor lacks a lane that is its own, or is not among the living. */
  complete: boolean
}

/** A messages actor: consumes its lanes into its store. */
export interface Messages {
  /** Something may wait in these lanes. */
  wake(lanes: readonly number[]): Promise<void>
  page(range: Range): Promise<StorePage>
  /** Where a message of one of its lanes is; waits up to `waitMs` until it is delivered or dead. */
  find(lane: number, id: string, waitMs: number): Promise<Whereabouts>
  /** Dead letters of all its lanes, oldest first, after an id. */
  dead(range: { after?: string; limit: number }): Promise<Dead[]>
  replay(id: string): Promise<boolean>
  purge(id: string): Promise<boolean>
  /** As `Queue.redrive`, for a lane it holds. */
  redrive(lane: number, messages: readonly Message[]): Promise<number>
}

/** A half of `GET /messages`, read page by page, ascending by id. */
export interface ListHalf {
  pages: AsyncIterable<readonly Message[]>
  /** Known once `pages` has ended: false when it ended early or something is missing. */
  whole(): boolean
}

/** Both lists: what `GET /messages` answers. */
export interface Lists {
  logged: ListHalf
  delivered: ListHalf
  /** The messages actor that was asked; null when there is none. */
  deliveredTo: string | null
}

/** One message and where it is. */
export interface Found extends Message, Whereabouts {
  /** Name of the lane's holder when delivered, else null. */
  deliveredTo: string | null
}

/** What became of a stretch of the log that was redriven. */
export interface Redriven {
  /** Messages of the log that were looked for in the queue. */
  checked: number
  /** Those that had been lost there, and wait again. */
  redriven: number
  /** The last id looked at; null: that was the end of the log. */
  last: string | null
}

/** What the public API asks of the facade actor. Deadlines are instants in ms since 1970. */
export interface Facade {
  /** One message without a key; goes with whatever else arrives now. */
  post(text: string, deadlineAt: number): Promise<Receipt>
  /**
   * A batch of its own, all or nothing: an array, a chunk of NDJSON, or anything with a key.
   *
   * @param key `hash` is of the body's meaning, so that a repeat with other texts is noticed.
   */
  postBatch(
    texts: readonly string[],
    options: { deadlineAt: number; key?: { value: string; hash: string } },
  ): Promise<Receipt[]>
  /** Begins both lists. `limit`: the newest so many of each (1 to 10,000), else all. */
  lists(limit?: number): Promise<Lists>
  /** One page of the log; with `after`: oldest first, else newest first. */
  logPage(range: Range): Promise<Message[]>
  /** One page of one messages actor's store. @throws `MR_NOT_FOUND` when there is no such messages actor. */
  storePage(name: string, range: Range): Promise<Message[]>
  find(id: string, waitMs: number): Promise<Found | undefined>
  actors(): readonly ActorEntry[]
  /** Resolves with the new list when the new actors are ready and the old ones have drained. */
  scale(role: Role, count: number): Promise<readonly ActorEntry[]>
  restart(role: Role): Promise<readonly ActorEntry[]>
  /** All dead letters after an id, oldest first. */
  dead(range: { after?: string; limit: number }): Promise<Dead[]>
  deadOne(id: string): Promise<Dead | undefined>
  replay(id: string): Promise<boolean>
  purge(id: string): Promise<boolean>
  /**
   * Puts messages of the log that the queue has lost back into it: of the oldest after an id, up to `limit` (1 to
   * 1,000), or as many as two seconds suffice for. Their handlers may run again. May be repeated.
   */
  redrive(range: { after?: string; limit: number }): Promise<Redriven>
  /** What is missing to accept a message, in words for people; empty when ready. */
  missing(): string[]
  /** What of the data is damaged, in words for people; it works without. */
  damaged(): string[]
  /** True once a drain began: every reply then says `Connection: close`. */
  readonly draining: boolean
}

/** The way to other actors: over HTTP in production, simulated in tests. */
export interface Peers {
  /**
   * A logging actor by the address in its directory entry. Each call settles within `timeoutMs`: else
   * `MR_DEADLINE_EXPIRED`; a lost connection is `MR_PEER_LOST` (outcome `none` when it never stood).
   */
  logging(address: string, timeoutMs: number): Logging
  /** A messages actor, likewise. `find` may take its `waitMs` longer. */
  messages(address: string, timeoutMs: number): Messages
}
