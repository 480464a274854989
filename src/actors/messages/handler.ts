/**
 * The user's handler: how `--handler ./module.js` is loaded and called. It runs at least once for each
 * message; each start is counted durably before it (see `consumer.ts`).
 */
import { pathToFileURL } from 'node:url'
import type { Clock } from '../../runtime/clock.ts'
import { inWords, MailroomError } from '../../runtime/errors.ts'
import { HANDLER_ABORT_GRACE_MS } from '../../runtime/timings.ts'

/**
 * A handler: resolves when the message is handled, throws to have it tried again.
 *
 * @param context.signal Aborted at `--handler-timeout` and when a drain cuts the attempt short.
 * @param context.attempt 1 for the first start of this message.
 */
export type Handler = (
  message: { id: string; text: string; at: string },
  context: { signal: AbortSignal; attempt: number },
) => Promise<void> | void

/** How one run of a handler ended. `ignored`: it did not settle within the grace after its abort, and still runs. */
export type Run =
  | { as: 'done' }
  | { as: 'failed'; error: string; ignored: boolean }
  | { as: 'cut'; ignored: boolean }

const WORDS_MAX_CHARACTERS = 1000

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
    throw invalid(`an ES module that loads: ${path}: ${inWords(error)}`)
  }
  if (typeof module.default !== 'function') {
    throw invalid(`a module whose default export is a function, got ${typeof module.default} in ${path}`)
  }
  return module.default as Handler
}

/**
 * Runs a handler once, within its time.
 *
 * @param cut Aborted when a drain ends the attempt: the run is then `cut`, unless it settles in time.
 */
export async function runHandler(
  handler: Handler,
  message: { id: string; text: string; at: string },
  options: { attempt: number; timeoutMs: number; cut: AbortSignal; clock: Clock },
): Promise<Run> {
  const { attempt, timeoutMs, cut, clock } = options
  const abort = new AbortController()
  const settled = (async () => handler(message, { signal: abort.signal, attempt }))().then(
    (): Run => ({ as: 'done' }),
    (error: unknown): Run => ({ as: 'failed', error: wordsOf(error), ignored: false }),
  )
  const late = `Handler timeout of ${timeoutMs} ms`
  const cancelTimeout = clock.after(timeoutMs, () => abort.abort(new DOMException(late, 'TimeoutError')))
  const onCut = () => abort.abort(new DOMException('The worker is draining', 'AbortError'))
  cut.addEventListener('abort', onCut, { once: true })
  if (cut.aborted) onCut()
  const ignored = new Promise<Run>((resolve) => {
    const end = () => resolve({ as: 'failed', error: late, ignored: true })
    const giveUp = () => clock.after(HANDLER_ABORT_GRACE_MS, end, { unref: true })
    if (abort.signal.aborted) giveUp()
    else abort.signal.addEventListener('abort', giveUp, { once: true })
  })
  const run = await Promise.race([settled, ignored])
  cancelTimeout()
  cut.removeEventListener('abort', onCut)
  if (!abort.signal.aborted || run.as !== 'failed') return run
  return cut.aborted ? { as: 'cut', ignored: run.ignored } : { ...run, error: late }
}

/** With its cause: `TypeError: fetch failed` alone says nothing. */
function wordsOf(thrown: unknown): string {
  const cause = thrown instanceof Error ? thrown.cause : undefined
  const words = cause === undefined ? inWords(thrown) : `${inWords(thrown)} (${inWords(cause)})`
  return words.slice(0, WORDS_MAX_CHARACTERS)
}

function invalid(expected: string): MailroomError {
  return new MailroomError('MR_CONFIG_INVALID', {
    problems: [`Expected \`--handler\` (or MAILROOM_HANDLER) to be ${expected}`],
  })
}
