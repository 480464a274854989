/** `mailroom status`: is it well, and what is it doing? */
import { styleText } from 'node:util'
import type { ApiClient } from '../http/api-client.ts'
import { systemClock as clock } from '../runtime/clock.ts'
import { actorsTable, type ShownActor } from './actors-table.ts'
import { print } from './print.ts'

const WATCH_MS = 1000
/** To the top left corner, and clear what is below. */
const REDRAW = '\x1b[H\x1b[J'
const CTRL_C = '\x03'

/** What `GET /readyz` answers. */
interface Readiness {
  status: string
  missing: string[]
  damaged?: string[]
}

/** What was seen, and when. */
interface Look {
  readiness: Readiness
  actors: ShownActor[]
  /** On the clock that never steps. */
  at: number
}

/**
 * Shows the actors once; with `watch` every second, with rates, until q or Ctrl-C. While it watches, a node
 * that does not answer is told and asked again.
 *
 * @param options.json The answer of `GET /actors`, one line a look.
 * @throws {Unreachable | ApiError} When the first look fails.
 */
export async function status(
  client: ApiClient,
  { watch, json }: { watch: boolean; json: boolean },
): Promise<void> {
  let before = await look(client)
  print(json ? JSON.stringify(before.actors) : wordsOf(before))
  if (!watch) return
  const left = untilLeft()
  const redraw = process.stdout.isTTY ? REDRAW : ''
  for (;;) {
    await clock.sleep(WATCH_MS, left)
    if (left.aborted) return
    try {
      const now = await look(client)
      print(json ? JSON.stringify(now.actors) : redraw + wordsOf(now, before))
      before = now
    } catch (error) {
      process.stderr.write(`${(error as Error).message}\n`)
    }
  }
}

async function look(client: ApiClient): Promise<Look> {
  const [readiness, actors] = await Promise.all([
    client.call<Readiness>('GET', '/readyz', { alsoFine: 503 }),
    client.call<ShownActor[]>('GET', '/actors'),
  ])
  return { readiness, actors, at: clock.monotonic() }
}

function wordsOf(now: Look, before?: Look): string {
  const { status, missing, damaged = [] } = now.readiness
  const lines =
    status === 'ready'
      ? [styleText('green', 'Ready')]
      : [styleText('red', `Not ready${missing.length > 0 ? `: ${missing.join('; ')}` : ''}`)]
  if (damaged.length > 0) lines.push(styleText('red', `Damaged: ${damaged.join('; ')}`))
  return [...lines, '', actorsTable(now.actors, before && ratesOf(now, before))].join('\n')
}

/** Messages handled a second, by actor; one that was restarted begins at 0 again. */
function ratesOf(now: Look, before: Look): Map<string, number> {
  const seconds = (now.at - before.at) / 1000
  const handled = new Map(before.actors.map((actor) => [actor.name, actor.handled]))
  return new Map(
    now.actors.map((actor) => [
      actor.name,
      Math.max(0, actor.handled - (handled.get(actor.name) ?? 0)) / seconds,
    ]),
  )
}

/** Aborted by q or Ctrl-C on a terminal. Elsewhere Ctrl-C is a signal, which ends the process by itself. */
function untilLeft(): AbortSignal {
  const left = new AbortController()
  const { stdin } = process
  if (!stdin.isTTY || !process.stdout.isTTY) return left.signal
  stdin.setRawMode(true)
  stdin.setEncoding('utf8').on('data', (key) => {
    if (String(key) !== 'q' && String(key) !== CTRL_C) return
    stdin.setRawMode(false)
    stdin.pause()
    left.abort()
  })
  return left.signal
}
