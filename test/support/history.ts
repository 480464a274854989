/** What clients attempted, what they were told, and what they read: what the checker judges. */

/** A request that did not end in a 2xx. */
export interface Failure {
  /** Status, or the code of the socket's error. */
  how: number | string
  text: string
  /** When it was told, and how long that took (ms). */
  at: number
  tookMs: number
  /** The problem, when there was one. */
  answer?: string
}

/** One whole read of the log, or of a part of it. */
export interface LogRead {
  /** When it began, on the clock of the acknowledgements. */
  beganAt: number
  /** When its answer was there; infinite when not known. */
  endedAt?: number
  ids: readonly string[]
  /** It was to show everything above this id (default: everything) and up to this one (default: no end). */
  above?: string
  upTo?: string
}

/** The clients' side of a run. Instants are of one clock, whichever. */
export class History {
  /** Texts. */
  readonly attempted = new Set<string>()
  /** Id -> text, of every 201. */
  readonly acknowledged = new Map<string, string>()
  /** Id -> when its first 201 reached the client. */
  readonly acknowledgedAt = new Map<string, number>()
  /** Text -> when it was posted first; of a run in which files are removed. */
  readonly postedAt = new Map<string, number>()
  /** Texts of which every attempt was answered with the outcome `none`: nothing was stored. */
  readonly denied = new Set<string>()
  /** Bodies of the same post of a source, by the first: one of them at most is stored. */
  readonly bodies = new Map<string, Set<string>>()
  readonly failures: Failure[] = []
  /** How long the longest request took that was answered. */
  longestMs = 0
  /** When each request was sent (`performance.now()`) and how long its end took, whatever it was; in ms. */
  readonly took: { sentAt: number; ms: number }[] = []
  readonly logReads: LogRead[] = []
  /** Ids of each delivered list that was read, in its order. */
  readonly deliveredReads: (readonly string[])[] = []
  /** Ids each follower of the log was shown, from its beginning to the end of the run. */
  readonly followed: ReadonlySet<string>[] = []
  /** Id -> when a messages actor first had it in its list; of a run whose times are judged. */
  readonly shownAt = new Map<string, number>()

  /** A 201 reached the client. */
  acknowledge(id: string, text: string, at: number): void {
    this.acknowledged.set(id, text)
    if (!this.acknowledgedAt.has(id)) this.acknowledgedAt.set(id, at)
  }

  /** A messages actor has it in its list. */
  show(id: string, at: number): void {
    if (!this.shownAt.has(id)) this.shownAt.set(id, at)
  }
}
