/** Actors as a table for people. */
import { styleText } from 'node:util'
import { systemClock as clock } from '../runtime/clock.ts'
import type { Role } from '../runtime/cluster/directory.ts'
import { counted, printable, table } from './terminal.ts'

/** An actor as `GET /actors` shows it. */
export interface ShownActor {
  name: string
  role: Role
  pid: number
  state: string
  restarts: number
  mailbox: { depth: number; capacity: number; refused: number }
  handled: number
  waiting?: number
  retrying?: number
  dead?: number
  lastFailure?: { target: string; at: string; error: string } | null
  oldestAt?: string | null
}

type Column = [title: string, cell: (actor: ShownActor) => string]

const COLUMNS: Column[] = [
  ['ACTOR', ({ name }) => name],
  ['STATE', ({ state }) => state],
  ['PID', ({ pid }) => String(pid || '-')],
  ['RESTARTS', ({ restarts }) => String(restarts)],
  ['MAILBOX', ({ mailbox }) => `${mailbox.depth}/${mailbox.capacity}`],
  ['REFUSED', ({ mailbox }) => String(mailbox.refused)],
  ['HANDLED', ({ handled }) => String(handled)],
  ['WAITING', ({ waiting }) => String(waiting ?? '-')],
  ['OLDEST', ({ oldestAt }) => ageOf(oldestAt)],
  ['DEAD', ({ dead }) => String(dead ?? '-')],
]
const WORD_COLUMNS = 2

/**
 * The table, coloured by state on a terminal; no line feed at its end.
 *
 * @param rates Messages handled a second, by actor's name; an extra column when given.
 */
export function actorsTable(actors: readonly ShownActor[], rates?: ReadonlyMap<string, number>): string {
  const columns = [...COLUMNS]
  if (rates !== undefined)
    columns.push(['PER SECOND', ({ name }) => String(Math.round(rates.get(name) ?? 0))])
  const rows = actors.map((actor) => columns.map(([, cell]) => cell(actor)))
  const titles = columns.map(([title]) => title)
  const colour = (row: number, line: string) => coloured(actors[row]!.state, line)
  return table(titles, rows, { wordColumns: WORD_COLUMNS, colour })
}

function coloured(state: string, line: string): string {
  if (state === 'ready') return line
  return styleText(state === 'failed' ? 'red' : 'yellow', line)
}

/**
 * What is not delivered though nothing is away: how many messages wait for their next attempt, and for each target the last
 * error; undefined when none waits and none is dead.
 */
export function failuresOf(actors: readonly ShownActor[]): string | undefined {
  const sumOf = (what: 'retrying' | 'dead') => actors.reduce((sum, actor) => sum + (actor[what] ?? 0), 0)
  const retrying = sumOf('retrying')
  if (retrying === 0 && sumOf('dead') === 0) return undefined
  const last = new Map<string, { at: string; error: string }>()
  for (const { lastFailure } of actors) {
    if (lastFailure == null) continue
    const known = last.get(lastFailure.target)
    if (known === undefined || known.at < lastFailure.at) last.set(lastFailure.target, lastFailure)
  }
  const waits = `${counted(retrying, 'message')} ${retrying === 1 ? 'waits' : 'wait'} for another attempt`
  const errors = [...last].map(
    ([target, { at, error }]) => `the last failure of ${target}, ${ageOf(at)} ago: ${printable(error)}`,
  )
  const parts = [...(retrying === 0 ? [] : [waits]), ...errors]
  return parts.length === 0 ? undefined : parts.join('; ')
}

function ageOf(oldestAt: string | null | undefined): string {
  if (oldestAt == null) return '-'
  const seconds = Math.max(0, (clock.now() - Date.parse(oldestAt)) / 1000)
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`
}
