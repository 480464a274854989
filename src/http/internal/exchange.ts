/**
 * An open exchange: one `POST /exchange` from a caller to an actor whose body and answer both stream, for calls that are
 * small and many. It costs a call no request of its own. Each line is JSON:
 *
 *   caller ──▶ actor   [number, sentAt, timeoutMs, method, arguments]
 *   actor ──▶ caller   [number, value] or [number, null, error], in any order; [0]: make no more calls here
 *
 * `sentAt` is the caller's monotonic clock. A process that was frozen reads lines whose caller gave up long ago. So the
 * actor keeps the smallest difference that it has seen between `sentAt` and its own clock, and refuses a line that is older
 * than its time. The first difference is measured when the exchange opens, within `CONNECT_TIMEOUT_MS`.
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Cancel, Clock } from '../../runtime/clock.ts'
import { fromWire, MailroomError, type WireError } from '../../runtime/errors.ts'
import { request } from '../../runtime/node-http.ts'
import { CONNECT_TIMEOUT_MS, EXCHANGE_CLOSE_MS } from '../../runtime/timings.ts'
import { SECRET_HEADER } from './secret.ts'

/** The path of an exchange. */
export const EXCHANGE_PATH = '/exchange'
/** Arguments of more characters go as a call of their own: they would hold up the small ones. */
export const EXCHANGE_MAX_CHARACTERS = 256 * 1024

const SENT_AT_HEADER = 'x-mailroom-sent-at'
/** No caller sends a longer line. */
const LINE_MAX_CHARACTERS = 2 * EXCHANGE_MAX_CHARACTERS

/** Cuts a stream of text into lines. */
class Lines {
  #rest = ''

  get restLength(): number {
    return this.#rest.length
  }

  /** @returns The lines that end in `chunk`, without those that are empty. */
  *of(chunk: string): Generator<string> {
    let from = 0
    for (let to = chunk.indexOf('\n'); to !== -1; to = chunk.indexOf('\n', from)) {
      const line = this.#rest + chunk.slice(from, to)
      this.#rest = ''
      from = to + 1
      if (line !== '') yield line
    }
    this.#rest += chunk.slice(from)
  }
}

interface Call extends PromiseWithResolvers<unknown> {
  method: string
  /** JSON. */
  args: string
  deadlineMs: number
  /** It waits for something, which a close does not. */
  isWait: boolean
  expiresAt: number
  /** How many chunks had come when it was sent; undefined until then. */
  sentAtChunk: number | undefined
}

/** The caller's end. */
export class Exchange {
  readonly #address: string
  readonly #clock: Clock
  readonly #request: ClientRequest
  readonly #calls = new Map<number, Call>()
  #lastNumber = 0
  #chunkCount = 0
  /** Calls that are made one after another, which leave together. */
  #lines = ''
  #isOpen = false
  #isOver = false
  #expiry: { at: number; cancel: Cancel } | undefined

  /** Begins to open it. */
  constructor(address: string, { secret, clock }: { secret: string; clock: Clock }) {
    this.#address = address
    this.#clock = clock
    const sentAt = String(clock.monotonic())
    this.#request = request(`http://${address}${EXCHANGE_PATH}`, {
      ...{ method: 'POST', agent: false },
      headers: { [SECRET_HEADER]: secret, [SENT_AT_HEADER]: sentAt, 'content-type': 'application/x-ndjson' },
    })
    const cancel = clock.after(CONNECT_TIMEOUT_MS, () =>
      this.#request.destroy(new Error(`no exchange within ${CONNECT_TIMEOUT_MS} ms`)),
    )
    this.#request.on('response', (response) => {
      cancel()
      if (response.statusCode === 200) this.#open(response)
      else this.#refused(response).catch((error: Error) => this.#break(error))
    })
    const end = (error?: Error) => {
      cancel()
      this.#break(error)
    }
    this.#request.on('error', end).on('close', () => end())
    this.#request.flushHeaders()
  }

  /** True when no more calls may be made here: it was closed, has broken, or the actor said so. */
  get isOver(): boolean {
    return this.#isOver
  }

  /**
   * Calls a method.
   *
   * @param args JSON of its arguments.
   * @param time.extraMs How much longer than `timeoutMs` it may take; more than 0: it waits for something.
   * @throws {MailroomError} What the method threw; `MR_PEER_LOST`, with outcome none when the call was not sent;
   * `MR_DEADLINE_EXPIRED` after its time.
   */
  call(method: string, args: string, time: { timeoutMs: number; extraMs: number }): Promise<unknown> {
    const deadlineMs = time.timeoutMs + time.extraMs
    const expiresAt = this.#clock.monotonic() + deadlineMs
    const call: Call = {
      ...{ method, args, deadlineMs, isWait: time.extraMs > 0, expiresAt, sentAtChunk: undefined },
      ...Promise.withResolvers<unknown>(),
    }
    if (this.#isOver) {
      call.reject(this.#lost(call))
      return call.promise
    }
    const number = ++this.#lastNumber
    this.#calls.set(number, call)
    if (this.#isOpen) this.#send(number, call)
    this.#expireAt(expiresAt)
    return call.promise
  }

  /** Makes no more calls, and gives up those that wait; resolves when the others under way have ended. */
  async close(): Promise<void> {
    this.#isOver = true
    for (const call of this.#calls.values()) if (call.isWait) call.reject(this.#lost(call))
    await Promise.allSettled([...this.#calls.values()].map(({ promise }) => promise))
    this.#request.destroy()
  }

  #send(number: number, call: Call): void {
    const { method, args, expiresAt } = call
    const now = this.#clock.monotonic()
    call.sentAtChunk = this.#chunkCount
    const line = `[${number},${now},${expiresAt - now},"${method}",${args}]\n`
    this.#lines += line
    if (this.#lines.length > line.length) return
    // Not `soon`: callers have batched what they send, and an iteration of the event loop costs both ends.
    process.nextTick(() => {
      this.#request.write(this.#lines)
      this.#lines = ''
    })
  }

  #open(response: IncomingMessage): void {
    this.#isOpen = true
    for (const [number, call] of this.#calls) this.#send(number, call)
    const lines = new Lines()
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => {
      this.#chunkCount++
      for (const line of lines.of(chunk)) this.#answer(JSON.parse(line) as Answer)
    })
    response.on('end', () => this.#break())
    response.on('error', (error) => this.#break(error))
  }

  async #refused(response: IncomingMessage): Promise<void> {
    this.#break(fromWire(JSON.parse(await text(response))))
  }

  #answer([number, value, error]: Answer): void {
    if (number === 0) {
      this.#isOver = true
      this.#request.end()
      return
    }
    const call = this.#calls.get(number)
    this.#calls.delete(number)
    if (error === undefined) call?.resolve(value ?? undefined)
    else call?.reject(fromWire(error))
  }

  /** One timer for all calls: for the one that expires first. */
  #expireAt(at: number): void {
    if (this.#expiry !== undefined && this.#expiry.at <= at) return
    this.#expiry?.cancel()
    const delayMs = Math.max(0, at - this.#clock.monotonic())
    this.#expiry = { at, cancel: this.#clock.after(delayMs, () => this.#expire()) }
  }

  #expire(): void {
    this.#expiry = undefined
    const now = this.#clock.monotonic()
    let isSilent = false
    let next = Number.POSITIVE_INFINITY
    for (const [number, call] of this.#calls) {
      if (call.expiresAt > now) {
        next = Math.min(next, call.expiresAt)
        continue
      }
      this.#calls.delete(number)
      isSilent ||= call.sentAtChunk === this.#chunkCount
      const facts = { what: this.#nameOf(call), deadlineMs: call.deadlineMs }
      call.reject(new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: outcomeOf(call) }))
    }
    // Nothing came since the call was sent: the actor is frozen, or the connection leads nowhere.
    if (isSilent) this.#request.destroy(new Error('the actor is silent'))
    else if (next < Number.POSITIVE_INFINITY) this.#expireAt(next)
  }

  #break(error?: Error): void {
    this.#isOver = true
    this.#expiry?.cancel()
    this.#expiry = undefined
    for (const call of this.#calls.values()) call.reject(this.#lost(call, error))
    this.#calls.clear()
    this.#request.destroy()
  }

  #lost(call: Call, cause: Error = new Error('the exchange has ended')): MailroomError {
    const facts = { peer: this.#nameOf(call), reason: cause.message }
    return new MailroomError('MR_PEER_LOST', facts, { outcome: outcomeOf(call), cause })
  }

  #nameOf({ method }: Call): string {
    return `${method} at ${this.#address}`
  }
}

/** What was sent may have been done. */
function outcomeOf({ sentAtChunk }: Call): 'none' | 'unknown' {
  return sentAtChunk === undefined ? 'none' : 'unknown'
}

type Answer = [number: number, value?: unknown, error?: WireError]

type Line = [number: number, sentAt: number, timeoutMs: number, method: string, args?: unknown[]]

/** Without arguments when it is not what a caller writes. */
function lineOf(text: string): Line {
  try {
    const line = JSON.parse(text) as Line
    if (Array.isArray(line) && Array.isArray(line[4])) return line
  } catch {}
  return [0, 0, 0, '']
}

/** What the actor's end needs. */
export interface ExchangeOptions {
  /** Calls a method. Rejects with a `MailroomError` only. */
  call: (method: string, args: unknown[]) => Promise<unknown>
  clock: Clock
}

/** The actor's end. */
export class ServedExchange {
  readonly #options: ExchangeOptions
  readonly #response: ServerResponse
  readonly #ended = Promise.withResolvers<void>()
  /** The smallest difference between this clock and the caller's so far. */
  #difference: number
  #callCount = 0
  #isEnding = false
  /** Answers that are there at once, as those of one commit, which leave together. */
  #answers = ''

  constructor(request: IncomingMessage, response: ServerResponse, options: ExchangeOptions) {
    this.#options = options
    this.#response = response
    this.#difference = options.clock.monotonic() - Number(request.headers[SENT_AT_HEADER])
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.flushHeaders()
    const lines = new Lines()
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => {
      for (const line of lines.of(chunk)) void this.#take(line)
      if (lines.restLength > LINE_MAX_CHARACTERS) request.destroy()
    })
    request.on('end', () => {
      this.#isEnding = true
      this.#endIfIdle()
    })
    request.on('error', () => {})
    response.on('error', () => {})
    response.on('close', () => this.#ended.resolve())
  }

  /** Asks the caller to make no more calls here. Resolves when all that it made are answered, or it does not react. */
  async close(): Promise<void> {
    this.#send('[0]\n')
    const cancel = this.#options.clock.after(EXCHANGE_CLOSE_MS, () => {
      this.#isEnding = true
      this.#endIfIdle()
    })
    await this.#ended.promise
    cancel()
  }

  async #take(line: string): Promise<void> {
    const { call, clock } = this.#options
    const [number, sentAt, timeoutMs, method, args] = lineOf(line)
    if (args === undefined) return void this.#response.destroy()
    const difference = clock.monotonic() - sentAt
    this.#difference = Math.min(this.#difference, difference)
    this.#callCount++
    try {
      if (difference - this.#difference > timeoutMs) {
        const facts = { what: `${method} that was read too late`, deadlineMs: timeoutMs }
        throw new MailroomError('MR_DEADLINE_EXPIRED', facts, { outcome: 'none' })
      }
      const value = await call(method, args)
      this.#send(`${JSON.stringify(value === undefined ? [number] : [number, value])}\n`)
    } catch (error) {
      this.#send(`${JSON.stringify([number, null, (error as MailroomError).toWire()])}\n`)
    }
    this.#callCount--
    this.#endIfIdle()
  }

  #send(line: string): void {
    this.#answers += line
    if (this.#answers.length > line.length) return
    process.nextTick(() => {
      if (!this.#response.destroyed) this.#response.write(this.#answers)
      this.#answers = ''
      this.#endIfIdle()
    })
  }

  #endIfIdle(): void {
    if (this.#isEnding && this.#callCount === 0 && this.#answers === '') this.#response.end()
  }
}
