/** `mailroom status`: readiness and actors of a node, once or every second. */

import { styleText } from 'node:util'
import { type ApiClient, ApiError, Unreachable } from '../http/api-client.ts'
import { systemClock as clock } from '../runtime/clock.ts'
import { onInterrupt } from '../runtime/lifecycle.ts'
import { WATCH_MS } from '../runtime/timings.ts'
import { actorsTable, type ShownActor } from './actors-table.ts'
import { print, Screen } from './terminal.ts'

/** What `GET /readyz` answers. */
interface Readiness {
  status: string
  missing: string[]
  damaged?: string[]
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
  const first = await poll(client)
  const format = (now: Snapshot, before?: Snapshot) =>
    json ? JSON.stringify(now.actors) : wordsOf(now, before)
  if (!watch) return print(format(first))
  if (json || !process.stdin.isTTY || !process.stdout.isTTY) {
    print(format(first))
    const report = (problem: string) => process.stderr.write(`${problem}\n`)
    // A signal ends the process by itself.
    return pollAgain(client, first, { show: (now, before) => print(format(now, before)), report })
  }
  const screen = new Screen(process.stdin, process.stdout)
  const forget = onInterrupt(() => screen.close())
  let last = format(first)
  try {
    screen.show(last)
    await pollAgain(client, first, {
      left: screen.left,
      show(now, before) {
        last = format(now, before)
        screen.show(last)
      },
      report: (problem) => screen.show(`${styleText('red', problem)}\n\n${last}`),
    })
  } finally {
    forget()
    screen.close()
  }
  print(last)
}

/** Polls every second until `left` is aborted. */
async function pollAgain(
  client: ApiClient,
  first: Snapshot,
  {
    left,
    show,
    report,
  }: {
    left?: AbortSignal
    show: (now: Snapshot, before: Snapshot) => void
    report: (problem: string) => void
  },
): Promise<void> {
  let before = first
  for (;;) {
    await clock.sleep(WATCH_MS, left)
    if (left?.aborted) return
    try {
      const now = await poll(client, left)
      show(now, before)
      before = now
    } catch (error) {
      if (left?.aborted) return
      if (!(error instanceof ApiError || error instanceof Unreachable)) throw error
      report(error.message)
    }
  }
}

async function poll(client: ApiClient, signal?: AbortSignal): Promise<Snapshot> {
  const options = signal === undefined ? {} : { signal }
  const [readiness, actors] = await Promise.all([
    client.call<Readiness>('GET', '/readyz', { ...options, alsoFine: 503 }),
    client.call<ShownActor[]>('GET', '/actors', options),
  ])
  return { readiness, actors, at: clock.monotonic() }
}

function wordsOf(now: Snapshot, before?: Snapshot): string {
  const { status, missing, damaged = [] } = now.readiness
  const lines =
    status === 'ready'
      ? [styleText('green', 'Ready')]
      : [styleText('red', `Not ready${missing.length > 0 ? `: ${missing.join('; ')}` : ''}`)]
  if (damaged.length > 0) lines.push(styleText('red', `Damaged: ${damaged.join('; ')}`))
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
