/** `mailroom status`: is it well, and what is it doing? */
import { styleText } from 'node:util'
import { type ApiClient, ApiError, Unreachable } from '../http/api-client.ts'
import { systemClock as clock } from '../runtime/clock.ts'
import { onInterrupt } from '../runtime/lifecycle.ts'
import { actorsTable, type ShownActor } from './actors-table.ts'
import { print } from './print.ts'
import { Screen } from './screen.ts'

const WATCH_MS = 1000

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
  const first = await look(client)
  const ofLook = (now: Look, before?: Look) => (json ? JSON.stringify(now.actors) : wordsOf(now, before))
  if (!watch) return print(ofLook(first))
  if (json || !process.stdin.isTTY || !process.stdout.isTTY) {
    print(ofLook(first))
    const tell = (problem: string) => process.stderr.write(`${problem}\n`)
    // A signal ends the process by itself.
    return lookAgain(client, first, { show: (now, before) => print(ofLook(now, before)), tell })
  }
  const screen = new Screen(process.stdin, process.stdout)
  const forget = onInterrupt(() => screen.close())
  let last = ofLook(first)
  try {
    screen.show(last)
    await lookAgain(client, first, {
      left: screen.left,
      show(now, before) {
        last = ofLook(now, before)
        screen.show(last)
      },
      tell: (problem) => screen.show(`${styleText('red', problem)}\n\n${last}`),
    })
  } finally {
    forget()
    screen.close()
  }
  print(last)
}

/** Looks every second until `left` is aborted. */
async function lookAgain(
  client: ApiClient,
  first: Look,
  {
    left,
    show,
    tell,
  }: { left?: AbortSignal; show: (now: Look, before: Look) => void; tell: (problem: string) => void },
): Promise<void> {
  let before = first
  for (;;) {
    await clock.sleep(WATCH_MS, left)
    if (left?.aborted) return
    try {
      const now = await look(client, left)
      show(now, before)
      before = now
    } catch (error) {
      if (left?.aborted) return
      if (!(error instanceof ApiError || error instanceof Unreachable)) throw error
      tell(error.message)
    }
  }
}

async function look(client: ApiClient, signal?: AbortSignal): Promise<Look> {
  const options = signal === undefined ? {} : { signal }
  const [readiness, actors] = await Promise.all([
    client.call<Readiness>('GET', '/readyz', { ...options, alsoFine: 503 }),
    client.call<ShownActor[]>('GET', '/actors', options),
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
