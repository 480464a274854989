/**
 * Overload protection of the public API, in three parts. `Admission` decides which posts are refused.
 * `SliceQueue` bounds how long posts keep the event loop busy. `ConcurrencyLimit` bounds what is expensive and
 * slow: streams, long polls, reads of lists.
 *
 * @example 5,000 posts arrive at once and are answered within half a second: all are admitted. 5,000 posts a
 * second arrive at a store that takes 2,000: after one second without a prompt answer 3,000 a second get 429.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../runtime/clock.ts'
import { MailroomError } from '../runtime/errors.ts'
import { OVERLOAD_WINDOW_MS, PROMPT_ANSWER_MS, REFUSED_PAUSE_MS, SLICE_MS } from '../runtime/timings.ts'
import type { ApiContext } from './context.ts'
import { headOf } from './head.ts'
import { problemOf, requestIds } from './problems.ts'
import { countRefused, countRequest } from './request-figures.ts'
import { ROUTES } from './routes/table.ts'

/** This many posts in flight keep a fast store busy; more would only wait. */
export const IN_FLIGHT_MAX = 1024
/** Up to this many posts in flight, admission control refuses none. */
export const IN_FLIGHT_MIN = 256
/** The rest of a refused post is read to its end when it is no longer than this, in bytes. */
const SMALL_BYTES = 64 * 1024
/** At most this many event-loop iterations in a row start no posts because connections come in. */
export const ACCEPT_ITERATIONS_MAX = 16

type Listener = (request: IncomingMessage, response: ServerResponse) => void
/** Resolves when the request has been answered, or was given up. */
type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<void>

/**
 * Puts admission control and the slice queue in front of `answer` (Koa), for posts. A refusal here costs a third
 * of an answer by Koa.
 */
export function protectFromOverload(
  api: ApiContext,
  admission: Admission,
  slices: SliceQueue,
  answer: Answer,
): Listener {
  const { clock, random, logger, figures, closing } = api
  const nextId = requestIds(random, 'refused-')
  let refusedCount = 0
  let wasOverloaded = false

  const refuse = (request: IncomingMessage, response: ServerResponse) => {
    refusedCount++
    const error = new MailroomError('MR_OVERLOADED', { what: 'posts', limit: admission.limit })
    const { status, headers, body } = problemOf(error, { requestId: nextId(), random, reading: false })
    countRefused(figures, error)
    const { path } = request.url?.startsWith('/in/') ? ROUTES.postInbox : ROUTES.postMessages
    countRequest(figures, { method: 'POST', route: path, status, tookMs: 0 })
    response.writeHead(status, {
      ...headers,
      'Content-Length': Buffer.byteLength(body),
      ...((closing() || !isSmall(request)) && { Connection: 'close' }),
    })
    const { socket } = request
    response.on('close', () => {
      // A 429 costs a third of a 201, so clients that retry at once could starve the others: pause reading from
      // them. `soon`, because Node first resumes the socket to read the rest of this request.
      clock.soon(() => {
        if (socket.destroyed || closing()) return
        socket.pause()
        clock.after(REFUSED_PAUSE_MS, () => socket.resume(), { unref: true })
      })
    })
    response.end(body)
  }

  const logChange = () => {
    if (wasOverloaded === admission.overloaded) return
    wasOverloaded = admission.overloaded
    if (wasOverloaded) logger.warn({ limit: admission.limit }, 'overloaded: posts are refused')
    else logger.info({ refusedCount }, 'no longer overloaded')
  }

  return (request, response) => {
    const { kind, refusal } = headOf(request)
    if (kind !== 'post') return void answer(request, response)
    // A caller who may not post takes no place of those who may.
    if (refusal !== undefined) return slices.add(() => void answer(request, response))
    const post = admission.enter()
    logChange()
    if (post === undefined) return refuse(request, response)
    slices.add(() => {
      if (response.destroyed) return post.leave()
      if (!request.complete) {
        post.pause()
        request.once('end', () => post.resume())
      }
      void answer(request, response).finally(() => post.leave())
    })
  }
}

/** True when the rest of a refused request is small enough to be read to its end. */
function isSmall({ headers }: IncomingMessage): boolean {
  return Number(headers['content-length']) <= SMALL_BYTES
}

/** An admitted post. It is waited for by us, except between `pause` and `resume`. */
interface AdmittedPost {
  /** From now on it waits for its client, who has yet to send the rest of the body. */
  pause(): void
  /** The body has been read whole. */
  resume(): void
  /** It has been answered, or its client is gone. Call it once, as the last. */
  leave(): void
}

/**
 * Admission control for posts, after CoDel: it reacts to a queue that stands, not to a burst. The queue are the posts
 * that wait for us: a post whose client is slow to send its body is not in it. We are overloaded when at least 256
 * waited for one second and none was answered within 100 ms. Then a new post is refused while 1,024 wait, and after
 * another such second while as many as `limit` wait. Overload ends when no post was refused for one second.
 */
export class Admission {
  readonly #clock: Clock
  /** Posts that wait for us. */
  #waiting = 0
  /** Since when fewer than `IN_FLIGHT_MIN` wait, while they do. */
  #fewSince = Number.NEGATIVE_INFINITY
  /** When a post was last answered promptly, or few waited. */
  #promptAt = 0
  /** When the last post was refused; undefined while there is no overload. */
  #refusedAt: number | undefined
  /** Posts that were answered in the previous window, and in the one that began at `#windowAt`. */
  #answeredBefore = 0
  #answered = 0
  #windowAt: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#windowAt = clock.monotonic()
  }

  /** Posts that may wait during overload: as many as are answered in a window, within the two bounds. */
  get limit(): number {
    return Math.min(IN_FLIGHT_MAX, Math.max(IN_FLIGHT_MIN, this.#answeredBefore, this.#answered))
  }

  /** True while new posts may be refused. */
  get overloaded(): boolean {
    const refusedAt = this.#refusedAt
    return refusedAt !== undefined && this.#clock.monotonic() - refusedAt < OVERLOAD_WINDOW_MS
  }

  /** Admits one post; undefined when it is refused. O(1). */
  enter(): AdmittedPost | undefined {
    const now = this.#clock.monotonic()
    this.#moveWindow(now)
    this.#noteFew(now)
    const refusedAt = this.#refusedAt
    if (refusedAt !== undefined && now - refusedAt >= OVERLOAD_WINDOW_MS) this.#refusedAt = undefined
    const slowMs = now - this.#promptAt
    const isOverload = this.#refusedAt !== undefined || slowMs >= OVERLOAD_WINDOW_MS
    // A burst on a busy machine may take two seconds; until then it is not known how much is served in one.
    const isNew = this.#refusedAt === undefined && slowMs < 2 * OVERLOAD_WINDOW_MS
    if (isOverload && this.#waiting >= (isNew ? IN_FLIGHT_MAX : this.limit)) {
      this.#refusedAt = now
      return undefined
    }
    this.#waiting++
    let since = now
    let waitedMs = 0
    let isPaused = false
    let isGone = false
    const pause = () => {
      if (isPaused) return
      isPaused = true
      const pausedAt = this.#clock.monotonic()
      waitedMs += pausedAt - since
      this.#waiting--
      if (this.#waiting === IN_FLIGHT_MIN - 1) this.#fewSince = pausedAt
    }
    return {
      pause,
      resume: () => {
        if (isGone || !isPaused) return
        isPaused = false
        since = this.#clock.monotonic()
        this.#noteFew(since)
        this.#waiting++
      },
      leave: () => {
        pause()
        isGone = true
        this.#answered++
        if (waitedMs < PROMPT_ANSWER_MS) this.#promptAt = this.#clock.monotonic()
      },
    }
  }

  /** A queue that is short for longer than the moment between two batches does not stand. */
  #noteFew(now: number): void {
    const areFew = this.#waiting < IN_FLIGHT_MIN && now - this.#fewSince >= PROMPT_ANSWER_MS
    if (areFew) this.#promptAt = now
  }

  #moveWindow(now: number): void {
    const tookMs = now - this.#windowAt
    if (tookMs < OVERLOAD_WINDOW_MS) return
    this.#answeredBefore = tookMs < 2 * OVERLOAD_WINDOW_MS ? this.#answered : 0
    this.#answered = 0
    this.#windowAt = now
  }
}

/**
 * A queue of work, first in, first out, of which one millisecond is done per event-loop iteration. libuv accepts
 * at most one connection per iteration, so long iterations starve `accept`: with 1,000 posts in each, a probe of
 * /livez would wait minutes for its connection.
 */
export class SliceQueue {
  readonly #clock: Clock
  #queue: (() => void)[] = []
  #scheduled = false
  #accepted = false
  #acceptIterations = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A connection was accepted, so more may be pending: the next iteration does no work and accepts another. */
  connectionAccepted(): void {
    this.#accepted = true
  }

  /** Adds work, which must not throw. */
  add(work: () => void): void {
    this.#queue.push(work)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#clock.soon(() => {
      this.#scheduled = false
      this.#runSlice()
      if (this.#queue.length > 0) this.#schedule()
    })
  }

  #runSlice(): void {
    const acceptsOnly = this.#accepted && this.#acceptIterations < ACCEPT_ITERATIONS_MAX
    this.#accepted = false
    this.#acceptIterations = acceptsOnly ? this.#acceptIterations + 1 : 0
    if (acceptsOnly) return
    const began = this.#clock.monotonic()
    let done = 0
    while (done < this.#queue.length) {
      this.#queue[done++]!()
      if (this.#clock.monotonic() - began >= SLICE_MS) break
    }
    this.#queue = this.#queue.slice(done)
  }
}

/** Bounds how much work runs at once. It refuses the excess and queues nothing. */
export class ConcurrencyLimit {
  readonly #what: string
  readonly #limit: number
  #running = 0

  /** @param what What runs, for people: `Too many ${what} at once`. */
  constructor(what: string, limit: number) {
    this.#what = what
    this.#limit = limit
  }

  /** Runs `work`. @throws {MailroomError} `MR_OVERLOADED` (outcome none) when the limit is reached. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) {
      throw new MailroomError('MR_OVERLOADED', { what: this.#what, limit: this.#limit })
    }
    this.#running++
    try {
      return await work()
    } finally {
      this.#running--
    }
  }
}
