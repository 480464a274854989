/** `mailroom tail`: what happens, as it happens, over cuts and restarts. It is the client of `GET /events`. */
import { once } from 'node:events'
import { type ApiClient, ApiError, Unreachable } from '../http/api-client.ts'
import { systemClock as clock, systemRandom as random } from '../runtime/clock.ts'
import { onEverySignal } from '../runtime/lifecycle.ts'
import { CLI_RETRY_MAX_MS, CLI_RETRY_MIN_MS, TAIL_HOLD_MS } from '../runtime/timings.ts'
import { type ServerEvent, serverEvents } from './server-events.ts'
import { counted, print, printable, report } from './terminal.ts'

/** What is followed when nothing is chosen: figures every second are for those who ask for them. */
const TOPICS = 'logged,delivered,dead,actor'
/** Items that are known again, of those that came last. A reader that resumes is given those of the last seconds again. */
const KNOWN_COUNT = 50_000

/** What is printed of an item. */
interface Line {
  item: Item
  line: string
}

/** What is followed, and how it is printed. */
interface TailOptions {
  /** Topics, with commas between them; null: all but `stats`. */
  only: string | null
  /** A cursor: first what has happened since. */
  after: string | null
  /** One JSON object a line. */
  json: boolean
  /** It gives up when it has not been connected by then. */
  timeoutMs: number
}

/** An item of an event; which fields it has depends on the event. */
type Item = Record<string, unknown>

/**
 * Prints what happens until Ctrl-C, and connects again whenever the connection ends. What comes again is left out.
 *
 * @throws {ApiError} When the node refuses, and would again. @throws {Unreachable} When nothing answers at first.
 */
export async function tail(
  client: Pick<ApiClient, 'stream'>,
  { only, after, json, timeoutMs }: TailOptions,
): Promise<void> {
  const stopped = new AbortController()
  const giveUpAt = clock.monotonic() + timeoutMs
  const known = new Known()
  const topics = only ?? TOPICS
  const query = new URLSearchParams({ only: topics })
  const held = topics.split(',').includes('logged') ? new Held(known) : undefined
  let cursor = after
  let wasConnected = false
  let attempt = 0
  while (!stopped.signal.aborted) {
    let why = 'the node has ended the connection'
    let askedMs = 0
    try {
      const headers = cursor === null ? {} : { 'last-event-id': cursor }
      const chunks = await client.stream(`/events?${query}`, { headers, signal: stopped.signal })
      if (wasConnected) report('Connected again')
      else onEverySignal(() => stopped.abort())
      wasConnected = true
      for await (const event of serverEvents(chunks)) {
        attempt = 0
        cursor = event.id ?? cursor
        why = endOf(event) ?? why
        for (const { item, line } of linesOf(event, known, json)) {
          if (held?.hold(event.event, item, line)) continue
          print(line)
          if (event.event === 'logged') held?.release(item['id'])
        }
        if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain')
      }
    } catch (error) {
      if (stopped.signal.aborted) break
      if (!(error instanceof ApiError || error instanceof Unreachable)) throw error
      const mayHelp = error instanceof ApiError ? error.retryable : wasConnected || error.wasReached
      if (!mayHelp || (!wasConnected && clock.monotonic() >= giveUpAt)) throw error
      why = error.message
      askedMs = error instanceof ApiError ? error.retryAfterMs : 0
    }
    if (stopped.signal.aborted) break
    if (attempt === 0) report(`Disconnected: ${why}. Connecting again`)
    const backoffMs = CLI_RETRY_MIN_MS * 2 ** attempt++ * (0.5 + random())
    await clock.sleep(Math.min(CLI_RETRY_MAX_MS, Math.max(askedMs, backoffMs)), stopped.signal)
  }
  held?.releaseAll()
}

/** Why the node ends the connection, when the event says so. */
function endOf({ event }: ServerEvent): string | undefined {
  if (event === 'lagged') return 'this command was too far behind'
  return event === 'bye' ? 'the node is draining' : undefined
}

/** What is printed of an event. */
function* linesOf({ event, data }: ServerEvent, known: Known, json: boolean): Generator<Line> {
  if (event === undefined || event === 'bye' || event === 'lagged') return
  for (const item of (Array.isArray(data) ? data : [data]) as Item[]) {
    if (event === 'gap') report(`Some events are missing: ${printable(item['detail'])}`)
    else if (!known.add(event, item)) continue
    if (json) yield { item, line: printable({ event, ...item }) }
    else if (event !== 'gap') yield { item, line: lineOf(event, item) }
  }
}

function lineOf(event: string, item: Item): string {
  const { id, at, deliveredAt, deliveredTo, deadAt, attempts, reason, name, state, pid, restarts } = item
  const time =
    deadAt ?? deliveredAt ?? (event === 'logged' ? at : new Date(Number(at ?? clock.now())).toISOString())
  const words = () => {
    if (event === 'logged') return `${id}  ${previewOf(item)}`
    if (event === 'delivered')
      return `${id}  to ${deliveredTo}, ${counted(Number(attempts), 'attempt')}  ${previewOf(item)}`
    if (event === 'dead')
      return `${id}  ${printable(reason)}, ${counted(Number(attempts), 'attempt')}: ${printable(item['lastError'])}  ${previewOf(item)}`
    if (event === 'actor') return `${name} is ${state}, pid ${pid}, ${counted(Number(restarts), 'restart')}`
    const { accepted, delivered, waiting, dead } = item
    return `${accepted} accepted, ${delivered} delivered, ${waiting} waiting, ${dead} dead letters`
  }
  return `${time}  ${event.padEnd(9)}  ${words()}`
}

function previewOf({ text, base64, type, bytes }: Item): string {
  if (text === undefined) {
    return `(${counted(Number(bytes), 'byte')}${type === undefined ? '' : `, ${printable(type)}`})`
  }
  const isWhole = base64 === undefined && Buffer.byteLength(String(text)) === bytes
  return isWhole ? printable(text) : `${printable(text)}… (${counted(Number(bytes), 'byte')})`
}

/** What became of messages whose `logged` has not come: the node reads the log and the lanes beside each other. */
class Held {
  readonly #known: Known
  readonly #lines = new Map<unknown, string[]>()

  constructor(known: Known) {
    this.#known = known
  }

  /** @returns True when the line is printed later: after the `logged` of its message, or after `TAIL_HOLD_MS`. */
  hold(event: string | undefined, { id, at, deliveredAt, deadAt }: Item, line: string): boolean {
    if (event !== 'delivered' && event !== 'dead') return false
    // What was logged longer ago was told then, or before this command began.
    const afterMs = Date.parse(String(deliveredAt ?? deadAt)) - Date.parse(String(at))
    if (afterMs > TAIL_HOLD_MS || this.#known.hasLogged(id)) return false
    this.#lines.set(id, [...(this.#lines.get(id) ?? []), line])
    clock.after(TAIL_HOLD_MS, () => this.release(id))
    return true
  }

  release(id: unknown): void {
    for (const line of this.#lines.get(id) ?? []) print(line)
    this.#lines.delete(id)
  }

  releaseAll(): void {
    for (const id of this.#lines.keys()) this.release(id)
  }
}

/** What was printed: an actor until it changes, of all else the last `KNOWN_COUNT` or more. */
class Known {
  #young = new Set<string>()
  #old = new Set<string>()
  readonly #actors = new Map<unknown, string>()

  /** @returns False when it was printed before. */
  add(event: string, item: Item): boolean {
    if (event === 'stats') return true
    if (event === 'actor') {
      const isSame = this.#actors.get(item['name']) === JSON.stringify(item)
      this.#actors.set(item['name'], JSON.stringify(item))
      return !isSame
    }
    // A message that was replayed dies, and one whose delivery a power cut has undone is delivered, at another time.
    const key = `${event} ${item['id']} ${item['deliveredAt'] ?? item['deadAt'] ?? ''}`
    if (this.#has(key)) return false
    if (this.#young.size >= KNOWN_COUNT) {
      this.#old = this.#young
      this.#young = new Set()
    }
    this.#young.add(key)
    return true
  }

  hasLogged(id: unknown): boolean {
    return this.#has(`logged ${id} `)
  }

  #has(key: string): boolean {
    return this.#young.has(key) || this.#old.has(key)
  }
}
