/**
 * Every error that Mailroom raises on purpose, in one closed table. The code decides the sentence, whether a retry
 * can help, and the outcome of the request. HTTP statuses are in `http/problems.ts`. Any other error is a bug and is
 * logged with its stack.
 */

/** `none`: nothing was stored. `unknown`: it may have been stored; retry with the same idempotency key. */
export type Outcome = 'none' | 'unknown'

interface Row<D> {
  retryable: boolean
  outcome: Outcome
  sentence: (details: D) => string
}

const row = <D>(retryable: boolean, outcome: Outcome, sentence: (details: D) => string): Row<D> => ({
  retryable,
  outcome,
  sentence,
})

/** The table: code -> retryable, default outcome, sentence made of the details. docs/errors.md mirrors it. */
export const ERRORS = {
  MR_CONFIG_INVALID: row<{ problems: readonly string[] }>(
    false,
    'none',
    ({ problems }) => `Configuration is invalid:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`,
  ),
  MR_MESSAGE_INVALID: row<{ where: string; expected: string; got: string }>(
    false,
    'none',
    ({ where, expected, got }) => `Expected ${where} to be ${expected}, got ${got}`,
  ),
  MR_REQUEST_INVALID: row<{ where: string; expected: string; got: string }>(
    false,
    'none',
    ({ where, expected, got }) => `Expected ${where} to be ${expected}, got ${got}`,
  ),
  MR_NOT_FOUND: row<{ what: string }>(false, 'none', ({ what }) => `There is no ${what}`),
  MR_METHOD_UNSUPPORTED: row<{ method: string; path: string; allowed: readonly string[] }>(
    false,
    'none',
    ({ method, path, allowed }) => `${path} does not take ${method}; it takes ${allowed.join(', ')}`,
  ),
  MR_TOO_LARGE: row<{ what: string; limitBytes: number }>(
    false,
    'none',
    ({ what, limitBytes }) => `${what} is larger than ${limitBytes} bytes`,
  ),
  MR_HEAD_TOO_LARGE: row<{ limitBytes: number }>(
    false,
    'none',
    ({ limitBytes }) => `The head of the request is larger than ${limitBytes} bytes`,
  ),
  MR_TYPE_UNSUPPORTED: row<{ what: string; expected: string; got: string }>(
    false,
    'none',
    ({ what, expected, got }) => `Expected ${what} to be ${expected}, got ${got}`,
  ),
  MR_KEY_REUSED: row<{ key: string }>(
    false,
    'none',
    ({ key }) => `Idempotency-Key ${key} was used with a different body in the last 24 hours`,
  ),
  MR_KEY_BUSY: row<{ key: string }>(
    true,
    'unknown',
    ({ key }) => `The first request with Idempotency-Key ${key} is still running`,
  ),
  MR_ROLE_ELSEWHERE: row<{ role: string; way: string }>(
    false,
    'none',
    ({ role, way }) => `This node does not host ${role} actors; ${way}`,
  ),
  MR_SCALE_REFUSED: row<{ role: string; count: number; limit: number; reason: string }>(
    false,
    'none',
    ({ role, count, limit, reason }) => `Cannot run ${count} ${role} actors, at most ${limit}: ${reason}`,
  ),
  MR_TOKEN_INVALID: row<object>(
    false,
    'none',
    () => 'This call needs the header Authorization: Bearer <the token Mailroom was started with>',
  ),
  MR_FORBIDDEN: row<{ reason: string }>(false, 'none', ({ reason }) => reason),
  MR_MAILBOX_FULL: row<{ mailbox: string; depth: number; capacity: number; unit: 'messages' | 'bytes' }>(
    true,
    'none',
    ({ mailbox, depth, capacity, unit }) => `Mailbox of ${mailbox} is full: ${depth} of ${capacity} ${unit}`,
  ),
  MR_OVERLOADED: row<{ what: string; limit: number }>(
    true,
    'none',
    ({ what, limit }) => `Too many ${what} at once, at most ${limit}`,
  ),
  MR_DRAINING: row<{ name: string }>(true, 'none', ({ name }) => `${name} is draining and takes nothing new`),
  MR_DEADLINE_EXPIRED: row<{ what: string; deadlineMs: number }>(
    true,
    'unknown',
    ({ what, deadlineMs }) => `${what} did not finish within ${deadlineMs} ms`,
  ),
  MR_REQUEST_TIMEOUT: row<{ deadlineMs: number }>(
    true,
    'none',
    ({ deadlineMs }) => `The request did not arrive within ${deadlineMs} ms`,
  ),
  MR_ANSWER_UNREAD: row<{ stallMs: number }>(
    true,
    'none',
    ({ stallMs }) =>
      `The client read no answers for ${stallMs} ms. Read while you send, or post with ?acks=errors`,
  ),
  MR_CURSOR_EXPIRED: row<{ after: string }>(
    false,
    'none',
    ({ after }) => `Messages after ${after} are older than the retention and may be missing here`,
  ),
  MR_STORE_UNAVAILABLE: row<{ store: string; reason: string }>(
    true,
    'none',
    ({ store, reason }) => `The ${store} is unavailable: ${reason}`,
  ),
  MR_PEER_LOST: row<{ peer: string; reason: string }>(
    true,
    'unknown',
    ({ peer, reason }) => `Lost ${peer}: ${reason}`,
  ),
  MR_LANE_ELSEWHERE: row<{ lane: number; name: string }>(
    true,
    'none',
    ({ lane, name }) => `Lane ${lane} is not held by ${name} now`,
  ),
  MR_DATA_LOCKED: row<{ path: string; holder: string }>(
    false,
    'none',
    ({ path, holder }) => `${path} is in use by ${holder}: end that, or start with another --data`,
  ),
  MR_DATA_VERSION: row<{ path: string; expected: string; got: string }>(
    false,
    'none',
    ({ path, expected, got }) => `Expected ${path} to be ${expected}, got ${got}`,
  ),
  MR_INTERNAL: row<{ reason: string }>(false, 'unknown', ({ reason }) => `A bug in Mailroom: ${reason}`),
} as const

/** A code of the table. Stable: scripts may match on it. */
export type ErrorCode = keyof typeof ERRORS

/** The details that an error of code `C` carries. */
export type Details<C extends ErrorCode> = (typeof ERRORS)[C] extends Row<infer D> ? D : never

/** A `MailroomError` as it crosses IPC or HTTP. JSON-safe. */
export interface WireError {
  code: ErrorCode
  details: Record<string, unknown>
  outcome: Outcome
}

/**
 * The one error class. It is made of a code and details; the table makes the sentence.
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

  /** The JSON-safe form, without the cause. `fromWire` makes an equal error of it. */
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

/** Makes an error of its wire form. An unknown code or shape becomes `MR_INTERNAL`. */
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

/** The wire form of any thrown value. What is not a `MailroomError` becomes `MR_INTERNAL`. */
export function toWire(error: unknown): WireError {
  if (error instanceof MailroomError) return error.toWire()
  return new MailroomError('MR_INTERNAL', { reason: inWords(error) }).toWire()
}

/** Any thrown value as text: `Name: message` of an error. Never throws. */
export function inWords(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return `something (${typeof thrown}) that has no words`
  }
}

function isOutcome(value: unknown): value is Outcome {
  return value === 'none' || value === 'unknown'
}
