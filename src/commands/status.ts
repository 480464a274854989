/** `mailroom status`: readiness and actors of a node, once or every second. */

import { styleText } from 'node:util'
import { type ApiClient, ApiError, Unreachable } from '../http/api-client.ts'
import { systemClock as clock } from '../runtime/clock.ts'
import { onInterrupt } from '../runtime/lifecycle.ts'
import { WATCH_MS } from '../runtime/timings.ts'
import { actorsTable, failuresOf, type ShownActor } from './actors-table.ts'
import { print, printable, report, Screen } from './terminal.ts'

/** What `GET /readyz` answers. */
interface Readiness {
  status: string
  missing: string[]
  degraded?: string[]
  damaged?: string[]
  warnings?: string[]
}

/** The node at one moment. */
interface Snapshot {
  readiness: Readiness
  actors: ShownActor[]
  /** Monotonic, in milliseconds. */
  at: number
}

/**
 * Shows the actors once; with `watch` every second, with rates, until q or Ctrl-C. While it watches, an
 * unreachable node is reported and polled again.
 *
 * @param options.json The answer of `GET /actors`, one line a poll.
 * @throws {Unreachable | ApiError} When the first poll fails.
 */
export async function status(
  client: ApiClient,
  { watch, json }: { watch: boolean; json: boolean },
): Promise<void> {
  let before = await poll((path, options) => client.insist('GET', path, options))
  const format = (now: Snapshot, earlier?: Snapshot) => (json ? printable(now.actors) : wordsOf(now, earlier))
  let shown = format(before)
  if (!watch) return print(shown)
  const isLive = !json && process.stdin.isTTY && process.stdout.isTTY
  const screen = isLive ? new Screen(process.stdin, process.stdout) : undefined
  const forget = onInterrupt(() => screen?.close())
  const signal = screen && { signal: screen.left }
  const show = (text: string) => (screen === undefined ? print(text) : screen.show(text))
  try {
    show(shown)
    for (;;) {
      await clock.sleep(WATCH_MS, screen?.left)
      if (screen?.left.aborted) break
      try {
        const now = await poll((path, options) => client.call('GET', path, { ...signal, ...options }))
        shown = format(now, before)
        before = now
        show(shown)
      } catch (error) {
        if (screen?.left.aborted) break
        if (!(error instanceof ApiError || error instanceof Unreachable)) throw error
        if (screen === undefined) report(error.message)
        else screen.show(`${styleText('red', error.message)}\n\n${shown}`)
      }
    }
  } finally {
    forget()
    screen?.close()
  }
  print(shown)
}

async function poll(
  get: (path: string, options?: { alsoFine: number }) => Promise<unknown>,
): Promise<Snapshot> {
  const [readiness, actors] = await Promise.all([get('/readyz', { alsoFine: 503 }), get('/actors')])
  return { readiness: readiness as Readiness, actors: actors as ShownActor[], at: clock.monotonic() }
}

function wordsOf(now: Snapshot, before?: Snapshot): string {
  const { status, missing, degraded = [], damaged = [], warnings = [] } = now.readiness
  const lines =
    status === 'ready'
      ? [styleText('green', 'Ready')]
      : [styleText('red', `Not ready${missing.length > 0 ? `: ${missing.join('; ')}` : ''}`)]
  if (degraded.length > 0) lines.push(styleText('yellow', `Degraded: ${degraded.join('; ')}`))
  if (damaged.length > 0) lines.push(styleText('red', `Damaged: ${damaged.join('; ')}`))
  const failures = failuresOf(now.actors)
  if (failures !== undefined) lines.push(styleText('yellow', `Failures: ${failures}`))
  if (warnings.length > 0) lines.push(styleText('yellow', `Warnings: ${warnings.join('; ')}`))
  return [...lines, '', actorsTable(now.actors, before && ratesOf(now, before))].join('\n')
}

/** Messages handled a second, by actor; 0 for an actor that was restarted meanwhile. */
function ratesOf(now: Snapshot, before: Snapshot): Map<string, number> {
  const seconds = (now.at - before.at) / 1000
  const handled = new Map(before.actors.map((actor) => [actor.name, actor.handled]))
  return new Map(
    now.actors.map((actor) => [
      actor.name,
      Math.max(0, actor.handled - (handled.get(actor.name) ?? 0)) / seconds,
    ]),
  )
}
