/**
 * The user's handler, inside its own process: how `--handler ./module.js` is loaded and called. The messages actor
 * starts that process and sends it messages (`handler-runner.ts`). A handler runs at least once for each message.
 *
 *   actor:    run ──▶            ──▶ abort (time-out, drain)
 *   process:       ready, started ──▶      aborted ──▶ ended
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { spawnSync } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { inWords, MailroomError, type WireError } from '../../runtime/errors.ts'
import { bytesOf, type Shown, shown } from '../../storage/content.ts'
import type { Message } from '../../storage/ports.ts'
import type { Run } from './runner.ts'

/**
 * A handler: resolves when the message is handled, throws to have it retried. The error may say how: `retry = false`
 * (never), `retryAfter = 30` (not before so many seconds), `outage = true` (what it needs is away: not the message's
 * fault).
 *
 * @param context.signal Aborted at `--handler-timeout` and when a drain ends the attempt.
 * @param context.attempt 1 for the first start of this message.
 */
export type Handler = (
  message: HandlerMessage,
  context: { signal: AbortSignal; attempt: number },
) => Promise<void> | void

/** What a handler is given: the message as the lists show it, and the bytes of its body. */
type HandlerMessage = Shown & {
  /** Not enumerable, so that the message as JSON is what the lists show. */
  readonly bytes: Buffer
}

/** From the messages actor to a handler's process. `run` numbers the calls of this process. */
export type ToHandler =
  | { kind: 'run'; run: number; message: Message; attempt: number }
  /** Abort the signal of this call. `name` and `why` make its reason, a DOMException. */
  | { kind: 'abort'; run: number; name: 'TimeoutError' | 'AbortError'; why: string }

/** From a handler's process to the messages actor. */
export type FromHandler =
  | { kind: 'ready' }
  /** The module does not load. */
  | { kind: 'broken'; error: WireError }
  /** Sent before the handler is called, which may block the process. */
  | { kind: 'started'; run: number }
  /** The signal was aborted: the process does not block. */
  | { kind: 'aborted'; run: number }
  /** `failure`: null when it succeeded. What it returned is ignored. */
  | { kind: 'ended'; run: number; failure: Failure | null }
  /** An error that no call was there to throw (a timer, an unhandled rejection); `id`: its message, if one is known. */
  | { kind: 'stray'; stack: string; id: string | null }

/** What a handler threw, and what that says of the next attempt. */
export type Failure = Pick<Extract<Run, { as: 'failed' }>, 'error' | 'retry' | 'isOutage'>

const ERROR_MAX_CHARACTERS = 1000
const STACK_MAX_CHARACTERS = 10_000

/** Calls the handler for the messages actor. */
export class HandlerHost {
  readonly #handler: Handler
  readonly #send: (message: FromHandler) => void
  readonly #running = new Map<number, AbortController>()
  /** The call that the code now running belongs to, also after it has returned. */
  readonly #call = new AsyncLocalStorage<{ run: number; id: string }>()

  constructor(handler: Handler, send: (message: FromHandler) => void) {
    this.#handler = handler
    this.#send = send
  }

  receive(message: ToHandler): void {
    if (message.kind === 'run') void this.#run(message)
    else {
      this.#running.get(message.run)?.abort(new DOMException(message.why, message.name))
      this.#send({ kind: 'aborted', run: message.run })
    }
  }

  /** Reports an error that reached nobody. When the call it came from still runs, that call has failed. */
  stray(thrown: unknown): void {
    const call = this.#call.getStore()
    this.#send(strayOf(thrown, call?.id))
    if (call !== undefined) this.#end(call.run, failureOf(thrown))
  }

  async #run({ run, message, attempt }: Extract<ToHandler, { kind: 'run' }>): Promise<void> {
    const controller = new AbortController()
    this.#running.set(run, controller)
    this.#send({ kind: 'started', run })
    try {
      const { signal } = controller
      const given = handlerMessage(message)
      await this.#call.run({ run, id: message.id }, () => this.#handler(given, { signal, attempt }))
    } catch (thrown) {
      return this.#end(run, failureOf(thrown))
    }
    this.#end(run, null)
  }

  #end(run: number, failure: Failure | null): void {
    if (this.#running.delete(run)) this.#send({ kind: 'ended', run, failure })
  }
}

/** A message as a handler is given it. */
export function handlerMessage(message: Message): HandlerMessage {
  const content = shown(message)
  return Object.defineProperty(content as HandlerMessage, 'bytes', { get: () => bytesOf(content) })
}

/**
 * Loads the default export of an ES module.
 *
 * @throws {MailroomError} `MR_CONFIG_INVALID` when it cannot be loaded (with file and line, where there is one) or its
 * default is not a function.
 */
export async function loadHandler(path: string): Promise<Handler> {
  let module: { default?: unknown }
  try {
    module = await import(pathToFileURL(path).href)
  } catch (error) {
    throw invalidHandler(`an ES module that loads: ${path}: ${inWords(error)}${placeOf(error, path)}`)
  }
  if (typeof module.default !== 'function') {
    throw invalidHandler(
      `a module whose default export is a function, got ${typeof module.default} in ${path}`,
    )
  }
  return module.default as Handler
}

/** The error of a handler that cannot be used. */
export function invalidHandler(expected: string): MailroomError {
  return new MailroomError('MR_CONFIG_INVALID', {
    problems: [`Expected \`--handler\` (or MAILROOM_HANDLER) to be ${expected}`],
  })
}

/** ` (file:line)` at which loading failed; empty when nobody knows the line. */
function placeOf(error: unknown, path: string): string {
  const stack = error instanceof Error ? error.stack : undefined
  // The stack of an ES module's syntax error has no place. Node prints it when it loads the module as a program.
  const text = error instanceof SyntaxError && placeIn(stack) === undefined ? printedBy(path) : stack
  const place = placeIn(text)
  return place === undefined ? '' : ` (${place})`
}

/** The first `file:line` of a stack, as a path. */
function placeIn(stack: string | undefined): string | undefined {
  for (const line of stack?.split('\n') ?? []) {
    const [, file, number] = /^(?:\s+at (?:.*\()?)?((?:file:\/\/)?\/.*?):(\d+)(?::\d+\)?)?$/.exec(line) ?? []
    if (file === import.meta.filename || file === import.meta.url) return undefined
    if (file !== undefined) return `${file.startsWith('file:') ? fileURLToPath(file) : file}:${number}`
  }
  return undefined
}

function printedBy(path: string): string {
  const code = `import ${JSON.stringify(pathToFileURL(path).href)}`
  return spawnSync(process.execPath, ['--input-type=module', '--eval', code], { encoding: 'utf8' }).stderr
}

/** Never throws, whatever was thrown. A `retryAfter` that is no time is told of in the error. */
function failureOf(thrown: unknown): Failure {
  const error = errorText(thrown)
  const outage = propertyOf(thrown, 'outage') === true ? { isOutage: true as const } : {}
  if (propertyOf(thrown, 'retry') === false) return { error, retry: false, ...outage }
  const seconds = propertyOf(thrown, 'retryAfter')
  if (seconds === undefined) return { error, ...outage }
  if (typeof seconds === 'number' && seconds >= 0)
    return { error, retry: { afterMs: Math.min(seconds * 1000, Number.MAX_SAFE_INTEGER) }, ...outage }
  const expected = 'its `retryAfter` was ignored: expected a number of seconds, 0 or more'
  return { error: `${error} (${expected}, got ${inWords(seconds).slice(0, 50)})`, ...outage }
}

/** Includes the cause, as `TypeError: fetch failed` alone does not help. Never throws, whatever was thrown. */
function errorText(thrown: unknown): string {
  const cause = propertyOf(thrown, 'cause')
  const text = cause === undefined ? inWords(thrown) : `${inWords(thrown)} (${inWords(cause)})`
  return text.slice(0, ERROR_MAX_CHARACTERS)
}

/** The report of an error that reached nobody. `id`: the message whose call it came from, perhaps after its end. */
export function strayOf(thrown: unknown, id: string | null = null): FromHandler {
  const stack = propertyOf(thrown, 'stack')
  const text = typeof stack === 'string' ? stack : inWords(thrown)
  return { kind: 'stray', stack: text.slice(0, STACK_MAX_CHARACTERS), id }
}

/** A property of an object that was thrown; undefined of anything else, and when reading it throws. */
function propertyOf(thrown: unknown, name: 'cause' | 'stack' | 'retry' | 'retryAfter' | 'outage'): unknown {
  try {
    return Object(thrown) === thrown ? (thrown as Record<string, unknown>)[name] : undefined
  } catch {
    return undefined
  }
}
