/**
 * All errors that Mailroom throws on purpose, in one table. `http/problems.ts` gives each code its HTTP status. Any
 * other error is a bug: it is logged with its stack and crosses a wire as `MR_INTERNAL`.
 */

/** `none`: nothing was stored. `unknown`: it may have been stored; retry with the same idempotency key. */
export type Outcome = 'none' | 'unknown'

/** What is wrong: `Expected ${where} to be ${expected}, got ${got}`. */
export interface Place {
  where: string
  expected: string
  got: string
}

interface Row<D> {
  retryable: boolean
  outcome: Outcome
  sentence: (details: D) => string
}

/** An error whose cause a retry meets again. Nothing was stored. */
const permanent = <D>(sentence: (details: D) => string): Row<D> => row(false, 'none', sentence)
/** An error that a retry may not meet again. Nothing was stored. */
const transient = <D>(sentence: (details: D) => string): Row<D> => row(true, 'none', sentence)
/** As `transient`, but the request may have been stored. */
const uncertain = <D>(sentence: (details: D) => string): Row<D> => row(true, 'unknown', sentence)

function sentenceOf({ where, expected, got }: Place): string {
  return `Expected ${where} to be ${expected}, got ${got}`
}

/** Per code: whether a retry can help, the default outcome, and the sentence. docs/errors.md mirrors this table. */
export const ERRORS = {
  MR_CONFIG_INVALID: permanent<{ problems: readonly string[] }>(
    ({ problems }) => `Configuration is invalid:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`,
  ),
  /** `others`: further places that are wrong, a few of them. `more`: how many there are beside. */
  MR_MESSAGE_INVALID: permanent<Place & { others?: readonly Place[]; more?: number }>(
    ({ others = [], more = 0, ...first }) => {
      const sentences = [first, ...others].map(sentenceOf).join('; ')
      return more === 0 ? sentences : `${sentences}; and ${more} more`
    },
  ),
  MR_REQUEST_INVALID: permanent<Place>(sentenceOf),
  MR_NOT_FOUND: permanent<{ what: string }>(({ what }) => `There is no ${what}`),
  MR_METHOD_UNSUPPORTED: permanent<{ method: string; path: string; allowed: readonly string[] }>(
    ({ method, path, allowed }) => `${path} does not take ${method}; it takes ${allowed.join(', ')}`,
  ),
  MR_TOO_LARGE: permanent<{ what: string; limitBytes: number }>(
    ({ what, limitBytes }) => `${what} is larger than ${limitBytes} bytes`,
  ),
  MR_HEAD_TOO_LARGE: permanent<{ limitBytes: number }>(
    ({ limitBytes }) => `The head of the request is larger than ${limitBytes} bytes`,
  ),
  MR_TYPE_UNSUPPORTED: permanent<{ what: string; expected: string; got: string }>(({ what, ...rest }) =>
    sentenceOf({ where: what, ...rest }),
  ),
  MR_KEY_REUSED: permanent<{ key: string }>(
    ({ key }) => `Idempotency-Key ${key} was used with a different body before`,
  ),
  MR_KEY_BUSY: uncertain<{ key: string }>(
    ({ key }) => `The first request with Idempotency-Key ${key} is still running`,
  ),
  MR_REPEAT_BUSY: uncertain<object>(() => 'The first request with this id is still running'),
  MR_SIGNATURE_INVALID: permanent<{ source: string }>(
    ({ source }) =>
      `The request does not show that it comes from the source ${source}; the log of this node says why`,
  ),
  MR_REDELIVERY_REFUSED: permanent<{ id: string; reason: string }>(
    ({ id, reason }) => `Message ${id} cannot be delivered again now: ${reason}`,
  ),
  MR_REDELIVERY_FAILED: uncertain<{ id: string; error: string }>(
    ({ id, error }) => `Message ${id} was not delivered again: ${error}`,
  ),
  MR_ROLE_ELSEWHERE: permanent<{ role: string; way: string }>(
    ({ role, way }) => `This node does not host ${role} actors; ${way}`,
  ),
  MR_SCALE_REFUSED: permanent<{ role: string; count: number; limit: number; reason: string }>(
    ({ role, count, limit, reason }) => `Cannot run ${count} ${role} actors, at most ${limit}: ${reason}`,
  ),
  MR_TOKEN_INVALID: permanent<{ needs: string }>(({ needs }) => `This call needs ${needs}`),
  MR_ROLE_FORBIDDEN: permanent<{ needed: string; role: string }>(
    ({ needed, role }) =>
      `This call needs ${needed === 'all' ? 'the role all' : `the role ${needed}, or all`}; its caller has the role ${role}`,
  ),
  MR_SIGN_INS_LIMITED: transient<{ limit: number; waitMs: number }>(
    ({ limit, waitMs }) =>
      `There were ${limit} sign-ins within a minute; the next one is taken in ${Math.ceil(waitMs / 1000)} s`,
  ),
  MR_FORBIDDEN: permanent<{ reason: string }>(({ reason }) => reason),
  MR_HOST_FORBIDDEN: permanent<{ got: string }>(
    ({ got }) =>
      `Expected the header Host to be an address, localhost or a name of --allowed-hosts, got ${got}`,
  ),
  MR_MAILBOX_FULL: transient<{
    mailbox: string
    depth: number
    capacity: number
    unit: 'messages' | 'bytes'
  }>(
    ({ mailbox, depth, capacity, unit }) => `Mailbox of ${mailbox} is full: ${depth} of ${capacity} ${unit}`,
  ),
  MR_OVERLOADED: transient<{ what: string; limit: number }>(
    ({ what, limit }) => `Too many ${what} at once, at most ${limit}`,
  ),
  MR_READERS_FULL: transient<{ limit: number }>(
    ({ limit }) => `${limit} readers of events are connected to this facade, as many as it takes`,
  ),
  MR_DRAINING: transient<{ name: string }>(({ name }) => `${name} is draining and takes nothing new`),
  MR_DEADLINE_EXPIRED: uncertain<{ what: string; deadlineMs: number }>(
    ({ what, deadlineMs }) => `${what} did not finish within ${Math.round(deadlineMs)} ms`,
  ),
  MR_REQUEST_TIMEOUT: transient<{ deadlineMs: number }>(
    ({ deadlineMs }) => `The request did not arrive within ${deadlineMs} ms`,
  ),
  MR_ANSWER_UNREAD: transient<{ stallMs: number }>(
    ({ stallMs }) =>
      `The client read no answers for ${stallMs} ms. Read while you send, or post with ?acks=errors`,
  ),
  MR_CURSOR_EXPIRED: permanent<{ after: string }>(
    ({ after }) => `Messages after ${after} are older than the retention and may be missing here`,
  ),
  MR_STORE_UNAVAILABLE: transient<{ store: string; reason: string }>(
    ({ store, reason }) => `The ${store} is unavailable: ${reason}`,
  ),
  MR_CLOCK_WRONG: transient<{ wallClock: string; from: string; to: string }>(
    ({ wallClock, from, to }) =>
      `Expected the wall clock of this machine to be set, between ${from} and ${to}, got ${wallClock}`,
  ),
  MR_PEER_LOST: uncertain<{ peer: string; reason: string }>(({ peer, reason }) => `Lost ${peer}: ${reason}`),
  MR_LANE_ELSEWHERE: transient<{ lane: number; name: string }>(
    ({ lane, name }) => `Lane ${lane} is not held by ${name} now`,
  ),
  MR_DATA_LOCKED: permanent<{ path: string; holder: string }>(
    ({ path, holder }) => `${path} is in use by ${holder}: end that, or start with another --data`,
  ),
  MR_DATA_VERSION: permanent<{ path: string; expected: string; got: string }>(
    ({ path, expected, got }) => `Expected ${path} to be ${expected}, got ${got}`,
  ),
  MR_INTERNAL: row<{ reason: string }>(false, 'unknown', ({ reason }) => `A bug in Mailroom: ${reason}`),
} as const

/** A code of the table. Stable: scripts may match on it. */
export type ErrorCode = keyof typeof ERRORS

/** The details of an error of code `C`. */
export type Details<C extends ErrorCode> = (typeof ERRORS)[C] extends Row<infer D> ? D : never

/** A `MailroomError` as JSON, for IPC and HTTP. It carries no cause and no stack. */
export interface WireError {
  code: ErrorCode
  details: Record<string, unknown>
  outcome: Outcome
}

/**
 * An error of the table. Its message is the sentence that the table makes of the details.
 *
 * @example throw new MailroomError('MR_NOT_FOUND', { what: 'message 01J…' })
 */
export class MailroomError<C extends ErrorCode = ErrorCode> extends Error {
  readonly code: C
  readonly details: Details<C>
  readonly retryable: boolean
  readonly outcome: Outcome

  constructor(code: C, details: Details<C>, options: { outcome?: Outcome; cause?: unknown } = {}) {
    const entry = ERRORS[code] as unknown as Row<Details<C>>
    super(entry.sentence(details), options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'MailroomError'
    this.code = code
    this.details = details
    this.retryable = entry.retryable
    this.outcome = options.outcome ?? entry.outcome
  }

  /** This error as JSON. `fromWire` restores it, without the cause. */
  toWire(): WireError {
    return { code: this.code, details: this.details as Record<string, unknown>, outcome: this.outcome }
  }
}

/** True for a `MailroomError`; when codes are given, for one with such a code. */
export function isMailroomError<C extends ErrorCode>(
  error: unknown,
  ...codes: readonly C[]
): error is MailroomError<C> {
  return error instanceof MailroomError && (codes.length === 0 || codes.includes(error.code as C))
}

/** Restores an error from JSON. An unknown code or shape becomes `MR_INTERNAL`. */
export function fromWire(wire: unknown): MailroomError {
  const { code, details, outcome } = (wire ?? {}) as Partial<WireError>
  try {
    if (typeof code === 'string' && Object.hasOwn(ERRORS, code)) {
      return new MailroomError(code, details as never, isOutcome(outcome) ? { outcome } : {})
    }
  } catch {
    // The details do not fit the code.
  }
  return new MailroomError('MR_INTERNAL', { reason: `not an error: ${JSON.stringify(wire)}` })
}

/** Any thrown value as JSON. All but a `MailroomError` becomes `MR_INTERNAL`. */
export function toWire(error: unknown): WireError {
  if (error instanceof MailroomError) return error.toWire()
  return new MailroomError('MR_INTERNAL', { reason: inWords(error) }).toWire()
}

/** Any thrown value as text: `Name: message` of an error. Never throws. */
export function inWords(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return `a ${typeof thrown} that cannot be printed`
  }
}

function row<D>(retryable: boolean, outcome: Outcome, sentence: (details: D) => string): Row<D> {
  return { retryable, outcome, sentence }
}

function isOutcome(value: unknown): value is Outcome {
  return value === 'none' || value === 'unknown'
}
