/**
 * The user's handler: how `--handler ./module.js` is loaded and called. It runs at least once for each message.
 * `consumer.ts` counts each start, durably, before it.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Clock } from '../../runtime/clock.ts'
import { inWords, MailroomError } from '../../runtime/errors.ts'
import { HANDLER_ABORT_GRACE_MS } from '../../runtime/timings.ts'

/**
 * A handler: resolves when the message is handled, throws to have it retried.
 *
 * @param context.signal Aborted at `--handler-timeout` and when a drain ends the attempt.
 * @param context.attempt 1 for the first start of this message.
 */
export type Handler = (
  message: { id: string; text: string; at: string },
  context: { signal: AbortSignal; attempt: number },
) => Promise<void> | void

/** How one run of a handler ended. `isHung`: it ignored its abort signal for the grace period, and still runs. */
export type Run =
  | { as: 'done' }
  | { as: 'failed'; error: string; isHung: boolean }
  | { as: 'aborted'; isHung: boolean }

const ERROR_MAX_CHARACTERS = 1000

/**
 * Loads the default export of an ES module.
 *
 * @throws {MailroomError} `MR_CONFIG_INVALID` when it cannot be loaded or its default is not a function.
 */
export async function loadHandler(path: string): Promise<Handler> {
  let module: { default?: unknown }
  try {
    module = await import(pathToFileURL(path).href)
  } catch (error) {
    throw invalid(`an ES module that loads: ${path}: ${inWords(error)}${placeOf(error, path)}`)
  }
  if (typeof module.default !== 'function') {
    throw invalid(`a module whose default export is a function, got ${typeof module.default} in ${path}`)
  }
  return module.default as Handler
}

/**
 * Runs a handler once, up to its timeout.
 *
 * @param abort Aborted when a drain ends the attempt. The run is then `aborted`, unless the handler succeeds.
 */
export async function runHandler(
  handler: Handler,
  message: { id: string; text: string; at: string },
  options: { attempt: number; timeoutMs: number; abort: AbortSignal; clock: Clock },
): Promise<Run> {
  const { attempt, timeoutMs, abort, clock } = options
  const controller = new AbortController()
  const ended = (async () => handler(message, { signal: controller.signal, attempt }))().then(
    (): Run => ({ as: 'done' }),
    (error: unknown): Run => ({ as: 'failed', error: errorText(error), isHung: false }),
  )
  const timeoutText = `Handler timeout of ${timeoutMs} ms`
  const cancelTimeout = clock.after(timeoutMs, () =>
    controller.abort(new DOMException(timeoutText, 'TimeoutError')),
  )
  const onAbort = () => controller.abort(new DOMException('The worker is draining', 'AbortError'))
  abort.addEventListener('abort', onAbort, { once: true })
  if (abort.aborted) onAbort()
  const hung = new Promise<Run>((resolve) => {
    const end = () => resolve({ as: 'failed', error: timeoutText, isHung: true })
    const startGrace = () => clock.after(HANDLER_ABORT_GRACE_MS, end, { unref: true })
    if (controller.signal.aborted) startGrace()
    else controller.signal.addEventListener('abort', startGrace, { once: true })
  })
  const run = await Promise.race([ended, hung])
  cancelTimeout()
  abort.removeEventListener('abort', onAbort)
  if (!controller.signal.aborted || run.as !== 'failed') return run
  return abort.aborted ? { as: 'aborted', isHung: run.isHung } : { ...run, error: timeoutText }
}

/** ` (file:line)` of an error in a module; empty when it has none. */
function placeOf(error: unknown, path: string): string {
  const stack = (error instanceof Error && error.stack) || ''
  const place = /file:\/\/\S+?:\d+/.exec(stack) ?? (error instanceof SyntaxError ? parsedPlace(path) : null)
  if (place === null) return ''
  const [, url, line] = /^(.*):(\d+)$/.exec(place[0])!
  return ` (${fileURLToPath(url!)}:${line})`
}

/** A SyntaxError does not say where it is. A process that ends with it prints that. */
function parsedPlace(path: string): RegExpExecArray | null {
  const program = `import ${JSON.stringify(pathToFileURL(path).href)}`
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  })
  return /^file:\/\/\S+:\d+$/m.exec(stderr ?? '')
}

/** Includes the cause, as `TypeError: fetch failed` alone does not help. */
function errorText(thrown: unknown): string {
  const cause = thrown instanceof Error ? thrown.cause : undefined
  const text = cause === undefined ? inWords(thrown) : `${inWords(thrown)} (${inWords(cause)})`
  return text.slice(0, ERROR_MAX_CHARACTERS)
}

function invalid(expected: string): MailroomError {
  return new MailroomError('MR_CONFIG_INVALID', {
    problems: [`Expected \`--handler\` (or MAILROOM_HANDLER) to be ${expected}`],
  })
}
