/** `mailroom scale`, `restart` and `status`: what concerns the actors. */
import { styleText } from 'node:util'
import type { ApiClient } from '../http/api-client.ts'
import { systemClock as clock } from '../runtime/clock.ts'
import { ROLES, type Role } from '../runtime/directory.ts'
import { MailroomError } from '../runtime/errors.ts'

const WATCH_MS = 1000

/** An actor as `GET /actors` shows it. */
interface Shown {
  name: string
  role: Role
  pid: number
  state: string
  restarts: number
  mailbox: { depth: number; capacity: number; refused: number }
  handled: number
  waiting?: number
  dead?: number
  oldestAt?: string | null
}

/**
 * Scales roles, live.
 *
 * @param orders Such as `messages=4`.
 * @throws {MailroomError} `MR_CONFIG_INVALID` for an order that is none; nothing was scaled then.
 */
export async function scale(client: ApiClient, orders: readonly string[]): Promise<void> {
  const parsed = orders.map((order) => {
    const [, role, count] = /^([a-z]+)=(\d{1,9})$/.exec(order) ?? []
    return { order, role: role as Role, count: Number(count) }
  })
  const problems = parsed
    .filter(({ role, count }) => !ROLES.includes(role) || !(count >= 1))
    .map(
      ({ order }) =>
        `Expected <role>=<count>, such as messages=4, role one of ${ROLES.join(', ')}, got ${order}`,
    )
  if (problems.length > 0) throw new MailroomError('MR_CONFIG_INVALID', { problems })
  let actors: Shown[] = []
  for (const { role, count } of parsed) actors = await client.call('PUT', `/actors/${role}`, { count })
  print(tableOf(actors))
}

/** Restarts the actors of a role, or all of them, one by one. */
export async function restart(client: ApiClient, only: Role | undefined): Promise<void> {
  let actors: Shown[] = []
  for (const role of only === undefined ? [...ROLES].reverse() : [only]) {
    process.stderr.write(`restarting ${role} actors one by one…\n`)
    actors = await client.call('POST', `/actors/${role}/restart`)
  }
  print(tableOf(actors))
}

/** Shows the actors once, or with `watch` every second until the process is ended. */
export async function status(
  client: ApiClient,
  { watch, json }: { watch: boolean; json: boolean },
): Promise<void> {
  let before: { actors: Shown[]; at: number } | undefined
  for (;;) {
    const actors = await client.call<Shown[]>('GET', '/actors')
    const at = clock.monotonic()
    if (json) print(JSON.stringify(actors))
    else {
      const rates = before === undefined ? undefined : ratesOf(actors, before.actors, (at - before.at) / 1000)
      const clear = watch && process.stdout.isTTY ? '\x1b[H\x1b[2J' : ''
      print(clear + tableOf(actors, rates))
    }
    if (!watch) return
    before = { actors, at }
    await clock.sleep(WATCH_MS)
  }
}

/** Messages handled a second, by actor; a restarted one begins at 0 again. */
function ratesOf(now: Shown[], before: Shown[], seconds: number): Map<string, number> {
  const handled = new Map(before.map((actor) => [actor.name, actor.handled]))
  return new Map(
    now.map((actor) => [actor.name, Math.max(0, actor.handled - (handled.get(actor.name) ?? 0)) / seconds]),
  )
}

function tableOf(actors: readonly Shown[], rates?: ReadonlyMap<string, number>): string {
  const header = [
    'ACTOR',
    'STATE',
    'PID',
    'RESTARTS',
    'MAILBOX',
    'REFUSED',
    'HANDLED',
    'WAITING',
    'OLDEST',
    'DEAD',
  ]
  if (rates !== undefined) header.push('PER SECOND')
  const rows = actors.map((actor) => [
    actor.name,
    actor.state,
    String(actor.pid || '-'),
    String(actor.restarts),
    `${actor.mailbox.depth}/${actor.mailbox.capacity}`,
    String(actor.mailbox.refused),
    String(actor.handled),
    String(actor.waiting ?? '-'),
    ageOf(actor.oldestAt),
    String(actor.dead ?? '-'),
    ...(rates === undefined ? [] : [String(Math.round(rates.get(actor.name) ?? 0))]),
  ])
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  )
  const line = (cells: string[]) =>
    cells
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd()
  return [styleText('bold', line(header)), ...rows.map((row) => coloured(row[1]!, line(row)))].join('\n')
}

function coloured(state: string, line: string): string {
  if (state === 'ready') return line
  return styleText(state === 'failed' ? 'red' : 'yellow', line)
}

function ageOf(oldestAt: string | null | undefined): string {
  if (oldestAt == null) return '-'
  const seconds = Math.max(0, (clock.now() - Date.parse(oldestAt)) / 1000)
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
